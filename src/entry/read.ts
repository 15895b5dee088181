/**
 * The strict reader of a stored leaf (`spec/entry.md`). It parses what is there and never serialises it again.
 * Fields that this version does not know are allowed and ignored; fields that it knows must have the right type wherever they stand.
 */
import { utf8Text } from '../bytes/bytes.ts';
import { accessRanges, entryBytes, jsonDepth, tileWidth } from '../limits.ts';
import { approvalDecisions, approvalHows, kinds, type Entry, type Kind } from './entry.ts';

/** Why a leaf is not an entry. `unsupported` means another version or kind: a newer sworn may read it; everything else is simply wrong. */
export type EntryProblemCode = 'too-large' | 'not-utf8' | 'not-json' | 'not-object' | 'duplicate-key' | 'too-deep' | 'unsupported' | 'field';

/** A class, so that `instanceof` tells it from an entry, which may have any unknown field. */
export class EntryProblem {
  readonly problem: EntryProblemCode;
  readonly message: string;

  constructor(problem: EntryProblemCode, message: string) {
    this.problem = problem;
    this.message = message;
  }
}

type Check = (value: unknown) => boolean;
/** By name; a name that ends with `?` may be absent. */
type Fields = Readonly<Record<string, Check>>;

const listed = (fields: Fields): { name: string; required: boolean; check: Check }[] =>
  Object.entries(fields).map(([name, check]) =>
    name.endsWith('?') ? { name: name.slice(0, -1), required: false, check } : { name, required: true, check },
  );

const text: Check = (value) => typeof value === 'string';
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const positive: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 1;
const integer: Check = Number.isSafeInteger;
const yes: Check = (value) => value === true;
const oneOf = (...allowed: string[]): Check => {
  const set = new Set<unknown>(allowed);
  return (value) => set.has(value);
};
const matches = (pattern: RegExp): Check => {
  return (value) => typeof value === 'string' && pattern.test(value);
};
const time = matches(/^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)\.[0-9]{6}Z$/);
const isBase64 = new Uint8Array(128);
for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/') isBase64[character.charCodeAt(0)] = 1;
/** 32 bytes in standard base64; the bits that padding drops are zero. By hand: as a pattern it took a quarter of all that looks at fields. */
const digest64: Check = (value) => {
  if (typeof value !== 'string' || value.length !== 44 || !'AEIMQUYcgkosw048'.includes(value[42]!) || value[43] !== '=') return false;
  for (let i = 0; i < 42; i++) if (isBase64[value.charCodeAt(i)] !== 1) return false;
  return true;
};
const hex12 = matches(/^[0-9a-f]{12}$/);
const hex16 = matches(/^[0-9a-f]{16}$/);
const hex32 = matches(/^[0-9a-f]{32}$/);
const hex64 = matches(/^[0-9a-f]{64}$/);
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const object = (fields: Fields): Check => {
  const all = listed(fields);
  return (value) => isObject(value) && all.every(({ name, required, check }) => (value[name] === undefined ? !required : check(value[name])));
};
const labels: Check = (value) => isObject(value) && Object.values(value).every(text);
const counts: Check = (value) => isObject(value) && Object.values(value).every(count);
const texts: Check = (value) => Array.isArray(value) && value.every(text);
const pair: Check = (value) => Array.isArray(value) && value.length === 2 && value.every(count);
const range: Check = (value) => pair(value) && (value as number[])[0]! <= (value as number[])[1]!;

const listOf = (fields: Fields): Check => {
  const check = object(fields);
  return (value) => Array.isArray(value) && value.every(check);
};
const continues = object({ origin: text, size: count, root: digest64 });
const custody = oneOf('same-user', 'separate-user', 'remote', 'in-process');

/** Positions of items, ascending, or all of them. */
const positions: Check = (value) =>
  value === 'all' ||
  (Array.isArray(value) && value.length > 0 && value.every((one, i, all) => count(one) && (i === 0 || (all[i - 1] as number) < one)));
