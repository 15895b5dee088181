/** How a report's rows are read is its maker's choice, which the page goes by and says. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { utf8 } from '../../src/bytes/bytes.ts';
import { readReport } from '../../ui/report-worker.ts';
import { Client, echoServer, World } from '../support-processes.ts';

const world = new World('report-reading');
const path = join(world.folder, 'report.html');

beforeAll(async () => {
  const tap = world.sworn(['run', '--ledger', world.ledger, '--name', 'echo', '--', process.execPath, echoServer, join(world.folder, 'log')]);
  const client = new Client(tap);
  client.write({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'echo', arguments: {}, tag: 'one', text: 'how much is 2+2?' } });
  await vi.waitUntil(() => client.answers.get(7) === 1, 10_000);
  tap.stdin.end();
  await client.ended;
  await world.endRecorder();
});
afterAll(() => world.end());

async function read(...words: string[]): Promise<{ sensitive: unknown[]; effects: unknown[]; notChecked: string[] }> {
  const { status, stderr } = world.run(['report', '--ledger', world.ledger, '-o', path, ...words]);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  const html = readFileSync(path, 'latin1');
  const texts = [...html.matchAll(/<script type="application\/octet-stream"([^>]*)>([^<]*)<\/script>/g)];
  const chunks = texts.flatMap(([, about, text]): [string, Uint8Array<ArrayBuffer>][] => {
    const name = /data-block="([^"]+)"/.exec(about!)?.[1];
    return name === undefined ? [] : [[name, utf8(text!)]];
  });
  const backend = readReport({ file: 'report.html', head: texts.find(([, about]) => about!.includes('sworn-head'))?.[2], chunks });
  await backend.ready;
  const [evidence] = await backend.evidence();
  expect(evidence!.state).toBe('holds');
  const { rows } = await backend.calls({ filter: 'method:tools/call' }, {});
  return {
    sensitive: rows.map((row) => row.sensitive),
    effects: rows.map(({ effect, effectFrom }) => [effect, effectFrom]),
    notChecked: evidence!.notChecked,
  };
}

test('tools are called as the maker says, and that is said', async () => {
  const usual = await read();
  expect(usual).toMatchObject({ sensitive: [undefined], effects: [['unknown', 'default']] });
  expect(usual.notChecked.join('\n')).not.toContain('how records are read');
  const chosen = await read('--sensitive', '*', '--write', 'ec*');
  expect(chosen).toMatchObject({ sensitive: [true], effects: [['write', 'reading']] });
  expect(chosen.notChecked).toContainEqual('how records are read, which its maker chose: tools called sensitive (*); tools called writing (ec*)');
  const config = join(world.folder, 'reading.yaml');
  writeFileSync(config, 'findings: { ignore: [loop] }\n');
  expect((await read('--config', config)).notChecked).toContainEqual(expect.stringMatching(/^how records are read.*findings left out \(loop\)$/));
});
