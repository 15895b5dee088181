/**
 * Erasing (`spec/ledger.md`, Erasure): from what somebody asks for, or what `retention` says, to `erasure` entries, and from them to files without the content.
 *
 * What must stay true: the entry is durable before anything goes; what a hold covers is never named; what is erased stands in nothing that we write beside the ledger.
 * If we die here: before the entry nothing has changed; after it the next recorder finds it, in the snapshot or behind it, and erases again. Doing it twice changes nothing.
 * Everything is read and written in slices: messages are recorded meanwhile.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Entry, ErasureEntry, ErasureRest, ErasureTarget } from '../entry/entry.ts';
import { Rests } from '../entry/rest.ts';
import { SwornError } from '../errors.ts';
import { nodeFiles, replace } from '../ledger/files.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { entryIn, Interrupted, partAt, walkSegment, type Walked } from '../ledger/rewrite.ts';
import type { ContentItem, EntryRecord } from '../ledger/segment.ts';
import { erasureTargets } from '../limits.ts';
import { FieldEraser, says, type Cut } from './erase-fields.ts';
import { holdOn, Parties, type Hold } from './hold.ts';
import { commitment, seal, segmentOf } from './seal.ts';
import { attributesOf } from './attributes.ts';

/** What somebody asks for, once it was looked at. */
export interface EraseRequest {
  scope: ErasureEntry['scope'];
  /** Indexes from one to another, both among them; ascending and apart. */
  targets: readonly (readonly [first: number, last: number])[];
  /** Only what stands at these paths. */
  paths: readonly string[];
  reason?: string;
}

/** What a hold kept. */
export interface Held {
  hold: number;
  reason?: string;
  entries: number;
  /** The first of them. */
  index: number;
}

export interface EraseAnswer {
  /** The entries that say it. */
  erasures: number[];
  /** Entries that had something to lose; what went of them. */
  entries: number;
  segments: number;
  attributes: number;
  bytes: number;
  /** Stored again: what stood around fields. */
  restBytes: number;
  held: Held[];
  /** Entries whose leaf, which stays, says what was erased; the first ones. */
  inLeaf: number[];
  /** Messages that are longer than is looked into for fields, and such as are no JSON; the first ones. */
  tooLong: number[];
  notJson: number[];
  /** Why the files still hold it. It is done again by itself. */
  unfinished?: string;
}

/** Who asked, or what. */
export type EraseBy = Pick<ErasureEntry, 'by' | 'selfAdministered' | 'policyDigest'>;

export interface EraseDeps {
  readonly ledger: Ledger;
  readonly common: () => Pick<ErasureEntry, 'v' | 'kind' | 'time' | 'monotonicUs'>;
  /** Another list after each change. */
  readonly holds: () => readonly Hold[];
  /** What the messages of an open connection are judged by must be there at the next start. */
  readonly isOpen: (connection: string) => boolean;
  /** Content of an entry is gone: what is remembered of it must not be written again. */
  readonly forget: (entry: Entry, index: number) => void;
  /** Writes the snapshot anew. */
  readonly snapshot: () => void;
  readonly log: (line: string) => void;
  /** The recorder's own log, where it is a file. */
  readonly logFile?: string;
}

/** What the snapshot keeps. */
export interface EraseState {
  /** Entries whose erasing may not be done. */
  pending: number[];
  /** Erasure entries with segments of their own. */
  rests: number[];
  /** Up to here everything expired that was old enough and not held. */
  expired: number;
}

/** What is to be erased of one entry, and what is stored again. */
interface Wish {
  target: ErasureTarget;
  /** That have something to lose. */
  entries: number;
  rest: { of: ErasureRest; bytes: Buffer }[];
}

interface Looked {
  wishes: Wish[];
  values: Set<string>;
  held: Map<number, Held>;
  inLeaf: number[];
  tooLong: number[];
  notJson: number[];
  /** Connections that ended within what was looked at. */
  closed: string[];
  /** Where to go on; nothing: it is all there. */
  next: number | undefined;
}

