/**
 * How JSON values are shown to the engine: as CEL's maps and lists, member by member, only where an expression looks, and each look charged. No message can forge one.
 */
import type { CelList, CelValue } from '@bufbuild/cel';
import { missSteps, seeLarge, spend, stop } from './cel-budget.ts';
import { LargeInteger } from './json.ts';

/** A member or an item. */
const accessSteps = 2;
/** One round of a macro, without the calls in it. */
const roundSteps = 8;

// the engine knows its maps and lists by these symbols, which no JSON can hold: an object with a member `$typeName` or `constructor` stays a map
const mapSymbol = Symbol.for('@bufbuild/cel/map');
const listSymbol = Symbol.for('@bufbuild/cel/list');

export function toCel(value: unknown): CelValue | undefined {
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
      seeLarge();
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
export class MadeList {
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
