/**
 * `access` entries: that somebody opened content, and that somebody acknowledged a finding. Openings of one viewer are gathered: the first is an entry at once, those of
 * the minute after it are one entry at its end, so that looking does not fill the ledger.
 *
 * What must stay true: an opening that was answered as noted is in the ledger, or here and written before this recorder ends in order. If we die with some gathered,
 * those of one minute are missing; the first ones of the viewer are there.
 */
import type { AccessEntry, AccessHow } from '../entry/entry.ts';
import { accessGatherMs, accessNoteBytes, accessRanges, accessViewers, reasonBytes } from '../limits.ts';
import type { Administrator } from './administrator.ts';
import type { Attributes } from './seal.ts';

/** What an access entry says beside what every entry says. */
export type Access = Omit<AccessEntry, 'v' | 'kind' | 'time' | 'monotonicUs'>;

export interface Opened {
  how: AccessHow;
  viewer?: string;
  /** `[first, last]`, ascending and apart. */
  ranges: [number, number][];
}

export interface Acknowledgement {
  how: AccessHow;
  viewer?: string;
  finding: string;
  rule?: string;
  note?: string;
}

const hows: ReadonlySet<unknown> = new Set<AccessHow>(['dashboard', 'api', 'command']);

/** What `opened` says, from a stranger's JSON; a text says what is wrong with it. `size`: entries of the ledger. */
export function readOpened(json: Record<string, unknown>, size: number): Opened | string {
  const party = readParty(json);
  if (typeof party === 'string') return party;
  const { indexes } = json;
  if (!Array.isArray(indexes) || indexes.length === 0 || indexes.length > accessRanges)
    return `indexes are 1 to ${accessRanges} ranges [first, last] of entries`;
  const ranges: [number, number][] = [];
  for (const range of indexes) {
    const [first, last] = Array.isArray(range) && range.length === 2 ? (range as unknown[]) : [];
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last) || (first as number) < 0 || (last as number) < (first as number))
      return 'indexes are ranges [first, last] of entries';
    if ((last as number) >= size) return `there is no entry ${last as number}: the ledger has ${size}`;
    ranges.push([first as number, last as number]);
  }
  return { ...party, ranges: joined(ranges) };
}

/** What `acknowledge` says, likewise. */
export function readAcknowledgement(json: Record<string, unknown>): Acknowledgement | string {
  const party = readParty(json);
  if (typeof party === 'string') return party;
  const { finding, rule, note } = json;
  if (typeof finding !== 'string' || !/^[0-9a-f]{12}$/.test(finding)) return 'finding is the name of a finding: 12 hex digits';
  if (rule !== undefined && !isText(rule, reasonBytes)) return `rule is a text of 1 to ${reasonBytes} bytes`;
  if (note !== undefined && !isText(note, accessNoteBytes)) return `note is a text of 1 to ${accessNoteBytes} bytes`;
  return { ...party, finding, ...(rule === undefined ? {} : { rule }), ...(note === undefined ? {} : { note }) };
}

function readParty({ how, viewer }: Record<string, unknown>): { how: AccessHow; viewer?: string } | string {
  if (!hows.has(how)) return 'how is dashboard, api or command';
  if (viewer !== undefined && (typeof viewer !== 'string' || !/^[0-9a-f]{16}$/.test(viewer))) return 'viewer is 16 hex digits';
  return { how: how as AccessHow, ...(viewer === undefined ? {} : { viewer }) };
}

function isText(value: unknown, mostBytes: number): value is string {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= mostBytes;
}

/** Ascending, apart, and what touches made one. */
function joined(ranges: readonly [number, number][]): [number, number][] {
  const all: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const before = all.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else all.push([first, last]);
  }
  return all;
}

export interface AccessDeps {
  append(access: Access, attributes: Attributes, done: (stored: boolean) => void): void;
  /** Now, as entries say times. */
  now(): string;
}

/** Openings of one viewer behind the entry that said its last ones. */
interface Gathered {
  party: Pick<Access, 'how' | 'viewer' | 'by' | 'selfAdministered'>;
  ranges: [number, number][];
  count: number;
  from: string;
  timer: NodeJS.Timeout;
}

export class Accesses {
  readonly #deps: AccessDeps;
  /** By who looks, the longest quiet first. */
  readonly #gathered = new Map<string, Gathered>();

  constructor(deps: AccessDeps) {
    this.#deps = deps;
  }

  /** `done`: noted, or why not is the disk's word. */
  open({ how, viewer, ranges }: Opened, administrator: Administrator, done: (noted: boolean) => void): void {
    const party = { how, ...(viewer === undefined ? {} : { viewer }), ...administrator };
    const key = JSON.stringify(party);
    const gathered = this.#gathered.get(key);
    if (gathered === undefined) {
      const from = this.#deps.now();
      this.#gather(key, party);
      this.#deps.append({ act: 'open', opened: ranges, count: 1, from, ...party }, {}, (stored) => {
        // the next one tries again
        if (!stored && this.#gathered.get(key)?.count === 0) this.#forget(key);
        done(stored);
      });
      return;
    }
    const all = joined([...gathered.ranges, ...ranges]);
    // one entry names no more: what there is goes now, whole
    if (all.length > accessRanges && gathered.count > 0) this.#write(gathered);
    if (gathered.count === 0) gathered.from = this.#deps.now();
    gathered.ranges = gathered.count === 0 ? ranges : all;
    gathered.count++;
    done(true);
  }

  acknowledge({ finding, rule, note, how, viewer }: Acknowledgement, administrator: Administrator, done: (stored: boolean) => void): void {
    const access: Access = { act: 'acknowledge', how, ...(viewer === undefined ? {} : { viewer }), finding, ...(rule === undefined ? {} : { rule }) };
    this.#deps.append({ ...access, ...administrator }, note === undefined ? {} : { note }, done);
  }

  /** What is gathered becomes entries: the recorder ends. */
  end(): void {
    for (const [key, gathered] of this.#gathered) {
      this.#forget(key);
      if (gathered.count > 0) this.#write(gathered);
    }
  }

  #gather(key: string, party: Gathered['party']): void {
    for (const [oldest, { count }] of this.#gathered) {
      if (this.#gathered.size < accessViewers) break;
      // one that opened nothing more loses nothing
      if (count > 0) this.#turn(oldest);
      this.#forget(oldest);
    }
    const timer = setInterval(() => this.#turn(key), accessGatherMs).unref();
    this.#gathered.set(key, { party, ranges: [], count: 0, from: '', timer });
  }

  /** A minute of a viewer is over. */
  #turn(key: string): void {
    const gathered = this.#gathered.get(key);
    if (gathered === undefined) return;
    if (gathered.count === 0) this.#forget(key);
    else this.#write(gathered);
  }

  #forget(key: string): void {
    clearInterval(this.#gathered.get(key)?.timer);
    this.#gathered.delete(key);
  }

  /** What the disk does not take is gathered on. */
  #write(gathered: Gathered): void {
    const { party, ranges, count, from } = gathered;
    gathered.ranges = [];
    gathered.count = 0;
    this.#deps.append({ act: 'open', opened: ranges, count, from, ...party }, {}, (stored) => {
      if (!stored) {
        gathered.ranges = joined([...ranges, ...gathered.ranges]);
        gathered.count += count;
        gathered.from = from;
      }
    });
  }
}
