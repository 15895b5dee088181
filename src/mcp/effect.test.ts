import { expect, test } from 'vitest';
import { utf8 } from '../bytes/bytes.ts';
import { toolsCount } from '../limits.ts';
import { effectOf, readToolDefinitions, splitOverrides, Tools } from './effect.ts';

const tools = new Tools();
tools.add(
  readToolDefinitions(
    utf8(
      JSON.stringify({
        result: {
          tools: [
            { name: 'look', annotations: { readOnlyHint: true } },
            { name: 'change', annotations: { readOnlyHint: false, destructiveHint: false } },
            { name: 'drop', annotations: { destructiveHint: true } },
            { name: 'bare' },
            { name: 'liar', annotations: { readOnlyHint: 'true' } },
            5,
            null,
            { name: 7 },
          ],
        },
      }),
    ),
  ),
);
const none = splitOverrides({});
const call = (value: string) => ({ method: 'tools/call', target: { kind: 'tool' as const, value } });

test('annotations', () => {
  expect(tools.size).toBe(5);
  expect(effectOf(call('look'), tools, none)).toEqual({ effect: 'read', effectSource: 'annotation', untrusted: true });
  expect(effectOf(call('change'), tools, none)).toEqual({ effect: 'write', effectSource: 'annotation', untrusted: true });
  for (const name of ['drop', 'bare', 'liar']) {
    expect(effectOf(call(name), tools, none)).toEqual({ effect: 'write', effectSource: 'annotation', destructive: true, untrusted: true });
  }
  expect(effectOf(call('unlisted'), tools, none)).toEqual({ effect: 'unknown', effectSource: 'default', untrusted: true });
  expect(effectOf({ method: 'tools/call' }, tools, none)).toEqual({ effect: 'unknown', effectSource: 'default', untrusted: true });
});

test('overrides', () => {
  const overrides = splitOverrides({ sensitive: ['l*,file:*'], write: ['look'], read: ['*'] });
  expect(effectOf(call('look'), tools, overrides)).toEqual({ effect: 'write', effectSource: 'override', sensitive: true, untrusted: true });
  expect(effectOf(call('drop'), tools, overrides)).toEqual({ effect: 'read', effectSource: 'override', untrusted: true });
  expect(effectOf({ method: 'resources/read', target: { kind: 'resource', value: 'file:///x' } }, tools, overrides)).toEqual({
    effect: 'read',
    effectSource: 'default',
    sensitive: true,
  });
});

test('what the operator says goes first, field by field; a closed world is trusted', () => {
  const known = new Tools();
  known.add([{ name: 'closed', readOnlyHint: true, openWorldHint: false }]);
  expect(effectOf(call('closed'), known, none)).toEqual({ effect: 'read', effectSource: 'annotation' });
  expect(effectOf(call('closed'), known, none, { effect: 'write', sensitive: true, destructive: true, untrusted: true })).toEqual({
    effect: 'write',
    effectSource: 'override',
    sensitive: true,
    destructive: true,
    untrusted: true,
  });
  const overrides = splitOverrides({ sensitive: ['*'], write: ['*'] });
  expect(effectOf(call('drop'), tools, overrides, { effect: 'read', sensitive: false, destructive: false, untrusted: false })).toEqual({
    effect: 'read',
    effectSource: 'override',
  });
});

test('methods', () => {
  expect(effectOf({ method: 'tasks/cancel' }, tools, none).effect).toBe('write');
  expect(effectOf({ method: 'initialize' }, tools, none).effect).toBe('read');
  expect(effectOf({ method: 'sampling/createMessage' }, tools, none).effect).toBe('unknown');
  expect(effectOf({ method: 'constructor' }, tools, none).effect).toBe('unknown');
});

test('garbage has no definitions, and lists are bounded', () => {
  for (const text of ['', 'null', '[]', '{"result":null}', '{"result":{"tools":{}}}', '{"result":{"tools":[[]]}}']) {
    expect(readToolDefinitions(utf8(text))).toEqual([]);
  }
  const many = new Tools();
  many.add(Array.from({ length: toolsCount + 5 }, (_, i) => ({ name: `t${i}` })));
  expect(many.size).toBe(toolsCount);
  expect(Tools.from(JSON.parse(JSON.stringify(tools))).toJSON()).toEqual(tools.toJSON());
  expect(Tools.from('x').size).toBe(0);
});

test('the names of remembered tools are bounded together, also when they come back from JSON', () => {
  const tools = new Tools();
  for (let i = 0; i < 100; i++) tools.add([{ name: `${i}${'x'.repeat(60_000)}`, readOnlyHint: true }]);
  expect(tools.size).toBe(17);
  tools.add([{ name: `0${'x'.repeat(60_000)}`, readOnlyHint: false }]);
  expect(tools.get(`0${'x'.repeat(60_000)}`)).toMatchObject({ readOnlyHint: false });
  expect(Tools.from(JSON.parse(JSON.stringify(tools))).size).toBe(17);
});
