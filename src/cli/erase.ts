/**
 * `sworn erase`: takes content out of the ledger, and leaves the hashes and an entry that says so. What is to go is found here, from the files; the recorder looks
 * at holds again, writes the entry and erases (`spec/ledger.md`, Erasure).
 */
import { wholeNumber } from '../bytes/typed.ts';
import type { Entry } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import { peekBytes } from '../limits.ts';
import { compilePath, PathError } from '../policy/paths.ts';
import { readEntries, readEntryAt, sizeOf } from '../readers/entries.ts';
import { fieldValues } from '../recorder/erase-fields.ts';
import type { EraseAnswer } from '../recorder/erase.ts';
import { holdOn, type Hold, type Parties } from '../recorder/hold.ts';
import { ask } from '../wire/ask.ts';
import { checkAnswerable, confirmed } from './confirm.ts';
import { payloadOf } from '../readers/opened.ts';
import type { NamedSession } from '../analysis/filter.ts';
import { isOfSession, sessionOf, textMatches } from './filter.ts';
import type { CommandHelp } from './help.ts';
import { ensureRecorder, Keeping, pastTime, placeOf, type PlaceOptions } from './keeping.ts';
import { absent } from './pruned.ts';
import { pruneCommand } from './prune.ts';
import { holdText } from './recorder.ts';
import { count, safeJson, size, visible, type Output } from './output.ts';

export const eraseHelp: CommandHelp = {
  options: [
    { flags: '--index <n>', description: 'the content of this entry; may be given several times', repeat: true },
    {
      flags: '--session <id>',
      description:
        'the content of this connection, the beginning of its id is enough; of one session behind a proxy: id/index, as `sworn sessions` shows it',
    },
    {
      flags: '--subject <who>',
      description: 'of all connections of this account name, uid=<n>, label (k=v) or value of a label; over HTTP, of this verified subject',
    },
    {
      flags: '--older-than <time>',
      description: 'the content of sessions before this time: 90d, 12h or 30m ago, or 2026-11-20, or 2026-11-20T23:45:00Z',
    },
    {
      flags: '--prune-before <bound>',
      description:
        'the entries themselves, in whole bundles from the beginning on, before this time (as with --older-than) or index: for ever, but for their hashes',
    },
    {
      flags: '--path <path>',
      description: "only what stands there in each message: '$.params.arguments.ssn'; may be given several times",
      repeat: true,
    },
    { flags: '--reason <text>', description: 'recorded with the erasure' },
    { flags: '--dry-run', description: 'say what would be erased, and do nothing' },
    { flags: '--yes', description: 'do not ask; without a terminal nothing is erased unless this is given' },
    { flags: '--ledger <dir>', description: 'the ledger (default: ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'the result as one JSON object' },
  ],
  example: 'sworn erase --index 17 --path \'$.params.arguments.ssn\' --reason "GDPR request 44"',
};

interface Options extends PlaceOptions {
  index?: string[];
  session?: string;
  subject?: string;
  olderThan?: string;
  pruneBefore?: string;
  path?: string[];
  reason?: string;
  dryRun?: boolean;
  yes?: boolean;
  json?: boolean;
}

type Range = [first: number, last: number];

/** What is asked for. */
interface Wanted {
  scope: 'index' | 'session' | 'subject' | 'age';
  indexes: Set<number>;
  session?: NamedSession;
  subject?: string;
  beforeMs?: number;
}

/** What was found to be erased. */
interface Found {
  scope: Wanted['scope'];
  /** All that is meant: what is held is named to the recorder, too, which says so itself. */
  ranges: Range[];
  /** What no hold covers, and all that is said of it. */
  free: Range[];
  entries: number;
  sessions: Set<string>;
  held: Map<number, { hold: Hold; entries: number; index: number }>;
}

/** Ranges of one question: it must fit into a message of the wire. */
const rangesAtATime = 20_000;
/** The recorder writes whole files anew. */
const answerMs = 3_600_000;
const exported = 'exports, reports, backups and copies made before are not erased';
const listedMost = 20;
const valuesMost = 16;
/** So far behind a message others are looked through for what was erased of it. */
const nearEntries = 10_000;

/** @throws SwornError `usage`, `not-found`, `held`, or whatever the recorder answers */
export async function eraseCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  const { pruneBefore } = options;
  if (pruneBefore !== undefined) {
    if (['index', 'session', 'subject', 'olderThan', 'path'].some((name) => values[name] !== undefined))
      throw usage('--prune-before takes entries, whole and from the beginning on: it goes with no other choice');
    return pruneCommand({ ...options, pruneBefore }, output);
  }
  const { ledger, socket } = placeOf(options);
  const paths = options.path ?? [];
  for (const path of paths) {
    try {
      compilePath(path);
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
      throw usage(`--path ${path}: ${error.message}`);
    }
  }
  const wanted = wantedOf(options);
  checkAnswerable(options, output);
  const found = await find(ledger, wanted);
  const all = found.entries + [...found.held.values()].reduce((sum, { entries }) => sum + entries, 0);
  if (all === 0) throw new SwornError('not-found', 'there is no such entry: nothing is erased');
  const held = [...found.held.values()].map(({ hold, entries }) => ({ hold: hold.id, reason: hold.reason, entries }));
  if (options.dryRun === true) {
    output.out(options.json ? `${safeJson(JSON.stringify(jsonOf(found)))}\n` : foundText(found, paths, 'would be erased'));
    await output.drained?.();
    // as it would end
    if (held.length > 0) throw heldError(held);
    return 0;
  }
  if (found.entries === 0) throw heldError(held);
  if (options.yes !== true && !(await confirmed(foundText(found, paths, 'will be erased'), 'Erase', output))) {
    output.out('nothing is erased\n');
    return 1;
  }
  // afterwards nobody knows any more what it was
  const fields = found.scope === 'index' && paths.length > 0 ? await valuesOf(ledger, found, paths) : [];
  const status = await ensureRecorder(options, output);
  if (status !== undefined) return status;
  const result = await asked(socket, found, paths, options.reason);
  const alsoIn = await elsewhere(ledger, found, fields);
  output.out(
    options.json ? `${safeJson(JSON.stringify({ ...result, alsoIn, notErased: exported }))}\n` : resultText(result, paths.length > 0, alsoIn),
  );
  await output.drained?.();
  if (result.held.length > 0) throw heldError(result.held);
  return result.unfinished === undefined ? 0 : 1;
}

