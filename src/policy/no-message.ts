/**
 * What HTTP carries beside messages: OAuth's forms and metadata, texts of errors, pages. It is no JSON-RPC, and nobody takes it for that: to refuse it as ambiguous would
 * keep clients from logging in, and from learning that a session is over.
 *
 * What must stay true: of what a client sends only the bytes themselves show it, since a server may read them whatever the client calls them; what could be read as a
 * message is one.
 */
import type { MessageEntry } from '../entry/entry.ts';
import { utf8Text } from '../bytes/bytes.ts';
import type { Anomaly, Direction } from '../mcp/message.ts';

/** What stands around a frame. */
export interface Around {
  direction: Direction;
  status?: number | undefined;
  /** In order; one named `…` stands for those that were left out. */
  headers?: readonly (readonly [name: string, value: string])[] | undefined;
  /** It is an event of a stream: those are messages. */
  isEvent: boolean;
}

const protocolMembers = ['jsonrpc', 'method', 'result', 'error'];
const formType = /^application\/x-www-form-urlencoded(?:; *charset="?utf-8"?)?$/i;
/** No reader of JSON finds an object or a list in it. */
const formText = /^[\w.~*+%&=!'(),;:@$/?-]+$/;

export function isNoMessage(type: MessageEntry['type'], anomalies: readonly Anomaly[], bytes: Uint8Array | undefined, around: Around): boolean {
  if (around.isEvent || (type !== 'opaque' && type !== 'error')) return false;
  const isServers = around.direction === 's2c';
  // clients show it, and read no answer in it
  if (isServers && (around.status ?? 200) >= 400)
    return type === 'opaque' || anomalies.every((anomaly) => anomaly === 'not-jsonrpc' || anomaly === 'id-not-scalar');
  if (type !== 'opaque') return false;
  const types = contentTypes(around.headers ?? []);
  if (types !== undefined && types.length > 0) {
    if (isServers && types.every((one) => !/json|event-stream/i.test(one))) return true;
    if (!isServers && types.length === 1 && formType.test(types[0]!) && bytes !== undefined) {
      const text = utf8Text(bytes);
      return text !== undefined && formText.test(text);
    }
  }
  return anomalies.length === 1 && anomalies[0] === 'not-jsonrpc' && bytes !== undefined && isOtherObject(bytes);
}

/** `undefined`: some headers are not known. */
function contentTypes(headers: readonly (readonly [string, string])[]): string[] | undefined {
  const types: string[] = [];
  for (const [name, value] of headers) {
    if (name === '…') return undefined;
    if (/^content-type$/i.test(name)) types.push(value.trim());
  }
  return types;
}

/** An object that has nothing of the protocol. Whether a member is there twice, or in another case, was looked at before. */
function isOtherObject(bytes: Uint8Array): boolean {
  try {
    const value: unknown = JSON.parse(utf8Text(bytes)!);
    return typeof value === 'object' && value !== null && !Array.isArray(value) && protocolMembers.every((name) => !Object.hasOwn(value, name));
  } catch {
    return false;
  }
}
