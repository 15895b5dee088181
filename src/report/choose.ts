/** Which entries of a ledger are in a report: those that are shown, and those without which they could not be read (`spec/evidence.md`). */
import type { Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { PublishedLog } from '../readers/published.ts';

export interface Chosen {
  /** The range whose hashes are all in the report: [first, end). */
  first: number;
  end: number;
  /** For each entry under the checkpoint: 0 not in the report, 1 shown, 2 needed by what is shown. */
  marks: Uint8Array;
  shown: number;
  context: number;
}

const isShown = 1;
const isContext = 2;
/** Say who and what a session was: they belong to whatever is shown of it. */
const handshakes = new Set(['initialize', 'server/discover', 'tools/list']);

/**
 * `shown`: the indexes of a filter in any order, below the checkpoint's size; `undefined`: all of [first, end) is. With a filter the range is from the first to the
 * last that it let through.
 */
export function choose(log: PublishedLog, period: { first: number; end: number }, shown: Iterable<number> | undefined): Chosen {
  const chosen: Chosen = { ...period, marks: new Uint8Array(log.size), shown: 0, context: 0 };
  const { marks } = chosen;
  if (shown === undefined) marks.fill(isShown, period.first, period.end);
  else {
    let first = period.end;
    let end = period.first;
    for (const index of shown) {
      if (index < period.first || index >= period.end) continue;
      marks[index] = isShown;
      first = Math.min(first, index);
      end = Math.max(end, index + 1);
    }
    if (first < end) Object.assign(chosen, { first, end });
  }
  if (shown !== undefined || period.first > log.first || period.end < log.size) addContext(log, chosen);
  for (const mark of marks) {
    if (mark === isShown) chosen.shown++;
    else if (mark === isContext) chosen.context++;
  }
  return chosen;
}

function addContext(log: PublishedLog, { first, marks }: Chosen): void {
  const connections = new Set<string>();
  const who = new Set<number>();
  const add = (index: number | undefined): void => {
    if (index !== undefined && index >= log.first && index < log.size && marks[index] === 0) marks[index] = isContext;
  };
  const refer = (entry: Entry): void => {
    if ('connection' in entry && entry.connection !== undefined) connections.add(entry.connection);
    if (entry.kind !== 'message' && entry.kind !== 'batch') return;
    if (entry.who !== undefined) who.add(entry.who);
    add(entry.session);
    if (entry.kind !== 'message') return;
    add(entry.exchange);
    add(entry.call);
    add(entry.batch);
  };
  for (let index = log.first; index < log.size; index++) if (marks[index] === isShown) withEntry(log, index, refer);
  for (const index of who) add(index);
  let policy: number | undefined;
  const look = (entry: Entry, index: number): void => {
    const isOurs = 'connection' in entry && entry.connection !== undefined && connections.has(entry.connection);
    switch (entry.kind) {
      case 'start':
        if (index === log.first) add(index);
        return;
      // without these nobody could follow the key, or tell what was erased from what was hidden
      case 'key':
      case 'prune':
        add(index);
        return;
      case 'erasure':
        if (entry.targets.some((target) => hasAny(marks, target.index, target.to ?? target.index))) add(index);
        return;
      case 'policy':
        if (entry.act === 'load' && index < first) policy = index;
        else if (index >= first && entry.act !== 'hold' && entry.act !== 'release') add(index);
        return;
      case 'principal':
        if (isOurs && entry.reportedBy === undefined) add(index);
        return;
      case 'open':
      case 'close':
      case 'gap':
        if (isOurs) add(index);
        return;
      case 'message':
        // without its answer a request would look unanswered
        if (entry.exchange !== undefined && marks[entry.exchange] === isShown) {
          add(index);
          add(entry.batch);
        } else if (isOurs && entry.method !== undefined && handshakes.has(entry.method) && entry.batch === undefined) add(index);
        return;
      default:
    }
  };
  for (let index = log.first; index < log.size; index++) if (marks[index] === 0) withEntry(log, index, look);
  add(policy);
}

function withEntry(log: PublishedLog, index: number, use: (entry: Entry, index: number) => void): void {
  const entry = readEntry(log.leaf(index));
  if (!(entry instanceof EntryProblem)) use(entry, index);
}

function hasAny(marks: Uint8Array, from: number, to: number): boolean {
  // an erasure by age may name most of a ledger
  const range = Buffer.from(marks.buffer, marks.byteOffset, marks.length).subarray(from, to + 1);
  return range.includes(isShown) || range.includes(isContext);
}
