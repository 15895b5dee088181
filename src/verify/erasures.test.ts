/** What was erased, what says so, and what neither does: on ledgers that were made up for it. */
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../crypto-node.ts';
import { Fixture, fixtureConnection, memorySource, sampleLedger, type FixtureSegment } from '../../test/ledger-fixture.ts';
import { verifySame } from '../../test/spread.ts';
import type { Source } from './source.ts';
import type { Verification } from './verifier.ts';
import { parseVkey } from '../tlog/note.ts';

const text = (value: string): FixtureSegment => ({ bytes: Buffer.from(value) });
const gone = (value: string): FixtureSegment => ({ bytes: Buffer.from(value), as: 'erased' });
const common = {
  ...{ connection: fixtureConnection, stream: 0, transport: 'stdio', server: 'fs', verdict: 'pass', origin: 'client', direction: 'c2s' },
  type: 'opaque',
};

/** A ledger whose last session has `count` messages with these segments, and what `later` adds behind. The index of the first one comes with it. */
function ledger(messages: (FixtureSegment | string)[][], later: (fixture: Fixture, first: number) => void): Fixture {
  return sampleLedger({
    pairs: 1,
    later: (fixture) => {
      fixture.add({ kind: 'recovery', reason: 'resumed', connection: fixtureConnection });
      const first = fixture.leaves.length;
      for (const [i, frame] of messages.entries()) fixture.add({ kind: 'message', ...common, seq: 41 + i, tapSeq: 41 + i }, {}, frame);
      fixture.add({ kind: 'close', connection: fixtureConnection, reason: 'client closed' });
      later(fixture, first);
    },
  });
}

async function verified(fixture: Fixture, files = fixture.files(), source: Source = memorySource(files)): Promise<Verification> {
  return verifySame({ crypto: nodeCrypto, source, vkeys: [parseVkey(nodeCrypto, fixture.key.vkey)!] });
}

function about(result: Verification): string[] {
  return result.findings
    .filter(({ code }) => code.startsWith('eras') || code === 'content' || code === 'reference')
    .map(({ code, severity, index }) => `${severity} ${code} ${index}`);
}

const erasure = (targets: unknown[], more: Record<string, unknown> = {}) => ({ kind: 'erasure', scope: 'index', targets, ...more });

