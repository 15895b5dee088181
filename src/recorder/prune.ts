/**
 * Pruning (`spec/ledger.md`, Pruning): entries from the beginning on are deleted, under a policy that a `prune` entry states. Only their hashes stay.
 *
 * What must stay true: the entry is durable and published before anything goes; only whole bundles go, none of a session that is open or younger, none at or behind
 * what a hold covers; what later readings need of the prefix is said again.
 * If we die here: before the entry nothing has changed; after it the next recorder finds it, in the snapshot or behind it, and goes on. Doing it twice changes nothing.
 */
import { join } from 'node:path';
import type { CutConnection, Entry, PruneEntry } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { closedBy, Interrupted, walkSegment, type Walked } from '../ledger/rewrite.ts';
import { tileWidth } from '../limits.ts';
import type { Freeze } from '../policy/freeze.ts';
import type { Eraser } from './erase.ts';
import { holdOn, type Hold } from './hold.ts';
import { seal } from './seal.ts';

/** What is asked for: entries before a time, or below an index. */
export interface PruneRequest {
  beforeMs?: number;
  /** At most this. */
  end?: number;
  /** Of `retention`. */
  ageMs?: number;
  reason?: string;
  /** Only say what would go. */
  dryRun?: boolean;
}

/** Why no more goes. */
export interface Obstacle {
  what: 'asked' | 'published' | 'witness' | 'session' | 'hold' | 'freeze' | 'parts' | 'encrypted' | 'restated';
  /** What keeps it: an entry. */
  index: number;
  /** Of a session its connection, of a hold its reason, of an encrypted segment why it cannot be opened. */
  name?: string;
  /** Of a hold: its entry. */
  hold?: number;
}

export interface PruneAnswer {
  /** Entries below are pruned, before and after; the same: nothing went. */
  from: number;
  end: number;
  /** The entry that says it. */
  entry?: number;
  obstacle: Obstacle;
  unfinished?: string;
}

/** What the snapshot keeps. */
export interface PruneState {
  /** Entries below are pruned, as the last `prune` entry says, and which one that is. */
  end: number;
  entry?: number;
  /** Its files may still be there. */
  isPending?: boolean;
}

export type PruneBy = Pick<PruneEntry, 'by' | 'selfAdministered' | 'policyDigest'>;

export interface PruneDeps {
  readonly ledger: Ledger;
  readonly eraser: Eraser;
  readonly common: () => Pick<PruneEntry, 'v' | 'kind' | 'time' | 'monotonicUs'>;
  readonly timeText: (us: number) => string;
  readonly holds: () => readonly Hold[];
  readonly freezes: () => readonly Freeze[];
  readonly isOpen: (connection: string) => boolean;
  /** So many entries a witness has seen; nothing where none is configured. */
  readonly witnessedSize: () => number | undefined;
  /** Makes sure that the policy in force stands at or behind an index, in full. False when it could not be stored. */
  readonly restatePolicy: (from: number) => Promise<boolean>;
  /** Entries below are gone: what is remembered of them must not be written again. */
  readonly forget: () => void;
  readonly snapshot: () => void;
  readonly log: (line: string) => void;
}

/** A session as far as it was looked at. */
interface Seen extends Omit<CutConnection, 'connection'> {
  last: number;
  isClosed: boolean;
  /** First part of a frame, by direction, that no entry has named yet: index of the entry before it, since it may be the last record of that one's file. */
  parts: [number | undefined, number | undefined];
}

interface Plan {
  end: number;
  obstacle: Obstacle;
  restated: Pick<PruneEntry, 'vkey' | 'keys' | 'continues' | 'connections'>;
}

const retryMs = 60_000;
const lookEveryMs = 86_400_000;
/** Of both there must be room in one entry. */
const cutMost = 200;
const keysMost = 48;

