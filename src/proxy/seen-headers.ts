/**
 * Headers that come again: a client says mostly the same with each of its requests, and a server with each of its answers. What was found of a list of them is kept until
 * another one comes; of one that differs only in values that nobody acts on, only those are looked at.
 *
 * What must stay true: what comes out is what `headers.ts` says of the headers themselves, whatever came before them; where a value differs that anything but the record
 * looks at, it is another list.
 */
import { mayBeCut, otherCharset, placesOf, recorded, type HeaderRules } from './headers.ts';

/** Lists of different lengths are kept beside each other: a notification's, and a call's. */
const lists = 4;

/** Only the record looks at their values, and the length of a body at its own (`lengthAt`). */
const ofOneMessage: ReadonlySet<string> = new Set([
  'content-length',
  'date',
  'mcp-method',
  'mcp-name',
  'last-event-id',
  'traceparent',
  'tracestate',
  'x-request-id',
  'etag',
]);

const readNames = ['host', 'origin', 'content-type', 'content-encoding', 'mcp-session-id'] as const;
const isRead: ReadonlySet<string> = new Set(readNames);
/** A second one does not count (as in Node's `headers`). */
const onlyFirst: ReadonlySet<string> = new Set(['host', 'content-type']);

/** What is the same in all messages with this list of headers. */
export interface HeaderList {
  /** Several of a name are joined, as Node does. */
  readonly values: Readonly<Partial<Record<(typeof readNames)[number], string>>>;
  /** How often `Host` is there. */
  readonly hosts: number;
  /** Each `Transfer-Encoding`. */
  readonly codings: readonly string[];
  /** Where the value of `Content-Length` stands. */
  readonly lengthAt: number | undefined;
  readonly charset: string | undefined;
}

/** One message's headers. */
export interface SeenHeaders {
  readonly raw: readonly string[];
  readonly list: HeaderList;
  /** `recorded` of them. Must not be written to. */
  readonly recorded: [name: string, value: string][];
  /** `recorded` as JSON; absent where it was not kept. */
  readonly text: string | undefined;
}

interface Plan {
  rules: Readonly<HeaderRules> | undefined;
  without: readonly string[];
  places: readonly number[];
}

interface Kept {
  raw: readonly string[];
  readonly list: HeaderList;
  /** Values of `raw` that may be others. */
  readonly free: ReadonlySet<number>;
  recorded: [name: string, value: string][];
  /** Each of `recorded` as JSON. */
  readonly pieces: string[];
  text: string;
}

const plans = new WeakMap<HeaderList, Plan>();

/** Of one connection, or of one server. */
export class HeaderMemory {
  readonly #kept: (Kept | undefined)[] = Array.from({ length: lists }, () => undefined);

  read(raw: readonly string[]): SeenHeaders {
    const at = (raw.length >> 1) % lists;
    const known = this.#kept[at];
    if (known !== undefined && becomes(known, raw)) return seenOf(known);
    const list = listOf(raw);
    const pairs = recorded(raw);
    if (mayBeCut(raw)) return { raw, list, recorded: pairs, text: undefined };
    const free = new Set<number>();
    for (let i = 0; i < raw.length; i += 2) if (ofOneMessage.has(raw[i]!.toLowerCase())) free.add(i + 1);
    const pieces = pairs.map((pair) => JSON.stringify(pair));
    const kept = { raw, list, free, recorded: pairs, pieces, text: `[${pieces.join(',')}]` };
    this.#kept[at] = kept;
    return seenOf(kept);
  }
}

function seenOf({ raw, list, recorded: pairs, text }: Kept): SeenHeaders {
  return { raw, list, recorded: pairs, text };
}

/** Makes what is kept that of `raw`, where it is the same list. */
function becomes(kept: Kept, raw: readonly string[]): boolean {
  const before = kept.raw;
  if (before.length !== raw.length) return false;
  let differ: number[] | undefined;
  for (let i = 0; i < raw.length; i++) {
    if (raw[i] === before[i]) continue;
    if (!kept.free.has(i)) return false;
    (differ ??= []).push(i);
  }
  if (differ === undefined) return true;
  if (mayBeCut(raw)) return false;
  // those before it may still be read by whoever has them
  kept.recorded = [...kept.recorded];
  for (const i of differ) {
    const [pair] = recorded([raw[i - 1]!, raw[i]!]);
    kept.recorded[i >> 1] = pair!;
    kept.pieces[i >> 1] = JSON.stringify(pair);
  }
  kept.raw = raw;
  kept.text = `[${kept.pieces.join(',')}]`;
  return true;
}

function listOf(raw: readonly string[]): HeaderList {
  const values: Partial<Record<string, string>> = {};
  const codings: string[] = [];
  let hosts = 0;
  let lengthAt: number | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    const value = raw[i + 1]!;
    if (name === 'content-length') lengthAt ??= i + 1;
    else if (name === 'transfer-encoding') codings.push(value);
    else if (isRead.has(name)) {
      if (name === 'host') hosts++;
      const before = values[name];
      if (before === undefined) values[name] = value;
      else if (!onlyFirst.has(name)) values[name] = `${before}, ${value}`;
    }
  }
  return { values, hosts, codings, lengthAt, charset: otherCharset(raw) };
}

/** What `forwarded` says of these headers, in an array of the caller's own. `rules` and `without` must stay what they are. */
export function goingOn({ raw, list }: SeenHeaders, rules?: Readonly<HeaderRules>, without: readonly string[] = nothing): string[] {
  let plan = plans.get(list);
  if (plan === undefined || plan.rules !== rules || plan.without !== without) {
    plan = { rules, without, places: placesOf(raw, rules, without) };
    plans.set(list, plan);
  }
  const result: string[] = [];
  for (const i of plan.places) result.push(raw[i]!, raw[i + 1]!);
  if (rules !== undefined) for (const [name, value] of rules.set) result.push(name, value);
  return result;
}

const nothing: readonly string[] = [];