async function asked(socket: string, found: Found, paths: readonly string[], reason: string | undefined): Promise<EraseAnswer> {
  let result: EraseAnswer | undefined;
  for (let at = 0; at < found.ranges.length; at += rangesAtATime) {
    const targets = found.ranges.slice(at, at + rangesAtATime);
    const answer = (await ask(socket, 'erase', { scope: found.scope, targets, paths, reason }, answerMs)) as unknown as EraseAnswer;
    result = result === undefined ? answer : joined(result, answer);
  }
  return result!;
}

function joined(a: EraseAnswer, b: EraseAnswer): EraseAnswer {
  const sum = { ...a };
  for (const name of ['entries', 'segments', 'attributes', 'bytes', 'restBytes'] as const) sum[name] = a[name] + b[name];
  for (const name of ['erasures', 'inLeaf', 'tooLong', 'notJson'] as const) sum[name] = [...a[name], ...b[name]];
  sum.held = [...a.held];
  for (const one of b.held) {
    const known = sum.held.findIndex(({ hold }) => hold === one.hold);
    if (known < 0) sum.held.push(one);
    else sum.held[known] = { ...sum.held[known]!, entries: sum.held[known]!.entries + one.entries };
  }
  if (b.unfinished !== undefined) sum.unfinished = b.unfinished;
  return sum;
}

/** @throws SwornError `usage` */
function wantedOf({ index, session, subject, olderThan }: Options): Wanted {
  const ways = [index, session, subject, olderThan].filter((value) => value !== undefined);
  if (ways.length !== 1)
    throw usage(
      ways.length === 0
        ? 'what is to be erased? --index, --session, --subject, --older-than or --prune-before'
        : 'only one of --index, --session, --subject and --older-than',
    );
  const named = session === undefined ? undefined : sessionOf(session, 'erase');
  const indexes = new Set(
    (index ?? []).map((text) => {
      const at = wholeNumber(text);
      if (at === undefined) throw usage(`--index ${text} is not an index`);
      return at;
    }),
  );
  const beforeMs = olderThan === undefined ? undefined : pastTime(olderThan, 'older-than', 'erase');
  return {
    scope: index !== undefined ? 'index' : session !== undefined ? 'session' : subject !== undefined ? 'subject' : 'age',
    indexes,
    ...(named === undefined ? {} : { session: named }),
    ...(subject === undefined ? {} : { subject }),
    ...(beforeMs === undefined ? {} : { beforeMs }),
  };
}