export class Pruner {
  readonly #deps: PruneDeps;
  readonly #payload: string;
  #state: PruneState;
  #problem: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #isEnding = false;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(deps: PruneDeps, state: PruneState) {
    this.#deps = deps;
    this.#payload = join(deps.ledger.folder, 'payload');
    this.#state = state;
  }

  toJSON(): PruneState {
    return this.#state;
  }

  get status(): { end: number; entry?: number; problem?: string } {
    const { end, entry } = this.#state;
    return { end, ...(entry === undefined ? {} : { entry }), ...(this.#problem === undefined ? {} : { problem: this.#problem }) };
  }

  /**
   * What `retention` says. Looked for once a day: what a hold or a session keeps would be looked through again each hour.
   * @throws SwornError as `prune`
   */
  async expire(nowMs: number, ageMs: number, by: PruneBy): Promise<PruneAnswer | undefined> {
    if (nowMs - this.#lookedMs < lookEveryMs) return undefined;
    this.#lookedMs = nowMs;
    return this.prune({ beforeMs: nowMs - ageMs, ageMs }, by);
  }

  /** What kept something may be gone, or more is asked for. */
  lookAgain(): void {
    this.#lookedMs = Number.NEGATIVE_INFINITY;
  }

  /** What is under way ends between two files, in its turn. */
  end(): void {
    this.#isEnding = true;
    clearTimeout(this.#retry);
  }

  /** Goes on with what is stated and still there. */
  resume(): void {
    if (this.#state.isPending !== true) return;
    this.#deps.eraser.exclusive(() => this.#apply(0)).catch((error: Error) => this.#failed(error));
  }

  #failed(error: Error): void {
    if (error instanceof Interrupted || this.#isEnding) return;
    this.#problem = error.message;
    this.#deps.log(`what was to be pruned is still there: ${error.message}; tried again every minute`);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.resume();
    }, retryMs).unref();
  }

  /**
   * Prunes what may go of what is asked for, and says what kept the rest.
   * @throws SwornError `unrecordable` when the entry could not be stored: then nothing went
   */
  prune(request: PruneRequest, by: PruneBy): Promise<PruneAnswer> {
    return this.#deps.eraser.exclusive(() => this.#prune(request, by));
  }

  async #prune(request: PruneRequest, by: PruneBy): Promise<PruneAnswer> {
    const { holds, eraser } = this.#deps;
    if (this.#state.isPending === true) await this.#apply(0);
    // what a pending erasure names may lie in the files that would go
    if (eraser.status.pending > 0) throw new SwornError('unrecordable', 'an erasure is not done yet: nothing is pruned before it');
    const from = this.#state.end;
    for (;;) {
      const before = holds();
      const plan = await this.#plan(request);
      if (holds() !== before) continue;
      const { end, obstacle, restated } = plan;
      if (end <= from || request.dryRun === true) return { from, end: Math.max(from, end), obstacle };
      if (!(await this.#deps.restatePolicy(end))) throw new SwornError('unrecordable', 'the policy in force could not be recorded again');
      // a hold that came meanwhile may cover what was looked at before it came
      if (holds() !== before) continue;
      const entry = await this.#record(end, request, by, restated);
      const answer: PruneAnswer = { from, end, entry, obstacle };
      try {
        await this.#apply(from);
      } catch (error) {
        answer.unfinished = (error as Error).message;
        this.#failed(error as Error);
      }
      return answer;
    }
  }

  /** Writes down what goes, as a durable entry. */
  async #record(end: number, { ageMs, beforeMs, reason }: PruneRequest, by: PruneBy, restated: Plan['restated']): Promise<number> {
    const { ledger, common, timeText } = this.#deps;
    const entry: PruneEntry = {
      ...common(),
      end,
      ...(ageMs !== undefined ? { ageMs } : beforeMs !== undefined ? { before: timeText(beforeMs * 1000) } : {}),
      ...restated,
      ...by,
    };
    const content = seal(entry, reason === undefined ? {} : { reason });
    // only closed files are touched
    ledger.closeSegmentOf(end - 1);
    const index = ledger.nextIndex;
    const before = this.#state;
    // known before it is durable: a snapshot that is made now covers it
    this.#state = { end, entry: index, isPending: true };
    await new Promise<void>((done, fail) => {
      ledger.append(
        content,
        {
          durable: () => done(),
          failed: (error) => {
            this.#state = before;
            fail(new SwornError('unrecordable', `the pruning could not be recorded, and nothing went: ${error.message}`));
          },
        },
        { urgent: true },
      );
    });
    return index;
  }

  /** Takes away what the last entry says, but for what is below `from`, which is gone. */
  async #apply(from: number): Promise<void> {
    const { ledger, eraser, forget, snapshot, log } = this.#deps;
    const { end, entry } = this.#state;
    // whoever finds that entries are missing must find why
    await ledger.publish();
    if (ledger.publishedSize <= entry!) throw new Error('the entry that says it is not published');
    await ledger.prune(from, end, () => this.#isEnding);
    this.#state = { end, entry: entry! };
    this.#problem = undefined;
    eraser.pruned(end);
    forget();
    snapshot();
    log(`pruned the entries below ${end}; entry ${entry}`);
  }

  async #plan(request: PruneRequest): Promise<Plan> {
    const { ledger, isOpen, witnessedSize, eraser } = this.#deps;
    const holds = this.#deps.holds();
    const parties = holds.length === 0 ? undefined : await eraser.parties();
    const earlier = await this.#statement();
    const cut = new Map(earlier?.connections.map((one) => [one.connection, one]));
    const keys = [...(earlier?.keys ?? [])];
    let vkey = earlier?.vkey;
    let continues = earlier?.continues;
    const sessions = new Map<string, Seen>();
    /** Between the first part of a frame and its entry nothing is cut: [last entry before the part, its entry]. */
    const frames: [number, number][] = [];
    let bound = this.#state.end;
    const obstacles: Obstacle[] = [];

    const take = (entry: Entry, index: number): void => {
      if (entry.kind === 'start') {
        vkey ??= entry.vkey;
        if (index === 0) continues = entry.continues;
      } else if (entry.kind === 'key' && entry.act === 'rotate' && entry.previous !== undefined && entry.endorsement !== undefined)
        keys.push({ index, previous: entry.previous, vkey: entry.vkey, endorsement: entry.endorsement });
      const connection = 'connection' in entry ? entry.connection : undefined;
      let session = connection === undefined ? undefined : sessions.get(connection);
      if (connection !== undefined && session === undefined && entry.kind !== 'recovery' && entry.kind !== 'gap') {
        const { mode, custody } = entry.kind === 'open' ? entry : (cut.get(connection) ?? { mode: 'commit', custody: 'same-user' });
        session = { index: cut.get(connection)?.index ?? index, last: index, mode, custody, isClosed: false, parts: [undefined, undefined] };
        sessions.set(connection, session);
      }
      if (session !== undefined) {
        session.last = index;
        session.isClosed = entry.kind === 'close' || (session.isClosed && entry.kind === 'gap');
        // an answer of our own may come while a frame that goes the same way is not finished
        if ((entry.kind === 'message' || entry.kind === 'batch') && entry.origin !== 'sworn') {
          const side = entry.direction === 'c2s' ? 0 : 1;
          // its own, or of a frame before it that was never finished
          const first = session.parts[side];
          if (first !== undefined) frames.push([first, index]);
          session.parts[side] = undefined;
        }
      }
      const hold = holdOn(holds, entry, parties?.of(entry, index));
      if (hold !== undefined && !obstacles.some((one) => one.hold === hold.id))
        obstacles.push({
          what: 'hold',
          index: Math.min(index, session?.index ?? index),
          hold: hold.id,
          ...(hold.reason === undefined ? {} : { name: hold.reason }),
        });
    };

    await this.#walk(this.#state.end, (walked) => {
      const { index, type } = walked;
      if (this.#isEnding) throw new Interrupted('the recorder is ending');
      if (type !== 'entry') {
        return walked.link().then(({ connection, side }) => {
          const session = sessions.get(connection);
          if (session !== undefined) session.parts[side] ??= index - 1;
        });
      }
      if (index >= Math.min(ledger.size, request.end ?? Number.POSITIVE_INFINITY)) return false;
      return walked.leaf().then((leaf) => {
        const entry = JSON.parse(leaf.toString('utf8')) as Entry;
        if (request.beforeMs !== undefined && Date.parse(entry.time) >= request.beforeMs) return false;
        bound = index + 1;
        take(entry, index);
        return true;
      });
    });

    let obstacle: Obstacle = { what: 'asked', index: bound };
    const lower = (one: Obstacle): void => {
      if (one.index >= bound) return;
      bound = one.index;
      obstacle = one;
    };
    lower({ what: 'published', index: ledger.publishedSize });
    const witnessed = witnessedSize();
    if (witnessed !== undefined) lower({ what: 'witness', index: witnessed });
    for (const [name, { index, isClosed }] of sessions) if (!isClosed || isOpen(name)) lower({ what: 'session', index, name });
    for (const one of obstacles) lower(one);
    // what is in force must be there to be read
    for (const { id, reason } of holds) lower({ what: 'hold', index: id, hold: id, ...(reason === undefined ? {} : { name: reason }) });
    for (const { id } of this.#deps.freezes()) lower({ what: 'freeze', index: id });

    for (;;) {
      const end = Math.floor(bound / tileWidth) * tileWidth;
      const frame = frames.find(([first, last]) => first < end && end <= last);
      if (frame !== undefined) {
        lower({ what: 'parts', index: frame[0] });
        continue;
      }
      // the segment in which the bound lies is written anew
      const files = segmentFiles(this.#payload);
      const cutFile = files.findLast((firstIndex) => firstIndex < end);
      const problem =
        end <= this.#state.end || cutFile === undefined || files.includes(end)
          ? undefined
          : await closedBy(this.#payload, cutFile, ledger.segmentKeys);
      if (problem !== undefined) {
        lower({ what: 'encrypted', index: cutFile!, name: problem });
        continue;
      }
      const said = keys.filter(({ index }) => index < end);
      const connections: CutConnection[] = [];
      for (const [connection, { index, last, mode, custody }] of sessions)
        if (index < end && end <= last) connections.push({ connection, index, mode, custody });
      if (end > this.#state.end && (said.length > keysMost || connections.length > cutMost)) {
        lower({ what: 'restated', index: end - 1 });
        continue;
      }
      return {
        end,
        obstacle,
        restated: { vkey: vkey ?? ledger.key.vkey, keys: said, ...(continues === undefined ? {} : { continues }), connections },
      };
    }
  }

  /** The entry that says what is pruned by now. */
  async #statement(): Promise<PruneEntry | undefined> {
    const { entry: wanted } = this.#state;
    if (wanted === undefined) return undefined;
    let found: Entry | undefined;
    await this.#walk(wanted, (walked) => {
      if (walked.type !== 'entry') return true;
      return walked.leaf().then((leaf) => {
        found = JSON.parse(leaf.toString('utf8')) as Entry;
        return false;
      });
    });
    if (found?.kind !== 'prune') throw new SwornError('ledger-corrupt', `entry ${wanted} should say what is pruned`);
    return found;
  }

  /** Records from that of an entry on, until `visit` says `false`; its parts are among those before it. */
  async #walk(from: number, visit: (walked: Walked) => unknown): Promise<void> {
    const files = segmentFiles(this.#payload);
    let isOver = false;
    for (const [i, firstIndex] of files.entries()) {
      if (isOver || (files[i + 1] ?? Number.POSITIVE_INFINITY) <= from) continue;
      await walkSegment(this.#payload, firstIndex, this.#deps.ledger.segmentKeys, async (walked) => {
        if (walked.type === 'entry' && walked.index < from) return true;
        isOver = (await visit(walked)) === false;
        return !isOver;
      });
    }
  }
}
