import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SwornError } from '../errors.ts';
import { bridgeCommand, bridgeSettings, settingsVariable, type RemoteOptions } from './command.ts';

const given = (more: Record<string, string[]>): RemoteOptions => new Map(Object.entries({ '--url': ['https://a.example/mcp'], ...more }));

test('the command line of the bridge holds nothing of what may be a credential', () => {
  const title = process.title;
  const command = bridgeCommand(
    given({ '--url': ['https://me:pw@a.example/mcp?key=k#f'], '--header': ['Authorization:  Bearer x '], '--ca': ['c.pem'] }),
  );
  expect(command).toEqual([process.execPath, expect.stringMatching(/\/bridge\.mjs$/), 'https://a.example/mcp']);
  process.title = title;
  const told = process.env[settingsVariable]!;
  delete process.env[settingsVariable];
  expect(JSON.parse(told)).toEqual({
    url: 'https://me:pw@a.example/mcp?key=k#f',
    headers: [['Authorization', 'Bearer x']],
    headerFiles: [],
    headerVariables: [],
    ca: join(process.cwd(), 'c.pem'),
    connectTimeoutMs: 30_000,
    answerTimeoutMs: 600_000,
  });
});

test.each([
  [{ '--url': ['mcp.example.com'] }, '--url is the http:// or https:// address of an MCP server'],
  [{ '--url': ['file:///mcp'] }, '--url is the http:// or https:// address of an MCP server'],
  [{ '--header': ['Bearer hunter2'] }, '--header is `Name: value`, with a name of letters, digits and hyphens'],
  [{ '--header': ['X hunter2: y'] }, '--header is `Name: value`, with a name of letters, digits and hyphens'],
  [{ '--header': ['X: hunter2\r\nY: z'] }, '--header: the value of X has characters that no header can have'],
  [{ '--header': ['mcp-session-id: hunter2'] }, '--header: mcp-session-id is set by sworn itself'],
  [{ '--header': ['Content-Length: 3'] }, '--header: Content-Length is set by sworn itself'],
  [{ '--header-env': ['Authorization'] }, '--header-env is Name=VARIABLE'],
  [{ '--header-env': ['Accept=X'] }, '--header-env: Accept is set by sworn itself'],
  [{ '--connect-timeout': ['0'] }, '--connect-timeout is a number of seconds from 1 to 86400'],
  [{ '--answer-timeout': ['1.5'] }, '--answer-timeout is a number of seconds from 1 to 86400'],
])('%j is refused, without its value', (more, message) => {
  expect(() => bridgeSettings(given(more))).toThrow(new SwornError('usage', message, { command: 'run' }));
});
