/** How a rule is made of its words, what it remembers, and one function. */
import type { Found, Rule, Seen, SeenCall, Sight } from '../events.ts';
import type { AnalysisOptions } from '../options.ts';

/**
 * What a rule remembers, by session or by whatever else it goes by; of the one that was not asked for longest nothing is known beyond `most`. What is kept must be JSON and
 * bounded by whoever keeps it.
 */
export class Memory<T> {
  readonly #kept: Map<string, T>;
  readonly #empty: () => T;
  readonly #most: number;
  #newest: string | undefined;

  constructor(empty: () => T, most: number, state?: unknown) {
    this.#empty = empty;
    this.#most = most;
    this.#kept = new Map(Array.isArray(state) ? (state as [string, T][]) : []);
  }

  get(key: string): T | undefined {
    return this.#kept.get(key);
  }

  of(key: string): T {
    let kept = this.#kept.get(key);
    // asked for just before: it stands where it would be put
    if (kept !== undefined && key === this.#newest) return kept;
    if (kept !== undefined) this.#kept.delete(key);
    else kept = this.#empty();
    this.#kept.set(key, kept);
    this.#newest = key;
    if (this.#kept.size > this.#most) for (const [oldest] of this.#kept) return (this.#kept.delete(oldest), kept);
    return kept;
  }

  forget(key: string): void {
    this.#kept.delete(key);
    this.#newest = undefined;
  }

  /** The one that was not asked for longest. */
  oldest(): [string, T] | undefined {
    for (const one of this.#kept) return one;
    return undefined;
  }

  state(): [string, T][] {
    return [...this.#kept];
  }
}

/** Sessions that a rule remembers something of. */
const sessionsMost = 200;

/** `see` finds; `most`: keys that are remembered. What is remembered of a session goes with its end, which every rule therefore sees. */
export function rule<T>(
  words: Omit<Rule, 'create'>,
  empty: () => T,
  see: (seen: Seen, memory: Memory<T>, settings: Settings) => Found[],
  most = sessionsMost,
): Rule {
  return {
    ...words,
    sees: [...new Set<Sight>([...words.sees, 'session end'])],
    create(options, state) {
      const memory = new Memory(empty, most, state);
      const settings = new Settings(words.id, options);
      return {
        see(seen) {
          const found = see(seen, memory, settings);
          if (seen.kind === 'session end') memory.forget(seen.session.session);
          return found;
        },
        state: () => memory.state(),
      };
    },
  };
}

/** What the configuration says of a rule: `findings: { rules: { loop: { calls: 20 } } }`. */
export class Settings {
  readonly #said: Readonly<Record<string, unknown>>;

  constructor(id: string, { rules }: AnalysisOptions) {
    const said = rules?.[id];
    this.#said = typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : {};
  }

  count(name: string, otherwise: number): number {
    const said = this.#said[name];
    return typeof said === 'number' && said >= 1 ? said : otherwise;
  }

  words(name: string): string[] {
    const said = this.#said[name];
    return Array.isArray(said) ? said.filter((one): one is string => typeof one === 'string') : [];
  }
}

/** How to be rid of a rule's findings. */
export function silencing(id: string, more = ''): string {
  return `${more}${more === '' ? '' : ' '}Say that you have seen one: sworn findings ack ID --note "…". Never again: findings: { ignore: [${id}] } in sworn.yaml.`;
}

let parsed = '';
let parsedMs = Number.NaN;

/** Ms since 1970 of an entry's time. The last one is remembered: several rules look at one event. */
export function msOf(time: string): number {
  if (time !== parsed) {
    parsed = time;
    parsedMs = Date.parse(time);
  }
  return parsedMs;
}

/** A tool call that is over and was answered as it should. */
export function isDone(seen: Seen): seen is SeenCall {
  return seen.kind === 'call' && seen.phase === 'ended' && seen.call.state === 'ok';
}

/** Where a finding about a call belongs. */
export function placeOf({ call }: SeenCall): Pick<Found, 'session' | 'server' | 'tool'> {
  return { session: call.session, server: call.server, ...(call.target === undefined ? {} : { tool: call.target }) };
}

/** What a call is called in a sentence: its tool, else its method. */
export function nameOf({ call }: SeenCall): string {
  return call.target ?? call.method;
}

/** At most `most` of a text, on one line. */
export function short(text: string, most = 120): string {
  const line = text
    .slice(0, most * 4)
    .replaceAll(/\s+/g, ' ')
    .trim();
  return line.length <= most ? line : `${line.slice(0, most - 1)}…`;
}

/** The first entry of the finding of this subject, which names it for good; `index` where there is none yet. `firsts` holds at most `most`, and forgets the oldest. */
export function firstOf(firsts: Record<string, number>, subject: string, index: number, most: number): number {
  const key = `of ${subject}`;
  const known = firsts[key];
  if (known !== undefined) return known;
  const keys = Object.keys(firsts);
  if (keys.length >= most) delete firsts[keys[0]!];
  firsts[key] = index;
  return index;
}
