/** The kill switch: while a freeze is in force, what it is about is refused before any rule is asked. */
import { globMatches } from '../mcp/glob.ts';
import { asks, type Party, type Subject } from './match.ts';

export interface Freeze {
  /** Index of the entry that says so: its name. */
  id: number;
  /** Globs; all that are there must fit. None: everything. */
  server?: string;
  client?: string;
  /** A uid that the OS named, as text, or a verified subject. */
  principal?: string;
  /** The beginning of a connection's id. */
  session?: string;
  /** All requests; otherwise only what is not known to read: an effect that nobody knows is taken for a write. */
  all: boolean;
  reason?: string;
  /** Milliseconds since 1970; for ever without. */
  untilMs?: number;
}

/** The first freeze that is about a request; `undefined`: none. Replies and notifications are not frozen: what was asked before is answered. */
export function freezeOf(freezes: readonly Freeze[], subject: Subject, party: Party, nowMs: number): Freeze | undefined {
  if (!asks(subject)) return undefined;
  return freezes.find((freeze) => concerns(freeze, party, nowMs) && (freeze.all || writes(subject)));
}

/** Some freeze is about a connection, whatever is said there. */
export function isFrozen(freezes: readonly Freeze[], party: Party, nowMs: number): boolean {
  return freezes.some((freeze) => concerns(freeze, party, nowMs));
}

function concerns(freeze: Freeze, party: Party, nowMs: number): boolean {
  if (freeze.untilMs !== undefined && nowMs >= freeze.untilMs) return false;
  if (freeze.server !== undefined && !globMatches(freeze.server, party.server)) return false;
  if (freeze.session !== undefined && !party.connection?.startsWith(freeze.session)) return false;
  if (freeze.client !== undefined) {
    const { client } = freeze;
    if (![party.client, party.clientInfo?.name].some((name) => name !== undefined && globMatches(client, name))) return false;
  }
  if (freeze.principal !== undefined) {
    const { observed, verified } = party.principal;
    if (String(observed.uid) !== freeze.principal && verified.subject !== freeze.principal) return false;
  }
  return true;
}

/** Methods that change nothing are reads by the protocol; a tool without a definition is not known to read. */
function writes(subject: Subject): boolean {
  return subject.effects.effect !== 'read';
}

/** Those that are still in force. */
export function inForce(freezes: readonly Freeze[], nowMs: number): Freeze[] {
  return freezes.filter(({ untilMs }) => untilMs === undefined || nowMs < untilMs);
}
