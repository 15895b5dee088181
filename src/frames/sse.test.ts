import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concat, fromHex, lossyText, utf8 } from '../bytes/bytes.ts';
import { joinSse, SseCutter, type SseBlock } from './sse.ts';

function cut(chunks: Uint8Array[]): SseBlock[] {
  const cutter = new SseCutter();
  return [...chunks.flatMap((chunk) => cutter.push(chunk)), ...cutter.end()];
}

/** What must not depend on the chunks. The LF of a CR LF may stand on the other side of a cut. */
function told(blocks: SseBlock[]): unknown[] {
  return blocks.filter(({ kind }) => kind !== 'comment').map(({ kind, data, event, id, retryMs }) => ({ kind, data, event, id, retryMs }));
}

/** Cuts behind every byte whose bit is set. */
function chunksOf(bytes: Uint8Array, cuts: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let from = 0;
  for (let at = 1; at <= bytes.length; at++) {
    if (at < bytes.length && (cuts & (1 << (at - 1))) === 0) continue;
    chunks.push(bytes.slice(from, at));
    from = at;
  }
  return chunks;
}

function holds(bytes: Uint8Array, blocks: SseBlock[]): void {
  expect(concat(...blocks.map(({ raw }) => raw))).toEqual(bytes);
  for (const { raw, envelope, data } of blocks) expect(joinSse(envelope, data)).toEqual(raw);
}

interface Stream {
  name: string;
  stream?: string;
  streamHex?: string;
  blocks: { kind: string; type?: string; id?: string; retryMs?: number; data?: string; dataHex?: string; envelope?: string }[];
}
const { streams } = JSON.parse(readFileSync(new URL('../../spec/vectors/sse.json', import.meta.url), 'utf8')) as { streams: Stream[] };

test.each(streams)('vector: $name', ({ stream, streamHex, blocks: wanted }) => {
  const bytes = streamHex === undefined ? utf8(stream!) : fromHex(streamHex)!;
  const whole = cut([bytes]);
  holds(bytes, whole);
  const known = whole.filter(({ kind }) => kind !== 'comment');
  expect(told(whole)).toEqual(
    wanted.map(({ kind, type, id, retryMs, data, dataHex }) => ({
      kind,
      data: dataHex === undefined ? (data === undefined ? undefined : utf8(data)) : fromHex(dataHex)!,
      event: type,
      id,
      retryMs,
    })),
  );
  for (const [i, { envelope }] of wanted.entries()) if (envelope !== undefined) expect(lossyText(known[i]!.envelope)).toBe(envelope);
  for (let from = 1; from < bytes.length; from++) {
    for (let to = from; to < bytes.length; to++) {
      const blocks = cut([bytes.slice(0, from), bytes.slice(from, to), bytes.slice(to)]);
      holds(bytes, blocks);
      expect(told(blocks)).toEqual(told(whole));
    }
  }
});

/** The standard's own words (§9.2.6), over a text with one unit for each byte. */
function byTheStandard(text: string): unknown[] {
  const events: unknown[] = [];
  let data: string[] = [];
  let type = '';
  let id: string | undefined;
  let retryMs: number | undefined;
  let anything = false;
  const lines = text.replace(/^\xef\xbb\xbf/, '').split(/\r\n|\r|\n/);
  const unfinished = lines.pop()!;
  const field = (line: string): void => {
    const [, name, value] = /^([^:]*)(?:: ?([^]*))?$/.exec(line)!;
    anything = true;
    if (name === 'data') data.push(value ?? '');
    else if (name === 'event') type = value ?? '';
    else if (name === 'id' && !value?.includes('\0')) id = value ?? '';
    else if (name === 'retry' && /^[0-9]+$/.test(value ?? '')) retryMs = Number(value);
  };
  const dispatch = (isRest: boolean): void => {
    const joined = data.length === 0 ? undefined : data.join('\n');
    const bytes = joined === undefined ? undefined : Uint8Array.from(joined, (unit) => unit.charCodeAt(0));
    const kind = isRest ? 'rest' : joined === undefined ? 'fields' : joined === '' ? 'empty' : 'event';
    if (anything) events.push({ kind, data: bytes, event: type === '' ? undefined : type, id, retryMs });
    data = [];
    type = '';
    id = undefined;
    retryMs = undefined;
    anything = false;
  };
  for (const line of lines) {
    if (line === '') dispatch(false);
    else if (!line.startsWith(':')) field(line);
  }
  if (unfinished.startsWith(':')) anything = true;
  else if (unfinished !== '') field(unfinished);
  dispatch(true);
  return events;
}

