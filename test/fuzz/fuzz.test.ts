/** The short form of `npm run fuzz`: the same inputs at each run. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { encodeEntryRecord, encodeSegmentHeader, scanSegment, type ContentItem } from '../../src/ledger/segment.ts';
import { PayloadReader } from '../../src/verify/payload.ts';
import type { Source } from '../../src/verify/source.ts';
import { scratch } from '../faults/world.ts';
import { fuzz } from './fuzz.ts';
import { parsers } from './parsers.ts';

const { root, remove } = scratch();
afterAll(() => remove());
mkdirSync(join(root, 'fuzz'));

it.each(await parsers(join(root, 'fuzz')))('$name holds under mutated inputs', async (parser) => {
  const inputs = Math.ceil(20_000 * (parser.share ?? 1));
  const { failures, accepted } = await fuzz(parser, { inputs, seed: 1 });
  expect(failures).toEqual([]);
  // otherwise nothing behind the first check is ever reached
  expect(accepted).toBeGreaterThan(0);
});

describe('damage before content that looks like a record at every place', () => {
  const kept = (bytes: Uint8Array): ContentItem => ({ state: 'kept', salt: Buffer.alloc(16, 7), bytes });
  /** Each claims to go on to the end: read one after the other, they would take hours. */
  const content = Buffer.alloc(4 << 20);
  for (let at = 0; at + 21 <= content.length; at += 21) {
    content.writeUInt32BE(Math.max(42, content.length - at - 8), at);
    content[at + 8] = 2;
  }
  const file = Buffer.concat([
    encodeSegmentHeader('00112233445566778899aabbccddeeff', 0),
    ...encodeEntryRecord(0, Buffer.from('{"n":0}'), [], [kept(content)]),
    ...encodeEntryRecord(1, Buffer.from('{"n":1}'), [], [kept(Buffer.alloc(40))]),
  ]);
  file[60]! ^= 1;
  file[file.length - 3]! ^= 1;

  it('is corruption for the recorder, soon', () => {
    const path = join(root, 'hostile');
    writeFileSync(path, file);
    expect([...scanSegment(path)]).toEqual([{ kind: 'corrupt', offset: 40 }]);
  });

  it('is damage that no crash leaves for the verifier, soon', async () => {
    const source: Pick<Source, 'segment'> = {
      async *segment() {
        yield file;
      },
    };
    const reader = new PayloadReader(source as Source, [{ first: 0, path: 'payload/0' }]);
    expect(await reader.fill()).toBe(true);
    expect(await reader.fill()).toBe(true);
    expect(await reader.fill()).toMatchObject({ kind: 'header' });
    expect(reader.take()).toBeUndefined();
    expect(await reader.fill()).toMatchObject({ kind: 'trouble', what: 'crc', offset: 40, resumed: undefined, abandoned: true });
  });
});
