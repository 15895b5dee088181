import fc from 'fast-check';
import { expect, test } from 'vitest';
import { placeOf } from './place.ts';

const at = (json: string, ...path: string[]): string | undefined => {
  const bytes = Buffer.from(json);
  const place = placeOf(bytes, path);
  return place === undefined ? undefined : bytes.toString('utf8', ...place);
};

test('a value is found as it was written', () => {
  expect(at('{"id": 1.0 ,"x":2}', 'id')).toBe('1.0');
  expect(at(' { "params" : {"_meta":{"progressToken":"a\\"}"}} }', 'params', '_meta', 'progressToken')).toBe('"a\\"}"');
  expect(at('{"id":1,"\\u0069d":[2,{"id":3}]}', 'id')).toBe('[2,{"id":3}]');
  expect(at('{"é":"ü","id":12345678901234567890}', 'id')).toBe('12345678901234567890');
  expect(at('[1]')).toBe('[1]');
});

test('what is not there, or no object, has no place', () => {
  for (const json of ['', '1', '[{"id":1}]', '{}', '{"params":{"id":1}}', '{"params":"{\\"id\\":1}"}']) expect(at(json, 'id'), json).toBeUndefined();
  expect(at('{"params":null}', 'params', 'id')).toBeUndefined();
});

test('whatever the document: the place holds what JSON.parse finds there', () => {
  const names = fc.constantFrom('id', 'params', '_meta', 'a"b', '\u2028', '');
  const documents = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.string(),
      fc.double({ noNaN: true }),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 3 }),
      tie('object'),
    ),
    object: fc.dictionary(names, tie('value'), { maxKeys: 4 }),
  })).object;
  fc.assert(
    fc.property(documents, fc.array(names, { maxLength: 3 }), fc.constantFrom(undefined, 1, '\t'), (document, path, indent) => {
      const json = JSON.stringify(document, undefined, indent);
      let wanted: unknown = JSON.parse(json);
      for (const name of path)
        wanted =
          typeof wanted === 'object' && wanted !== null && !Array.isArray(wanted) && Object.hasOwn(wanted, name)
            ? (wanted as Record<string, unknown>)[name]
            : undefined;
      const found = at(json, ...path);
      expect(found === undefined ? undefined : JSON.parse(found)).toEqual(wanted);
    }),
  );
});

test('nothing is thrown on what is no JSON', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const text = Buffer.from([...bytes].map((byte) => Buffer.from('{}[]":,\\ 1a').at(byte % 11)!));
      const place = placeOf(text, ['a']);
      expect(place === undefined || (place[0] >= 0 && place[1] <= text.length + 1 && place[0] < place[1])).toBe(true);
    }),
  );
});
