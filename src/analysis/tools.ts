/** The tools of servers: what they do and where that is known from, how they are used, and how servers define them. */
import { definitionBytes, projectedTools } from '../limits.ts';
import { definitionDigest } from '../mcp/definition.ts';
import { effectOf, splitOverrides, type ToolDefinition } from '../mcp/effect.ts';
import type { Effects, RowEffect } from './effects.ts';
import { hiddenTextIn, textsOf } from './hidden-text.ts';
import { count, percentile, type Latency } from './latency.ts';
import { looseJson } from './frame-text.ts';
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

/** What a server listed last: mostly the same again, session by session. Not in the snapshot, for it only saves work. */
interface Listing {
  text: string;
  tools: { tool: string; digest: string }[];
}

const listingChars = 256 * 1024;
const listingsMost = 32;

export class Tools {
  readonly #ledger: string;
  readonly #options: AnalysisOptions;
  readonly #sink: RowSink;
  readonly #effects: Effects;
  /** By server and name; who was used last is last. */
  readonly #all = new Map<string, KnownTool>();
  readonly #changed = new Set<KnownTool>();
  readonly #listings = new Map<string, Listing>();
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

  /** Of a tool's definition as its server listed it last. */
  digestOf(server: string, tool: string): string | undefined {
    return this.#all.get(nameOf(server, tool))?.digest;
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

  /** A call that was to wait for a person was not approved. */
  refused({ server, target = '' }: Readonly<CallRow>): void {
    this.#of(server, target).row.blocked++;
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

  /** A server listed tools, in a result with this text: those that are new or other than before. */
  listed(server: string, index: number, at: string, text: string): Changed[] {
    const listing = withoutId(text);
    const last = this.#listings.get(server);
    if (last?.text === listing && last.tools.every(({ tool, digest }) => this.#all.get(nameOf(server, tool))?.digest === digest)) {
      for (const { tool, digest } of last.tools) this.#again(server, tool, digest, index, at);
      return [];
    }
    const message = looseJson(text);
    const result = isObject(message) ? message['result'] : undefined;
    const list = isObject(result) ? result['tools'] : undefined;
    const changed: Changed[] = [];
    if (!Array.isArray(list)) return changed;
    const tools: Listing['tools'] = [];
    for (const definition of list as unknown[]) {
      if (!isObject(definition) || typeof definition['name'] !== 'string') continue;
      const { digest, ...found } = this.#define(server, definition['name'], definition, index, at);
      tools.push({ tool: definition['name'], digest });
      if (found.changed !== undefined) changed.push(found.changed);
    }
    this.#listings.delete(server);
    if (listing.length <= listingChars) this.#listings.set(server, { text: listing, tools });
    if (this.#listings.size > listingsMost) this.#listings.delete(this.#listings.keys().next().value!);
    return changed;
  }

  /** Listed as before. */
  #again(server: string, tool: string, digest: string, index: number, at: string): void {
    const name = `${nameOf(server, tool)}\0${digest}`;
    const row = this.#definitions.get(name) ?? this.#sink.get('definitions', { ledger: this.#ledger, server, tool, digest });
    this.#of(server, tool);
    if (row !== undefined) this.#definitions.set(name, { ...row, lastIndex: index, lastAt: at });
  }

  #define(server: string, tool: string, definition: Record<string, unknown>, index: number, at: string): { digest: string; changed?: Changed } {
    const text = JSON.stringify(definition);
    const digest = definitionDigest(this.#options.crypto, definition);
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
    if (previousDigest === digest) return { digest };
    known.digest = digest;
    const nouns = nounsOf(definition['inputSchema']);
    if (Object.keys(nouns).length > 0) known.nouns = nouns;
    else delete known.nouns;
    // what calls say of it goes before, since it holds what the tap was told too
    if (row.calls === 0) tell(row, this.#effectOf(server, tool, definition));
    const hidden = [...new Set([...textsOf(definition)].flatMap((one) => orElse(hiddenTextIn(one), () => instructionsIn(one))))].slice(0, hiddenMost);
    if (hidden.length > 0) row.hiddenText = hidden;
    else delete row.hiddenText;
    const previousKey = { ...key, digest: previousDigest ?? '' };
    const previous =
      previousDigest === undefined
        ? undefined
        : (this.#definitions.get(`${nameOf(server, tool)}\0${previousDigest}`) ?? this.#sink.get('definitions', previousKey));
    return { digest, changed: { definition: now, ...(previous === undefined ? {} : { previous }), tool: row } };
  }

  #effectOf(server: string, tool: string, { annotations }: Record<string, unknown>): RowEffect {
    const definition: ToolDefinition = { name: tool };
    for (const hint of ['readOnlyHint', 'destructiveHint', 'openWorldHint'] as const) {
      const said = isObject(annotations) ? annotations[hint] : undefined;
      if (typeof said === 'boolean') definition[hint] = said;
    }
    const target = { kind: 'tool', value: tool } as const;
    const said = effectOf({ method: 'tools/call', target }, { get: () => definition }, noOverrides);
    return this.#effects.of(server, 'tools/call', tool, said);
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
    // an estimate is never beyond what there was
    const within = (part: number): number | undefined => {
      const us = percentile(latency, part);
      return us === undefined ? undefined : Math.min(us, row.longestUs ?? us);
    };
    const p50Us = within(0.5);
    const p95Us = within(0.95);
    this.#sink.put('tools', { ...row, ...(p50Us === undefined ? {} : { p50Us }), ...(p95Us === undefined ? {} : { p95Us }) });
  }
}

/** Before anything is known of it. */
export function newTool(ledger: string, server: string, tool: string): ToolRow {
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

/** A result without its id, wherever that stands around the tools. */
function withoutId(text: string): string {
  const from = Math.max(0, text.indexOf('"tools"'));
  const to = Math.max(from, text.lastIndexOf(']'));
  const id = /"id"\s*:\s*(?:"[^"\\]*"|\d+)/u;
  return `${text.slice(0, from).replace(id, '')}${text.slice(from, to)}${text.slice(to).replace(id, '')}`;
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