const retryMs = 60_000;
/** Of one entry's `targets` and `rest`, as JSON: with everything else it stays below the bound of an entry. */
const namingBytes = 48 * 1024;
/** Of what is stored again with one entry. Recording goes on between two of them. */
const restMostBytes = 2 * 1024 * 1024;
/** So much is named before it is written down. */
const wishesMost = 2_000;
const listedMost = 100;
const recordsMost = 8;
/** Connections that one entry names for their unfinished frames. */
const unfinishedMost = 200;

/**
 * Rows that readers made hold parts of content, in places that only they know (`src/catalog/`). They are made again from what is left; a reader that follows the ledger does it
 * by itself once it reads the entry.
 */
function removeCatalog(folder: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(join(folder, `catalog.sqlite${end}`), { force: true });
}

export class Eraser {
  readonly #deps: EraseDeps;
  readonly #payload: string;
  readonly #state: EraseState;
  readonly #parties = new Parties();
  readonly #records = new Map<number, EntryRecord>();
  #rests: { read: Rests; entries: number } | undefined;
  #partiesTo = 0;
  #work: Promise<unknown> = Promise.resolve();
  #busy = 0;
  #problem: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isEnding = false;

  constructor(deps: EraseDeps, state: EraseState) {
    this.#deps = deps;
    this.#payload = join(deps.ledger.folder, 'payload');
    this.#state = state;
  }

  toJSON(): EraseState {
    return this.#state;
  }

  /** Something is under way: the recorder may not end for want of work. */
  get isBusy(): boolean {
    return this.#busy > 0;
  }

  get status(): { pending: number; problem?: string } {
    return { pending: this.#state.pending.length, ...(this.#problem === undefined ? {} : { problem: this.#problem }) };
  }

  /** Goes on with what is named and still there. */
  resume(): void {
    if (this.#state.pending.length === 0) return;
    this.#inTurn(() => this.#apply()).catch((error: Error) => this.#failed(error));
  }

  /** Ends what is under way between two chunks; the next recorder goes on. */
  async end(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#retry);
    await this.#work.catch(() => undefined);
  }

  /** Looking for things may take long, too. @throws Interrupted when the recorder is ending */
  #goOn(): void {
    if (this.#isEnding) throw new Interrupted('the recorder is ending');
  }

  /** Content and entries go one after the other: nothing is rewritten that is being taken away. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#inTurn(work);
  }

  /** Entries below `end` are gone. */
  pruned(end: number): void {
    removeCatalog(this.#deps.ledger.folder);
    this.#state.rests = this.#state.rests.filter((index) => index >= end);
    this.#state.expired = Math.max(this.#state.expired, end);
  }

  /** Who is behind each connection. */
  async parties(): Promise<Parties> {
    await this.#readParties();
    return this.#parties;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#busy++;
    const turn = this.#work.then(async () => {
      if (this.#isEnding) throw new SwornError('recorder-refused', 'the recorder is ending: ask the next one');
      // older segments may be encrypted under keys that nobody has asked for yet
      await this.#deps.ledger.segmentKeys.openAll();
      return work();
    });
    const over = (): void => {
      this.#busy--;
      this.#records.clear();
      this.#rests = undefined;
    };
    this.#work = turn.then(over, over);
    return turn;
  }

  #failed(error: Error): void {
    if (error instanceof Interrupted || this.#isEnding) return;
    this.#problem = error.message;
    this.#deps.log(`what was to be erased is still there: ${error.message}; tried again every minute`);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.resume();
    }, retryMs).unref();
  }

  /**
   * Erases what no hold covers, and says what. The files are done when it returns, or `unfinished` says why not.
   * @throws SwornError `unrecordable` when an entry could not be stored: what it was to name is untouched; `usage` for a reason that says what goes
   */
  erase(request: EraseRequest, by: EraseBy): Promise<EraseAnswer> {
    return this.#inTurn(() => this.#erase(request, by));
  }