const pieces = fc.constantFrom(
  'data',
  'data:',
  'data: ',
  'id: ',
  'event:',
  'retry: ',
  ':',
  ' ',
  'x',
  '7',
  '\0',
  '\n',
  '\n',
  '\r',
  '\r\n',
  '\n\n',
  '\xff',
  '\xef\xbb\xbf',
  '\xef',
);
const texts = (maxLength: number) => fc.array(pieces, { maxLength }).map((parts) => parts.join(''));
const bytesOf = (text: string) => Uint8Array.from(text, (unit) => unit.charCodeAt(0));

test('every chunking of short streams gives what the standard says', () => {
  fc.assert(
    fc.property(texts(6), (text) => {
      const bytes = bytesOf(text).slice(0, 10);
      const wanted = byTheStandard(String.fromCharCode(...bytes));
      for (let cuts = 0; cuts < 1 << Math.max(0, bytes.length - 1); cuts++) {
        const blocks = cut(chunksOf(bytes, cuts));
        holds(bytes, blocks);
        expect(told(blocks)).toEqual(wanted.map((event) => withLossyText(event)));
      }
    }),
    { numRuns: 60 },
  );
});

/** The model reads one unit a byte, the cutter reads UTF-8. */
function withLossyText(event: unknown): unknown {
  const one = event as { event?: string; id?: string };
  const read = (text: string | undefined) => (text === undefined ? undefined : lossyText(bytesOf(text)));
  return { ...one, event: read(one.event), id: read(one.id) };
}

test('random chunkings of long streams do too, and what is held is what was not given out', () => {
  fc.assert(
    fc.property(texts(200), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 9 }), (text, sizes) => {
      const bytes = bytesOf(text);
      const cutter = new SseCutter();
      const blocks: SseBlock[] = [];
      let given = 0;
      for (let at = 0, i = 0; at < bytes.length; i++) {
        const chunk = bytes.slice(at, at + sizes[i % sizes.length]!);
        at += chunk.length;
        for (const block of cutter.push(chunk)) {
          blocks.push(block);
          given += block.raw.length;
        }
        expect(cutter.heldBytes).toBe(at - given);
      }
      blocks.push(...cutter.end());
      expect(cutter.heldBytes).toBe(0);
      holds(bytes, blocks);
      expect(told(blocks)).toEqual(byTheStandard(text).map(withLossyText));
    }),
    { numRuns: 500 },
  );
});

test('an event is given out with the byte that completes it, and a comment with its line', () => {
  const cutter = new SseCutter();
  expect(cutter.push(utf8('data: a\r\n\r')).map(({ kind }) => kind)).toEqual(['event']);
  expect(cutter.push(utf8('\n')).map(({ kind, raw }) => [kind, lossyText(raw)])).toEqual([['comment', '\n']]);
  expect(cutter.push(utf8(':ka\n')).map(({ kind }) => kind)).toEqual(['comment']);
  expect(cutter.push(utf8('data: a\n: within\n'))).toEqual([]);
  expect(cutter.heldBytes).toBe(17);
});

test('an event within one chunk is not copied', () => {
  const chunk = utf8('event: message\ndata: {"a":1}\n\ndata: b\n\n');
  for (const { raw, data } of new SseCutter().push(chunk)) {
    expect(raw.buffer).toBe(chunk.buffer);
    expect(data!.buffer).toBe(chunk.buffer);
  }
});

test('an event in many chunks, and one of many lines', () => {
  const cutter = new SseCutter();
  const byte = utf8('x');
  cutter.push(utf8('data:'));
  for (let i = 0; i < 200_000; i++) cutter.push(byte);
  expect(cutter.heldBytes).toBe(200_005);
  expect(cutter.push(utf8('\n\n'))[0]!.data!.length).toBe(200_000);
  for (const end of ['\n', '\r', '\r\n']) {
    const bytes = utf8(`data:${end}`.repeat(200_000) + end);
    const [block] = cutter.push(bytes);
    expect(block!.data!.length).toBe(199_999);
    expect(joinSse(block!.envelope, block!.data)!.length).toBe(bytes.length);
    cutter.push(utf8('\n'));
  }
});

test('an envelope and data that do not belong together give nothing', () => {
  expect(joinSse(utf8('data: \n\n'), utf8('a\nb'))).toBeUndefined();
  expect(joinSse(utf8('data: \ndata: \n\n'), utf8('a'))).toBeUndefined();
  expect(joinSse(utf8('data: \n\n'), undefined)).toBeUndefined();
  expect(joinSse(utf8('id: 1\n\n'), utf8('a'))).toBeUndefined();
  expect(joinSse(utf8('data: x\n\n'), utf8('a'))).toBeUndefined();
  expect(joinSse(utf8('data\n\n'), utf8('a'))).toBeUndefined();
});
