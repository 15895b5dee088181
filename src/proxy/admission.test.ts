import { expect, test } from 'vitest';
import { admissionOf, isLoopback, refusedBy } from './admission.ts';

test('on loopback all its names are served, with our port alone', () => {
  const admission = admissionOf('127.0.0.1', 4422, [], [], false);
  for (const host of ['127.0.0.1:4422', 'localhost:4422', 'LOCALHOST:4422', '[::1]:4422'])
    expect(refusedBy(admission, host, undefined), host).toBeUndefined();
  for (const host of [
    undefined,
    '',
    'localhost',
    'localhost:4423',
    'evil.example:4422',
    'evil.example',
    '127.0.0.1.evil.example:4422',
    'localhost:4422:4422',
    'localhost:4422@evil.example',
    ' localhost:4422',
    '127.0.0.2:4422',
  ])
    expect(refusedBy(admission, host, undefined), host).toContain('--allow-host');
});

test('an origin is one of ours, or named', () => {
  const admission = admissionOf('localhost', 4422, ['mcp.example.com'], ['https://app.example.com'], false);
  for (const origin of [undefined, 'http://localhost:4422', 'HTTP://127.0.0.1:4422', 'https://app.example.com', 'http://mcp.example.com'])
    expect(refusedBy(admission, 'localhost:4422', origin), origin).toBeUndefined();
  for (const origin of [
    'null',
    '',
    'https://localhost:4422',
    'http://localhost',
    'http://localhost:4423',
    'https://app.example.com.evil.example',
    'https://app.example.com:8443',
  ])
    expect(refusedBy(admission, 'localhost:4422', origin), origin).toContain('--allow-origin');
});

test('an allowed host without a port is served at every port, one with a port at this one', () => {
  const admission = admissionOf('0.0.0.0', 4422, ['mcp.example.com', 'Other.example:8443'], [], true);
  for (const host of ['mcp.example.com', 'mcp.example.com:1', 'other.example:8443', '0.0.0.0:4422'])
    expect(refusedBy(admission, host, undefined), host).toBeUndefined();
  for (const host of ['other.example', 'other.example:4422', 'x.mcp.example.com']) expect(refusedBy(admission, host, undefined), host).toBeDefined();
});

test('the usual port need not be said', () => {
  expect(refusedBy(admissionOf('127.0.0.1', 80, [], [], false), 'localhost', 'http://localhost')).toBeUndefined();
  expect(refusedBy(admissionOf('127.0.0.1', 443, [], [], true), 'localhost', 'https://localhost')).toBeUndefined();
  expect(refusedBy(admissionOf('127.0.0.1', 443, [], [], false), 'localhost', undefined)).toBeDefined();
});

test('loopback is a name and two ranges', () => {
  expect(['localhost', '::1', '127.0.0.1', '127.9.9.9'].every(isLoopback)).toBe(true);
  expect(['127.0.0.1.example', '0.0.0.0', '::', '128.0.0.1', 'localhost.example'].some(isLoopback)).toBe(false);
  expect(refusedBy(admissionOf('127.1.2.3', 1, [], [], false), '127.1.2.3:1', undefined)).toBeUndefined();
});