  /**
   * Erases the content of sessions that is older than so long, as far as no hold covers it. `by` names the policy.
   * @throws SwornError as `erase`
   */
  expire(cutoffMs: number, by: EraseBy): Promise<EraseAnswer | undefined> {
    return this.#inTurn(async () => {
      const from = this.#state.expired;
      const to = await this.#olderThan(from, cutoffMs);
      if (to <= from) return undefined;
      const answer = await this.#erase({ scope: 'age', targets: [[from, to - 1]], paths: [] }, by);
      // What a hold kept is looked at again when it is taken back, not each hour: a hold may cover years, and none ends by itself.
      this.#state.expired = to;
      return answer;
    });
  }

  /** A hold is gone: what it kept may be due. */
  released(): void {
    this.#state.expired = 0;
  }

  async #erase(request: EraseRequest, by: EraseBy): Promise<EraseAnswer> {
    const { ledger } = this.#deps;
    const size = ledger.size;
    const held = new Map<number, Held>();
    const heldConnections = new Set<string>();
    const answer: EraseAnswer = {
      ...{ erasures: [], entries: 0, segments: 0, attributes: 0, bytes: 0, restBytes: 0 },
      ...{ held: [], inLeaf: [], tooLong: [], notJson: [] },
    };
    const ranges = new Ranges(
      request.targets.filter(([first]) => first < size).map(([first, last]): [number, number] => [first, Math.min(last, size - 1)]),
    );
    for (let from: number | undefined = 0; from !== undefined;) {
      const holds = this.#deps.holds();
      const looked: Looked = await this.#look(request, ranges, from, heldConnections);
      // one that came meanwhile may cover what was looked at before it came
      if (this.#deps.holds() !== holds) continue;
      from = looked.next;
      if (request.reason !== undefined && [...looked.values].some((value) => says(request.reason!, value))) {
        throw new SwornError('usage', 'the reason says what is to be erased, and would be stored with the erasure', { command: 'erase' });
      }
      for (const [hold, one] of looked.held) {
        const known = held.get(hold);
        if (known === undefined) held.set(hold, one);
        else known.entries += one.entries;
      }
      for (const name of ['inLeaf', 'tooLong', 'notJson'] as const) answer[name] = [...answer[name], ...looked[name]].slice(0, listedMost);
      await this.#record(looked, request, by, answer);
      this.#cleanLog(looked.values);
    }
    answer.held = [...held.values()];
    if (answer.erasures.length === 0) return answer;
    try {
      const { segments, attributes, bytes } = await this.#apply();
      Object.assign(answer, { segments, attributes, bytes });
    } catch (error) {
      answer.unfinished = (error as Error).message;
      this.#failed(error as Error);
    }
    return answer;
  }

  /** What there is to erase in `ranges` from `from` on, up to a number of entries. */
  async #look({ scope, paths }: EraseRequest, ranges: Ranges, from: number, heldConnections: Set<string>): Promise<Looked> {
    const holds = this.#deps.holds();
    const looked: Looked = {
      ...{ wishes: [], values: new Set<string>(), held: new Map<number, Held>() },
      ...{ inLeaf: [], tooLong: [], notJson: [], closed: [], next: undefined },
    };
    const rests = await this.#readRests();
    if (holds.some(({ server, subject }) => server !== undefined || subject !== undefined)) await this.#readParties();
    const fields = await FieldEraser.for(paths, this.#payload, this.#deps.ledger.segmentKeys, rests, (index) => this.#recordAt(index));
    let restBytes = 0;
    /** The last wish that names all of its entry, and how far it may be drawn without naming anything else. */
    let open: { wish: Wish; reach: number } | undefined;
    let batch: { index: number; values: readonly string[] } | undefined;

    const wish = (target: ErasureTarget, rest: Wish['rest'] = []): Wish => {
      const made = { target, entries: 1, rest };
      looked.wishes.push(made);
      for (const { bytes } of rest) restBytes += bytes.length;
      return made;
    };
    const wishedRests = new Set<string>();
    const wishRest = (of: number, segment: number): void => {
      if (!wishedRests.has(`${of} ${segment}`)) wish({ index: of, segments: [segment] });
      wishedRests.add(`${of} ${segment}`);
    };
    /** Counts an entry that a hold keeps. */
    const isHeld = (entry: Entry, index: number): boolean => {
      const isOne = holds.find(({ id }) => id === index);
      const hold = isOne ?? holdOn(holds, entry, this.#parties.of(entry, index));
      if (hold === undefined) return false;
      const known = looked.held.get(hold.id) ?? { hold: hold.id, ...(hold.reason === undefined ? {} : { reason: hold.reason }), entries: 0, index };
      known.entries++;
      looked.held.set(hold.id, known);
      if ('connection' in entry && entry.connection !== undefined) heldConnections.add(entry.connection);
      return true;
    };
    const cut = (cuts: readonly Cut[], index: number, attributes: number[]): void => {
      const byIndex = new Map<number, Cut[]>([[index, []]]);
      for (const one of cuts) byIndex.set(one.index, [...(byIndex.get(one.index) ?? []), one]);
      for (const [of, list] of byIndex) {
        const own = of === index ? attributes : [];
        if (list.length + own.length === 0) continue;
        const segments = list.map(({ segment }) => segment).sort((a, b) => a - b);
        wish(
          { index: of, ...(own.length === 0 ? {} : { attributes: own }), ...(segments.length === 0 ? {} : { segments }) },
          list.flatMap(({ rest }) => (rest === undefined ? [] : [rest])),
        );
      }
      open = undefined;
    };
    const sayLeaf = (leaf: string, index: number, values: readonly string[]): void => {
      if (values.some((value) => says(leaf, value)) && looked.inLeaf.length < listedMost) looked.inLeaf.push(index);
    };

    const lookAt = async (record: EntryRecord): Promise<void> => {
      const { index } = record;
      const leaf = record.leaf.toString('utf8');
      const entry = JSON.parse(leaf) as Entry;
      const isOfSession = 'connection' in entry && entry.connection !== undefined;
      // what was expired or taken away with its session is content of sessions; anything else only by its number
      if (scope !== 'index' && !isOfSession && entry.kind !== 'erasure') return;
      if (isHeld(entry, index)) {
        open = undefined;
        return;
      }
      const item = entry.kind === 'message' && entry.batch !== undefined ? { batch: entry.batch, range: entry.range! } : undefined;
      if (paths.length > 0 || (item !== undefined && !ranges.has(item.batch))) {
        const whole = item === undefined ? record : ranges.has(item.batch) ? undefined : await this.#recordAt(item.batch);
        let values = batch !== undefined && batch.index === item?.batch ? batch.values : [];
        let cuts: Cut[] = [];
        if (whole !== undefined && whole.frame.length > 0) {
          const found = await fields.find(whole, item?.range);
          ({ cuts, values } = found);
          if (found.problem !== undefined) listOf(looked, found.problem).push(index);
        }
        if (entry.kind === 'batch') batch = { index, values };
        for (const value of values) looked.values.add(value);
        const attributes = keptAt(record.attributes, (_, text) => paths.length === 0 || values.some((value) => says(text, value)));
        sayLeaf(leaf, index, values);
        cut(cuts, index, attributes);
        return;
      }
      if (entry.kind === 'close' && scope !== 'index' && !heldConnections.has(entry.connection) && !this.#deps.isOpen(entry.connection))
        looked.closed.push(entry.connection);
      const isLive = entry.kind === 'open' && this.#deps.isOpen(entry.connection);
      // without them a tool that a rule is about would no longer be one after the next start
      const attributes =
        entry.kind === 'erasure' && scope !== 'index' ? [] : keptAt(record.attributes, (_, text) => !(isLive && text.startsWith('{"overrides":')));
      const segments: number[] = [];
      for (const [k, one] of record.frame.entries()) {
        if (one.state === 'kept') {
          if (wishedRests.has(`${index} ${k}`)) continue;
          if (entry.kind !== 'erasure' || !(await this.#isRestHeld(rests.owner(index, k), isHeld))) segments.push(k);
        } else if (one.state === 'part' && (await partAt(this.#payload, one.file, one.offset, this.#deps.ledger.segmentKeys))?.erased === undefined)
          segments.push(k);
      }
      const stored =
        record.attributes.filter(({ state }) => state === 'kept').length +
        record.frame.filter(({ state }) => state === 'kept' || state === 'part').length;
      const isWhole = attributes.length + segments.length === stored;
      if (isWhole && open?.reach === index - 1) {
        open.reach = index;
        if (stored > 0) {
          open.wish.target.to = index;
          open.wish.entries++;
        }
      } else if (stored > 0 && attributes.length + segments.length > 0) {
        const made = wish(
          isWhole
            ? { index, attributes: 'all', segments: 'all' }
            : { index, ...(attributes.length === 0 ? {} : { attributes }), ...(segments.length === 0 ? {} : { segments }) },
        );
        open = isWhole ? { wish: made, reach: index } : undefined;
      } else open = undefined;
      // what was left of it when fields of it went
      if (!rests.isEmpty) for (const k of record.frame.keys()) await this.#wishRests(rests, index, k, wishRest);
    };

    const files = segmentFiles(this.#payload);
    for (const [i, firstIndex] of files.entries()) {
      if (looked.next !== undefined) break;
      if (!ranges.touches(Math.max(firstIndex, from), files[i + 1] ?? Number.POSITIVE_INFINITY)) continue;
      await walkSegment(this.#payload, firstIndex, this.#deps.ledger.segmentKeys, (walked) => {
        const { index } = walked;
        this.#goOn();
        if (walked.type !== 'entry' || index < from || !ranges.has(index)) {
          if (walked.type === 'entry' && open !== undefined && index > open.reach) open = undefined;
          return index <= ranges.last;
        }
        if (looked.wishes.length >= wishesMost || restBytes >= restMostBytes || looked.closed.length >= closedMost(looked.wishes.length)) {
          looked.next = index;
          return false;
        }
        return walked.record().then((bytes) => {
          const record = entryIn(bytes);
          if (record === undefined) throw new SwornError('ledger-corrupt', `the record of entry ${index} does not hold`);
          return lookAt(record);
        });
      });
    }
    return looked;
  }

  /** A rest is covered by what covers the entry that it is of. */
  async #isRestHeld(owner: number, isHeld: (entry: Entry, index: number) => boolean): Promise<boolean> {
    if (this.#deps.holds().length === 0) return false;
    const record = await this.#recordAt(owner);
    return record !== undefined && isHeld(JSON.parse(record.leaf.toString('utf8')) as Entry, owner);
  }

  async #wishRests(rests: Rests, index: number, segment: number, wish: (index: number, segment: number) => void): Promise<void> {
    for (const place of rests.of(index, segment)) {
      const own = (await this.#recordAt(place.index))?.frame[place.segment];
      if (own?.state === 'kept') wish(place.index, place.segment);
      else await this.#wishRests(rests, place.index, place.segment, wish);
    }
  }

  /** Writes down what goes, as durable entries. */
  async #record({ wishes, closed }: Looked, { scope, paths, reason }: EraseRequest, by: EraseBy, answer: EraseAnswer): Promise<void> {
    const { ledger } = this.#deps;
    if (wishes.length === 0) return;
    ledger.closeSegmentOf(Math.max(...wishes.map(({ target }) => target.to ?? target.index)));
    const stored: Promise<void>[] = [];
    for (const [g, group] of [...groupsOf(wishes)].entries()) {
      const unfinished = closed.slice(g * unfinishedMost, (g + 1) * unfinishedMost);
      const rest = group.flatMap((one) => one.rest);
      const own = rest.map(({ bytes }) => segmentOf(bytes));
      let sizeBytes = 0;
      for (const { bytes } of rest) sizeBytes += bytes.length;
      const entry: ErasureEntry = {
        ...this.#deps.common(),
        scope,
        ...(paths.length === 0 ? {} : { fields: true }),
        targets: group.map(({ target }) => target),
        ...(unfinished.length === 0 ? {} : { unfinished }),
        ...(own.length === 0
          ? {}
          : { rest: rest.map(({ of }) => of), sizeBytes, segments: own.length, commitment: commitment(own.map(({ hash }) => hash)) }),
        ...by,
      };
      const index = ledger.nextIndex;
      const content = seal(
        entry,
        { ...(reason === undefined ? {} : { reason }), ...(paths.length === 0 ? {} : { paths }) },
        own.map(({ item }) => item),
      );
      // known before it is durable: a snapshot that is made now covers it
      this.#state.pending.push(index);
      if (own.length > 0) this.#state.rests.push(index);
      stored.push(
        new Promise((done, fail) => {
          ledger.append(
            content,
            {
              durable: () => {
                answer.erasures.push(index);
                for (const { entries } of group) answer.entries += entries;
                answer.restBytes += sizeBytes;
                done();
              },
              failed: (error) => {
                this.#state.pending = this.#state.pending.filter((one) => one !== index);
                this.#state.rests = this.#state.rests.filter((one) => one !== index);
                fail(new SwornError('unrecordable', `the erasure could not be recorded, and nothing of it was erased: ${error.message}`));
              },
            },
            { urgent: true },
          );
        }),
      );
    }
    const failed = (await Promise.allSettled(stored)).find((one) => one.status === 'rejected');
    if (failed === undefined) return;
    // those before it are durable, and are erased
    setImmediate(() => this.resume());
    throw failed.reason;
  }

  /** Erases what the pending entries name, wherever it still is. */
  async #apply(): Promise<{ segments: number; attributes: number; bytes: number }> {
    const { ledger, forget, snapshot } = this.#deps;
    this.#records.clear();
    const doing = [...this.#state.pending];
    const targets: ErasureTarget[] = [];
    const unfinished = new Set<string>();
    await this.#readErasures(doing, (_, entry) => {
      targets.push(...entry.targets);
      for (const connection of entry.unfinished ?? []) unfinished.add(connection);
    });
    const named = new Ranges(targets.map(({ index, to }): [number, number] => [index, to ?? index]));
    await this.#walkLeaves(
      0,
      async (walked) => {
        const { index } = walked;
        if (named.has(index)) forget(JSON.parse((await walked.leaf()).toString('utf8')) as Entry, index);
      },
      named,
    );
    const erased = await ledger.erase({ targets, unfinished }, () => this.#isEnding);
    removeCatalog(ledger.folder);
    this.#state.pending = this.#state.pending.filter((index) => !doing.includes(index));
    this.#problem = undefined;
    this.#cleanLog(new Set());
    snapshot();
    this.#deps.log(
      `erased ${erased.segments} segments and ${erased.attributes} attributes, ${erased.bytes} bytes, in ${erased.files} files; entries ${doing.join(', ')}`,
    );
    return erased;
  }

  /** What we wrote into our own log about a defect may hold what was looked at: those lines go, and whatever says one of `values`. */
  #cleanLog(values: ReadonlySet<string>): void {
    const { logFile } = this.#deps;
    if (logFile === undefined) return;
    try {
      const lines = readFileSync(logFile, 'utf8').split('\n');
      const clean = lines
        // a stack goes on for several lines
        .filter((line) => line === '' || /^\d{4}-\d\d-\d\dT/.test(line))
        .map((line) =>
          /^\S+ (?:fatal|defect):/.test(line) || [...values].some((value) => says(line, value)) ? `${line.slice(0, 24)} [erased]` : line,
        );
      if (clean.length !== lines.length || clean.some((line, i) => line !== lines[i]))
        replace(nodeFiles, logFile, Buffer.from(clean.join('\n')), 0o600);
    } catch {
      // there is none, or the disk is full: then the erasure itself is not done either
    }
  }

  /** Rests of many messages lie in one entry: the last ones that were asked for are kept for a moment. */
  async #recordAt(index: number): Promise<EntryRecord | undefined> {
    const known = this.#records.get(index);
    if (known !== undefined) return known;
    const record = await this.#readRecordAt(index);
    if (this.#records.size >= recordsMost) this.#records.clear();
    if (record !== undefined) this.#records.set(index, record);
    return record;
  }

  async #readRecordAt(index: number): Promise<EntryRecord | undefined> {
    const firstIndex = segmentFiles(this.#payload).findLast((first) => first <= index);
    let found: EntryRecord | undefined;
    if (firstIndex === undefined) return undefined;
    await walkSegment(this.#payload, firstIndex, this.#deps.ledger.segmentKeys, (walked) => {
      if (walked.type !== 'entry' || walked.index !== index) return walked.index <= index;
      return walked.record().then((bytes) => {
        found = entryIn(bytes);
        return false;
      });
    });
    return found;
  }

  /** Entries from an index on, until `visit` says `false`. */
  async #walkLeaves(from: number, visit: (walked: Walked) => unknown, only?: Ranges): Promise<void> {
    const files = segmentFiles(this.#payload);
    let isOver = false;
    for (const [i, firstIndex] of files.entries()) {
      const next = files[i + 1] ?? Number.POSITIVE_INFINITY;
      if (isOver || next <= from || only?.touches(firstIndex, next) === false) continue;
      await walkSegment(this.#payload, firstIndex, this.#deps.ledger.segmentKeys, (walked) => {
        this.#goOn();
        if (walked.type !== 'entry' || walked.index < from) return true;
        const said = visit(walked);
        const heard = (word: unknown): boolean => {
          isOver ||= word === false;
          return !isOver;
        };
        return said instanceof Promise ? said.then(heard) : heard(said);
      });
    }
  }

  async #readErasures(indexes: readonly number[], take: (index: number, entry: ErasureEntry) => void): Promise<void> {
    if (indexes.length === 0) return;
    const wanted = new Ranges(indexes.map((index) => [index, index]));
    await this.#walkLeaves(
      indexes[0]!,
      async (walked) => {
        const { index } = walked;
        if (index > wanted.last) return false;
        if (!wanted.has(index)) return true;
        const entry = JSON.parse((await walked.leaf()).toString('utf8')) as Entry;
        if (entry.kind === 'erasure') take(index, entry);
        return true;
      },
      wanted,
    );
  }

  /** The first entry from `from` on that is not older, or that is the last one. */
  async #olderThan(from: number, cutoffMs: number): Promise<number> {
    let to = from;
    const { size } = this.#deps.ledger;
    await this.#walkLeaves(from, async (walked) => {
      const { index } = walked;
      const { time } = JSON.parse((await walked.leaf()).toString('utf8')) as Entry;
      if (Date.parse(time) >= cutoffMs || index >= size) return false;
      to = index + 1;
      return true;
    });
    return to;
  }

  /** While something is asked for, each is read once. */
  async #readRests(): Promise<Rests> {
    this.#rests ??= { read: new Rests(), entries: 0 };
    const { read, entries } = this.#rests;
    const due = this.#state.rests.slice(entries);
    this.#rests.entries += due.length;
    await this.#readErasures(due, (index, entry) => read.add(index, entry));
    return read;
  }

  /** Who is behind each connection: asked for only where a hold is about that. */
  async #readParties(): Promise<void> {
    const { size } = this.#deps.ledger;
    await this.#walkLeaves(this.#partiesTo, async (walked) => {
      const { index } = walked;
      if (index >= size) return false;
      const leaf = await walked.leaf();
      this.#partiesTo = index + 1;
      const beginning = leaf.toString('latin1', 0, 40);
      if (!beginning.includes('"kind":"open"') && !beginning.includes('"kind":"principal"')) return true;
      const entry = JSON.parse(leaf.toString('utf8')) as Entry;
      if (entry.kind !== 'open' && entry.kind !== 'principal') return true;
      const record = entryIn(await walked.record());
      this.#parties.take(entry, index, record === undefined ? {} : attributesOf(record));
      return true;
    });
  }
}

