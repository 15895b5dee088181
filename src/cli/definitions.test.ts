import { afterAll, beforeAll, expect, test } from 'vitest';
import { policyOf, Recording, type Talk } from '../../test/reading/recorded.ts';
import { place } from '../../test/reading/fixture.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { definitionDigest } from '../mcp/definition.ts';
import { logCommand, type LogOptions } from './log.ts';
import type { Output } from './output.ts';

const at = place();
const recording = new Recording(at);
const tools = [1, 2].map((version) => ({ name: 'look', description: `Looks, version ${version}`, inputSchema: { type: 'object' } }));
const [first, second] = tools.map((tool) => definitionDigest(nodeCrypto, tool)) as [string, string];
const calls: Record<'first' | 'second' | 'other', number[]> = { first: [], second: [], other: [] };

function list(talk: Talk, ...some: object[]): void {
  talk.request('tools/list');
  talk.reply({ tools: some });
}

function look(talk: Talk): number[] {
  return [talk.call('look', { at: 'it' }), talk.text('seen')];
}

beforeAll(async () => {
  const compiled = await policyOf('policy: {}');
  const [a, b] = ['a', 'b'].map((server) => recording.connect(compiled, { server })) as [Talk, Talk];
  // before any list nothing is known of it
  calls.other.push(...look(a));
  list(a, tools[0]!);
  calls.first.push(...look(a));
  // a tool of this name elsewhere is another one
  calls.other.push(...look(b));
  const asked = a.call('look', { at: 'what changes meanwhile' });
  list(b, tools[1]!);
  calls.second.push(...look(b));
  list(a, { ...tools[1]!, inputSchema: { type: 'object' } });
  calls.second.push(...look(a));
  calls.first.push(asked);
  await new Promise<void>((done) => recording.ledger.follow({ durable: () => done() }));
});

afterAll(async () => {
  await recording.close();
  at.remove();
});

async function indexes(options: LogOptions): Promise<number[]> {
  let text = '';
  const output = { out: (said: string) => void (text += said), err: () => undefined, isTTY: false, color: false, columns: 80 } as unknown as Output;
  expect(await logCommand({ ledger: at.ledger, json: true, ...options }, output)).toBe(0);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { index: number }).index);
}

test('the calls under a definition are those that began while it was the last one listed', async () => {
  const sorted = (some: number[]): number[] => some.toSorted((one, other) => one - other);
  expect(await indexes({ definition: first })).toEqual(sorted(calls.first));
  expect(await indexes({ definition: second.slice(0, 12) })).toEqual(sorted(calls.second));
  expect(await indexes({ definition: second, server: 'a' })).toEqual(calls.second.slice(2));
  expect(await indexes({ definition: second, limit: 1 })).toEqual([calls.second.at(-1)]);
  expect(await indexes({ definition: first, calls: true })).toEqual([calls.first[0], calls.first.at(-1)]);
  expect(await indexes({ definition: '0'.repeat(64) })).toEqual([]);
  await expect(indexes({ definition: 'look' })).rejects.toThrow('not the beginning of a digest');
});