const targetFields = object({ index: count, 'to?': count, 'attributes?': positions, 'segments?': positions });
const target: Check = (value) =>
  targetFields(value) && ((value as { to?: number }).to ?? Number.MAX_SAFE_INTEGER) >= (value as { index: number }).index;
/** Ranges that are not empty, ascending and apart. */
const ranges: Check = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((one, i, all) => pair(one) && one[0] < one[1] && (i === 0 || (all[i - 1] as number[])[1]! <= one[0]));
/** Ranges `[first, last]` of entries, ascending and apart. */
const opened: Check = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.length <= accessRanges &&
  value.every((one, i, all) => pair(one) && one[0] <= one[1] && (i === 0 || (all[i - 1] as number[])[1]! < one[0]));
const rest = object({ index: count, segment: count, ranges: ranges });

const direction = oneOf('c2s', 's2c');
const perDirection = object({ c2s: count, s2c: count });

const common: Fields = {
  time: time,
  monotonicUs: count,
  'attributes?': positive,
  'attributesCommitment?': digest64,
  'truncated?': texts,
};

const frame: Fields = {
  ...common,
  connection: hex32,
  stream: count,
  seq: positive,
  tapSeq: count,
  direction: direction,
  transport: text,
  'who?': count,
  'session?': count,
  'http?': object({
    'method?': text,
    'status?': count,
    'encoding?': text,
    'end?': text,
    'undelivered?': pair,
    'delivered?': pair,
    'rewritten?': yes,
    'own?': yes,
  }),
  server: text,
  verdict: oneOf('pass', 'block', 'flag', 'ask'),
  'rule?': text,
  'reason?': text,
  'shadow?': yes,
  'problem?': text,
  'retryAfterMs?': count,
  'capture?': oneOf('none', 'metadata', 'request', 'full'),
  'redacted?': counts,
  'uncaptured?': pair,
  origin: oneOf('client', 'server', 'sworn'),
  'anomalies?': texts,
  sizeBytes: count,
  'segments?': positive,
  'commitment?': digest64,
  'parts?': positive,
  'delivered?': pair,
};

const reserved: Fields = common;

/** Who asked for it, when somebody did. */
const by: Fields = { 'by?': object({ uid: integer, pid: count }) };
const asked: Fields = { ...by, 'selfAdministered?': yes };

