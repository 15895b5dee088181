/**
 * Conditions of rules: expressions in CEL (https://cel.dev) over a view of one message. The language is `@bufbuild/cel`'s; `test/cel-conformance.test.ts` holds the evidence for
 * it. Beside it stand here: values that no message can forge, a bound on the work that a message can cause, and what can be said of an expression before it runs.
 * Load this file with `await import()` only, when there is a condition: it brings the engine with it.
 *
 * Not all of CEL: protobuf messages cannot be made or named, and the pattern of `matches` must be written in the expression.
 */
import { celEnv, celError, celFunc, celMethod, CelScalar, celUint, isCelError, isCelList, isCelMap, listType, parse, plan } from '@bufbuild/cel';
import type { CelFunc, CelInput, CelList, CelValue } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { RE2JS } from '@bufbuild/re2';
import { LargeInteger } from './json.ts';

/** Never the text of a value: what a message holds may be what must not be stored. */
export interface Problem {
  problem: 'no-such-field' | 'no-such-overload' | 'not-a-bool' | 'conversion' | 'integer-too-large' | 'too-costly' | 'other';
}
export type Outcome = boolean | Problem;

export interface Condition {
  readonly text: string;
  /** A view has the `variables` below as own members: JSON values as `readJson` gives them, and bigints for CEL's ints. Never throws. */
  evaluate(view: Record<string, unknown>): Outcome;
}

/** An expression that cannot be a condition. The message says what is wrong and where, in characters from 1. */
export class ConditionError extends Error {
  override readonly name = 'ConditionError';
  /** In UTF-16 units from the start of the expression. */
  readonly offset: number;

  constructor(message: string, text: string, offset: number) {
    const before = text.slice(0, offset).split('\n');
    const column = before.at(-1)!.length + 1;
    super(`${message} (${before.length > 1 ? `line ${before.length}, ` : ''}character ${column})`);
    this.offset = offset;
  }
}

/** Of an expression, in UTF-16 units. */
const conditionChars = 8_192;
/**
 * What one evaluation may do, in steps of roughly 50 ns: measured, nothing takes more than 0.3 s. One pass over a list of 100,000 items, or of a pattern over
 * a text of a million characters, is within it; such a list for each item of another is not.
 * What a step buys is in `cost` and the constants beside it.
 */
const budgetSteps = 2_000_000;
/** A member or an item. */
const accessSteps = 2;
/** One round of a macro, without the calls in it. */
const roundSteps = 8;
/** A field that is not there: the engine makes an Error. */
const missSteps = 20;

/** Every name that a condition may start from. */
export const variables: Readonly<Record<string, string>> = {
  args: 'map: params.arguments of tools/call and prompts/get, else empty',
  params: 'map: params of the request or notification, else empty',
  method: "string: the method, of a reply its request's",
  server: 'string: the name of the MCP server',
  tool: "string: the tool of tools/call, '' when none",
  target: 'string: tool, prompt or URI that the message is about',
  direction: "string: 'c2s' or 's2c'",
  type: "string: 'request', 'result', 'error' or 'notification'",
  effect: "string: 'read', 'write' or 'unknown'",
  sensitive: 'bool: whether the tool was declared sensitive',
  destructive: 'bool: whether the tool was declared destructive',
  client: 'map: name, version; what the client says of itself',
  labels: 'map of strings: the labels of the session',
  principal: 'map: observed {uid (int), pid (int), executable}, verified {subject, issuer}, declared {name}',
  session: 'map of ints: calls, reads, writes, sensitiveReads, untrustedResults, denied, errors',
  result: 'map: text (string), isError (bool), structured, error {code, message}',
  sizeBytes: 'int: bytes of the message',
  message: 'map: the whole message',
};

// ── what one evaluation holds: evaluations never overlap ──

type Stop = 'integer-too-large' | 'too-costly';

/** Without a bound outside of `evaluate`, where only this project's own tests call the functions. */
let stepsLeft = Infinity;
/** Why the evaluation must end. Set before `halt` is thrown, so that nobody who catches can swallow it. */
let stopped: Stop | undefined;
/** A list with a large integer was walked: an error that follows is put down to it. */
let largeSeen = false;
const noPatterns: ReadonlyMap<string, Pattern> = new Map();
let patterns = noPatterns;

const halt = new Error('halt');

function stop(why: Stop): never {
  stopped ??= why;
  throw halt;
}

function spend(steps: number): void {
  stepsLeft -= steps;
  if (stepsLeft < 0) stop('too-costly');
}

// ── values: JSON as CEL's maps and lists, member by member, only where an expression looks ──

// the engine knows its maps and lists by these symbols, which no JSON can hold: an object with a member `$typeName` or `constructor` stays a map
const mapSymbol = Symbol.for('@bufbuild/cel/map');
const listSymbol = Symbol.for('@bufbuild/cel/list');

function toCel(value: unknown): CelValue | undefined {
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
    case 'bigint':
      return value;
    case 'object':
      if (value === null) return value;
      if (value instanceof LargeInteger) return stop('integer-too-large');
      return (Array.isArray(value) ? new JsonList(value) : new JsonMap(value as Record<string, unknown>)) as unknown as CelValue;
    default:
      return undefined;
  }
}

class JsonMap {
  readonly [mapSymbol] = true;
  readonly #members: Record<string, unknown>;

  constructor(members: Record<string, unknown>) {
    this.#members = members;
  }

