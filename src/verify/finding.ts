/** What a verifier wants a person to look at, how bad it is, and the exit status that follows. */

/**
 * - `tampered`: a hash, a signature or a rule that the recorder always keeps does not hold
 * - `rollback`: smaller than, or inconsistent with, a checkpoint that was known before
 * - `missing`: data is not there or cannot be read, so nothing can be concluded about it
 * - `policy`: everything holds, but a stated policy is not met
 * - `warning`: true to the format, but a person should know (frames lost, content erased)
 * - `note`: an ordinary thing that is never hidden (a crash that was mended, a connection still open)
 */
export type Severity = 'tampered' | 'rollback' | 'missing' | 'policy' | 'warning' | 'note';

export type FindingCode =
  | 'checkpoint-missing'
  | 'checkpoint-unreadable'
  | 'signature'
  | 'key'
  | 'anchor'
  | 'witness'
  | 'key-changed'
  | 'key-unknown'
  | 'origin'
  | 'root'
  | 'rollback'
  | 'fork'
  | 'bundle-missing'
  | 'bundle'
  | 'tile-missing'
  | 'tile'
  | 'entry'
  | 'entry-unsupported'
  | 'unreadable'
  | 'segment'
  | 'segment-missing'
  | 'record'
  | 'record-missing'
  | 'torn-tail'
  | 'encrypted'
  | 'leaf'
  | 'content'
  | 'part'
  | 'dropped'
  | 'never-stored'
  | 'erased'
  | 'erased-unstated'
  | 'erasure-unfinished'
  | 'pruned'
  | 'prune-unfinished'
  | 'sequence'
  | 'units-missing'
  | 'units-repeated'
  | 'no-open'
  | 'after-close'
  | 'reference'
  | 'reply-to-nothing'
  | 'approval'
  | 'no-close'
  | 'gap'
  | 'recovery'
  | 'start'
  | 'ahead'
  | 'quorum'
  | 'stale'
  | 'cosignature'
  | 'trust-file'
  | 'proof'
  | 'inclusion'
  | 'sidecar'
  | 'manifest'
  | 'range'
  | 'sample';

export interface Finding {
  code: FindingCode;
  severity: Severity;
  /** One sentence without a full stop; never contains text of a recorded message, but may contain names from the ledger. */
  message: string;
  /** The leaf that it is about. */
  index?: number;
  /** The file that it is about, relative to the ledger. */
  path?: string;
}

export type Exit = 0 | 1 | 2 | 3 | 4 | 5;

/** In a word. */
export const stateOf = { 0: 'holds', 1: 'tampered', 2: 'inconclusive', 3: 'inconclusive', 4: 'policy', 5: 'fork' } as const satisfies Record<
  Exit,
  string
>;

const exitOf: Record<Severity, Exit> = { tampered: 1, rollback: 5, missing: 3, policy: 4, warning: 0, note: 0 };
/** The worst first: what is proven wrong outranks what is only absent. */
const order: Severity[] = ['tampered', 'rollback', 'missing', 'policy', 'warning', 'note'];

/** What a finding's severity does to the exit status. */
export function exitOfSeverity(severity: Severity): Exit {
  return exitOf[severity];
}

const worstFirst: readonly Exit[] = [1, 5, 3, 4, 2, 0];

/** Adds to a result what was found beside it. */
export function addFindings(result: { findings: Finding[]; exit: Exit }, findings: readonly Finding[]): void {
  for (const finding of findings) {
    result.findings.push(finding);
    const exit = exitOf[finding.severity];
    if (worstFirst.indexOf(exit) < worstFirst.indexOf(result.exit)) result.exit = exit;
  }
}

/** Of one code at most this many are kept one by one; the rest is counted. */
const keptOfOneCode = 50;

/** Findings in the order in which they were met, bounded, with counts that are not. */
export class Findings {
  readonly list: Finding[] = [];
  /** How many of each code there were, also those that were not kept. */
  readonly counts = new Map<FindingCode, number>();
  /** The lowest leaf that a `tampered` or `missing` finding names. */
  firstBad: number | undefined;
  #worst: Severity = 'note';

  add(severity: Severity, code: FindingCode, message: string, at: { index?: number; path?: string } = {}): void {
    const count = (this.counts.get(code) ?? 0) + 1;
    this.counts.set(code, count);
    if (order.indexOf(severity) < order.indexOf(this.#worst)) this.#worst = severity;
    if (at.index !== undefined && (severity === 'tampered' || severity === 'missing')) this.firstBad = Math.min(at.index, this.firstBad ?? at.index);
    if (count <= keptOfOneCode) this.list.push({ code, severity, message, ...at });
  }

  get omitted(): number {
    let all = 0;
    for (const count of this.counts.values()) all += count;
    return all - this.list.length;
  }

  get exit(): Exit {
    return exitOf[this.#worst];
  }

  has(code: FindingCode): boolean {
    return this.counts.has(code);
  }
}
