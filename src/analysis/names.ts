/** Who the two sides of a session are: what entries hold beside their leaves, and the frames of the handshake. All of it is said by the sides themselves. */
import type { Entry } from '../entry/entry.ts';
import { looseJson } from './frame-text.ts';
import { isObject } from './message-view.ts';
import type { Peer } from './rows.ts';
import type { OpenSession } from './sessions.ts';

/** Whether what an entry holds beside its leaf may name the two sides. */
export function tellsNames({ session }: OpenSession, entry: Entry): boolean {
  if (entry.attributes === undefined) return entry.kind === 'message' && entry.method === 'initialize';
  return entry.kind === 'principal' || (entry.kind === 'message' && (session.client?.version === undefined || session.serverInfo === undefined));
}

/** Names from an entry's attributes, else from the frame of the handshake, which is asked for only then. */
export function takeNames(
  { session, principals }: OpenSession,
  index: number,
  entry: Entry,
  attributes: Readonly<Record<string, unknown>>,
  frame: () => string | undefined,
): void {
  if (entry.kind === 'principal') {
    const who = principals.get(index) ?? session.who.at(-1);
    if (who === undefined) return;
    const { verified, observed, declared } = attributes as Record<string, Record<string, unknown> | undefined>;
    const named = verified?.['subject'] ?? observed?.['address'] ?? declared?.['userAgent'];
    if (typeof named === 'string') who.name = named;
    if (typeof attributes['user'] === 'string') who.user = attributes['user'];
    if (typeof attributes['executable'] === 'string') who.executable = attributes['executable'];
    return;
  }
  let client = peerOf(attributes['clientInfo']);
  let server = peerOf(attributes['serverInfo']);
  if (client === undefined && server === undefined) {
    // erased, too long or no JSON: the session stays without names
    const text = frame();
    const message = text === undefined ? undefined : looseJson(text);
    if (isObject(message)) {
      if (isObject(message['params'])) client = peerOf(message['params']['clientInfo']);
      if (isObject(message['result'])) server = peerOf(message['result']['serverInfo']);
    }
  }
  if (client !== undefined) session.client = client;
  if (server !== undefined) session.serverInfo = server;
}

function peerOf(value: unknown): Peer | undefined {
  if (!isObject(value)) return undefined;
  const { name, version } = value;
  if (typeof name !== 'string') return undefined;
  return typeof version === 'string' ? { name, version } : { name };
}
