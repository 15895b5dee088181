/**
 * What two readers could understand differently. A rule sees what a strict reader of JSON sees; where another one could see something else, the message is
 * refused while anything can be refused. The scanner's anomalies come with the message; what it does not look for is looked for here.
 */
import { utf8Text } from '../bytes/bytes.ts';
import type { Anomaly } from '../mcp/message.ts';
import type { Judged } from './match.ts';
import { lookOf } from './look-alike.ts';

const ambiguous: ReadonlySet<Anomaly> = new Set<Anomaly>([
  'not-json',
  'not-jsonrpc',
  'invalid-utf8',
  'duplicate-key',
  'case-variant-key',
  'too-deep',
  'nul-byte',
  'id-not-scalar',
  // an answer could be taken for that to the other one
  'id-reused',
  'too-many-items',
  // a server that believes it reads another text
  'other-charset',
]);

/** Why a message is ambiguous, in words, or `undefined`. */
export function ambiguityOf(message: Pick<Judged, 'type' | 'anomalies' | 'bytes' | 'isCut' | 'method'>): string | undefined {
  const { type, anomalies, bytes, isCut, method } = message;
  if (type === 'opaque' && bytes !== undefined && isBlank(bytes)) return undefined;
  let found: string[] = anomalies.filter((anomaly) => ambiguous.has(anomaly));
  if (found.length === 1 && found[0] === 'not-jsonrpc' && (type === 'result' || type === 'error') && bytes !== undefined && hasNullBeside(bytes))
    found = [];
  if (isCut === true) found.push('long-name');
  if (method !== undefined && looksLikeOther(method)) found.push('look-alike-method');
  if (found.length === 0 && bytes !== undefined) found.push(...hidden(bytes));
  return found.length === 0 ? undefined : `two readers could understand it differently: ${found.join(', ')}`;
}

/** Space, tab and carriage return: readers skip such a line, or say that it is no message. None can take it for one. */
function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

/**
 * `"error": null` beside a result, or `"result": null` beside an error: older libraries of JSON-RPC always write both. A reader takes what is there, or the whole for no
 * message, but nobody takes the null for the answer. Called where nothing else is wrong: what is there can be read, and each member is there once.
 */
function hasNullBeside(bytes: Uint8Array): boolean {
  const message = JSON.parse(utf8Text(bytes)!) as Record<string, unknown>;
  const { jsonrpc, result, error } = message;
  if (jsonrpc !== '2.0' || Object.hasOwn(message, 'method')) return false;
  return result === null ? isObject(error) : error === null && result !== undefined;
}

const carriageReturn = 0x0d;
const backslash = 0x5c;
/** First bytes of ſ and of the Kelvin sign. */
const oddLeads = [0xc5, 0xe2];
/** ſ and the Kelvin sign: in Go, and wherever case is folded as Unicode says, `paramſ` is `params`. */
const oddCase = /\u017f|\u212a|\\u017f|\\u212a/i;

function hidden(bytes: Uint8Array): string[] {
  const found: string[] = [];
  // A line ends there for Python's text streams and for Node's readline: they would read what stands between two as a message of its own.
  const at = bytes.indexOf(carriageReturn);
  if (at >= 0 && at < bytes.length - 1) found.push('carriage-return');
  const mayBeOdd = bytes.includes(backslash) || oddLeads.some((lead) => bytes.includes(lead));
  const mayHide = bytes.length > scannedKeyBytes || (bytes.length > memberBytes * scannedKeys && mayHaveKeys(bytes));
  if (!mayBeOdd && !mayHide) return found;
  const text = utf8Text(bytes) ?? '';
  const isOdd = mayBeOdd && oddCase.test(text);
  if (!isOdd && !mayHide) return found;
  const document = JSON.parse(text) as unknown;
  if (isOdd && hasOddKey(document)) found.push('case-variant-key');
  if (mayHide && hasHiddenKey(document, text)) found.push('duplicate-key');
  return found;
}

/** Methods that rules treat as what they are: a server that folds case would take another spelling for them. */
const treated = new Set([
  'tools/call',
  'prompts/get',
  'resources/read',
  'initialize',
  'server/discover',
  'ping',
  'notifications/initialized',
  'notifications/cancelled',
]);

function looksLikeOther(method: string): boolean {
  return !treated.has(method) && treated.has(lookOf(method));
}

const protocolKeys: readonly ReadonlySet<string>[] = [
  new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error']),
  new Set(['name', 'uri', 'arguments', '_meta', 'requestid', 'protocolversion']),
];

/** A member of the message, or of its parameters, that is one of the protocol's for a reader that folds case as Unicode says. */
function hasOddKey(document: unknown): boolean {
  const params = isObject(document) ? document['params'] : undefined;
  return [document, params].some(
    (members, level) =>
      isObject(members) &&
      Object.keys(members).some((key) => /[\u017f\u212a]/.test(key) && protocolKeys[level]!.has(key.replaceAll('\u017f', 's').toLowerCase())),
  );
}

/** The scanner compares so many keys with each other, and so many bytes of keys: behind them a second member of the same name could hide. */
const scannedKeys = 16_384;
const scannedKeyBytes = 1 << 20;
const colon = 0x3a;

/** A member's two quotes and colon, the bracket or comma before it, and the last byte of its value: no two members share any of them. */
const memberBytes = 5;

function mayHaveKeys(bytes: Uint8Array): boolean {
  let colons = 0;
  for (let at = bytes.indexOf(colon); at >= 0; at = bytes.indexOf(colon, at + 1)) {
    if (++colons > scannedKeys) return true;
    // behind it there is no room for as many: this one may stand in the name of one more
    if (colons + 1 + (bytes.length - at) / memberBytes <= scannedKeys) return false;
  }
  return false;
}

/** The text names more members than the document has, or two that differ only in case. */
function hasHiddenKey(document: unknown, text: string): boolean {
  let named = 0;
  for (const [, isKey] of text.matchAll(/"(?:[^"\\]|\\.)*"([ \t\r]*:)?/g)) if (isKey !== undefined) named++;
  let members = 0;
  let isVariant = false;
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(walk);
    else if (isObject(value)) {
      const keys = Object.keys(value);
      members += keys.length;
      if (new Set(keys.map((key) => key.toLowerCase())).size < keys.length) isVariant = true;
      for (const key of keys) walk(value[key]);
    }
  };
  walk(document);
  return isVariant || named > members;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
