/**
 * The functions of conditions: the engine's, each call charged; where the engine's is not linear or takes what it should refuse, ours.
 */
import { celEnv, celError, celFunc, celMethod, CelScalar, celUint, isCelError, isCelList, isCelMap, listType } from '@bufbuild/cel';
import type { CelFunc, CelList, CelValue } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { haltAgain, missSteps, spend, stop } from './cel-budget.ts';
import { matches } from './cel-pattern.ts';
import { MadeList } from './cel-values.ts';
import { LargeInteger } from './json.ts';

const { BOOL, DOUBLE, DYN, INT, STRING, UINT } = CelScalar;
const LIST = listType(DYN);

const conversions = new Set(['int', 'uint', 'double', 'bool', 'string', 'bytes', 'timestamp', 'duration']);
/** The message of every error in a conversion; the engine's would quote the value. */
export const conversionFailed = 'conversion failed';

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
  celMethod('matches', STRING, [STRING], BOOL, function (pattern) {
    return matches(this, pattern);
  }),
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
    haltAgain();
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

export const environment = celEnv({ funcs: celFunctions });
