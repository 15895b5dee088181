/**
 * Conditions over messages of which something is missing: whether an expression looked at what is not there. A message is filled in two ways; what differs
 * between its two views depends on the filling.
 */
import { LargeInteger } from './json.ts';

/** Stands in a second view for what nothing is known of: it differs from everything. */
export const unknown = Symbol('unknown');

type Members = Record<string, unknown>;

/** `view` that calls `touch` when something is read from it that is not the same in `other`. Both are JSON values, with bigints. */
export function watched(view: Members, other: Members, touch: () => void): Members {
  let differs: boolean | undefined;
  // a name that is missing may be the very one that is asked for
  const namesDiffer = (): boolean => (differs ??= Object.keys(view).join('\0') !== Object.keys(other).join('\0'));
  const inside = new Map<string, unknown>();
  return new Proxy(view, {
    get(members, name): unknown {
      const value = Reflect.get(members, name) as unknown;
      if (typeof name === 'symbol' || typeof value === 'function') return value;
      const twin: unknown = other[name];
      if (value instanceof LargeInteger) {
        if (!(twin instanceof LargeInteger) || twin.text !== value.text) touch();
        return value;
      }
      if (!isObject(value) || !isObject(twin) || Array.isArray(value) !== Array.isArray(twin)) {
        if (value !== twin) touch();
        return value;
      }
      if (!inside.has(name)) inside.set(name, watched(value, twin, touch));
      return inside.get(name);
    },
    getOwnPropertyDescriptor(members, name) {
      if (namesDiffer() && !(Object.hasOwn(members, name) && Object.hasOwn(other, name))) touch();
      return Reflect.getOwnPropertyDescriptor(members, name);
    },
    ownKeys(members) {
      if (namesDiffer()) touch();
      return Reflect.ownKeys(members);
    },
  });
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null;
}

/** A frame that `filled` made, filled in another way: `missing` are its ranges [start, end). */
export function filledOtherwise(bytes: Uint8Array, missing: readonly (readonly [number, number])[]): Uint8Array {
  const other = bytes.slice();
  for (const [start, end] of missing) {
    for (let at = start; at < end; at++) {
      // x → y, 0 → 1; the blanks behind a number stay
      if (other[at] === 0x78 || other[at] === 0x30) other[at]!++;
    }
  }
  return other;
}