/** Reads the ledger for what is meant. */
async function find(ledger: string, { scope, indexes, session, subject, beforeMs }: Wanted): Promise<Found> {
  const found: Found = { scope, ranges: [], free: [], entries: 0, sessions: new Set(), held: new Map() };
  const to = await sizeOf(ledger);
  const { parties, holds } = await keepingOf(ledger, to, subject !== undefined);
  if (session !== undefined) oneSession(session.connection, parties);
  const isMeant = (at: number, entry: Entry): boolean => {
    if (scope === 'index') return indexes.has(at);
    const connection = 'connection' in entry ? entry.connection : undefined;
    if (beforeMs !== undefined) return Date.parse(entry.time) < beforeMs && (connection !== undefined || entry.kind === 'erasure');
    if (connection === undefined) return false;
    return session !== undefined ? isOfSession(session, entry, at) : parties.of(entry, at)?.names.has(subject!) === true;
  };
  const take = (at: number, entry: Entry): void => {
    if (!isMeant(at, entry)) return;
    const hold = holds.find(({ id }) => id === at) ?? holdOn(holds, entry, parties.of(entry, at));
    if (hold !== undefined) {
      const known = found.held.get(hold.id) ?? { hold, entries: 0, index: at };
      known.entries++;
      found.held.set(hold.id, known);
    } else {
      found.entries++;
      extend(found.free, at);
      if ('connection' in entry && entry.connection !== undefined) found.sessions.add(entry.connection);
    }
    extend(found.ranges, at);
  };
  if (scope === 'index') {
    for (const at of [...indexes].sort((a, b) => a - b)) {
      const located = at < to ? await readEntryAt(ledger, at, false) : undefined;
      if (located === undefined || located.entry.kind === 'unreadable') throw await absent(ledger, at);
      take(at, located.entry);
    }
  } else for await (const { index: at, entry } of readEntries(ledger, { to })) if (entry.kind !== 'unreadable') take(at, entry);
  return found;
}

/** Indexes come in their order. */
function extend(ranges: Range[], index: number): void {
  const last = ranges.at(-1);
  if (last !== undefined && last[1] === index - 1) last[1] = index;
  else ranges.push([index, index]);
}

/** Who is behind the connections, and what is held. Content is read only where somebody, or a hold, is looked for by it. */
async function keepingOf(ledger: string, to: number, isSubject: boolean): Promise<Keeping> {
  const known = new Keeping();
  let needsContent = isSubject;
  for await (const located of readEntries(ledger, { to })) {
    if (located.entry.kind === 'open') known.take(located);
    if (located.entry.kind === 'policy' && located.entry.act === 'hold') needsContent = true;
  }
  if (!needsContent) return known;
  const whole = new Keeping();
  for await (const located of readEntries(ledger, { to, content: true })) whole.take(located);
  return whole;
}

/** What is about to be erased of the fields of single messages. */
async function valuesOf(ledger: string, { free }: Found, paths: readonly string[]): Promise<string[]> {
  const values = new Set<string>();
  for (const [first, last] of free) {
    for (let index = first; index <= last; index++) {
      const located = await readEntryAt(ledger, index);
      const payload = located === undefined ? undefined : await payloadOf(ledger, located, peekBytes);
      if (payload === undefined || payload.gaps.length > 0 || payload.cutBytes > 0) continue;
      for (const value of await fieldValues(paths, payload.bytes)) if (values.size < valuesMost) values.add(value);
    }
  }
  return [...values];
}

/** Messages near by, of the same sessions, that say any of it still. */
async function elsewhere(ledger: string, { free, sessions }: Found, values: readonly string[]): Promise<number[]> {
  const indexes: number[] = [];
  if (values.length === 0) return indexes;
  const from = free[0]![0];
  for await (const located of readEntries(ledger, { from, to: from + nearEntries, content: true })) {
    const { entry, index } = located;
    if (entry.kind !== 'message' || !sessions.has(entry.connection)) continue;
    for (const value of values) {
      if (!(await textMatches(ledger, located, value))) continue;
      indexes.push(index);
      break;
    }
    if (indexes.length >= listedMost) break;
  }
  return indexes;
}