describe('erasures', () => {
  it('explain what a later one names, by position, as a whole, or in a range', async () => {
    for (const targets of [
      (at: number) => [
        { index: at, segments: [0, 2] },
        { index: at + 1, segments: [0] },
      ],
      (at: number) => [
        { index: at, segments: [0] },
        { index: at, segments: [2] },
        { index: at + 1, segments: 'all' },
      ],
      (at: number) => [
        { index: at, segments: [0, 2] },
        { index: at + 1, to: at + 3, segments: 'all', attributes: 'all' },
      ],
    ]) {
      const fixture = ledger([[gone('abc'), text('d'), gone('e')], [gone('f')], [gone('g')]], (f, at) => {
        f.add(erasure(targets(at)));
        f.add(erasure([{ index: at + 2, segments: 'all' }]));
      });
      const result = await verified(fixture);
      expect(about(result)).toEqual([expect.stringMatching(/^note erased \d+$/)]);
      expect(result).toMatchObject({ exit: 0, erasedSegments: 4, erasedEntries: 3, erasures: 2 });
    }
  });

  it('that are not there are tampering: of an entry, of one of its segments', async () => {
    const none = ledger([[gone('abc')], [text('kept')]], () => undefined);
    expect(await verified(none)).toMatchObject({ exit: 1 });
    let at = 0;
    const half = ledger([[gone('abc'), gone('def')]], (f, first) => {
      at = first;
      f.add(erasure([{ index: first, segments: [1] }]));
    });
    const result = await verified(half);
    expect(result).toMatchObject({ exit: 1, firstBad: at });
    expect(about(result)[0]).toBe(`tampered erased-unstated ${at}`);
    const attributesOnly = ledger([[gone('abc')]], (f, first) => void f.add(erasure([{ index: first, attributes: 'all' }])));
    expect((await verified(attributesOnly)).exit).toBe(1);
  });

  it('that name what is still there are unfinished [attack-erased-back]', async () => {
    let at = 0;
    const fixture = ledger([[text('still')], [text('here'), gone('gone')], [text('too')]], (f, first) => {
      at = first;
      f.add(
        erasure([
          { index: first, segments: [0] },
          { index: first + 1, segments: [0, 1] },
          { index: first + 2, segments: 'all' },
        ]),
      );
    });
    const result = await verified(fixture);
    expect(result.exit).toBe(0);
    expect(about(result).filter((line) => line.startsWith('warning'))).toEqual([0, 1, 2].map((i) => `warning erasure-unfinished ${at + i}`));
  });

  it('hold rests by a commitment of their own', async () => {
    const rest = (at: number, ranges: number[][]) => erasure([{ index: at, segments: [0] }], { rest: [{ index: at, segment: 0, ranges }] });
    const right = ledger(
      [[gone('{"ssn":"123"}')]],
      (f, at) =>
        void f.add(
          rest(at, [
            [0, 8],
            [11, 13],
          ]),
          {},
          [text('{"ssn":""}')],
        ),
    );
    expect(await verified(right)).toMatchObject({ exit: 0, erasedSegments: 1 });
    const long = ledger(
      [[gone('{"ssn":"123"}')]],
      (f, at) =>
        void f.add(
          rest(at, [
            [0, 9],
            [11, 13],
          ]),
          {},
          [text('{"ssn":""}')],
        ),
    );
    expect(about(await verified(long))).toContainEqual(expect.stringMatching(/^tampered content/));
    const strange = ledger(
      [[gone('{"ssn":"123"}')], [text('other')]],
      (f, at) =>
        void f.add(
          {
            ...rest(at, [
              [0, 8],
              [11, 13],
            ]),
            rest: [{ index: at + 1, segment: 0, ranges: [[0, 10]] }],
          },
          {},
          [text('{"ssn":""}')],
        ),
    );
    expect(about(await verified(strange))).toContainEqual(expect.stringMatching(/^tampered reference/));
    const altered = right.files();
    for (const [path, bytes] of altered) {
      const place = bytes.indexOf('{"ssn":""}');
      if (path.startsWith('payload/') && place >= 0) bytes[place + 2] = 0x41;
    }
    expect((await verified(right, altered)).exit).toBe(1);
    // and may go, too
    const both = ledger([[gone('{"ssn":"123"}')]], (f, at) => {
      const first = f.add(
        rest(at, [
          [0, 8],
          [11, 13],
        ]),
        {},
        [gone('{"ssn":""}')],
      );
      f.add(erasure([{ index: first, segments: 'all' }]));
    });
    expect(await verified(both)).toMatchObject({ exit: 0, erasedSegments: 2, erasures: 2 });
  });

  it('name only what is before them', async () => {
    const fixture = ledger([[text('a')]], (f) => void f.add(erasure([{ index: 0, to: 1_000_000, segments: 'all' }])));
    expect(about(await verified(fixture))).toEqual([expect.stringMatching(/^tampered reference/)]);
  });

  it('that were written while we read are looked for behind what we have read', async () => {
    let at = 0;
    const fixture = ledger([[gone('abc')]], (_, first) => void (at = first));
    const before = fixture.files();
    const size = fixture.leaves.length;
    fixture.add(erasure([{ index: at, segments: [0] }]));
    const after = fixture.files(size);
    const source = memorySource(before);
    const later = memorySource(after);
    let listings = 0;
    const live: Source = {
      ...source,
      segments: async () => (++listings === 1 ? source.segments!() : later.segments!()),
      segment: (name) => (listings === 1 ? source.segment!(name) : later.segment!(name)),
    };
    expect(await verified(fixture, before, live)).toMatchObject({ exit: 0, erasures: 1 });
    expect(listings).toBe(2);
  });
});
