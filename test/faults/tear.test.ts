/**
 * What a crash or a hand leaves of the newest segment: cut at every byte, changed at every byte. Only what nobody was told of may be lost, and damage is
 * never taken for a crash while something readable is behind it.
 */
import { copyFileSync, cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SwornError } from '../../src/errors.ts';
import { scanSegment } from '../../src/ledger/segment.ts';
import { checkLedger } from '../check-ledger.ts';
import { FaultyFiles } from './faulty-files.ts';
import { Client, kept, nameOf, scratch, type Scratch } from './world.ts';

let at: Scratch;
let kept0: Scratch;
beforeEach(() => {
  at = scratch();
  kept0 = scratch();
});
afterEach(() => {
  at.remove();
  kept0.remove();
});

/** A ledger whose process died: head covers the first `signed` entries, the newest segment holds some more. Returns the segment and its records. */
async function unclean(signed: string[], unsigned: string[], bounds = {}): Promise<{ segment: string; offsets: number[]; client: Client }> {
  const client = new Client();
  const files = new FaultyFiles([], () => client.die());
  client.open(at, files, bounds);
  for (const name of signed) client.append(name);
  await client.answered();
  await client.ledger!.publish();
  for (const name of unsigned) client.append(name, { frame: [kept(Buffer.from(`frame of ${name}`))] });
  await client.answered();
  await files.die(client.ledger);
  client.check();
  const segment = join(at.folder, 'payload', '0000000000000000');
  const offsets = [...scanSegment(segment)].map(({ offset }) => offset);
  cpSync(at.root, kept0.root, { recursive: true });
  return { segment, offsets, client };
}

function restore(): void {
  rmSync(at.root, { recursive: true });
  cpSync(kept0.root, at.root, { recursive: true });
}

const codeOf = (): string | undefined => {
  try {
    new Client().open(at);
  } catch (error) {
    return error instanceof SwornError ? error.code : String(error);
  }
  return undefined;
};

it('cut anywhere in its last two records, the newest segment loses those alone, and twice opened nothing more', async () => {
  const { segment, offsets } = await unclean(['a', 'b'], ['c', 'd', 'e']);
  const wholeBytes = statSync(segment).size;
  for (let size = offsets[3]!; size <= wholeBytes; size++) {
    restore();
    truncateSync(segment, size);
    const whole = offsets.filter((_, i) => (offsets[i + 1] ?? wholeBytes) <= size).length;
    const end = offsets[whole] ?? wholeBytes;
    const first = new Client();
    const ledger = first.open(at);
    expect(ledger, `cut to ${size}`).toMatchObject({ size: whole, cutBytes: size - end });
    expect(first.replayed).toEqual(['a', 'b', 'c', 'd', 'e'].slice(0, whole));
    expect(statSync(segment).size).toBe(end);
    first.append('then');
    await first.answered();
    await ledger.close();
    const second = new Client();
    expect(second.open(at)).toMatchObject({ size: whole + 1, cutBytes: 0 });
    await second.ledger!.close();
    const { leaves } = checkLedger(at.folder, at.keysHome);
    expect(leaves.map(nameOf)).toEqual([...['a', 'b', 'c', 'd', 'e'].slice(0, whole), 'then']);
  }
});

it('cut anywhere in what head covers, it is refused and left as it is', async () => {
  const { segment, offsets } = await unclean(['a', 'b', 'c'], ['d']);
  for (let size = 0; size < offsets[3]!; size += size > offsets[2]! ? 1 : 7) {
    restore();
    truncateSync(segment, size);
    expect(codeOf(), `cut to ${size}`).toBe('ledger-rollback');
    if (size > 40) expect(statSync(segment).size).toBe(size);
  }
});

it('changed in any byte before its last record, it is corrupt, and left as it is', async () => {
  const { segment, offsets } = await unclean(['a'], ['b', 'c']);
  const bytes = readFileSync(segment);
  for (let place = 40; place < offsets[2]!; place++) {
    const damaged = Buffer.from(bytes);
    damaged[place]! ^= 1 << (place % 8);
    writeFileSync(segment, damaged);
    expect(codeOf(), `byte ${place}`).toBe('ledger-corrupt');
    expect(readFileSync(segment).equals(damaged)).toBe(true);
  }
  // the last record, of which nobody can say that it was whole
  for (let place = offsets[2]!; place < bytes.length; place++) {
    const damaged = Buffer.from(bytes);
    damaged[place]! ^= 1 << (place % 8);
    restore();
    writeFileSync(segment, damaged);
    const client = new Client();
    expect(client.open(at), `byte ${place}`).toMatchObject({ size: 2, cutBytes: bytes.length - offsets[2]! });
    await client.ledger!.close();
    checkLedger(at.folder, at.keysHome);
  }
});

it('an older segment may not be cut, nor changed, at all', async () => {
  const names = Array.from({ length: 30 }, (_, i) => `n ${i}`);
  const { segment, client } = await unclean(['a'], names, { segmentBytes: 1_500 });
  const bytes = readFileSync(segment);
  for (let size = 41; size < bytes.length; size += 3) {
    truncateSync(segment, size);
    expect(codeOf(), `cut to ${size}`).toBe('ledger-corrupt');
    const damaged = Buffer.from(bytes);
    damaged[size]! ^= 0x04;
    writeFileSync(segment, damaged);
    expect(codeOf(), `byte ${size}`).toBe('ledger-corrupt');
    writeFileSync(segment, bytes);
  }
  expect(codeOf()).toBeUndefined();
  expect(client.acknowledged.size).toBe(31);
});

it('a segment of which only a part of the header is there is taken away', async () => {
  await unclean(['a'], ['b']);
  const next = join(at.folder, 'payload', '0000000000000002');
  const header = readFileSync(join(at.folder, 'payload', '0000000000000000')).subarray(0, 40);
  header.writeBigUInt64BE(2n, 24);
  for (const content of [Buffer.alloc(0), header.subarray(0, 13), Buffer.alloc(40)]) {
    restore();
    writeFileSync(next, content);
    const client = new Client();
    expect(client.open(at).size).toBe(2);
    client.append('c');
    await client.answered();
    await client.ledger!.close();
    expect(checkLedger(at.folder, at.keysHome).files).toEqual([0]);
  }
});

it('leftovers of replaced files are no trouble', async () => {
  const { client } = await unclean(['a'], ['b']);
  const keys = join(at.keysHome, client.ledger!.id);
  for (const name of ['.head.tmp', '.key.tmp']) writeFileSync(join(keys, name), 'half a');
  writeFileSync(join(at.folder, 'log', '.checkpoint.tmp'), 'half a');
  copyFileSync(join(keys, 'head'), join(at.folder, 'log', 'tile', '.000.tmp'));
  const next = new Client();
  await next.open(at).close();
  expect(next.replayed).toEqual(['a', 'b']);
  checkLedger(at.folder, at.keysHome);
});
