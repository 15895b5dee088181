/** What is wrong with a conversation as such: lines that are no messages, numbers that are missing, replies that nobody asked for. */
import type { CloseEntry, GapEntry } from '../../entry/entry.ts';
import type { Found, SeenMessage } from '../events.ts';
import { rule, short, silencing } from './rule.ts';

interface First {
  first?: number;
}

const none = (): First => ({});

export const strayStdout = rule<First>(
  {
    id: 'stray-stdout',
    sees: ['odd message'],
    severity: 'low',
    title: 'a server writes lines to its standard output that are no messages',
    why: 'Only messages may stand there (MCP, transports). Clients stop at such lines, or pass over them, and what they say is in nobody’s log.',
    silence: silencing('stray-stdout'),
  },
  none,
  (seen, memory) => {
    if (seen.kind !== 'message' || seen.entry.kind !== 'message') return [];
    const { entry } = seen;
    if (entry.type !== 'opaque' || entry.direction !== 's2c' || entry.transport !== 'stdio' || entry.origin === 'sworn') return [];
    const own = memory.of(seen.session.session);
    own.first ??= seen.index;
    return [
      {
        first: own.first,
        title: `Why does ${entry.server} write to its standard output what is no message?`,
        detail: short(seen.text() ?? (entry.anomalies ?? []).join(', '), 160),
        ...here(seen),
      },
    ];
  },
);

export const replyToNothing = rule<First>(
  {
    id: 'reply-to-nothing',
    sees: ['odd message'],
    severity: 'low',
    title: 'a reply comes that no request asked for',
    why: 'A client that takes it for the answer to something else believes what it was not told.',
    silence: silencing('reply-to-nothing'),
  },
  none,
  (seen, memory) => {
    if (seen.kind !== 'message' || !seen.entry.anomalies?.includes('reply-to-nothing')) return [];
    const own = memory.of(seen.session.session);
    own.first ??= seen.index;
    const id = seen.entry.kind === 'message' ? seen.entry.id : undefined;
    return [
      {
        first: own.first,
        title: `What does ${seen.entry.direction === 's2c' ? seen.entry.server : 'the client'} answer that nobody asked?`,
        detail: id === undefined ? 'a reply without an id' : `a reply to ${short(id, 60)}, which does not wait`,
        ...here(seen),
      },
    ];
  },
);

function here({ index, entry, session }: SeenMessage): Pick<Found, 'indexes' | 'session' | 'server'> {
  return { indexes: [index], session: session.session, server: entry.server };
}

interface Counts extends First {
  /** Of the connection's newest entry. */
  seq?: number;
  /** Last unit of each direction, and how many were left out of the record until then (`capture: none`). */
  units: [c2s: number, s2c: number];
  uncaptured: [c2s: number, s2c: number];
  /** Units that are missing, less those that a `gap` says are. */
  missing: number;
  /** Entries were passed over: what was counted before says nothing any more. */
  at: number;
}

export const gap = rule<Counts>(
  {
    id: 'gap',
    sees: ['message', 'entry', 'evidence'],
    severity: 'medium',
    title: 'part of a conversation is not in the record',
    why: 'What was said there nobody can tell. A full disk or a dead recorder leaves such a gap, and so does somebody who wants one.',
    silence: silencing('gap'),
  },
  () => ({ units: [-1, -1], uncaptured: [0, 0], missing: 0, at: 0 }),
  (seen, memory) => {
    const ledger = memory.of('');
    // rows of a selection: neighbours that are not there say nothing
    const isWhole = seen.index <= ledger.at + 1;
    ledger.at = Math.max(ledger.at, seen.index);
    if (!isWhole) for (const [key] of memory.state()) if (key !== '') Object.assign(memory.of(key), { seq: undefined, units: [-1, -1] });
    if (seen.kind === 'entry') {
      const { entry } = seen;
      if (entry.kind === 'gap') return lost(entry, seen.index, memory.of(entry.connection), seen.session?.session);
      if (entry.kind === 'close') return unsaid(entry, seen.index, memory.get(entry.connection), seen.session?.session);
      if (entry.kind === 'recovery' && entry.reason === 'receipt-missing') {
        const title = 'Where is the record that was confirmed and is not there?';
        return [{ first: seen.index, severity: 'high', title, detail: `a receipt for entry ${entry.receipt?.index}`, indexes: [seen.index] }];
      }
      if (entry.kind === 'recovery' && entry.connection !== undefined) memory.forget(entry.connection);
      return [];
    }
    return seen.kind === 'message' ? holes(seen, memory.of(seen.entry.connection)) : [];
  },
  500,
);

/** In the recorder's numbers, and in the tap's. Items of a batch have its number. */
function holes(seen: SeenMessage, own: Counts): Found[] {
  const { entry, index } = seen;
  const way = entry.direction === 'c2s' ? 0 : 1;
  const before = own.seq;
  own.seq = entry.seq;
  let missing = before === undefined ? 0 : Math.max(0, entry.seq - before - 1);
  const said = missing > 0 ? `numbers ${before! + 1} to ${entry.seq - 1} of its entries` : 'frames of the tap';
  if (entry.tapSeq > 0) {
    const units = own.units[way];
    const uncaptured = entry.uncaptured?.[way] ?? 0;
    const isItem = entry.kind === 'message' && entry.batch !== undefined;
    if (units >= 0 && !isItem) missing += Math.max(0, entry.tapSeq - (entry.parts ?? 1) - units - Math.max(0, uncaptured - own.uncaptured[way]));
    own.units[way] = Math.max(units, entry.tapSeq);
    own.uncaptured[way] = uncaptured;
  }
  if (missing === 0) return [];
  own.missing += missing;
  own.first ??= index;
  return [
    {
      first: own.first,
      title,
      detail: `${missing} missing before entry ${index}: ${said}`,
      indexes: [index],
      count: missing,
      session: seen.session.session,
      server: entry.server,
    },
  ];
}

const title = 'What was said where the record has a gap?';

function lost({ lost: { c2s, s2c }, reason }: GapEntry, index: number, own: Counts, session: string | undefined): Found[] {
  own.first ??= index;
  // their hole comes next, and is told with this
  for (const [way, count] of [c2s, s2c].entries()) if (own.units[way as 0 | 1] >= 0) own.units[way as 0 | 1] += count;
  const place = session === undefined ? {} : { session };
  return [
    {
      first: own.first,
      title,
      detail: `${c2s + s2c} frames were not recorded: ${short(reason, 120)}`,
      indexes: [index],
      count: Math.max(1, c2s + s2c),
      ...place,
    },
  ];
}

/** More frames than the record has, by the tap's own count at its end. */
function unsaid({ frames, uncaptured }: CloseEntry, index: number, own: Counts | undefined, session: string | undefined): Found[] {
  if (own === undefined || frames === undefined) return [];
  let missing = 0;
  for (const [way, count] of [frames.c2s, frames.s2c].entries()) {
    const units = own.units[way as 0 | 1];
    if (units >= 0) missing += Math.max(0, count - units - Math.max(0, (uncaptured?.[way] ?? 0) - own.uncaptured[way as 0 | 1]));
  }
  if (missing === 0) return [];
  own.first ??= index;
  const place = session === undefined ? {} : { session };
  return [{ first: own.first, title, detail: `${missing} missing before its end`, indexes: [index], count: missing, ...place }];
}
