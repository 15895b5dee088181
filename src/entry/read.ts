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
type Fields = readonly (readonly [name: string, required: boolean, check: Check])[];

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
const object =
  (fields: Fields): Check =>
  (value) =>
    isObject(value) && fields.every(([name, required, check]) => (value[name] === undefined ? !required : check(value[name])));
const labels: Check = (value) => isObject(value) && Object.values(value).every(text);
const counts: Check = (value) => isObject(value) && Object.values(value).every(count);
const texts: Check = (value) => Array.isArray(value) && value.every(text);
const pair: Check = (value) => Array.isArray(value) && value.length === 2 && value.every(count);
const range: Check = (value) => pair(value) && (value as number[])[0]! <= (value as number[])[1]!;

const listOf = (fields: Fields): Check => {
  const check = object(fields);
  return (value) => Array.isArray(value) && value.every(check);
};
const continues = object([
  ['origin', true, text],
  ['size', true, count],
  ['root', true, digest64],
]);
const custody = oneOf('same-user', 'separate-user', 'remote', 'in-process');

/** Positions of items, ascending, or all of them. */
const positions: Check = (value) =>
  value === 'all' ||
  (Array.isArray(value) && value.length > 0 && value.every((one, i, all) => count(one) && (i === 0 || (all[i - 1] as number) < one)));
const target: Check = (value) =>
  object([
    ['index', true, count],
    ['to', false, count],
    ['attributes', false, positions],
    ['segments', false, positions],
  ])(value) && ((value as { to?: number }).to ?? Number.MAX_SAFE_INTEGER) >= (value as { index: number }).index;
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
const rest = object([
  ['index', true, count],
  ['segment', true, count],
  ['ranges', true, ranges],
]);

const direction = oneOf('c2s', 's2c');
const perDirection = object([
  ['c2s', true, count],
  ['s2c', true, count],
]);

const common: Fields = [
  ['time', true, time],
  ['monotonicUs', true, count],
  ['attributes', false, positive],
  ['attributesCommitment', false, digest64],
  ['truncated', false, texts],
];

const frame: Fields = [
  ...common,
  ['connection', true, hex32],
  ['stream', true, count],
  ['seq', true, positive],
  ['tapSeq', true, count],
  ['direction', true, direction],
  ['transport', true, text],
  ['who', false, count],
  ['session', false, count],
  [
    'http',
    false,
    object([
      ['method', false, text],
      ['status', false, count],
      ['encoding', false, text],
      ['end', false, text],
      ['undelivered', false, pair],
      ['delivered', false, pair],
      ['rewritten', false, yes],
      ['own', false, yes],
    ]),
  ],
  ['server', true, text],
  ['verdict', true, oneOf('pass', 'block', 'flag', 'ask')],
  ['rule', false, text],
  ['reason', false, text],
  ['shadow', false, yes],
  ['problem', false, text],
  ['retryAfterMs', false, count],
  ['capture', false, oneOf('none', 'metadata', 'request', 'full')],
  ['redacted', false, counts],
  ['uncaptured', false, pair],
  ['origin', true, oneOf('client', 'server', 'sworn')],
  ['anomalies', false, texts],
  ['sizeBytes', true, count],
  ['segments', false, positive],
  ['commitment', false, digest64],
  ['parts', false, positive],
  ['delivered', false, pair],
];

const reserved: Fields = common;

/** Who asked for it, when somebody did. */
const by: Fields[number] = [
  'by',
  false,
  object([
    ['uid', true, integer],
    ['pid', true, count],
  ]),
];
const asked: Fields = [by, ['selfAdministered', false, yes]];

