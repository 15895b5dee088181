/** The tools of servers: what they do and where that is known from, how they are used, and how servers define them. */
import { hex, utf8 } from '../bytes/bytes.ts';
import { definitionBytes, projectedTools } from '../limits.ts';
import { effectOf, splitOverrides, type ToolDefinition } from '../mcp/effect.ts';
import type { Effects, RowEffect } from './effects.ts';
import { hiddenTextIn, textsOf } from './hidden-text.ts';
import { count, percentile, type Latency } from './latency.ts';
import { isObject } from './message-view.ts';
import { instructionsIn } from './rules/instructions.ts';
import type { AnalysisOptions } from './options.ts';
import type { CallRow, DefinitionRow, ToolRow } from './rows.ts';
import type { RowSink } from './sink.ts';
import { nounsOf } from './words.ts';

interface KnownTool {
  row: ToolRow;
  latency: Latency;
  /** Of its definition as it was listed last. */
  digest?: string;
  /** What its parameters are ids of, as their descriptions say: `id` → `employee`. */
  nouns?: Record<string, string>;
}

/** A definition that is not the one that its tool had until now. */
export interface Changed {
  definition: DefinitionRow;
  previous?: DefinitionRow;
  tool: ToolRow;
}

const noOverrides = splitOverrides({});
const hiddenMost = 10;

export class Tools {
  readonly #ledger: string;
  readonly #options: AnalysisOptions;
  readonly #sink: RowSink;
  readonly #effects: Effects;
  /** By server and name; who was used last is last. */
  readonly #all = new Map<string, KnownTool>();
  readonly #changed = new Set<KnownTool>();
  readonly #definitions = new Map<string, DefinitionRow>();

  /** `known`: what `toJSON` gave. */
  constructor(ledger: string, options: AnalysisOptions, sink: RowSink, effects: Effects, known: unknown = []) {
    this.#ledger = ledger;
    this.#options = options;
    this.#sink = sink;
    this.#effects = effects;
    for (const one of known as KnownTool[]) this.#all.set(nameOf(one.row.server, one.row.tool), one);
  }

