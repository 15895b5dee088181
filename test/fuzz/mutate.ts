/**
 * Inputs out of seeds, the same for the same numbers: each is made of (seed, name, its number) alone, so that one can be had again without those before it.
 */

/** mulberry32: small, and the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 to 2^32 - 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to `count` - 1; 0 for none. */
  below(count: number): number {
    return count <= 1 ? 0 : this.next() % count;
  }

  one<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** FNV-1a: a number from a name. */
export function numberOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

const latin = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** Not UTF-8, or UTF-8 that some take for something else. */
const brokenText = [
  [0xc0, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xe2, 0x80],
  [0x80],
  [0xff],
  [0xef, 0xbb, 0xbf],
  [0xe2, 0x80, 0xa8],
  [0xc2, 0x85],
  [0xe2, 0x80, 0x94, 0x20],
  [0x00],
].map((bytes) => Uint8Array.from(bytes));

/** What text formats turn on. */
const words = [
  ...[
    '\n',
    '\n\n',
    '\r\n',
    ' ',
    '\t',
    '+',
    '=',
    '==',
    '/',
    '-',
    '0',
    '00',
    '-1',
    '1e3',
    '.',
    '.p/',
    'x000/',
    'none',
    'old 0\n',
    'index 0\n',
    'extra ',
  ],
  ...['quorum none\n', 'group g any ', '"', '\\', '\\u0000', '\\ud800', '{', '}', '[', ']', ':', ',', 'null', 'true', '1E400', '{"v":1,', '"v":1'],
].map(latin);

/** Numbers that lengths, sizes and indexes break at. */
const decimals = [
  ...['0', '1', '2', '3', '63', '64', '255', '256', '257', '999', '1000', '65535', '65536', '4294967295', '4294967296', '9007199254740991'],
  ...['9007199254740992', '9223372036854775807', '18446744073709551615', '18446744073709551616', '00', '007', '-1', '1.0', '1e3', '9'.repeat(400)],
].map(latin);
const lengths32 = [0, 1, 2, 4, 8, 16, 19, 20, 21, 37, 42, 53, 255, 256, 65_535, 65_536, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

function replaced(bytes: Uint8Array, from: number, to: number, by: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length - (to - from) + by.length);
  result.set(bytes.subarray(0, from));
  result.set(by, from);
  result.set(bytes.subarray(to), from + by.length);
  return result;
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39;

type Mutation = (random: Random, bytes: Uint8Array, other: Uint8Array) => Uint8Array;

/** A place in the bytes, and one behind it, near more often than far. */
function stretch(random: Random, bytes: Uint8Array): [number, number] {
  const from = random.below(bytes.length + 1);
  const most = Math.min(bytes.length - from, random.below(4) === 0 ? bytes.length : 16);
  return [from, from + random.below(most + 1)];
}

function over(random: Random, bytes: Uint8Array, width: number, write: (view: DataView) => void): Uint8Array {
  if (bytes.length < width) return bytes;
  const result = bytes.slice();
  write(new DataView(result.buffer, random.below(bytes.length - width + 1), width));
  return result;
}

const mutations: readonly Mutation[] = [
  // a bit
  (random, bytes) => {
    if (bytes.length === 0) return bytes;
    const result = bytes.slice();
    result[random.below(bytes.length)]! ^= 1 << random.below(8);
    return result;
  },
  // a byte
  (random, bytes) => {
    if (bytes.length === 0) return bytes;
    const result = bytes.slice();
    result[random.below(bytes.length)] = random.one([0, 1, 2, 3, 0x0a, 0x20, 0x2b, 0x3d, 0x7f, 0x80, 0xff, random.below(256)]);
    return result;
  },
  // a cut
  (random, bytes) => replaced(bytes, ...stretch(random, bytes), new Uint8Array(0)),
  // the end is missing, or the beginning
  (random, bytes) => (random.below(4) === 0 ? bytes.slice(random.below(bytes.length + 1)) : bytes.slice(0, random.below(bytes.length + 1))),
  // more
  (random, bytes) => {
    const at = random.below(bytes.length + 1);
    return replaced(
      bytes,
      at,
      at,
      random.below(4) === 0 ? Uint8Array.from({ length: random.below(40) }, () => random.below(256)) : random.one(words),
    );
  },
  (random, bytes) => replaced(bytes, ...stretch(random, bytes), random.one(words)),
  // text that is none
  (random, bytes) => {
    const at = random.below(bytes.length + 1);
    return replaced(bytes, at, at, random.one(brokenText));
  },
  // a stretch again, up to very often
  (random, bytes) => {
    const [from, to] = stretch(random, bytes);
    const piece = bytes.subarray(from, to);
    const times = random.below(8) === 0 ? random.below(300) : 1 + random.below(3);
    const block = new Uint8Array(Math.min(times, Math.ceil(16_384 / Math.max(1, piece.length))) * piece.length);
    for (let at = 0; at < block.length; at += piece.length) block.set(piece, at);
    return replaced(bytes, to, to, block);
  },
  // the beginning of one and the end of another; a stretch of another in its place
  (random, bytes, other) => replaced(bytes, random.below(bytes.length + 1), bytes.length, other.subarray(random.below(other.length + 1))),
  (random, bytes, other) => replaced(bytes, ...stretch(random, bytes), other.subarray(...stretch(random, other))),
  // lengths and numbers
  (random, bytes) => over(random, bytes, 2, (view) => view.setUint16(0, random.one([0, 1, 255, 256, 0x7fff, 0x8000, 0xffff]))),
  (random, bytes) => over(random, bytes, 4, (view) => view.setUint32(0, random.one(lengths32))),
  (random, bytes) => over(random, bytes, 4, (view) => view.setUint32(0, view.getUint32(0) + random.below(5) - 2)),
  (random, bytes) =>
    over(random, bytes, 8, (view) => view.setBigUint64(0, random.one([0n, 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]))),
  (random, bytes) => {
    const from = random.below(bytes.length);
    let at = from;
    while (at < bytes.length && !isDigit(bytes[at])) at++;
    let end = at;
    while (isDigit(bytes[end])) end++;
    return replaced(bytes, at, end, random.one(decimals));
  },
  // two lines, changed over or twice
  (random, bytes) => {
    const at = bytes.indexOf(0x0a, random.below(bytes.length));
    const end = at < 0 ? -1 : bytes.indexOf(0x0a, at + 1);
    if (end < 0) return bytes;
    const line = bytes.slice(at + 1, end + 1);
    if (random.below(2) === 0) return replaced(bytes, end + 1, end + 1, line);
    const next = bytes.indexOf(0x0a, end + 1);
    if (next < 0) return replaced(bytes, at + 1, end + 1, new Uint8Array(0));
    return replaced(replaced(bytes, next + 1, next + 1, line), at + 1, end + 1, new Uint8Array(0));
  },
];

/** Input number `n`: a seed as it is for the first ones, then seeds with one to seven mutations. */
export function inputOf(seeds: readonly Uint8Array[], seed: number, name: string, n: number, mostBytes: number): Uint8Array {
  if (n < seeds.length) return seeds[n]!;
  // the first number of neighbouring states is not independent enough
  const random = new Random(Math.imul(seed ^ numberOf(name), 0x9e3779b1) ^ Math.imul(n, 0x85ebca6b));
  random.next();
  let bytes = random.one(seeds);
  let count = 1;
  while (count < 7 && random.below(3) > 0) count++;
  for (; count > 0; count--) {
    bytes = random.one(mutations)(random, bytes, random.one(seeds));
    if (bytes.length > mostBytes) bytes = bytes.slice(0, mostBytes);
  }
  return bytes;
}