/** What so many wishes have room for. */
function closedMost(wishes: number): number {
  return unfinishedMost * Math.max(1, Math.floor(wishes / erasureTargets));
}

function listOf(looked: Looked, problem: 'too-long' | 'not-json'): number[] {
  const list = problem === 'too-long' ? looked.tooLong : looked.notJson;
  return list.length < listedMost ? list : [];
}

/** Positions of what is still there and wanted; `text` is what it says. */
function keptAt(items: readonly ContentItem[], isWanted: (k: number, text: string) => boolean): number[] {
  const positions: number[] = [];
  for (const [k, item] of items.entries()) {
    if (item.state === 'kept' && isWanted(k, Buffer.from(item.bytes.buffer, item.bytes.byteOffset, item.bytes.length).toString('utf8')))
      positions.push(k);
  }
  return positions;
}

/** As many as fit into one entry each. */
function* groupsOf(wishes: readonly Wish[]): Generator<Wish[]> {
  let group: Wish[] = [];
  let sizeBytes = 0;
  let restBytes = 0;
  for (const one of wishes.map(fitting)) {
    const oneBytes = namingBytesOf(one);
    const oneRest = one.rest.reduce((sum, { bytes }) => sum + bytes.length, 0);
    if (group.length > 0 && (group.length >= erasureTargets || sizeBytes + oneBytes > namingBytes || restBytes + oneRest > restMostBytes)) {
      yield group;
      group = [];
      sizeBytes = 0;
      restBytes = 0;
    }
    group.push(one);
    sizeBytes += oneBytes;
    restBytes += oneRest;
  }
  if (group.length > 0) yield group;
}

