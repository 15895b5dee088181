/** Content beside the tree: whoever can write the segments, checksums and all, against the commitments in the entries. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Copy, makeBase, summary, type Base, type Places } from './base.ts';
import type { Forger } from './forger.ts';

let base: Base;
beforeAll(async () => void (base = await makeBase()));
afterAll(() => base.remove());
let copy: Copy | undefined;
afterEach(() => copy?.remove());

async function attacked(change: (forger: Forger, at: Places) => void): ReturnType<Copy['verify']> {
  copy = new Copy(base);
  const forger = copy.forger();
  change(forger, base.at);
  forger.writePayload();
  return copy.verify();
}

const kinds = ['request', 'result', 'error', 'refused', 'batch', 'redacted'] as const;

describe('content', () => {
  it.each(kinds)('of a %s: another byte, with a right checksum [attack-content]', async (kind) => {
    const found = await attacked((forger, at) => {
      const item = forger.entry(at[kind]).frame[0]!;
      item.bytes = Buffer.from(item.bytes);
      item.bytes[3]! ^= 1;
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at[kind], codes: ['content'] });
  });

  it('of a request swapped with that of its result [attack-content-swapped]', async () => {
    const found = await attacked((forger, at) => {
      const [request, result] = [forger.entry(at.request), forger.entry(at.result)];
      [request.frame, result.frame] = [result.frame, request.frame];
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at.request, codes: ['content'] });
    expect(new Set(found.findings.filter(({ code }) => code === 'content').map(({ index }) => index))).toEqual(
      new Set([base.at.request, base.at.result]),
    );
  });

  it('of two messages with the same words swapped: the salts differ [attack-content-swapped-same]', async () => {
    const isLast = (leaf: Record<string, unknown>): boolean => leaf['type'] === 'request' && leaf['sizeBytes'] === base.leaves[second]!['sizeBytes'];
    const second = base.leaves.findLastIndex((leaf) => leaf['type'] === 'request');
    const first = base.leaves.findIndex((leaf, index) => index < second && leaf['connection'] === base.leaves[second]!['connection'] && isLast(leaf));
    expect(first).toBeGreaterThan(0);
    const found = await attacked((forger) => {
      const [a, b] = [forger.entry(first), forger.entry(second)];
      [a.frame, b.frame] = [b.frame, a.frame];
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: first, codes: ['content'] });
  });

  it.each(kinds)('of a %s: another salt [attack-salt]', async (kind) => {
    const found = await attacked((forger, at) => (forger.entry(at[kind]).frame[0]!.head = randomBytes(16)));
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at[kind], codes: ['content'] });
  });

  it('of an attribute: who is behind a connection [attack-attribute]', async () => {
    const found = await attacked((forger, at) => {
      const item = forger.entry(at.principal).attributes[0]!;
      item.bytes = Buffer.from(item.bytes.toString().replace(/[a-z]{3}"/, 'xxx"'));
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at.principal, codes: ['content'] });
  });

  it('one attribute taken away, or in the place of another [attack-attribute-count]', async () => {
    const taken = await attacked((forger, at) => forger.entry(at.principal).attributes.pop());
    expect(summary(taken)).toEqual({ exit: 1, firstBad: base.at.principal, codes: ['content'] });
    copy!.remove();
    const turned = await attacked((forger, at) => forger.entry(at.principal).attributes.reverse());
    expect(summary(turned)).toEqual({ exit: 1, firstBad: base.at.principal, codes: ['content'] });
  });

  it('that was never stored cannot be made up: a guess in its place [attack-redacted-made-up]', async () => {
    const found = await attacked((forger, at) => {
      const { frame } = forger.entry(at.redacted);
      const k = frame.findIndex(({ state }) => state === 1);
      const bytes = Buffer.alloc(frame[k]!.sizeBytes, 'x');
      frame[k] = { state: 0, head: randomBytes(16), bytes, sizeBytes: bytes.length };
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at.redacted, codes: ['content'] });
  });

  it('hidden behind its hash, as if it had never been stored [attack-content-hidden]', async () => {
    const found = await attacked((forger, at) => {
      const [item] = forger.entry(at.result).frame;
      Object.assign(item!, { state: 1, head: Buffer.from(base.leaves[at.result]!['commitment'] as string, 'base64'), bytes: Buffer.alloc(0) });
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at.result, codes: ['dropped'] });
  });

  it('erased, and no entry says so [attack-erased-silently]', async () => {
    const found = await attacked((forger, at) => {
      const [item] = forger.entry(at.result).frame;
      Object.assign(item!, { state: 3, head: Buffer.from(base.leaves[at.result]!['commitment'] as string, 'base64'), bytes: Buffer.alloc(0) });
    });
    expect(found).toMatchObject({ exit: 1, firstBad: base.at.result });
  });

  it('hidden behind another hash [attack-content-hidden-wrong]', async () => {
    const found = await attacked((forger, at) => {
      Object.assign(forger.entry(at.result).frame[0]!, { state: 1, head: randomBytes(32), bytes: Buffer.alloc(0) });
    });
    expect(found).toMatchObject({ exit: 1, firstBad: base.at.result });
  });
});

describe('the units of a long frame', () => {
  it('with another byte, another salt, of another direction, connection or number [attack-part]', async () => {
    const wrong: [string, (forger: Forger) => void, string][] = [
      ['byte', (f) => (partOf(f, 0).bytes[99_999]! ^= 1), 'part'],
      ['salt', (f) => (partOf(f, 1).salt = randomBytes(16)), 'part'],
      ['direction', (f) => (partOf(f, 0).partHead![16]! ^= 1), 'part'],
      ['connection', (f) => (partOf(f, 0).partHead![3]! ^= 1), 'part'],
      ['number', (f) => (partOf(f, 1).partHead![24]! ^= 1), 'part'],
    ];
    for (const [name, change, code] of wrong) {
      const found = await attacked(change);
      expect(summary(found), name).toEqual({ exit: 1, firstBad: base.at.long, codes: [code] });
      copy!.remove();
    }
  });

  it('exchanged [attack-part-swapped]', async () => {
    const found = await attacked((forger, at) => {
      const [a, b] = forger.entry(at.long).frame;
      [a!.part, b!.part] = [b!.part!, a!.part!];
    });
    expect(summary(found)).toEqual({ exit: 1, firstBad: base.at.long, codes: ['part'] });
  });

  it('exchanged, hashes too, so that each fits its reference [attack-part-turned]', async () => {
    const found = await attacked((forger, at) => {
      const { frame } = forger.entry(at.long);
      [frame[0], frame[1]] = [frame[1]!, frame[0]!];
    });
    expect(found).toMatchObject({ exit: 1, firstBad: base.at.long });
  });
});

function partOf(forger: Forger, k: number): NonNullable<ReturnType<Forger['entry']>['frame'][number]['part']> {
  return forger.entry(base.at.long).frame[k]!.part!;
}
