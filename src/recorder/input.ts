/**
 * What a peer says of itself, looked at field by field before it becomes an entry: `readEntry` must take every leaf, and a leaf holds nothing that a peer
 * may choose beyond what `spec/entry.md` names. Only known fields are copied.
 */
import type { Closing } from './connection.ts';
import { labelBytes, labelsCount, overridesBytes, pendingApprovalsOfOne, serverNameBytes } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import type { Hello } from '../wire/wire.ts';

type Json = Record<string, unknown>;

/** The largest pid that Linux can give is below 2^22; this is that of its type. */
const highestPid = 2 ** 31 - 1;
/** 9999-12-31T23:59:59.999Z: what RFC 3339 can say. */
const lastMs = 253_402_300_799_999;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const isHash = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
/** Numbers of units: as many as may wait. */
const areUnits = (value: unknown): value is number[] => Array.isArray(value) && value.length <= pendingApprovalsOfOne && value.every(isCount);
const areTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((item) => typeof item === 'string');

/** The sum, as far as a number of JSON can say it. */
export function plus(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}

/** A `hello` whose every field was looked at, or what is wrong with it. */
export function readHello(hello: Json | undefined): Hello | string {
  if (hello === undefined) return 'hello is not a JSON object';
  const {
    wire,
    connection,
    token,
    transport,
    server,
    upstream,
    client,
    mode,
    onUnrecordable,
    argv,
    cwd,
    serverPid,
    ledger,
    config,
    openedAt,
    receipt,
    aside,
  } = hello;
  if (!Array.isArray(wire) || wire.length !== 2 || !wire.every(Number.isSafeInteger)) return 'hello has no wire versions';
  if (typeof connection !== 'string' || !/^[0-9a-f]{32}$/.test(connection)) return 'hello has no connection id of 32 hex digits';
  if (typeof token !== 'string' || !/^[0-9a-f]{32}$/.test(token)) return 'hello has no token of 32 hex digits';
  if (transport !== 'stdio' && transport !== 'http') return 'hello names a transport that this recorder does not know';
  if (typeof server !== 'string' || server === '' || Buffer.byteLength(server) > serverNameBytes) return 'hello has no server name';
  if (client !== undefined && (typeof client !== 'string' || Buffer.byteLength(client) > serverNameBytes))
    return 'hello has a client name that is too long';
  if (upstream !== undefined && typeof upstream !== 'string') return 'hello names an upstream that is no text';
  if (mode !== 'commit' && mode !== 'observe') return 'hello names a mode that this recorder does not know';
  if (onUnrecordable !== 'block' && onUnrecordable !== 'pass') return 'hello has no onUnrecordable';
  if (!areTexts(argv)) return 'hello has no argv';
  if (typeof cwd !== 'string') return 'hello has no cwd';
  if (serverPid !== undefined && (!isCount(serverPid) || serverPid < 1 || serverPid > highestPid)) return 'hello has a serverPid that is no pid';
  if (ledger !== undefined && typeof ledger !== 'string') return 'hello names a ledger that is no path';
  if (config !== undefined && typeof config !== 'string') return 'hello names a configuration that is no path';
  const labels = hello['labels'] ?? {};
  if (!isObject(labels) || Object.keys(labels).length > labelsCount) return 'hello has too many labels';
  for (const [key, value] of Object.entries(labels))
    if (typeof value !== 'string' || Buffer.byteLength(key + value) > labelBytes) return 'hello has a label that is too long';
  const lists = hello['overrides'];
  if (!isObject(lists)) return 'hello has no overrides';
  const { sensitive, write, read } = lists;
  if (!areTexts(sensitive) || !areTexts(write) || !areTexts(read)) return 'hello has no overrides';
  const overrides = { sensitive, write, read };
  if (Buffer.byteLength(JSON.stringify(overrides)) > overridesBytes) return `hello has overrides of more than ${overridesBytes} bytes`;
  if (receipt !== undefined && (!isObject(receipt) || !isCount(receipt['index']) || !isHash(receipt['hash'])))
    return 'hello has a receipt that cannot be read';
  if (aside !== undefined && (!isObject(aside) || !areUnits(aside['c2s']) || !areUnits(aside['s2c'])))
    return 'hello has frames that wait and cannot be read';
  return {
    wire: wire as [number, number],
    connection,
    transport,
    server,
    ...(upstream === undefined ? {} : { upstream }),
    ...(client === undefined ? {} : { client }),
    labels: labels as Record<string, string>,
    argv,
    cwd,
    ...(serverPid === undefined ? {} : { serverPid }),
    mode,
    onUnrecordable,
    overrides,
    ...(ledger === undefined ? {} : { ledger }),
    ...(config === undefined ? {} : { config }),
    openedAt: Number(openedAt),
    token,
    ...(aside === undefined ? {} : { aside: { c2s: aside['c2s'] as number[], s2c: aside['s2c'] as number[] } }),
    ...(receipt === undefined ? {} : { receipt: { index: receipt['index'] as number, hash: receipt['hash'] as string } }),
  };
}

/** What a `close` says; everything in it that cannot be is left out. */
export function readClose(close: Json | undefined): Closing {
  const { reason, exitCode, signal, error, frames, delivered } = close ?? {};
  const isKnown = reason === 'client closed' || reason === 'server exited' || reason === 'signal' || reason === 'spawn failed';
  return {
    reason: isKnown ? reason : 'client closed',
    ...(isCount(exitCode) ? { exitCode } : {}),
    ...(typeof signal === 'string' ? { signal: bounded(signal, 32) } : {}),
    ...(isObject(frames) && isCount(frames['c2s']) && isCount(frames['s2c']) ? { frames: { c2s: frames['c2s'], s2c: frames['s2c'] } } : {}),
    ...(Array.isArray(delivered) && delivered.length === 2 && delivered.every(isCount)
      ? { delivered: [delivered[0] as number, delivered[1] as number] }
      : {}),
    ...(typeof error === 'string' ? { error } : {}),
  };
}

/** What a `lost` says, or nothing without counts. A time that no entry can hold is now. */
export function readLost(lost: Json | undefined, nowUs: number): { c2s: number; s2c: number; fromUs: number; untilUs: number } | undefined {
  const counts = lost?.['lost'];
  if (!isObject(counts) || !isCount(counts['c2s']) || !isCount(counts['s2c'])) return undefined;
  const us = (ms: unknown): number => (typeof ms === 'number' && ms >= 0 && ms <= lastMs ? Math.floor(ms) * 1000 : nowUs);
  return { c2s: counts['c2s'], s2c: counts['s2c'], fromUs: us(lost?.['from']), untilUs: us(lost?.['until']) };
}
