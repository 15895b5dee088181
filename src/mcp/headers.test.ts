import fc from 'fast-check';
import { expect, test } from 'vitest';
import { argumentHeaders, argumentValue, headerText, headerValue, isArgumentHeader } from './headers.ts';

test('a value that is not plain is encoded, and read back', () => {
  // the examples of the specification (2026-07-28, Streamable HTTP, Value encoding)
  expect(headerValue('us-west1')).toBe('us-west1');
  expect(headerValue('Hello, 世界')).toBe('=?base64?SGVsbG8sIOS4lueVjA==?=');
  expect(headerValue(' padded ')).toBe('=?base64?IHBhZGRlZCA=?=');
  expect(headerValue('line1\nline2')).toBe('=?base64?bGluZTEKbGluZTI=?=');
  expect(headerValue('=?base64?literal?=')).toBe('=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=');
  expect(headerValue('')).toBe('=?base64??=');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(headerValue(text)).toMatch(/^[\t\x20-\x7e]+$/);
      expect(headerText(headerValue(text))).toBe(text);
    }),
  );
});

test.each(['=?BASE64?YQ==?=', '=?base64?YQ?=', '=?base64?YR==?=', '=?base64?/w==?=', '=?base64?a b?=', 'x=?base64?YQ==?='])(
  '%s is its own text',
  (value) => {
    expect(headerText(value)).toBe(value);
  },
);

test('arguments that a schema wants in headers', () => {
  const schema = {
    type: 'object',
    properties: {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      deep: { type: 'object', properties: { count: { type: 'integer', 'x-mcp-header': 'Count' }, on: { type: 'boolean', 'x-mcp-header': 'On' } } },
      plain: { type: 'string' },
    },
  };
  const headers = argumentHeaders(schema);
  const said = (args: unknown) => Object.fromEntries(headers.map((one) => [one.header, argumentValue(one, args)]));
  expect(said({ region: 'zürich', deep: { count: 42, on: false } })).toEqual({
    'Mcp-Param-Region': '=?base64?esO8cmljaA==?=',
    'Mcp-Param-Count': '42',
    'Mcp-Param-On': 'false',
  });
  expect(said({ region: null, deep: { count: 1.5, on: [] } })).toEqual({});
  expect(said('x')).toEqual({});
  expect(headers.every(({ header }) => isArgumentHeader(header.toLowerCase()))).toBe(true);
});

test.each([
  { 'x-mcp-header': 'Root', type: 'string' },
  { properties: { a: { type: 'number', 'x-mcp-header': 'A' } } },
  { properties: { a: { type: 'string', 'x-mcp-header': 'a b' } } },
  { properties: { a: { type: 'string', 'x-mcp-header': 'A\r\nB' } } },
  { properties: { a: { type: 'string', 'x-mcp-header': 'A' }, b: { type: 'string', 'x-mcp-header': 'a' } } },
  { properties: null },
  'x',
])('%j wants none', (schema) => {
  expect(argumentHeaders(schema)).toEqual([]);
});