const fieldsOf: Record<Kind, Fields> = {
  start: [
    ...common,
    ['ledger', true, hex32],
    ['origin', true, text],
    ['vkey', true, text],
    [
      'recorder',
      true,
      object([
        ['version', true, text],
        ['uid', true, integer],
        ['pid', true, count],
      ]),
    ],
    ['bootId', false, text],
    ['continues', false, continues],
  ],
  stop: [...common, ['reason', true, text], ...asked],
  open: [
    ...common,
    ['connection', true, hex32],
    ['transport', true, text],
    ['server', true, text],
    ['client', false, text],
    ['mode', true, oneOf('commit', 'observe')],
    ['onUnrecordable', true, oneOf('block', 'pass')],
    ['custody', true, custody],
    [
      'tap',
      true,
      object([
        ['uid', false, integer],
        ['pid', false, count],
        ['startTime', false, text],
        ['source', true, text],
      ]),
    ],
    [
      'process',
      false,
      object([
        ['pid', true, count],
        ['startTime', false, text],
      ]),
    ],
    ['executableDigest', false, hex64],
    ['policyDigest', false, hex64],
    ['tokenDigest', false, hex64],
    ['labels', false, labels],
  ],
  principal: [
    ...common,
    ['connection', true, hex32],
    ['source', true, oneOf('observed', 'verified', 'declared')],
    ['uid', false, integer],
    ['pid', false, count],
    ['reportedBy', false, oneOf('proxy')],
    ['method', false, oneOf('jwt', 'client-certificate', 'api-key')],
    ['failure', false, text],
    ['unbelieved', false, yes],
  ],
  message: [
    ...frame,
    ['type', true, oneOf('request', 'notification', 'result', 'error', 'opaque', 'http')],
    ['id', false, text],
    ['method', false, text],
    ['target', false, text],
    ['era', false, oneOf('legacy', 'modern')],
    ['protocolVersion', false, text],
    ['exchange', false, count],
    ['call', false, count],
    ['taskStatus', false, text],
    ['repeats', false, count],
    ['effect', false, oneOf('read', 'write', 'unknown')],
    ['effectSource', false, oneOf('override', 'annotation', 'default')],
    ['sensitive', false, yes],
    ['destructive', false, yes],
    ['outcome', false, oneOf('ok', 'error', 'toolError')],
    ['code', false, (value) => typeof value === 'number'],
    ['durationUs', false, count],
    ['resultType', false, text],
    ['batch', false, count],
    ['item', false, count],
    ['range', false, range],
  ],
  batch: [...frame, ['items', true, count]],
  close: [
    ...common,
    ['connection', true, hex32],
    ['reason', true, text],
    ['exitCode', false, integer],
    ['signal', false, text],
    ['frames', false, perDirection],
    ['delivered', false, pair],
    ['uncaptured', false, pair],
    ['executableDigest', false, hex64],
  ],
  recovery: [
    ...common,
    ['reason', true, text],
    ['cutBytes', false, count],
    ['backUs', false, count],
    ['connection', false, hex32],
    [
      'receipt',
      false,
      object([
        ['index', true, count],
        ['hash', true, text],
      ]),
    ],
  ],
  gap: [...common, ['connection', true, hex32], ['reason', true, text], ['lost', true, perDirection], ['from', false, time], ['until', false, time]],
  policy: [
    ...common,
    ['act', true, oneOf('load', 'rejected', 'freeze', 'unfreeze', 'hold', 'release', 'pin', 'drift', 'accept', 'limited')],
    ['digest', false, hex64],
    ['previous', false, hex64],
    ['rules', false, count],
    ['pins', false, hex64],
    ['tool', false, text],
    ['transport', false, oneOf('stdio', 'http')],
    ['definition', false, hex64],
    ['also', false, yes],
    ['source', false, oneOf('list', 'file', 'accept')],
    ['change', false, oneOf('changed', 'new', 'gone')],
    ['connection', false, hex32],
    ['freeze', false, count],
    ['hold', false, count],
    ['server', false, text],
    ['client', false, text],
    ['principal', false, text],
    ['session', false, text],
    ['all', false, yes],
    ['rule', false, text],
    ['count', false, positive],
    ['reason', false, text],
    ['since', false, time],
    ['until', false, time],
    ...asked,
  ],
  key: [
    ...common,
    ['act', true, oneOf('rotate', 'retire')],
    ['vkey', true, text],
    ['previous', false, text],
    ['endorsement', false, text],
    ['holder', false, text],
    ...asked,
  ],
  anchor: [
    ...common,
    ['source', true, oneOf('witness', 'timestamp')],
    ['name', true, text],
    ['size', true, count],
    ['root', true, digest64],
    ['signature', false, text],
    ['signedAtS', false, count],
    ['problem', false, oneOf('ahead', 'fork')],
  ],
  erasure: [
    ...common,
    ['scope', true, text],
    ['fields', false, yes],
    ['targets', true, (value) => Array.isArray(value) && value.length > 0 && value.every(target)],
    ['unfinished', false, (value) => Array.isArray(value) && value.every(hex32)],
    ['rest', false, (value) => Array.isArray(value) && value.every(rest)],
    ['sizeBytes', false, count],
    ['segments', false, positive],
    ['commitment', false, digest64],
    ['policyDigest', false, hex64],
    ...asked,
  ],
  prune: [
    ...common,
    ['end', true, (value) => positive(value) && (value as number) % tileWidth === 0],
    ['ageMs', false, positive],
    ['before', false, time],
    ['vkey', true, text],
    [
      'keys',
      true,
      listOf([
        ['index', true, count],
        ['previous', true, text],
        ['vkey', true, text],
        ['endorsement', true, text],
      ]),
    ],
    ['continues', false, continues],
    [
      'connections',
      true,
      listOf([
        ['connection', true, hex32],
        ['index', true, count],
        ['mode', true, oneOf('commit', 'observe')],
        ['custody', true, custody],
      ]),
    ],
    ['policyDigest', false, hex64],
    ...asked,
  ],
  approval: [
    ...common,
    ['connection', true, hex32],
    ['request', true, count],
    ['rule', true, text],
    ['decision', true, oneOf(...approvalDecisions)],
    ['commitment', true, digest64],
    ['waitedMs', true, count],
    ['how', true, oneOf(...approvalHows)],
    ['viewer', false, hex16],
    by,
    ['selfApproved', false, yes],
  ],
  access: [
    ...common,
    ['act', true, oneOf('open', 'acknowledge')],
    ['how', true, oneOf('dashboard', 'api', 'command')],
    ['viewer', false, hex16],
    ['opened', false, opened],
    ['count', false, positive],
    ['from', false, time],
    ['finding', false, hex12],
    ['rule', false, text],
    ...asked,
  ],
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
      byName: new Map(fieldsOf[kind].map(([name, required, check]) => [name, { required, check }])),
      required: fieldsOf[kind].filter(([, required]) => required).length,
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
    for (const [name, required, check] of fieldsOf[kind]) {
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