/** A beginning that several sessions share is no name. */
function oneSession(session: string, parties: Parties): void {
  const fitting = [...parties.connections].filter(([connection]) => connection.startsWith(session));
  if (fitting.length > 1) throw usage(`--session ${session} fits ${fitting.length} sessions: give more of its id`);
}

function foundText({ entries, sessions, free, held }: Found, paths: readonly string[], how: string): string {
  const what = paths.length === 0 ? 'the content' : `what stands at ${paths.map(visible).join(', ')} in the messages`;
  const shown = free.slice(0, listedMost).map(([first, last]) => (first === last ? String(first) : `${first}–${last}`));
  const lines = [
    entries === 0
      ? `nothing ${how}`
      : `${what} of ${count(entries, 'entry', 'entries')} ${how}${sessions.size === 0 ? '' : `, of ${count(sessions.size, 'session')}`}: ${shown.join(', ')}${free.length > listedMost ? ' …' : ''}`,
  ];
  for (const one of held.values()) lines.push(`held, and not erased: ${count(one.entries, 'entry', 'entries')} by hold ${holdText(one.hold)}`);
  lines.push(exported);
  return `${lines.join('\n')}\n`;
}

function jsonOf({ scope, free, entries, sessions, held }: Found): Record<string, unknown> {
  return {
    ...{ dryRun: true, scope, entries, targets: free, sessions: [...sessions] },
    held: [...held.values()].map(({ hold, entries: kept, index }) => ({
      hold: hold.id,
      ...(hold.reason === undefined ? {} : { reason: hold.reason }),
      entries: kept,
      index,
    })),
    notErased: exported,
  };
}

function resultText(result: EraseAnswer, isFields: boolean, alsoIn: readonly number[]): string {
  const { erasures, segments, attributes, bytes, restBytes, inLeaf, tooLong, notJson, unfinished } = result;
  const lines: string[] = [];
  const some = (list: readonly number[]): string => `${list.slice(0, listedMost).join(', ')}${list.length > listedMost ? ' …' : ''}`;
  if (erasures.length === 0)
    lines.push(isFields ? 'nothing stands there any more, or ever did: nothing is erased' : 'there is no content left to be erased');
  else if (unfinished === undefined) {
    const pieces = [segments === 0 ? '' : count(segments, 'segment'), attributes === 0 ? '' : count(attributes, 'attribute')].filter(
      (text) => text !== '',
    );
    lines.push(`erased: ${pieces.join(' and ')}, ${size(bytes - restBytes)}${restBytes === 0 ? '' : ` (${size(restBytes)} around it stored again)`}`);
    lines.push(`said by ${erasures.length === 1 ? 'entry' : 'entries'} ${some(erasures)}`);
  } else {
    lines.push(`NOT YET erased: ${visible(unfinished)}`);
    lines.push(
      `${erasures.length === 1 ? 'entry' : 'entries'} ${some(erasures)} ${erasures.length === 1 ? 'says' : 'say'} it, and the recorder goes on by itself: see \`sworn recorder status\``,
    );
  }
  if (inLeaf.length > 0)
    lines.push(`NOT erased: the entries ${some(inLeaf)} say it in a field of their own (an id, a method, a name, a label), which no erasure reaches`);
  if (alsoIn.length > 0)
    lines.push(
      `NOT erased: messages ${some(alsoIn)} of the same session say it too, a reply for instance; erase them by --index, or the field by --session`,
    );
  if (tooLong.length > 0) lines.push(`NOT looked into: the messages ${some(tooLong)} are longer than 8 MiB; erase them whole`);
  if (notJson.length > 0) lines.push(`NOT looked into: the messages ${some(notJson)} are no JSON; erase them whole`);
  if (!isFields && erasures.length > 0)
    lines.push('what entries say themselves stays: times, sizes, ids, methods, names of tools and servers, labels');
  lines.push(exported);
  return `${lines.join('\n')}\n`;
}

function heldError(held: readonly { hold: number; reason?: string | undefined; entries: number }[]): SwornError {
  const text = held.map(
    ({ hold, reason, entries }) => `hold ${hold}${reason === undefined ? '' : ` (${reason})`} covers ${count(entries, 'entry', 'entries')}`,
  );
  return new SwornError('held', `${text.join('; ')}: not erased`, { hold: String(held[0]?.hold ?? '') });
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'erase' });
}