const fieldsOf: Record<Kind, Fields> = {
  start: {
    ...common,
    ledger: hex32,
    origin: text,
    vkey: text,
    recorder: object({ version: text, uid: integer, pid: count }),
    'bootId?': text,
    'continues?': continues,
  },
  stop: { ...common, reason: text, ...asked },
  open: {
    ...common,
    connection: hex32,
    transport: text,
    server: text,
    'client?': text,
    mode: oneOf('commit', 'observe'),
    onUnrecordable: oneOf('block', 'pass'),
    custody: custody,
    tap: object({ 'uid?': integer, 'pid?': count, 'startTime?': text, source: text }),
    'process?': object({ pid: count, 'startTime?': text }),
    'executableDigest?': hex64,
    'policyDigest?': hex64,
    'tokenDigest?': hex64,
    'labels?': labels,
  },
  principal: {
    ...common,
    connection: hex32,
    source: oneOf('observed', 'verified', 'declared'),
    'uid?': integer,
    'pid?': count,
    'reportedBy?': oneOf('proxy'),
    'method?': oneOf('jwt', 'client-certificate', 'api-key'),
    'failure?': text,
    'unbelieved?': yes,
  },
  message: {
    ...frame,
    type: oneOf('request', 'notification', 'result', 'error', 'opaque', 'http'),
    'id?': text,
    'method?': text,
    'target?': text,
    'era?': oneOf('legacy', 'modern'),
    'protocolVersion?': text,
    'exchange?': count,
    'call?': count,
    'taskStatus?': text,
    'repeats?': count,
    'effect?': oneOf('read', 'write', 'unknown'),
    'effectSource?': oneOf('override', 'annotation', 'default'),
    'sensitive?': yes,
    'destructive?': yes,
    'outcome?': oneOf('ok', 'error', 'toolError'),
    'code?': (value) => typeof value === 'number',
    'durationUs?': count,
    'resultType?': text,
    'batch?': count,
    'item?': count,
    'range?': range,
  },
  batch: { ...frame, items: count },
  close: {
    ...common,
    connection: hex32,
    reason: text,
    'exitCode?': integer,
    'signal?': text,
    'frames?': perDirection,
    'delivered?': pair,
    'uncaptured?': pair,
    'executableDigest?': hex64,
  },
  recovery: {
    ...common,
    reason: text,
    'cutBytes?': count,
    'backUs?': count,
    'connection?': hex32,
    'receipt?': object({ index: count, hash: text }),
  },
  gap: { ...common, connection: hex32, reason: text, lost: perDirection, 'from?': time, 'until?': time },
  policy: {
    ...common,
    act: oneOf('load', 'rejected', 'freeze', 'unfreeze', 'hold', 'release', 'pin', 'drift', 'accept', 'limited'),
    'digest?': hex64,
    'previous?': hex64,
    'rules?': count,
    'pins?': hex64,
    'tool?': text,
    'transport?': oneOf('stdio', 'http'),
    'definition?': hex64,
    'also?': yes,
    'source?': oneOf('list', 'file', 'accept'),
    'change?': oneOf('changed', 'new', 'gone'),
    'connection?': hex32,
    'freeze?': count,
    'hold?': count,
    'server?': text,
    'client?': text,
    'principal?': text,
    'session?': text,
    'all?': yes,
    'rule?': text,
    'count?': positive,
    'reason?': text,
    'since?': time,
    'until?': time,
    ...asked,
  },
  key: {
    ...common,
    act: oneOf('rotate', 'retire'),
    vkey: text,
    'previous?': text,
    'endorsement?': text,
    'holder?': text,
    ...asked,
  },
  anchor: {
    ...common,
    source: oneOf('witness', 'timestamp'),
    name: text,
    size: count,
    root: digest64,
    'signature?': text,
    'signedAtS?': count,
    'problem?': oneOf('ahead', 'fork'),
  },
  erasure: {
    ...common,
    scope: text,
    'fields?': yes,
    targets: (value) => Array.isArray(value) && value.length > 0 && value.every(target),
    'unfinished?': (value) => Array.isArray(value) && value.every(hex32),
    'rest?': (value) => Array.isArray(value) && value.every(rest),
    'sizeBytes?': count,
    'segments?': positive,
    'commitment?': digest64,
    'policyDigest?': hex64,
    ...asked,
  },
  prune: {
    ...common,
    end: (value) => positive(value) && (value as number) % tileWidth === 0,
    'ageMs?': positive,
    'before?': time,
    vkey: text,
    keys: listOf({ index: count, previous: text, vkey: text, endorsement: text }),
    'continues?': continues,
    connections: listOf({ connection: hex32, index: count, mode: oneOf('commit', 'observe'), custody: custody }),
    'policyDigest?': hex64,
    ...asked,
  },
  approval: {
    ...common,
    connection: hex32,
    request: count,
    rule: text,
    decision: oneOf(...approvalDecisions),
    commitment: digest64,
    waitedMs: count,
    how: oneOf(...approvalHows),
    'viewer?': hex16,
    ...by,
    'selfApproved?': yes,
  },
  access: {
    ...common,
    act: oneOf('open', 'acknowledge'),
    how: oneOf('dashboard', 'api', 'command'),
    'viewer?': hex16,
    'opened?': opened,
    'count?': positive,
    'from?': time,
    'finding?': hex12,
    'rule?': text,
    ...asked,
  },
  seal: reserved,
};

