/** Runs the finding rules over what a projection sees, and keeps their findings as rows. */
import { hex, utf8 } from '../bytes/bytes.ts';
import { globMatches } from '../mcp/glob.ts';
import { everything, type Found, type Rule, type Seen, type Sight, type Watch } from './events.ts';
import type { AnalysisOptions } from './options.ts';
import type { FindingRow } from './rows.ts';
import type { RowSink } from './sink.ts';
import { rules as allRules } from './rules/index.ts';

/** Entries that a finding names. */
const indexesMost = 100;
/** Names that are remembered, which only saves work. */
const namesMost = 1_000;

interface Watching {
  rule: Rule;
  watch: Watch;
}

export class Findings {
  readonly #ledger: string;
  readonly #options: AnalysisOptions;
  readonly #sink: RowSink;
  readonly #watches: Watching[];
  /** Of them those that see it, in their order. */
  readonly #bySight: Readonly<Record<Sight, readonly Watching[]>>;
  /** Names of findings that go on, by what they are made of. */
  readonly #names = new Map<string, string>();
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
    const seeing = (sight: Sight): readonly Watching[] =>
      this.#watches.filter(({ rule: { sees } }) => sees.includes(sight) || (sight === 'odd message' && sees.includes('message')));
    this.#bySight = Object.fromEntries(everything.map((sight) => [sight, seeing(sight)])) as Record<Sight, readonly Watching[]>;
  }

  /** Shows the rules what was seen; `named` gets each finding with the entries that it names now. */
  see(seen: Seen, named: (rule: string, indexes: readonly number[]) => void): void {
    for (const { rule, watch } of this.#bySight[sightOf(seen)]) {
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
    const finding = this.#nameOf(`${rule.id}\0${first}\0${found.subject ?? ''}`);
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

  #nameOf(what: string): string {
    const known = this.#names.get(what);
    if (known !== undefined) return known;
    // the ledger is part of it: an id names one finding, whichever ledgers are looked at together
    const name = hex(this.#options.crypto.sha256(utf8(`${this.#ledger}\0${what}`))).slice(0, 12);
    if (this.#names.size >= namesMost) this.#names.clear();
    this.#names.set(what, name);
    return name;
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

function sightOf(seen: Seen): Sight {
  if (seen.kind === 'call') return `call ${seen.phase}`;
  if (seen.kind !== 'message') return seen.kind;
  const { entry } = seen;
  return entry.anomalies !== undefined || (entry.kind === 'message' && entry.type === 'opaque') ? 'odd message' : 'message';
}
