/** Runs the finding rules over what a projection sees, and keeps their findings as rows. */
import { hex, utf8 } from '../bytes/bytes.ts';
import { globMatches } from '../mcp/glob.ts';
import type { Found, Rule, Seen, Watch } from './events.ts';
import type { AnalysisOptions } from './options.ts';
import type { FindingRow } from './rows.ts';
import type { RowSink } from './sink.ts';
import { rules as allRules } from './rules/index.ts';

/** Entries that a finding names. */
const indexesMost = 100;

export class Findings {
  readonly #ledger: string;
  readonly #options: AnalysisOptions;
  readonly #sink: RowSink;
  readonly #watches: { rule: Rule; watch: Watch }[];
  /** By rule: globs over tools of which nobody wants a finding. */
  readonly #ignored = new Map<string, string[]>();

  /** `states`: what `toJSON` gave. */
  constructor(ledger: string, options: AnalysisOptions, sink: RowSink, states: Readonly<Record<string, unknown>> = {}, rules = allRules) {
    this.#ledger = ledger;
    this.#options = options;
    this.#sink = sink;
    const silent = new Set<string>();
    for (const one of options.ignore ?? []) {
      const slash = one.indexOf('/');
      if (slash < 0) silent.add(one);
      else this.#ignored.set(one.slice(0, slash), [...(this.#ignored.get(one.slice(0, slash)) ?? []), one.slice(slash + 1)]);
    }
    const wanted = rules.filter(({ id }) => !silent.has(id));
    this.#watches = wanted.map((rule) => ({ rule, watch: rule.create(options, states[rule.id]) }));
  }

  /** Shows the rules what was seen; `named` gets each finding with the entries that it names now. */
  see(seen: Seen, named: (rule: string, indexes: readonly number[]) => void): void {
    for (const { rule, watch } of this.#watches) {
      for (const found of watch.see(seen)) {
        if (this.#isIgnored(rule, found)) continue;
        this.#put(rule, found, seen);
        named(rule.id, found.indexes);
      }
    }
  }

  #isIgnored({ id }: Rule, { tool }: Found): boolean {
    return tool !== undefined && (this.#ignored.get(id)?.some((glob) => globMatches(glob, tool)) ?? false);
  }

  #put(rule: Rule, found: Found, { at, index }: Seen): void {
    const first = found.first ?? found.indexes[0] ?? index;
    // the ledger is part of it: an id names one finding, whichever ledgers are looked at together
    const finding = hex(this.#options.crypto.sha256(utf8(`${this.#ledger}\0${rule.id}\0${first}\0${found.subject ?? ''}`))).slice(0, 12);
    const before = this.#sink.get('findings', { ledger: this.#ledger, finding });
    const indexes = joined(before?.indexes ?? [], found.indexes);
    const { session, server, tool } = found;
    const row: FindingRow = {
      ledger: this.#ledger,
      finding,
      rule: rule.id,
      severity: found.severity ?? rule.severity,
      title: found.title,
      detail: found.detail,
      why: rule.why,
      silence: rule.silence,
      ...(session === undefined ? {} : { session }),
      ...(server === undefined ? {} : { server }),
      ...(tool === undefined ? {} : { tool }),
      indexes,
      count: (before?.count ?? 0) + (found.count ?? 1),
      firstAt: before?.firstAt ?? at,
      lastAt: at,
      ...(before?.acknowledged === undefined ? {} : { acknowledged: before.acknowledged }),
    };
    this.#sink.put('findings', row);
  }

  /** Somebody answers for a finding; a later one takes the place of the one before. */
  acknowledged(finding: string, by: { index: number; at: string }, note: unknown): void {
    const row = this.#sink.get('findings', { ledger: this.#ledger, finding });
    if (row !== undefined) this.#sink.put('findings', { ...row, acknowledged: { ...by, ...(typeof note === 'string' ? { note } : {}) } });
  }

  toJSON(): Record<string, unknown> {
    return Object.fromEntries(this.#watches.map(({ rule, watch }) => [rule.id, watch.state()]));
  }
}

/** The first of both, ascending. The same list where nothing comes to it, as with a finding that goes on for long. */
function joined(before: number[], more: readonly number[]): number[] {
  const last = before.at(-1) ?? -1;
  if (before.length === indexesMost && more.every((index) => index >= last)) return before;
  return [...new Set([...before, ...more])].sort((a, b) => a - b).slice(0, indexesMost);
}
