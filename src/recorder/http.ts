/** What HTTP says around a message (`Head` of `spec/wire.md`): looked at field by field, and as an entry says it. */
import { lossyText } from '../bytes/bytes.ts';
import type { Direction, MessageEntry } from '../entry/entry.ts';
import { shortTextBytes } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import { headerText } from '../mcp/headers.ts';
import type { Message } from '../mcp/message.ts';
import type { Redaction } from '../policy/redact.ts';
import type { Head } from '../wire/wire.ts';
import type { Attributes } from './seal.ts';

type Json = Record<string, unknown>;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isText = (value: unknown): value is string => typeof value === 'string';
const isRange = (value: unknown): value is [number, number] => Array.isArray(value) && value.length === 2 && value.every(isCount);
const isTexts = (value: unknown): value is Record<string, string> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every(isText);
const isPair = (value: unknown): value is [string, string] => Array.isArray(value) && value.length === 2 && value.every(isText);

/** A head whose every field was looked at, or nothing where it does not say who. What cannot be in it is left out. */
export function readHead(json: object): Head | undefined {
  const { who, session, begins, method, path, status, headers, encoding, charset, sse, end, undelivered, delivered, rewritten, own } = json as Json;
  if (!isText(who) || !/^[0-9a-f]{32}$/.test(who)) return undefined;
  return {
    who,
    ...(isText(session) ? { session } : {}),
    ...(isText(begins) ? { begins } : {}),
    ...(isText(method) ? { method: bounded(method, shortTextBytes) } : {}),
    ...(isText(path) ? { path } : {}),
    ...(isCount(status) && status >= 100 && status <= 999 ? { status } : {}),
    ...(Array.isArray(headers) && headers.every(isPair) ? { headers } : {}),
    ...(isText(encoding) ? { encoding: bounded(encoding, shortTextBytes) } : {}),
    ...(isText(charset) ? { charset: bounded(charset, shortTextBytes) } : {}),
    ...(typeof sse === 'object' && sse !== null && !Array.isArray(sse) ? { sse: sse as Json } : {}),
    ...(isText(end) ? { end: bounded(end, shortTextBytes) } : {}),
    ...(isRange(undelivered) ? { undelivered } : {}),
    ...(isRange(delivered) ? { delivered } : {}),
    ...(isTexts(rewritten) ? { rewritten } : {}),
    ...(own === true ? { own } : {}),
  };
}

/** What goes without saying has no field: a POST, a status of 200. */
export function httpOf({ method, path, status, headers, encoding, sse, end, undelivered, delivered, rewritten, own }: Head): {
  fields: Pick<MessageEntry, 'http'>;
  attributes: Attributes;
} {
  const http: NonNullable<MessageEntry['http']> = {
    ...(method === undefined || method === 'POST' ? {} : { method }),
    ...(status === undefined || status === 200 ? {} : { status }),
    ...(encoding === undefined ? {} : { encoding }),
    ...(end === undefined ? {} : { end }),
    ...(undelivered === undefined ? {} : { undelivered }),
    ...(delivered === undefined ? {} : { delivered }),
    ...(rewritten === undefined ? {} : { rewritten: true }),
    ...(own === undefined ? {} : { own }),
  };
  return {
    fields: Object.keys(http).length === 0 ? {} : { http },
    attributes: {
      ...(path === undefined ? {} : { path }),
      ...(headers === undefined || headers.length === 0 ? {} : { headers }),
      ...(sse === undefined ? {} : { sse }),
      ...(rewritten === undefined ? {} : { rewritten }),
    },
  };
}

/**
 * Whether a request's headers say something else than its body (MCP 2026-07-28, Streamable HTTP, standard headers). Who routes or allows by them would let another
 * message pass than the server reads. A header that is not there says nothing.
 */
export function disagrees({ headers = [] }: Head, message: Message): boolean {
  if (message.type !== 'request' && message.type !== 'notification') return false;
  for (const [name, value] of headers) {
    const said = headerText(value);
    if (/^mcp-method$/i.test(name) && said !== message.method) return true;
    const target = message.target?.value;
    if (/^mcp-name$/i.test(name) && target !== undefined && said !== target && message.cut?.includes('target') !== true) return true;
    if (/^mcp-protocol-version$/i.test(name) && message.era === 'modern' && message.protocolVersion !== undefined && said !== message.protocolVersion)
      return true;
  }
  return false;
}

/** A client says that its message is no UTF-8, as JSON-RPC over HTTP always is. A server that goes by it reads other names than we do (in UTF-7 every byte is ASCII). */
export function isOtherCharset({ charset }: Head, direction: Direction): boolean {
  return direction === 'c2s' && charset !== undefined;
}

/** RFC 6749, 7009, 7521, 7591, 7636, 7662, 8628, 8693: what is secret in requests to an authorization server, and in its answers. */
const secretsOfForms =
  /(?:^|&)(?:code|code_verifier|client_secret|client_assertion|assertion|password|token|access_token|refresh_token|id_token|subject_token|actor_token|device_code)=/;
const secretsOfObjects = /"(?:access_token|refresh_token|id_token|client_secret|registration_access_token|device_code|code_verifier)"\s*:/;

/**
 * OAuth's own messages, where a server has its authorization server beside it. They are no MCP, and what stands in them must not be in a ledger: all of it is left out,
 * and what stands around it is kept.
 */
export function credentialsIn({ type }: Message, bytes: Uint8Array): Redaction | undefined {
  if (type !== 'opaque') return undefined;
  const text = lossyText(bytes);
  const isFound = /^\s*\{/.test(text) ? secretsOfObjects.test(text) : secretsOfForms.test(text);
  return isFound ? { start: 0, end: bytes.length, rule: 'credentials', keep: 'drop' } : undefined;
}
