/** Reads the sessions of a ledger, with the names that payloads say. */
import { takeNames, tellsNames } from '../analysis/names.ts';
import { Sessions, waitingCount, type Session as Projected } from '../analysis/sessions.ts';
import type { Principal } from '../analysis/rows.ts';
import { readEntries, readEntryAt } from './entries.ts';
import { readPayload } from './payload.ts';

/** A session; who is behind it without the index of their entry. */
export interface Session extends Omit<Projected, 'who'> {
  who: Omit<Principal, 'index'>[];
}

/** A longer `initialize` is not read for names. */
const namesBytes = 1024 * 1024;

/** All sessions that have an entry in [from, to), ordered by their beginning. `content: false` leaves out what payloads say (names, users). */
export async function readSessions(ledger: string, options: { from?: number; to?: number; content?: boolean } = {}): Promise<Session[]> {
  const { content = true, ...range } = options;
  const projection = new Sessions();
  for await (const { entry, index } of readEntries(ledger, range)) {
    if (entry.kind === 'unreadable') continue;
    const open = projection.take(index, entry);
    if (!content || open === undefined || !tellsNames(open, entry)) continue;
    const opened = (await readEntryAt(ledger, index))?.content;
    if (opened === undefined) continue;
    takeNames(open, index, entry, opened.attributes, () => Buffer.from(readPayload(ledger, opened.frame, namesBytes).bytes).toString());
  }
  const sessions: Session[] = [];
  for (const open of projection.values()) {
    // what is left of a proxy's connection without its sessions is nothing for people
    if (open.parts.size > 0) continue;
    for (const { tool, isCancelled } of open.waiting.values()) if (!isCancelled && tool !== undefined) tool.unanswered++;
    open.session.unanswered = waitingCount(open);
    open.session.tools = [...open.tools.values()].sort((a, b) => b.calls - a.calls);
    sessions.push({ ...open.session, who: open.session.who.map(shown) });
  }
  return sessions;
}

function shown(principal: Principal): Omit<Principal, 'index'> {
  const { index, ...others } = principal;
  void index;
  return others;
}