  toJSON(): unknown {
    return [...this.#all.values()];
  }

  /** Rows that wait for `end`. */
  get pending(): number {
    return this.#changed.size + this.#definitions.size;
  }

  end(): void {
    for (const known of this.#changed) this.#put(known);
    this.#changed.clear();
    for (const row of this.#definitions.values()) this.#sink.put('definitions', row);
    this.#definitions.clear();
  }

  /** What the descriptions of a tool's parameters call them. */
  nounsOf(server: string, tool: string): Readonly<Record<string, string>> {
    return this.#all.get(nameOf(server, tool))?.nouns ?? {};
  }

  /** A tool is called. */
  began({ server, target = '', effect, effectFrom, sensitive, destructive, state, beganAt }: Readonly<CallRow>): void {
    const known = this.#of(server, target);
    const { row } = known;
    row.calls++;
    if (state === 'blocked') row.blocked++;
    // the last call's: a tool may become known only after its first one
    tell(row, { effect, effectFrom, ...(sensitive ? { sensitive } : {}), ...(destructive ? { destructive } : {}) });
    row.firstAt ??= beganAt;
    row.lastAt = beganAt;
  }

  /** A call has ended. */
  ended({ server, target = '', state, durationUs, resultBytes, contextTokens }: Readonly<CallRow>): void {
    if (state === 'blocked') return;
    const known = this.#of(server, target);
    const { row } = known;
    if (state === 'error' || state === 'toolError') row.errors++;
    if (state === 'unanswered') row.unanswered++;
    row.resultBytes += resultBytes ?? 0;
    row.contextTokens += contextTokens ?? 0;
    if (durationUs === undefined) return;
    count(known.latency, durationUs);
    row.longestUs = Math.max(row.longestUs ?? 0, durationUs);
  }

  /** A server listed tools: those that are new or other than before. */
  listed(server: string, index: number, at: string, list: unknown): Changed[] {
    const changed: Changed[] = [];
    if (!Array.isArray(list)) return changed;
    for (const definition of list as unknown[]) {
      if (!isObject(definition) || typeof definition['name'] !== 'string') continue;
      const found = this.#define(server, definition['name'], definition, index, at);
      if (found !== undefined) changed.push(found);
    }
    return changed;
  }

  #define(server: string, tool: string, definition: Record<string, unknown>, index: number, at: string): Changed | undefined {
    const text = JSON.stringify(definition);
    const digest = hex(this.#options.crypto.sha256(utf8(text)));
    const key = { ledger: this.#ledger, server, tool, digest };
    const known = this.#of(server, tool);
    const { row } = known;
    row.isListed = true;
    const name = `${nameOf(server, tool)}\0${digest}`;
    const before = this.#definitions.get(name) ?? this.#sink.get('definitions', key);
    const now: DefinitionRow = before
      ? { ...before, lastIndex: index, lastAt: at }
      : { ...key, firstIndex: index, firstAt: at, lastIndex: index, lastAt: at, text: cutText(text) };
    if (before === undefined) row.definitions++;
    this.#definitions.set(name, now);
    const previousDigest = known.digest;
    if (previousDigest === digest) return undefined;
    known.digest = digest;
    const nouns = nounsOf(definition['inputSchema']);
    if (Object.keys(nouns).length > 0) known.nouns = nouns;
    else delete known.nouns;
    // what calls say of it goes before, since it holds what the tap was told too
    if (row.calls === 0) tell(row, this.#effectOf(tool, definition));
    const hidden = [...new Set([...textsOf(definition)].flatMap((one) => orElse(hiddenTextIn(one), () => instructionsIn(one))))].slice(0, hiddenMost);
    if (hidden.length > 0) row.hiddenText = hidden;
    else delete row.hiddenText;
    const previousKey = { ...key, digest: previousDigest ?? '' };
    const previous =
      previousDigest === undefined
        ? undefined
        : (this.#definitions.get(`${nameOf(server, tool)}\0${previousDigest}`) ?? this.#sink.get('definitions', previousKey));
    return { definition: now, ...(previous === undefined ? {} : { previous }), tool: row };
  }

  #effectOf(tool: string, { annotations }: Record<string, unknown>): RowEffect {
    const definition: ToolDefinition = { name: tool };
    for (const hint of ['readOnlyHint', 'destructiveHint', 'openWorldHint'] as const) {
      const said = isObject(annotations) ? annotations[hint] : undefined;
      if (typeof said === 'boolean') definition[hint] = said;
    }
    const target = { kind: 'tool', value: tool } as const;
    const said = effectOf({ method: 'tools/call', target }, { get: () => definition }, noOverrides);
    return this.#effects.of('tools/call', tool, said);
  }

  #of(server: string, tool: string): KnownTool {
    const name = nameOf(server, tool);
    let known = this.#all.get(name);
    if (known === undefined) {
      const row = this.#sink.get('tools', { ledger: this.#ledger, server, tool });
      known = { row: row === undefined ? newTool(this.#ledger, server, tool) : { ...row }, latency: {} };
    } else this.#all.delete(name);
    this.#all.set(name, known);
    if (this.#all.size > projectedTools) {
      const [[oldest, gone]] = this.#all as unknown as [[string, KnownTool]];
      this.#all.delete(oldest);
      if (this.#changed.delete(gone)) this.#put(gone);
    }
    this.#changed.add(known);
    return known;
  }

  #put({ row, latency }: KnownTool): void {
    const p50Us = percentile(latency, 0.5);
    const p95Us = percentile(latency, 0.95);
    this.#sink.put('tools', { ...row, ...(p50Us === undefined ? {} : { p50Us }), ...(p95Us === undefined ? {} : { p95Us }) });
  }
}

function newTool(ledger: string, server: string, tool: string): ToolRow {
  return {
    ledger,
    server,
    tool,
    effect: 'unknown',
    effectFrom: 'default',
    calls: 0,
    errors: 0,
    blocked: 0,
    unanswered: 0,
    resultBytes: 0,
    contextTokens: 0,
    isListed: false,
    definitions: 0,
  };
}

/** Marks that are not said any more go. */
function tell(row: ToolRow, effect: RowEffect): void {
  delete row.sensitive;
  delete row.destructive;
  Object.assign(row, effect);
}

function nameOf(server: string, tool: string): string {
  return `${server}\0${tool}`;
}

function orElse(found: string[], other: () => string[]): string[] {
  return found.length > 0 ? found : other();
}

function cutText(text: string): string {
  return text.length <= definitionBytes ? text : `${text.slice(0, definitionBytes - 1)}…`;
}