const knownKinds = new Set<unknown>(kinds);

/** The same fields by name. Most entries have half of those of their kind: it is quicker to look for a field's check than for a check's field. */
interface Checks {
  byName: Map<string, { required: boolean; check: Check }>;
  required: number;
}

const checksOf = Object.fromEntries(
  kinds.map((kind): [Kind, Checks] => [
    kind,
    {
      byName: new Map(listed(fieldsOf[kind]).map((field) => [field.name, field])),
      required: listed(fieldsOf[kind]).filter(({ required }) => required).length,
    },
  ]),
) as Record<Kind, Checks>;

/** Whether each field is of its type, and none is missing. What is wrong is looked for by whoever asked. */
function fits(value: Record<string, unknown>, { byName, required }: Checks): boolean {
  let found = 0;
  for (const name in value) {
    const field = byName.get(name);
    if (field === undefined) continue;
    if (!field.check(value[name])) return false;
    if (field.required) found++;
  }
  return found === required;
}

/**
 * The entry in a leaf's bytes, or why it is none (`spec/entry.md`): at most 65,535 bytes of valid UTF-8, one JSON object on one line without
 * a line end, no key twice at any depth, `v` 1, a known kind, the fields of that kind with their types. Never throws.
 */
export function readEntry(bytes: Uint8Array): Entry | EntryProblem {
  if (bytes.length > entryBytes) return new EntryProblem('too-large', `${bytes.length} bytes; an entry has at most ${entryBytes}`);
  if (bytes[0] !== 0x7b || bytes[bytes.length - 1] !== 0x7d) return new EntryProblem('not-object', 'not a JSON object without anything around it');
  const whole = utf8Text(bytes);
  if (whole === undefined) return new EntryProblem('not-utf8', 'not valid UTF-8');
  let value: unknown;
  try {
    value = JSON.parse(whole);
  } catch {
    return new EntryProblem('not-json', 'not JSON');
  }
  if (!isObject(value)) return new EntryProblem('not-object', 'not a JSON object');
  if (whole.includes('\n') || whole.includes('\r')) return new EntryProblem('not-json', 'more than one line');
  const kept = keysKept(value, 0);
  if (kept < 0) return new EntryProblem('too-deep', `nested deeper than ${jsonDepth}`);
  // The parser keeps one of several equal keys, so it kept fewer than were written exactly when a key stands twice.
  if (kept !== mostKeys(whole) && kept !== countKeys(bytes)) return new EntryProblem('duplicate-key', 'a key stands twice in one object');
  if (value.v !== 1) return new EntryProblem('unsupported', 'not of version 1');
  if (!knownKinds.has(value.kind)) return new EntryProblem('unsupported', 'of no kind that this version knows');
  const kind = value.kind as Kind;
  if (!fits(value, checksOf[kind])) {
    for (const { name, required, check } of listed(fieldsOf[kind])) {
      const field = value[name];
      if (field === undefined ? required : !check(field)) {
        return new EntryProblem('field', field === undefined ? `${kind} without ${name}` : `${kind} with a wrong ${name}`);
      }
    }
  }
  const wrong = together(value);
  return wrong === undefined ? (value as unknown as Entry) : new EntryProblem('field', `${kind} with ${wrong}`);
}

