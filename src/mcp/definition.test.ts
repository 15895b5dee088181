import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodeCrypto } from '../crypto-node.ts';
import { canonicalJson, definitionDigest, readDefinitions } from './definition.ts';

const digest = (value: unknown): string => definitionDigest(nodeCrypto, value);

/** The same value, with members in another order. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([name, inner]) => [name, reordered(inner)]),
  );
}

test('order of members, spacing, escapes and the way of writing a number are no change; everything else is', () => {
  const parsed = (text: string): string => digest(JSON.parse(text));
  const one = parsed('{"name":"a","inputSchema":{"type":"object","maximum":1,"required":["x","y"]}}');
  expect(parsed('{ "inputSchema" : {"required":["x","y"],"maximum":1.0,"type":"object"},\n"n\\u0061me":"a" }')).toBe(one);
  for (const other of [
    '{"name":"a","inputSchema":{"type":"object","maximum":1,"required":["y","x"]}}',
    '{"name":"a","inputSchema":{"type":"object","maximum":2,"required":["x","y"]}}',
    '{"name":"a ","inputSchema":{"type":"object","maximum":1,"required":["x","y"]}}',
    '{"name":"a","_meta":{},"inputSchema":{"type":"object","maximum":1,"required":["x","y"]}}',
    '{"name":"\\u200ba","inputSchema":{"type":"object","maximum":1,"required":["x","y"]}}',
  ])
    expect(parsed(other)).not.toBe(one);
});

test('of the canonical form is read what was written, whatever it is, and order says nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const plain = JSON.parse(JSON.stringify(value)) as unknown;
      expect(JSON.parse(canonicalJson(plain))).toEqual(plain);
      expect(canonicalJson(reordered(plain))).toBe(canonicalJson(plain));
    }),
  );
  expect(canonicalJson(JSON.parse('[1e400,-1e400,null,-0]'))).toBe('[1e999,-1e999,null,0]');
  expect(canonicalJson(JSON.parse('{"__proto__":{"b":1,"a":2},"constructor":3}'))).toBe('{"__proto__":{"a":2,"b":1},"constructor":3}');
});

test('a page of a list: what is no definition is left out, and what is no list is none', () => {
  const page = (json: unknown): unknown => readDefinitions(Buffer.from(JSON.stringify(json)));
  expect(page({ result: { tools: [{ name: 'a', x: 1 }, null, [], { name: 7 }, 'b'], nextCursor: 'n' } })).toEqual({
    definitions: [{ name: 'a', value: { name: 'a', x: 1 } }],
    next: 'n',
  });
  expect(page({ result: { tools: [], nextCursor: 3 } })).toEqual({ definitions: [] });
  for (const other of [null, 3, [], {}, { result: null }, { result: { tools: {} } }, { error: { tools: [] } }]) expect(page(other)).toBeUndefined();
  expect(readDefinitions(Buffer.from([0xff, 0x7b]))).toBeUndefined();
  expect(readDefinitions(Buffer.from('{'))).toBeUndefined();
});