  get size(): number {
    return this.#names().length;
  }

  get(name: unknown): CelValue | undefined {
    spend(accessSteps);
    if (typeof name === 'string' && Object.hasOwn(this.#members, name)) {
      const value = toCel(this.#members[name]);
      if (value !== undefined) return value;
    }
    spend(missSteps);
    return undefined;
  }

  has(name: unknown): boolean {
    spend(1);
    return typeof name === 'string' && Object.hasOwn(this.#members, name) && this.#members[name] !== undefined;
  }

  keys(): IterableIterator<string> {
    const names = this.#names();
    spend(names.length * roundSteps);
    return names.values();
  }

  *entries(): IterableIterator<[string, CelValue]> {
    for (const name of this.#names()) yield [name, this.get(name)!];
  }

  *values(): IterableIterator<CelValue> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): IterableIterator<[string, CelValue]> {
    return this.entries();
  }

  forEach(callback: (value: CelValue, name: string, map: JsonMap) => void, self?: unknown): void {
    for (const [name, value] of this.entries()) callback.call(self, value, name, this);
  }

  #names(): string[] {
    const names = Object.keys(this.#members);
    spend(names.length);
    return names.filter((name) => this.#members[name] !== undefined);
  }
}

class JsonList {
  readonly [listSymbol] = true;
  readonly #items: readonly unknown[];

  constructor(items: readonly unknown[]) {
    this.#items = items;
  }

  get size(): number {
    return this.#items.length;
  }

  get(index: number): CelValue | undefined {
    spend(accessSteps);
    const item = toCel(this.#items[index]);
    if (item === undefined) spend(missSteps);
    return item;
  }

  /** Only macros walk a list with this. A large integer is handed out as it is, since the expression may not touch it: every call looks for one among its arguments. */
  values(): IterableIterator<CelValue> {
    spend(this.#items.length * roundSteps);
    const all = this.#items.map((item) => {
      if (!(item instanceof LargeInteger)) return toCel(item) ?? null;
      largeSeen = true;
      return item as unknown as CelValue;
    });
    return all.values();
  }

  [Symbol.iterator](): IterableIterator<CelValue> {
    return this.values();
  }
}

/**
 * A list that calls made. `map` and `filter` append one item a round, and the engine's own lists would nest one level a round and walk them all for every item. Here lists that grow
 * out of one another share an array, as Go's slices do: who ends where the array ends appends to it, everyone else copies.
 */
class MadeList {
  readonly [listSymbol] = true;
  readonly #items: CelValue[];
  readonly size: number;

  constructor(items: CelValue[]) {
    this.#items = items;
    this.size = items.length;
  }

  get(index: number): CelValue | undefined {
    spend(accessSteps);
    return index < this.size ? this.#items[index] : undefined;
  }

  values(): IterableIterator<CelValue> {
    spend(this.size * roundSteps);
    return this.#items.slice(0, this.size).values();
  }

  [Symbol.iterator](): IterableIterator<CelValue> {
    return this.values();
  }

  static concat(left: CelList, right: CelList): CelList {
    const owned = left instanceof MadeList && left.#items.length === left.size;
    spend(right.size + (owned ? 0 : left.size));
    const items = owned ? left.#items : [...left];
    for (const item of right) items.push(item);
    return new MadeList(items) as unknown as CelList;
  }
}

// ── functions: the engine's, each call charged; where the engine's is not linear or takes what it should refuse, ours ──

const { BOOL, DOUBLE, DYN, INT, STRING, UINT } = CelScalar;
const LIST = listType(DYN);

const conversions = new Set(['int', 'uint', 'double', 'bool', 'string', 'bytes', 'timestamp', 'duration']);
/** The message of every error in a conversion; the engine's would quote the value. */
const conversionFailed = 'conversion failed';

/** As cel-go reads doubles, without its hexadecimal ones. The engine makes NaN of any other text, and every comparison with that is quietly false. */
function toDouble(text: string): number {
  if (/^[+-]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][+-]?\d{1,5})?$/.test(text)) return Number(text);
  const [, sign, word] = /^([+-]?)(inf|infinity|nan)$/i.exec(text) ?? [];
  if (word === undefined) throw new Error(conversionFailed);
  return /nan/i.test(word) ? Number.NaN : sign === '-' ? -Infinity : Infinity;
}

/** The engine takes what `BigInt` takes: blanks, nothing at all, hexadecimal digits, and a million of them. */
function toInteger(text: string): bigint {
  if (!/^[+-]?\d{1,40}$/.test(text)) throw new Error(conversionFailed);
  return BigInt(text.replace('+', ''));
}

function bounded(value: bigint, least: bigint, most: bigint): bigint {
  if (value < least || value > most) throw new Error(conversionFailed);
  return value;
}

/** Go's `strings.Replace`: an empty `from` fits before every character and at the end. */
function replaced(text: string, from: string, to: string, times: number): string {
  if (times < 0) return (from === '' ? ['', ...text, ''] : text.split(from)).join(to);
  const parts: string[] = [];
  let at = 0;
  for (let i = 0; i < times; i++) {
    if (from === '') {
      if (at > text.length || (i > 0 && at === text.length)) break;
      const next = i === 0 ? 0 : at + (text.codePointAt(at)! > 0xffff ? 2 : 1);
      parts.push(text.slice(at, next), to);
      at = next;
    } else {
      const next = text.indexOf(from, at);
      if (next < 0) break;
      parts.push(text.slice(at, next), to);
      at = next + from.length;
    }
  }
  return parts.join('') + text.slice(at);
}

/** A pattern with what its use costs. RE2 is linear in the text, but a step of it takes from 15 ns to 20 µs. */
class Pattern {
  readonly #text: string;
  #compiled: RE2JS;
  readonly #instructions: number;
  /** `^`, `$` and `\b` are worked out anew for every character. */
  readonly #anchored: boolean;

  /** @throws an Error that says what is wrong with the pattern. */
  constructor(text: string) {
    this.#text = text;
    this.#compiled = RE2JS.compile(text);
    const { prog } = this.#compiled.re2();
    this.#instructions = prog.numInst();
    this.#anchored = Array.from({ length: this.#instructions }, (_, i) => prog.getInst(i).op).includes(emptyWidth);
  }

  test(text: string): boolean {
    const { dfa } = this.#compiled.re2();
    // A pattern such as a.{30}x has more states than the engine keeps, and a message can hold a text that visits them all. That is seen in pieces before the whole text is given away.
    for (let at = 0; text.length > pieceChars && at < text.length && dfa.cacheClears === 0; at += pieceChars) {
      this.#spend(pieceChars, false);
      this.#compiled.test(text.slice(at, at + pieceChars));
    }
    this.#spend(text.length, dfa.cacheClears > 0);
    return this.#compiled.test(text);
  }

  /** After an evaluation: what one message made of the engine's states must not decide about the next. */
  renew(): void {
    const { dfa } = this.#compiled.re2();
    if (dfa.stateCount > keptStates || dfa.cacheClears > 0) this.#compiled = RE2JS.compile(this.#text);
  }

  #spend(chars: number, exploded: boolean): void {
    spend(20 + Math.ceil(chars * (exploded ? 1 + this.#instructions / 2 : this.#anchored ? 1 + this.#instructions / 10 : 0.5)));
  }
}

/** `Inst.EMPTY_WIDTH` of @bufbuild/re2, which does not export it. */
const emptyWidth = 4;
const pieceChars = 32_768;
/** About 2 KiB each. */
const keptStates = 1_000;

function matchesPattern(this: string, pattern: string): boolean {
  return (patterns.get(pattern) ?? new Pattern(pattern)).test(this);
}

function within(item: CelValue, list: CelList): boolean {
  for (let i = 0; i < list.size; i++) if (equal(item, list.get(i)!)) return true;
  return false;
}

const standard = [...celEnv({ funcs: strings }).funcs];
const engineEquals = standard.find(({ name }) => name === '_==_')!;

function equal(left: CelValue, right: CelValue): boolean {
  if (typeof left === 'string' && typeof right === 'string') {
    if (left.length !== right.length) return false;
    spend(left.length >> 6);
    return left === right;
  }
  return (
    left === right || (typeof left === typeof right && typeof left !== 'object' ? false : engineEquals.call(0, undefined, [left, right]) === true)
  );
}

const corrected: CelFunc[] = [
  celFunc('int', [STRING], INT, (text) => bounded(toInteger(text), -(2n ** 63n), 2n ** 63n - 1n)),
  celFunc('uint', [STRING], UINT, (text) => celUint(bounded(toInteger(text), 0n, 2n ** 64n - 1n))),
  celFunc('double', [STRING], DOUBLE, toDouble),
  celFunc('_+_', [LIST, LIST], LIST, MadeList.concat),
  celFunc('@in', [DYN, LIST], BOOL, within),
  celMethod('matches', STRING, [STRING], BOOL, matchesPattern),
  // a million texts of one character each are what the engine makes of a long one
  celMethod('lowerAscii', STRING, [], STRING, function () {
    return this.replace(/[A-Z]+/g, (some) => some.toLowerCase());
  }),
  celMethod('upperAscii', STRING, [], STRING, function () {
    return this.replace(/[a-z]+/g, (some) => some.toUpperCase());
  }),
  celMethod('replace', STRING, [STRING, STRING], STRING, function (from, to) {
    return replaced(this, from, to, -1);
  }),
  celMethod('replace', STRING, [STRING, STRING, INT], STRING, function (from, to, times) {
    return replaced(this, from, to, Number(times));
  }),
];

/** Steps of a call, from its function and the sizes of its arguments. */
function cost(name: string, target: CelValue | undefined, args: readonly CelValue[]): number {
  let chars = typeof target === 'string' ? target.length : 0;
  for (const arg of args) if (typeof arg === 'string') chars += arg.length;
  switch (name) {
    case 'matches':
      // the pattern knows
      return 1;
    case 'contains':
    case 'startsWith':
    case 'endsWith':
    case 'indexOf':
    case 'lastIndexOf':
    case '_==_':
    case '_!=_':
      return 1 + (chars >> 6);
    case '_+_':
      // joined text is put together by who reads it first
      return 1 + (chars >> 4);
    case 'replace': {
      const [from, to] = args as [string, string];
      return 1 + (chars >> 2) + Math.ceil((((target as string).length + 1) / Math.max(1, from.length)) * (0.5 + to.length / 64));
    }
    case 'join':
      return 1 + (target as CelList).size * (1 + (chars >> 4));
    case 'format':
      // a number makes a formatter
      return 20 + chars + (args[0] as CelList).size * 400;
    default:
      // and so does a time zone
      return name.startsWith('get') && args.length > 0 ? 2_000 : 1 + (chars >> 2);
  }
}

type CallFunction = (id: number, target: CelValue | undefined, args: CelValue[]) => ReturnType<CelFunc['call']>;

/** Under the signature of another function, which it replaces. */
function like({ id, name, target, arguments: args, result }: CelFunc, call: CallFunction): CelFunc {
  return { id, name, target, arguments: args, result, call } as unknown as CelFunc;
}

function charge(inner: CelFunc): CelFunc {
  const { name, target: self, arguments: parameters } = inner;
  const types = parameters.map(({ name }) => name);
  const converts = conversions.has(name);
  return like(inner, (id, target, args) => {
    if (args.length !== types.length || !fits(target, self?.name) || !args.every((arg, i) => fits(arg, types[i]))) {
      spend(2);
      return undefined;
    }
    spend(cost(name, target, args));
    const result = inner.call(id, target, args);
    // the engine makes an error value of what is thrown, which `||` would swallow
    if (stopped !== undefined) throw halt;
    if (typeof result === 'string') spend(result.length >> 6);
    if (name === 'split' && isCelList(result)) {
      spend(result.size);
      return new MadeList([...result]) as unknown as CelList;
    }
    if (!converts || !isCelError(result)) return result;
    spend(missSteps);
    return celError(conversionFailed, id);
  });
}

/** Whether a value can be what a parameter's type says. Where it says yes to too much, the engine looks again. */
function fits(value: CelValue | undefined, type: string | undefined): boolean {
  switch (typeof value) {
    case 'string':
      return type === 'string' || type === 'dyn';
    case 'number':
      return type === 'double' || type === 'dyn';
    case 'bigint':
      return type === 'int' || type === 'dyn';
    case 'boolean':
      return type === 'bool' || type === 'dyn';
    case 'undefined':
      return type === undefined;
    default:
      if ((value as unknown) instanceof LargeInteger) return stop('integer-too-large');
      if (type === 'list') return isCelList(value);
      if (type === 'map') return isCelMap(value);
      return type !== undefined && type !== 'string' && type !== 'double' && type !== 'int' && type !== 'bool';
  }
}

type Comparable = number | bigint | string;

/** Numbers and texts are what conditions compare; the engine would try a dozen overloads. A pair of int and double is compared as doubles, as the engine does. */
function quick(inner: CelFunc, compare: (left: Comparable, right: Comparable) => boolean): CelFunc {
  return like(inner, (id, target, args) => {
    const left = args[0];
    const right = args[1];
    if (typeof left === 'number') {
      if (typeof right === 'number') return compare(left, right);
      if (typeof right === 'bigint') return compare(left, Number(right));
    } else if (typeof left === 'bigint') {
      if (typeof right === 'bigint') return compare(left, right);
      if (typeof right === 'number') return compare(Number(left), right);
    } else if (typeof left === 'string' && typeof right === 'string') {
      spend(1 + (Math.min(left.length, right.length) >> 6));
      return compare(left, right);
    }
    return inner.call(id, target, args);
  });
}

const ordering: Readonly<Record<string, (left: Comparable, right: Comparable) => boolean>> = {
  '_<_': (left, right) => left < right,
  '_<=_': (left, right) => left <= right,
  '_>_': (left, right) => left > right,
  '_>=_': (left, right) => left >= right,
};

/** Every function of conditions. For `celEnv`: each has the signature of one of the engine's, which it replaces. */
export const celFunctions: CelFunc[] = [];
for (const func of standard) {
  const charged = charge(corrected.find(({ id }) => id === func.id) ?? func);
  const compare = celFunctions.some(({ name }) => name === func.name) ? undefined : ordering[func.name];
  celFunctions.push(compare ? quick(charged, compare) : charged);
}
const environment = celEnv({ funcs: celFunctions });

// ── an expression before it runs ──

type Expr = ReturnType<typeof parse>['expr'];
type Parsed = ReturnType<typeof parse>;

function parsed(text: string): Parsed {
  if (text.length > conditionChars) throw new ConditionError(`a condition has at most ${conditionChars} characters`, text, conditionChars);
  let result: Parsed;
  try {
    result = parse(text);
  } catch (error) {
    throw syntaxError(text, error as Error & { location?: { start: { offset: number } }; rawMessage?: string });
  }
  return result;
}

/** The parser tells where the last thing that it understood ends, which for a missing quote or bracket is far from the cause. */
function syntaxError(text: string, error: Error & { location?: { start: { offset: number } }; rawMessage?: string }): ConditionError {
  if (text.trim() === '') return new ConditionError('syntax: the condition is empty', text, 0);
  const open = unclosed(text);
  if (open !== undefined) return new ConditionError(`syntax: ${text[open]} has no partner`, text, open);
  if (error instanceof RangeError) return new ConditionError('syntax: too deeply nested', text, 0);
  const offset = error.location?.start.offset ?? 0;
  const raw = error.rawMessage ?? error.message;
  // "expecting" names every token that the grammar knows
  if (!raw.startsWith('found ')) return new ConditionError(`syntax: ${raw}`, text, offset);
  const rest = text.slice(offset, offset + 20).split('\n')[0]!;
  const hint = /^\s*=(?!=)/.test(rest) ? '; CEL compares with ==' : /^\s*(?:and|or|not)\b/i.test(rest) ? '; CEL writes &&, || and !' : '';
  return new ConditionError(
    rest.trim() === '' ? 'syntax: the expression ends too early' : `syntax: cannot be read from "${rest}" on${hint}`,
    text,
    offset,
  );
}

/** The first bracket or quote without a partner. */
function unclosed(text: string): number | undefined {
  const open: number[] = [];
  // a comment, a text between one or three quotes with escapes or, after r, without, or a bracket
  const token = /\/\/[^\n]*|[rR][bB]?("""|'''|["'])|[bB]?("""|'''|["'])|[()[\]{}]/g;
  for (let found = token.exec(text); found; found = token.exec(text)) {
    const quote = found[1] ?? found[2];
    const at = found.index;
    if (quote !== undefined) {
      let end = token.lastIndex;
      while (end < text.length && !text.startsWith(quote, end)) {
        if (quote.length === 1 && text[end] === '\n') return at;
        end += text[end] === '\\' && found[1] === undefined ? 2 : 1;
      }
      if (end >= text.length) return at;
      token.lastIndex = end + quote.length;
    } else if ('([{'.includes(found[0])) {
      open.push(at);
    } else if (found[0].length === 1) {
      const partner = open.pop();
      if (partner === undefined || '([{'.indexOf(text[partner]!) !== ')]}'.indexOf(found[0])) return partner ?? at;
    }
  }
  return open.at(-1);
}

/** What is known of a value before there is one: 'dyn' is anything. */
interface Shape {
  readonly type: string;
  /** All that a map can hold; without it anything. */
  readonly members?: Readonly<Record<string, Shape>>;
  /** Of members without a name of their own. */
  readonly member?: Shape;
  /** Whether it may be absent, so that reading it is an error. */
  readonly optional?: true;
}

const dyn: Shape = { type: 'dyn' };
const anything: Shape = { type: 'dyn', optional: true };
const intShape: Shape = { type: 'int' };
const textShape: Shape = { type: 'string' };
const boolShape: Shape = { type: 'bool' };
const openMap: Shape = { type: 'map', member: anything };
const optional = (shape: Shape): Shape => ({ ...shape, optional: true });
const record = (members: Record<string, Shape>): Shape => ({ type: 'map', members });

const shapes: Readonly<Record<string, Shape>> = {
  args: openMap,
  params: openMap,
  message: openMap,
  client: openMap,
  labels: { type: 'map', member: optional(textShape) },
  principal: record({
    observed: optional(record({ uid: optional(intShape), pid: optional(intShape), executable: optional(textShape) })),
    verified: optional(record({ subject: optional(textShape), issuer: optional(textShape) })),
    declared: optional(record({ name: optional(textShape) })),
  }),
  session: record(
    Object.fromEntries(['calls', 'reads', 'writes', 'sensitiveReads', 'untrustedResults', 'denied', 'errors'].map((name) => [name, intShape])),
  ),
  result: record({
    text: textShape,
    isError: boolShape,
    structured: anything,
    error: optional(record({ code: anything, message: optional(textShape) })),
  }),
  sizeBytes: intShape,
  ...Object.fromEntries(['method', 'server', 'tool', 'target', 'direction', 'type', 'effect'].map((name) => [name, textShape])),
  ...Object.fromEntries(['sensitive', 'destructive'].map((name) => [name, boolShape])),
};

/** Names of types are values too: `type(args.x) == string`. */
const typeNames = new Set(['int', 'uint', 'double', 'bool', 'string', 'bytes', 'list', 'map', 'null_type', 'type']);

interface Local {
  /** Differs from that of every other variable of that name. */
  readonly path: string;
  readonly shape: Shape;
  /** The texts that a variable of a macro over a list of literals goes through. */
  readonly texts?: readonly string[];
}

type Scope = ReadonlyMap<string, Local>;
/** Paths that are there whenever the expression at hand decides anything. */
type Facts = ReadonlySet<string>;

const none: Facts = new Set();

/** Finds errors first and then doubts, in one walk. */
class Reader {
  readonly #source: string;
  readonly #positions: Readonly<Record<string, number>>;
  readonly used = new Set<string>();
  readonly patterns = new Map<string, Pattern>();
  readonly warnings: { offset: number; message: string }[] = [];
  readonly #warned = new Set<string>();
  readonly #absent = new Set<string>();
  #locals = 0;

  constructor(source: string, { sourceInfo }: Parsed) {
    this.#source = source;
    this.#positions = sourceInfo?.positions ?? {};
  }

  #offset({ id }: Expr): number {
    return this.#positions[String(id)] ?? 0;
  }

  #fail(message: string, at: Expr): never {
    throw new ConditionError(message, this.#source, this.#offset(at));
  }

  #warn(message: string, at: Expr): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.warnings.push({ offset: this.#offset(at), message });
  }

  read(expr: Expr, scope: Scope = new Map(), facts: Facts = none): Shape {
    const { exprKind } = expr;
    switch (exprKind.case) {
      case 'constExpr':
        return { type: this.#constant(expr) };
      case 'identExpr':
        return this.#name(expr, exprKind.value.name, scope);
      case 'selectExpr':
        return this.#select(expr, scope, facts);
      case 'callExpr':
        return this.#call(expr, scope, facts);
      case 'listExpr':
        for (const item of exprKind.value.elements) this.read(item, scope, facts);
        return { type: 'list' };
      case 'structExpr':
        if (exprKind.value.messageName !== '') this.#fail(`${exprKind.value.messageName}{…}: a condition cannot make messages`, expr);
        for (const { keyKind, value } of exprKind.value.entries) {
          if (keyKind.case === 'mapKey') this.read(keyKind.value, scope, facts);
          if (value) this.read(value, scope, facts);
        }
        return { type: 'map' };
      case 'comprehensionExpr':
        return this.#macro(expr, scope, facts);
      default:
        return this.#fail('syntax: cannot be read', expr);
    }
  }

  #constant(expr: Expr): string {
    const { case: kind, value } = (expr.exprKind.value as { constantKind: { case: string; value: unknown } }).constantKind;
    if (kind === 'int64Value' && BigInt.asIntN(64, value as bigint) !== value) this.#fail(`${String(value)} is no 64-bit int`, expr);
    if (kind === 'uint64Value' && BigInt.asUintN(64, value as bigint) !== value) this.#fail(`${String(value)}u is no 64-bit uint`, expr);
    return kind === 'nullValue' ? 'null_type' : kind.replace(/(?:64)?Value$/, '');
  }

  #name(expr: Expr, written: string, scope: Scope): Shape {
    const local = scope.get(written);
    if (local) return local.shape;
    const name = written.replace(/^\./, '');
    const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
    if (shape) {
      this.used.add(name);
      return shape;
    }
    if (typeNames.has(name)) return { type: 'type' };
    return this.#fail(`unknown variable ${name}; a condition may use ${Object.keys(variables).join(', ')}`, expr);
  }

  /** Of a chain of fields from a variable, `a.b["c"]`; undefined for what a macro or a call gives. */
  #path(expr: Expr, scope: Scope): string | undefined {
    const { exprKind } = expr;
    if (exprKind.case === 'identExpr') return scope.get(exprKind.value.name)?.path ?? exprKind.value.name.replace(/^\./, '');
    const step = fieldOf(expr);
    const parent = step && this.#path(step.operand, scope);
    return parent === undefined ? undefined : parent + pathStep + step!.field;
  }

  #select(expr: Expr, scope: Scope, facts: Facts): Shape {
    const { operand, field } = fieldOf(expr)!;
    const parent = this.read(operand, scope, facts);
    const tested = expr.exprKind.case === 'selectExpr' && expr.exprKind.value.testOnly;
    const shape = this.#member(parent, field, expr);
    const path = this.#path(expr, scope);
    // what is above it was said already
    if (!tested && shape.optional && path !== undefined && !facts.has(path) && ![...withParents(path)].some((one) => this.#absent.has(one))) {
      this.#absent.add(path);
      const [above, shown] = [shownPath(path.slice(0, path.lastIndexOf(pathStep))), shownPath(path)];
      const guard = shown.endsWith(']') ? `${JSON.stringify(field)} in ${above}` : `has(${shown})`;
      this.#warn(`${shown} may be absent, and reading it is then an error: guard it, as in ${guard} && …`, expr);
    }
    return tested ? boolShape : shape;
  }

  #member(parent: Shape, field: string, at: Expr): Shape {
    if (parent.members) {
      const known = Object.hasOwn(parent.members, field) ? parent.members[field] : undefined;
      if (!known) this.#warn(`there is no field ${field}, only ${Object.keys(parent.members).join(', ')}`, at);
      return known ?? dyn;
    }
    if (parent.type !== 'map' && parent.type !== 'dyn') this.#warn(`a ${parent.type} has no field ${field}`, at);
    return parent.member ?? anything;
  }

  #call(expr: Expr, scope: Scope, facts: Facts): Shape {
    const call = expr.exprKind.value as Call;
    const { function: name, args, target } = call;
    if (name === '_&&_' || name === '_||_') return this.#logic(expr, name, scope, facts);
    if (name === '_?_:_') return this.#choice(args as [Expr, Expr, Expr], scope, facts);
    if (name === '_[_]') {
      if (fieldOf(expr)) return this.#select(expr, scope, facts);
      const parent = this.read(args[0]!, scope, facts);
      this.read(args[1]!, scope, facts);
      return parent.member ? { ...parent.member } : dyn;
    }
    if (name === '@not_strictly_false') {
      this.read(args[0]!, scope, facts);
      return boolShape;
    }
    // strings.quote(x) looks like a method of a variable
    const space = target?.exprKind.case === 'identExpr' ? `${target.exprKind.value.name}.${name}` : undefined;
    const qualified = space !== undefined && celFunctions.some((func) => func.name === space);
    const self = target && !qualified ? this.read(target, scope, facts) : undefined;
    const found = this.#functions(expr, qualified ? space : name, self !== undefined, args.length);
    const shapes = args.map((arg) => this.read(arg, scope, facts));
    if (name === 'matches') this.#pattern(args[0]!, scope);
    return this.#result(expr, found, self, shapes);
  }

  #functions(expr: Expr, name: string, method: boolean, count: number): CelFunc[] {
    const named = celFunctions.filter((func) => func.name === name);
    const found = named.filter((func) => (func.target !== undefined) === method && func.arguments.length === count);
    if (found.length > 0) return found;
    if (name === 'has') this.#fail('has() takes a field: has(args.name)', expr);
    if (['exists', 'all', 'exists_one', 'map', 'filter'].includes(name))
      this.#fail(`${name}() takes a variable and an expression: list.${name}(x, …)`, expr);
    if (named.length === 0) this.#fail(`unknown function ${name}()`, expr);
    const forms = named.map((func) => `${func.target ? `${func.target.name}.` : ''}${name}(${func.arguments.map(({ name }) => name).join(', ')})`);
    return this.#fail(`${name}() is called as ${[...new Set(forms)].join(' or ')}`, expr);
  }

  /** The result of a call whose arguments fit; a warning when none can. */
  #result(expr: Expr, found: CelFunc[], self: Shape | undefined, args: Shape[]): Shape {
    const can = (shape: Shape, type: string): boolean => shape.type === 'dyn' || type === 'dyn' || shape.type === type;
    const fitting = found.filter((func) => (!self || can(self, func.target!.name)) && args.every((arg, i) => can(arg, func.arguments[i]!.name)));
    const { name } = found[0]!;
    const operator = /^[!-]?_|_$|^@/.test(name);
    const shown = operator ? name.replaceAll(/[_@]/g, '') : `${name}()`;
    const types = [...(self ? [self] : []), ...args].map(({ type }) => type);
    if (fitting.length === 0) this.#warn(`${shown} has no meaning for ${types.join(' and ')}: this is always an error`, expr);
    if ((name === '_==_' || name === '_!=_') && !mayEqual(types[0]!, types[1]!)) this.#warn(`${types.join(' and ')} are never equal`, expr);
    // a message's numbers are doubles, and arithmetic takes two of a kind
    const [left, right] = args;
    if (/^_[-+*/%]_$/.test(name) && [left, right].some((one) => one?.optional) && types.includes('int')) {
      this.#warn(`numbers of a message are doubles, and ${shown} does not take a double and an int: write 1.0 for 1, or int(…)`, expr);
    }
    const results = new Set(fitting.map(({ result }) => result.name));
    return results.size === 1 ? { type: [...results][0]! } : dyn;
  }

  #pattern(arg: Expr, scope: Scope): void {
    const texts =
      arg.exprKind.case === 'identExpr' ? scope.get(arg.exprKind.value.name)?.texts : textOf(arg) === undefined ? undefined : [textOf(arg)!];
    if (!texts) this.#fail('the pattern of matches() must be written here, as a text or as a list of texts that a macro goes through', arg);
    for (const one of texts) {
      try {
        if (!this.patterns.has(one)) this.patterns.set(one, new Pattern(one));
      } catch (error) {
        this.#fail(`the pattern ${JSON.stringify(one)} cannot be used: ${(error as Error).message}`, arg);
      }
    }
  }

  /**
   * CEL's `&&` and `||` do not mind the order: an error on one side does not matter when the other side decides. So every operand may rely on what all others say where they do
   * not decide.
   */
  #logic(expr: Expr, name: string, scope: Scope, facts: Facts): Shape {
    const operands = operandsOf(expr, name);
    const said = operands.map((operand) => this.#facts(operand, name === '_&&_', scope));
    operands.forEach((operand, i) => {
      const { type } = this.read(operand, scope, union([facts, ...said.filter((_, other) => other !== i)]));
      if (type !== 'bool' && type !== 'dyn') this.#warn(`${name.slice(1, 3)} takes bools, not a ${type}`, operand);
    });
    return boolShape;
  }

  #choice([condition, yes, no]: [Expr, Expr, Expr], scope: Scope, facts: Facts): Shape {
    const { type } = this.read(condition, scope, facts);
    if (type !== 'bool' && type !== 'dyn') this.#warn(`?: takes a bool, not a ${type}`, condition);
    const left = this.read(yes, scope, union([facts, this.#facts(condition, true, scope)]));
    const right = this.read(no, scope, union([facts, this.#facts(condition, false, scope)]));
    return left.type === right.type ? { type: left.type } : dyn;
  }

  /** What is there when an expression is true (or false). */
  #facts(expr: Expr, when: boolean, scope: Scope): Facts {
    const { exprKind } = expr;
    if (exprKind.case === 'selectExpr' && exprKind.value.testOnly) return when ? withParents(this.#path(expr, scope)) : none;
    if (exprKind.case !== 'callExpr') return none;
    const { function: name, args } = exprKind.value;
    if (name === '!_') return this.#facts(args[0]!, !when, scope);
    if (name === '@in' && when) {
      const [member, map] = args;
      const path = this.#path(map!, scope);
      const field = textOf(member!);
      return field === undefined || path === undefined ? none : withParents(path + pathStep + field);
    }
    if (name === '_&&_' || name === '_||_') {
      const said = operandsOf(expr, name).map((operand) => this.#facts(operand, when, scope));
      return when === (name === '_&&_') ? union(said) : new Set([...said[0]!].filter((path) => said.every((facts) => facts.has(path))));
    }
    return none;
  }

  #macro(expr: Expr, scope: Scope, facts: Facts): Shape {
    const { accuVar, accuInit, iterVar, iterRange, loopCondition, loopStep, result } = expr.exprKind.value as Comprehension;
    if (Object.hasOwn(shapes, iterVar)) this.#warn(`${iterVar} hides the variable of that name`, expr);
    const range = this.read(iterRange!, scope, facts);
    if (!['list', 'map', 'dyn'].includes(range.type)) this.#warn(`a macro goes through lists and maps, not a ${range.type}`, iterRange!);
    const items = iterRange!.exprKind.case === 'listExpr' ? iterRange!.exprKind.value.elements.map(textOf) : [];
    const texts = items.length > 0 && items.every((item) => item !== undefined) ? items : undefined;
    const outer = new Map(scope).set(accuVar, { path: `${accuVar}#${this.#locals}`, shape: { type: this.read(accuInit!, scope, facts).type } });
    const shape = range.type === 'map' || texts ? textShape : dyn;
    const inner = new Map(outer).set(iterVar, { path: `${iterVar}#${this.#locals++}`, shape, ...(texts ? { texts } : {}) });
    this.read(loopCondition!, inner, facts);
    this.read(loopStep!, inner, facts);
    return this.read(result!, outer, facts);
  }
}

type Call = Extract<Expr['exprKind'], { case: 'callExpr' }>['value'];
type Comprehension = Extract<Expr['exprKind'], { case: 'comprehensionExpr' }>['value'];

function textOf({ exprKind }: Expr): string | undefined {
  return exprKind.case === 'constExpr' && exprKind.value.constantKind.case === 'stringValue' ? exprKind.value.constantKind.value : undefined;
}

/** `a.b`, `has(a.b)` and `a["b"]` are one thing. */
function fieldOf({ exprKind }: Expr): { operand: Expr; field: string } | undefined {
  if (exprKind.case === 'selectExpr') return { operand: exprKind.value.operand!, field: exprKind.value.field };
  if (exprKind.case !== 'callExpr' || exprKind.value.function !== '_[_]') return undefined;
  const [operand, index] = exprKind.value.args as [Expr, Expr];
  const field = textOf(index);
  return field === undefined ? undefined : { operand, field };
}

/** Of nested `a && (b && c)`, all three. */
function operandsOf(expr: Expr, name: string): Expr[] {
  const { exprKind } = expr;
  return exprKind.case === 'callExpr' && exprKind.value.function === name ? exprKind.value.args.flatMap((arg) => operandsOf(arg, name)) : [expr];
}

function union(sets: Facts[]): Facts {
  return new Set(sets.flatMap((set) => [...set]));
}

/** Between the steps of a path, where a member's name may hold any character but hardly this one. */
const pathStep = '\0';

/** As it is written in an expression. */
function shownPath(path: string): string {
  const [root, ...steps] = path.split(pathStep);
  return root!.replace(/#\d+$/, '') + steps.map((step) => (/^[A-Za-z_]\w*$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`)).join('');
}

function withParents(path: string | undefined): Facts {
  const steps = path?.split(pathStep) ?? [];
  return new Set(steps.map((_, i) => steps.slice(0, i + 1).join(pathStep)));
}

function mayEqual(left: string, right: string): boolean {
  const number = /^(?:int|uint|double)$/;
  return left === right || left === 'dyn' || right === 'dyn' || (number.test(left) && number.test(right));
}

function read(text: string): { expr: Expr; reader: Reader; shape: Shape } {
  const result = parsed(text);
  const reader = new Reader(text, result);
  return { expr: result.expr, reader, shape: reader.read(result.expr) };
}

/** @throws ConditionError for what can never run: syntax, names that do not exist, patterns that are none. */
export function compileCondition(text: string): Condition {
  const { expr, reader } = read(text);
  const program = plan(environment, expr);
  const used = [...reader.used];
  return {
    text,
    evaluate(view) {
      stepsLeft = budgetSteps;
      patterns = reader.patterns;
      // the engine makes an Error of every absent field: without a trace it costs a tenth
      const traced = Error.stackTraceLimit;
      Error.stackTraceLimit = 0;
      try {
        const values: Record<string, CelInput> = {};
        for (const name of used) {
          const value = toCel(view[name]);
          if (value !== undefined) values[name] = value as CelInput;
        }
        const result = program(values);
        if (typeof result === 'boolean' && stopped === undefined) return result;
        return { problem: problemOf(result) };
      } catch {
        return { problem: stopped ?? 'other' };
      } finally {
        Error.stackTraceLimit = traced;
        stepsLeft = Infinity;
        stopped = undefined;
        largeSeen = false;
        for (const pattern of patterns.values()) pattern.renew();
        patterns = noPatterns;
      }
    },
  };
}

function problemOf(result: unknown): Problem['problem'] {
  if (stopped !== undefined) return stopped;
  if (largeSeen && (isCelError(result) || result instanceof LargeInteger)) return 'integer-too-large';
  if (!isCelError(result)) return 'not-a-bool';
  const { message } = result;
  if (message === conversionFailed) return 'conversion';
  if (/^(?:field not found|unresolved attribute|index \S+ out of bounds)/.test(message)) return 'no-such-field';
  return /^(?:found no matching overload|type mismatch|unsupported key type)/.test(message) ? 'no-such-overload' : 'other';
}

/** Doubts, in the order of the text, about a condition that compiles: fields that may be absent without a guard, types that do not fit, an answer that never changes. */
export function conditionWarnings(text: string): { offset: number; message: string }[] {
  const { reader, shape } = read(text);
  const { warnings } = reader;
  if (reader.used.size === 0) warnings.push({ offset: 0, message: 'the condition uses nothing of the message: it is always the same' });
  if (shape.type !== 'bool' && shape.type !== 'dyn') warnings.push({ offset: 0, message: `the condition is a ${shape.type}, not a bool` });
  return warnings.sort((left, right) => left.offset - right.offset);
}