/** Fields that must stand together or not at all. */
function together(value: Record<string, unknown>): string | undefined {
  if ((value.attributes === undefined) !== (value.attributesCommitment === undefined)) return 'attributes and attributesCommitment not together';
  if (value.kind === 'erasure') {
    const stored = value.rest === undefined ? 0 : (value.rest as unknown[]).length;
    if ((value.segments ?? 0) !== stored) return 'another number of segments than of rests';
    if ((value.commitment === undefined) !== (stored === 0) || (value.sizeBytes === undefined) !== (stored === 0))
      return 'rest, sizeBytes and commitment not together';
    return undefined;
  }
  if (value.kind === 'policy') {
    const isLimited = value.act === 'limited';
    for (const name of ['rule', 'count']) if ((value[name] !== undefined) !== isLimited) return `${name} not together with the act limited`;
    if (isLimited && ['connection', 'since', 'until'].some((name) => value[name] === undefined))
      return 'limited, but without connection, since or until';
    const isPin = value.act === 'pin' || value.act === 'drift' || value.act === 'accept';
    if (!isPin) return undefined;
    if (value.server === undefined || value.tool === undefined || value.transport === undefined)
      return 'the act of a tool, but without it or its server';
    if ((value.definition === undefined) !== (value.change === 'gone')) return 'a definition of a tool that is gone, or none of one that is not';
    return (value.act === 'drift') === (value.change !== undefined) && (value.act === 'pin') === (value.source !== undefined)
      ? undefined
      : 'a change not together with the act drift, or a source with pin';
  }
  if (value.kind === 'access') {
    const isOpen = value.act === 'open';
    if ((value.opened !== undefined) !== isOpen || (value.count !== undefined) !== isOpen || (value.from !== undefined) !== isOpen)
      return 'opened, count and from not together with the act open';
    return (value.finding === undefined) === isOpen ? undefined : 'a finding not together with the act acknowledge';
  }
  if (value.kind === 'approval') {
    // nobody but a person approves or denies, and a person does nothing else
    const isPersons = value.decision === 'approved' || value.decision === 'denied';
    if ((value.how !== 'recorder') !== isPersons) return 'a decision and a how that do not go together';
    return isPersons || (value.by === undefined && value.viewer === undefined && value.selfApproved === undefined)
      ? undefined
      : 'a person, but no decision of one';
  }
  if (value.kind !== 'message' && value.kind !== 'batch') return undefined;
  if (value.verdict === 'ask' && (value.kind === 'batch' || value.type !== 'request')) return 'the verdict ask, but no request';
  const isItem = value.kind === 'message' && value.batch !== undefined;
  if (isItem) {
    if (value.item === undefined || value.range === undefined) return 'batch, but without item or range';
    if (value.commitment !== undefined || value.segments !== undefined) return 'a commitment of its own in a batch';
    return undefined;
  }
  if (value.item !== undefined || value.range !== undefined) return 'item or range, but without batch';
  if (value.segments === undefined || value.commitment === undefined) return 'no commitment';
  if (value.parts !== undefined && (value.parts as number) > (value.tapSeq as number)) return 'more parts than units';
  return undefined;
}

/** At least as many as there are keys in valid JSON, and mostly just as many: colons behind a quote or white space. Twice as fast as counting what stands outside strings. */
function mostKeys(json: string): number {
  let keys = 0;
  for (let at = json.indexOf(':'); at >= 0; at = json.indexOf(':', at + 1)) {
    const before = json.charCodeAt(at - 1);
    if (before === 0x22 || before <= 0x20) keys++;
  }
  return keys;
}

/** Keys written in `bytes`, which are valid JSON: each has one colon outside strings. */
function countKeys(bytes: Uint8Array): number {
  let keys = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 0x22) {
      for (i++; bytes[i] !== 0x22; i++) if (bytes[i] === 0x5c) i++;
    } else if (byte === 0x3a) {
      keys++;
    }
  }
  return keys;
}

/** Keys in a parsed value, at any depth; -1 when it is nested too deep. */
function keysKept(value: object, depth: number): number {
  if (depth > jsonDepth) return -1;
  // not `for … in`: it is three times as slow, and every entry that is read comes through here
  const inners = Object.values(value) as unknown[];
  let keys = Array.isArray(value) ? 0 : inners.length;
  for (const inner of inners) {
    if (typeof inner === 'object' && inner !== null) {
      const below = keysKept(inner, depth + 1);
      if (below < 0) return -1;
      keys += below;
    }
  }
  return keys;
}
