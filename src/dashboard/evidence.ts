/**
 * The evidence state of each ledger: verified at start, on demand, and again when its checkpoint moved, elsewhere and one after the other. What must stay true: nothing is
 * asserted that was not checked by the verifier; while a ledger is checked again, what held before is shown with its time.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EvidenceState } from '../analysis/views.ts';
import { verifyAgainMs, verifyAgainShare } from '../limits.ts';

/** What one verification found, without what the dashboard knows itself. */
export type Checked = Omit<EvidenceState, 'shown' | 'progress' | 'verifiedAt' | 'ledger' | 'name' | 'commands'> & {
  /** Of the tree that was checked, base64; absent when it does not hold. */
  root?: string;
};

export interface Ledger {
  /** 32 hex digits. */
  id: string;
  path: string;
}

export interface EvidenceDeps {
  /** Verifies one ledger, elsewhere. @throws (rejects) Error with words for people */
  check(path: string, progress: (done: number) => void): Promise<Checked>;
  /** Entries of a ledger that are rows. */
  shown(ledger: string): number;
  changed(): void;
  commands(path: string): EvidenceState['commands'];
}

interface Known {
  ledger: Ledger;
  checked: Checked | undefined;
  verifiedAt: string | undefined;
  /** The checkpoint that was there when it was checked, byte for byte. */
  note: string | undefined;
  problem: string | undefined;
  running: { progress: number } | undefined;
  isWaiting: boolean;
  /** Somebody asked for it, and waits to see it. */
  isAsked: boolean;
  tookMs: number;
  endedAtMs: number;
}

/** How often checkpoints are looked at. */
const lookMs = 1_000;
/** How often a progress is told. */
const tellMs = 500;

export class Evidence {
  readonly #deps: EvidenceDeps;
  readonly #known: Map<string, Known>;
  readonly #queue: Known[] = [];
  #isBusy = false;
  readonly #timer: NodeJS.Timeout;

  constructor(ledgers: readonly Ledger[], deps: EvidenceDeps) {
    this.#deps = deps;
    this.#known = new Map(
      ledgers.map((ledger) => [
        ledger.id,
        {
          ledger,
          checked: undefined,
          verifiedAt: undefined,
          note: undefined,
          problem: undefined,
          running: undefined,
          isWaiting: false,
          isAsked: false,
          tookMs: 0,
          endedAtMs: Number.NEGATIVE_INFINITY,
        },
      ]),
    );
    for (const known of this.#known.values()) this.#want(known);
    this.#timer = setInterval(() => this.#lookForMoved(), lookMs).unref();
  }

  end(): void {
    clearInterval(this.#timer);
    this.#queue.length = 0;
  }

  states(): EvidenceState[] {
    return [...this.#known.values()].map((known) => this.#stateOf(known));
  }

  /** The tree that was checked last, if all of it held. */
  provenOf(ledger: string): { size: number; root: string } | undefined {
    const checked = this.#known.get(ledger)?.checked;
    return checked?.root === undefined || checked.firstBad !== undefined ? undefined : { size: checked.size, root: checked.root };
  }

  /** Checks all of it again. False: there is no such ledger. */
  verify(ledger: string): boolean {
    const known = this.#known.get(ledger);
    if (known === undefined) return false;
    this.#want(known, true);
    return true;
  }

  #want(known: Known, isAsked = false): void {
    known.isAsked ||= isAsked;
    if (known.isWaiting || known.running !== undefined) return;
    known.isWaiting = true;
    this.#queue.push(known);
    void this.#work();
  }

  async #work(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let known = this.#queue.shift(); known !== undefined; known = this.#queue.shift()) await this.#check(known);
    this.#isBusy = false;
  }

  async #check(known: Known): Promise<void> {
    const { path } = known.ledger;
    const running = { progress: 0 };
    known.isWaiting = false;
    known.running = running;
    const note = noteOf(path);
    const startedMs = performance.now();
    let toldMs = startedMs;
    this.#deps.changed();
    try {
      known.checked = await this.#deps.check(path, (done) => {
        running.progress = done;
        if (performance.now() - toldMs < tellMs) return;
        toldMs = performance.now();
        this.#deps.changed();
      });
      known.problem = undefined;
    } catch (error) {
      known.checked = undefined;
      known.problem = (error as Error).message;
    }
    known.note = note;
    known.verifiedAt = new Date().toISOString();
    known.tookMs = performance.now() - startedMs;
    known.endedAtMs = performance.now();
    known.running = undefined;
    known.isAsked = false;
    this.#deps.changed();
  }

  /** A ledger that grows all the time must not be verified all the time: a large one less often. */
  #lookForMoved(): void {
    for (const known of this.#known.values()) {
      if (known.isWaiting || known.running !== undefined) continue;
      // a ledger that has just begun is soon signed
      const waitMs = known.checked?.size === 0 ? lookMs : verifyAgainMs;
      if (performance.now() - known.endedAtMs < Math.max(waitMs, known.tookMs * verifyAgainShare)) continue;
      if (noteOf(known.ledger.path) !== known.note) this.#want(known);
    }
  }

  #stateOf({ ledger, checked, verifiedAt, problem, running, isWaiting, isAsked }: Known): EvidenceState {
    const shown = this.#deps.shown(ledger.id);
    const base = { ledger: ledger.id, name: ledger.path, shown, commands: this.#deps.commands(ledger.path) };
    const isFirst = checked === undefined && problem === undefined;
    if ((isFirst || isAsked) && (isWaiting || running !== undefined)) {
      const sentence = running === undefined ? 'Waits to be verified.' : 'Being verified: hashes, signature, content and order of every record.';
      return {
        ...base,
        ...nothing,
        size: checked?.size ?? 0,
        later: 0,
        state: 'verifying',
        sentence,
        progress: running?.progress ?? 0,
        ...(verifiedAt === undefined ? {} : { verifiedAt }),
      };
    }
    const at = verifiedAt === undefined ? {} : { verifiedAt };
    if (checked === undefined) return { ...base, ...nothing, ...at, size: 0, later: 0, state: 'unverified', sentence: `Not verified: ${problem}.` };
    const { root: _, ...state } = checked;
    // what came since it was checked is not checked either
    return { ...base, ...state, ...at, later: Math.max(checked.later, shown - checked.size) };
  }
}

const nothing = { witnesses: [], findings: [], steps: [], checked: [], notChecked: [] };

function noteOf(path: string): string | undefined {
  try {
    return readFileSync(join(path, 'log', 'checkpoint'), 'latin1');
  } catch {
    return undefined;
  }
}