function namingBytesOf({ target, rest }: Wish): number {
  return JSON.stringify(target).length + JSON.stringify(rest.map(({ of }) => of)).length + 2;
}

/** One that says too much for an entry says that everything goes. */
function fitting(one: Wish): Wish {
  return namingBytesOf(one) <= namingBytes ? one : { ...one, target: { ...one.target, segments: 'all' }, rest: [] };
}

/** Ranges of indexes. */
class Ranges {
  readonly #sorted: [number, number][];
  readonly last: number;
  #at = 0;

  constructor(ranges: readonly (readonly [number, number])[]) {
    const sorted: [number, number][] = [];
    for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
      const before = sorted.at(-1);
      if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
      else sorted.push([first, last]);
    }
    this.#sorted = sorted;
    this.last = sorted.at(-1)?.[1] ?? -1;
  }

  has(index: number): boolean {
    // most often the same as before, or the next
    for (const at of [this.#at, this.#at + 1]) {
      const range = this.#sorted[at];
      if (range !== undefined && range[0] <= index && index <= range[1]) {
        this.#at = at;
        return true;
      }
    }
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]![1] < index) low = middle + 1;
      else high = middle;
    }
    const range = this.#sorted[low];
    if (range === undefined || range[0] > index) return false;
    this.#at = low;
    return true;
  }

  /** Whether there is any in [from, to). */
  touches(from: number, to: number): boolean {
    return this.#sorted.some(([first, last]) => first < to && last >= from);
  }
}
