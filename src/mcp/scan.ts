/**
 * A strict JSON reader (RFC 8259) that never builds the document: it is fed in chunks, keeps a stack of one byte a level, and remembers only the
 * facts of a JSON-RPC 2.0 message that an entry states. It runs over a copy of every frame, so it must be fast and must bound its memory whatever comes.
 *
 * What it decides like a JavaScript reader (Buffer to text, then JSON.parse): of duplicate keys the last value counts; a key or a string with
 * invalid UTF-8 reads as U+FFFD; a byte order mark is not JSON.
 *
 * Memory: 1 MiB of key bytes and 16,384 keys over all open objects. Keys beyond that are not compared with each other; the keys that facts
 * hang on are always compared, so no padding hides a second `method`. A key that meets more than 32 others with the same folded hash is compared with
 * the 32 newest.
 */
import { lossyText } from '../bytes/bytes.ts';
import { batchItems, jsonDepth, pairedIdBytes } from '../limits.ts';

/** A scalar or container that a fact names. `text` is the raw JSON token; `value` the decoded text of a string. */
export interface Token {
  readonly kind: 'string' | 'number' | 'true' | 'false' | 'null' | 'object' | 'array';
  readonly text: string;
  readonly value: string;
  /** Longer than its bound: `text` and `value` are a beginning of it. */
  readonly cut: boolean;
}

export type Facts = Readonly<Record<Exclude<SlotName, '' | 'meta' | 'arguments'>, Token | undefined>>;

export interface Scan {
  /** Why this is not a document that we can follow; absent when it is one. */
  reason?: 'not-json' | 'too-deep';
  top: 'object' | 'array' | 'scalar';
  duplicateKey: boolean;
  caseVariantKey: boolean;
  invalidUtf8: boolean;
  nulByte: boolean;
  facts: Facts;
  /** Of a top-level array: start and end of each item in bytes from the start of the frame; the end may include white space. */
  items: number[];
  tooManyItems: boolean;
}

// states
const value = 0;
const afterValue = 1;
const firstKey = 2;
const nextKey = 3;
const colon = 4;
const firstItem = 5;
const inString = 6;
const inEscape = 7;
const inHex = 8;
const inSequence = 9;
const minus = 10;
const zero = 11;
const integer = 12;
const point = 13;
const fraction = 14;
const exponentMark = 15;
const exponentSign = 16;
const exponent = 17;
const literal = 18;

// slots: 0 is "no fact"
const slotNames = [
  '',
  'jsonrpc',
  'id',
  'method',
  'params',
  'result',
  'error',
  'name',
  'uri',
  'requestId',
  'protocolVersion',
  'metaProtocolVersion',
  'isError',
  'resultType',
  'resultProtocolVersion',
  'code',
  'meta',
  'arguments',
] as const;
type SlotName = (typeof slotNames)[number];
const slot = (name: SlotName): number => slotNames.indexOf(name);

/** Longest kept token of each slot, in bytes. Method, name and uri may be attributes of an entry in full; the rest is short by its nature. */
const keptBytes = slotNames.map((name) =>
  name === 'id' || name === 'requestId' ? pairedIdBytes : name === 'method' || name === 'name' || name === 'uri' ? 65_536 : 256,
);

interface Known {
  readonly bytes: Uint8Array;
  readonly slot: number;
  /** A key that differs from it only in ASCII case is an anomaly. */
  readonly guarded: boolean;
}

const encoder = new TextEncoder();
const known = (key: string, name: SlotName, guarded: boolean): Known => ({ bytes: encoder.encode(key), slot: slot(name), guarded });
/** Contexts: 0 any object, 1 the message, 2 params, 3 result, 4 error, 5 params._meta. */
const contexts: readonly (readonly Known[])[] = [
  [],
  [
    known('jsonrpc', 'jsonrpc', true),
    known('id', 'id', true),
    known('method', 'method', true),
    known('params', 'params', true),
    known('result', 'result', true),
    known('error', 'error', true),
  ],
  [
    known('name', 'name', true),
    known('uri', 'uri', true),
    known('arguments', 'arguments', true),
    known('_meta', 'meta', true),
    known('requestId', 'requestId', false),
    known('protocolVersion', 'protocolVersion', false),
  ],
  [known('isError', 'isError', false), known('resultType', 'resultType', false), known('protocolVersion', 'resultProtocolVersion', false)],
  [known('code', 'code', false)],
  [known('io.modelcontextprotocol/protocolVersion', 'metaProtocolVersion', false)],
];
const contextOfSlot = new Uint8Array(slotNames.length);
contextOfSlot[slot('params')] = 2;
contextOfSlot[slot('result')] = 3;
contextOfSlot[slot('error')] = 4;
contextOfSlot[slot('meta')] = 5;
/** Slots that belong to the object in a slot, and are void when its key comes again. */
const insideOf: readonly (readonly number[])[] = slotNames.map((name) =>
  (name === 'params'
    ? (['name', 'uri', 'requestId', 'protocolVersion', 'metaProtocolVersion', 'meta', 'arguments'] as const)
    : name === 'meta'
      ? (['metaProtocolVersion'] as const)
      : name === 'result'
        ? (['isError', 'resultType', 'resultProtocolVersion'] as const)
        : name === 'error'
          ? (['code'] as const)
          : []
  ).map(slot),
);

/** By their number in `slotNames`. Filled one by one, they would take a third of the time that a short frame takes. */
function factsOf(kept: readonly (Token | undefined)[]): Facts {
  return {
    jsonrpc: kept[1],
    id: kept[2],
    method: kept[3],
    params: kept[4],
    result: kept[5],
    error: kept[6],
    name: kept[7],
    uri: kept[8],
    requestId: kept[9],
    protocolVersion: kept[10],
    metaProtocolVersion: kept[11],
    isError: kept[12],
    resultType: kept[13],
    resultProtocolVersion: kept[14],
    code: kept[15],
  };
}
const noFacts = factsOf([]);

const isObject = 0x80;
const literals = [encoder.encode('true'), encoder.encode('false'), encoder.encode('null')];
const objectToken: Token = { kind: 'object', text: '', value: '', cut: false };
const arrayToken: Token = { kind: 'array', text: '', value: '', cut: false };
const trueToken: Token = { kind: 'true', text: 'true', value: '', cut: false };
const falseToken: Token = { kind: 'false', text: 'false', value: '', cut: false };
const nullToken: Token = { kind: 'null', text: 'null', value: '', cut: false };
const literalTokens = [trueToken, falseToken, nullToken];

const quoteByte = 0x22;
const backslash = 0x5c;
/** In a string: 0 goes on, 1 quote, 2 backslash, 3 control, 4 first byte of a longer sequence or no UTF-8 at all. */
const stringClass = new Uint8Array(256);
stringClass.fill(3, 0, 0x20);
stringClass[quoteByte] = 1;
stringClass[backslash] = 2;
stringClass.fill(4, 0x80);
/** ASCII capitals to small letters. */
const folded = new Uint8Array(256);
for (let i = 0; i < 256; i++) folded[i] = i >= 0x41 && i <= 0x5a ? i + 32 : i;
const hexDigit = new Uint8Array(256);
for (const digit of '0123456789abcdefABCDEF') hexDigit[digit.charCodeAt(0)] = 1;

const keyBytesMost = 1 << 20;
const keysMost = 16_384;
const buckets = 4096;
const chainMost = 32;
// a sender who could predict the hash could make every key collide
const seed = Math.trunc(Math.random() * 0x7fffffff);

export class Scanner {
  #state = value;
  #reason: 'not-json' | 'too-deep' | undefined;
  #top: 'object' | 'array' | 'scalar' = 'scalar';
  #offset = 0;
  #duplicateKey = false;
  #caseVariantKey = false;
  #invalidUtf8 = false;
  #nulByte = false;
  #facts: (Token | undefined)[] = Array.from(slotNames, () => undefined);
  /** The last short text that each slot held: methods, tools and versions come again and again. */
  readonly #last: (Token | undefined)[] = Array.from(slotNames, () => undefined);
  #items: number[] = [];
  #tooManyItems = false;

  /** For each open container: its context, and `isObject`. */
  readonly #stack = new Uint8Array(jsonDepth + 1);
  /** For each open container: how many keys were tracked before it. */
  readonly #bases = new Int32Array(jsonDepth + 1);
  #depth = 0;

  // the token that is being read
  #slot = 0;
  #isKey = false;
  #keep = false;
  #keptMost = 0;
  #start = 0;
  #escaped = false;
  #plain = true;
  #held = new Uint8Array(0);
  #heldBytes = 0;
  #cut = false;
  #source: Uint8Array = new Uint8Array(0);
  #from = 0;
  #to = 0;
  #hexLeft = 0;
  #literal = 0;
  #literalAt = 0;
  // rest of a UTF-8 sequence: bytes that must follow, and the range of the next one (Unicode 17, table 3-7)
  #need = 0;
  #low = 0x80;
  #high = 0xbf;

  // keys of all open objects as a stack, chained by hash, newest first
  #keyText = new Uint8Array(4096);
  #keyTextBytes = 0;
  #keyCount = 0;
  #keyStart = new Int32Array(256);
  #keyLength = new Int32Array(256);
  #keyHash = new Int32Array(256);
  #keyNext = new Int32Array(256);
  readonly #heads = new Int32Array(buckets).fill(-1);

  /** Ready for another document. */
  reset(): void {
    this.#popKeys(0);
    this.#state = value;
    this.#reason = undefined;
    this.#top = 'scalar';
    this.#offset = 0;
    this.#duplicateKey = false;
    this.#caseVariantKey = false;
    this.#invalidUtf8 = false;
    this.#nulByte = false;
    this.#facts.fill(undefined);
    if (this.#items.length > 0) this.#items = [];
    this.#tooManyItems = false;
    this.#depth = 0;
    this.#slot = 0;
    this.#isKey = false;
    this.#keep = false;
    this.#heldBytes = 0;
    this.#cut = false;
    this.#need = 0;
  }

  /** Goes on with the next bytes. Any cutting of a document into chunks gives the same result. */
  push(chunk: Uint8Array): void {
    if (this.#reason !== undefined) {
      this.#rest(chunk, 0);
      return;
    }
    const n = chunk.length;
    let i = 0;
    let state = this.#state;
    this.#start = 0;
    scan: while (i < n) {
      switch (state) {
        case inString: {
          let kind = 0;
          while (i < n && (kind = stringClass[chunk[i]!]!) === 0) i++;
          if (i === n) break scan;
          if (kind === 1) {
            if (this.#isKey) {
              this.#endKey(chunk, i);
              state = colon;
            } else {
              if (this.#keep) this.#endString(chunk, i);
              state = afterValue;
            }
            i++;
          } else if (kind === 2) {
            this.#escaped = true;
            state = inEscape;
            i++;
          } else if (kind === 3) {
            return this.#fail('not-json', chunk, i);
          } else {
            this.#plain = false;
            // sequences of two and three bytes that lie whole in this chunk and have no special ranges; all others byte by byte
            while (i < n) {
              const first = chunk[i]!;
              if (first >= 0xc2 && first <= 0xdf && i + 1 < n && (chunk[i + 1]! & 0xc0) === 0x80) i += 2;
              else if (
                first > 0xe0 &&
                first < 0xf0 &&
                first !== 0xed &&
                i + 2 < n &&
                (chunk[i + 1]! & 0xc0) === 0x80 &&
                (chunk[i + 2]! & 0xc0) === 0x80
              )
                i += 3;
              else {
                if (first >= 0x80) {
                  i++;
                  if (this.#lead(first)) state = inSequence;
                  else this.#invalidUtf8 = true;
                }
                break;
              }
            }
          }
          break;
        }
        case inSequence: {
          const byte = chunk[i]!;
          if (byte < this.#low || byte > this.#high) {
            // what was read so far is one invalid sequence; this byte begins anew
            this.#invalidUtf8 = true;
            this.#need = 0;
            state = inString;
            break;
          }
          this.#low = 0x80;
          this.#high = 0xbf;
          i++;
          if (--this.#need > 0) break;
          state = inString;
          break;
        }
        case inEscape: {
          const byte = chunk[i]!;
          if (byte === 0x75) {
            this.#hexLeft = 4;
            state = inHex;
          } else if (
            byte === quoteByte ||
            byte === backslash ||
            byte === 0x2f ||
            byte === 0x62 ||
            byte === 0x66 ||
            byte === 0x6e ||
            byte === 0x72 ||
            byte === 0x74
          ) {
            state = inString;
          } else {
            return this.#fail('not-json', chunk, i);
          }
          i++;
          break;
        }
        case inHex:
          if (hexDigit[chunk[i]!] === 0) return this.#fail('not-json', chunk, i);
          i++;
          if (--this.#hexLeft === 0) state = inString;
          break;
        case value:
        case firstItem: {
          const byte = chunk[i]!;
          if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) {
            i++;
            break;
          }
          if (byte === 0x5d && state === firstItem) {
            this.#close();
            state = afterValue;
            i++;
            break;
          }
          if (this.#depth === 1 && this.#top === 'array') this.#beginItem(i);
          const at = this.#slot;
          if (byte === quoteByte) {
            this.#isKey = false;
            this.#begin(i + 1);
            state = inString;
          } else if (byte === 0x7b || byte === 0x5b) {
            if (this.#depth === jsonDepth) return this.#fail('too-deep', chunk, i);
            let context = 0;
            if (at !== 0) {
              this.#facts[at] = byte === 0x7b ? objectToken : arrayToken;
              if (byte === 0x7b) context = contextOfSlot[at]!;
              this.#slot = 0;
            }
            if (this.#depth === 0) {
              this.#top = byte === 0x7b ? 'object' : 'array';
              if (byte === 0x7b) context = 1;
            }
            this.#stack[this.#depth] = byte === 0x7b ? context | isObject : 0;
            this.#bases[this.#depth] = this.#keyCount;
            this.#depth++;
            state = byte === 0x7b ? firstKey : firstItem;
          } else if (byte === 0x2d) {
            this.#begin(i);
            state = minus;
          } else if (byte === 0x30) {
            this.#begin(i);
            state = zero;
          } else if (byte >= 0x31 && byte <= 0x39) {
            this.#begin(i);
            state = integer;
          } else if (byte === 0x74 || byte === 0x66 || byte === 0x6e) {
            this.#literal = byte === 0x74 ? 0 : byte === 0x66 ? 1 : 2;
            this.#literalAt = 1;
            state = literal;
          } else {
            return this.#fail('not-json', chunk, i);
          }
          i++;
          break;
        }
        case afterValue: {
          const byte = chunk[i]!;
          if (byte === 0x2c && this.#depth > 0) {
            if (this.#depth === 1 && this.#top === 'array') this.#endItem(i);
            state = this.#stack[this.#depth - 1]! & isObject ? nextKey : value;
          } else if (byte === 0x7d && this.#depth > 0 && this.#stack[this.#depth - 1]! & isObject) {
            this.#close();
          } else if (byte === 0x5d && this.#depth > 0 && !(this.#stack[this.#depth - 1]! & isObject)) {
            if (this.#depth === 1) this.#endItem(i);
            this.#close();
          } else if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
            return this.#fail('not-json', chunk, i);
          }
          i++;
          break;
        }
        case firstKey:
        case nextKey: {
          const byte = chunk[i]!;
          if (byte === quoteByte) {
            this.#isKey = true;
            this.#keep = true;
            this.#keptMost = keyBytesMost;
            this.#start = i + 1;
            this.#escaped = false;
            this.#plain = true;
            state = inString;
          } else if (byte === 0x7d && state === firstKey) {
            this.#close();
            state = afterValue;
          } else if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
            return this.#fail('not-json', chunk, i);
          }
          i++;
          break;
        }
        case colon: {
          const byte = chunk[i]!;
          if (byte === 0x3a) state = value;
          else if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return this.#fail('not-json', chunk, i);
          i++;
          break;
        }
        case literal: {
          const text = literals[this.#literal]!;
          if (chunk[i] !== text[this.#literalAt]) return this.#fail('not-json', chunk, i);
          i++;
          if (++this.#literalAt === text.length) {
            if (this.#slot !== 0) {
              this.#facts[this.#slot] = literalTokens[this.#literal]!;
              this.#slot = 0;
            }
            state = afterValue;
          }
          break;
        }
        default: {
          // numbers: the byte after the last digit belongs to the next state
          const byte = chunk[i]!;
          const isDigit = byte >= 0x30 && byte <= 0x39;
          const isExponent = byte === 0x65 || byte === 0x45;
          let next = -1;
          if (state === integer) next = isDigit ? integer : byte === 0x2e ? point : isExponent ? exponentMark : afterValue;
          else if (state === minus) next = byte === 0x30 ? zero : isDigit ? integer : -1;
          else if (state === zero) next = byte === 0x2e ? point : isExponent ? exponentMark : afterValue;
          else if (state === point) next = isDigit ? fraction : -1;
          else if (state === fraction) next = isDigit ? fraction : isExponent ? exponentMark : afterValue;
          else if (state === exponentMark) next = isDigit ? exponent : byte === 0x2b || byte === 0x2d ? exponentSign : -1;
          else if (state === exponentSign) next = isDigit ? exponent : -1;
          else next = isDigit ? exponent : afterValue;
          if (next === -1) return this.#fail('not-json', chunk, i);
          state = next;
          if (next === afterValue) {
            if (this.#keep) this.#endNumber(chunk, i);
          } else {
            i++;
          }
        }
      }
    }
    this.#state = state;
    if (this.#keep) this.#hold(chunk, n);
    this.#offset += n;
  }

  /** What the document was. Bytes that end inside a value are not JSON. */
  end(): Scan {
    if (this.#reason === undefined) {
      const state = this.#state;
      const isEnd = state === afterValue || state === zero || state === integer || state === fraction || state === exponent;
      if (!isEnd || this.#depth > 0) this.#reason = 'not-json';
    }
    if (this.#need > 0) this.#invalidUtf8 = true;
    // the last chunk must not live as long as the scanner
    this.#source = this.#held;
    const facts = this.#reason === undefined && this.#top === 'object' ? factsOf(this.#facts) : noFacts;
    const scan: Scan = {
      top: this.#top,
      duplicateKey: this.#duplicateKey,
      caseVariantKey: this.#caseVariantKey,
      invalidUtf8: this.#invalidUtf8,
      nulByte: this.#nulByte,
      facts,
      items: this.#items,
      tooManyItems: this.#tooManyItems,
    };
    if (this.#reason !== undefined) scan.reason = this.#reason;
    return scan;
  }

  /** The top level is an array, or may still become one. */
  get maybeArray(): boolean {
    return this.#reason === undefined && (this.#top === 'array' || (this.#state === value && this.#depth === 0));
  }

  #begin(start: number): void {
    this.#keep = this.#slot !== 0;
    if (!this.#keep) return;
    this.#keptMost = keptBytes[this.#slot]!;
    this.#start = start;
    this.#escaped = false;
    this.#plain = true;
  }

  /** Keeps the part of the open token that lies in this chunk. */
  #hold(chunk: Uint8Array, end: number): void {
    let length = end - this.#start;
    if (length > this.#keptMost - this.#heldBytes) {
      length = this.#keptMost - this.#heldBytes;
      this.#cut = true;
    }
    const needed = this.#heldBytes + length;
    if (needed > this.#held.length) {
      const larger = new Uint8Array(Math.max(64, 2 * needed));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(chunk.subarray(this.#start, this.#start + length), this.#heldBytes);
    this.#heldBytes = needed;
  }

  /**
   * Where the token that ends before `end` lies: in `#source` from `#from` to `#to`, valid until the next token. Fields instead of a view, because making
   * a view takes longer than reading a short key.
   */
  #token(chunk: Uint8Array, end: number): void {
    this.#keep = false;
    if (this.#heldBytes === 0 && end - this.#start <= this.#keptMost) {
      this.#source = chunk;
      this.#from = this.#start;
      this.#to = end;
      return;
    }
    this.#hold(chunk, end);
    this.#source = this.#held;
    this.#from = 0;
    this.#to = this.#heldBytes;
    this.#heldBytes = 0;
  }

  #endString(chunk: Uint8Array, end: number): void {
    this.#token(chunk, end);
    const cut = this.#cut;
    this.#cut = false;
    const isShort = this.#plain && !this.#escaped && !cut && this.#to - this.#from <= shortText;
    const last = this.#last[this.#slot];
    if (isShort && last !== undefined && isText(last.value, this.#source, this.#from, this.#to)) {
      this.#facts[this.#slot] = last;
      this.#slot = 0;
      return;
    }
    const raw = this.#plain ? asciiText(this.#source, this.#from, this.#to) : lossyText(this.#source.subarray(this.#from, this.#to));
    const token: Token = { kind: 'string', text: cut ? `"${raw}` : `"${raw}"`, value: this.#escaped ? unescaped(raw) : raw, cut };
    this.#facts[this.#slot] = token;
    if (isShort) this.#last[this.#slot] = token;
    this.#slot = 0;
  }

  #endNumber(chunk: Uint8Array, end: number): void {
    this.#token(chunk, end);
    this.#facts[this.#slot] = { kind: 'number', text: numberText(this.#source, this.#from, this.#to), value: '', cut: this.#cut };
    this.#cut = false;
    this.#slot = 0;
  }

  #endKey(chunk: Uint8Array, end: number): void {
    this.#token(chunk, end);
    this.#isKey = false;
    if (this.#cut) {
      this.#cut = false;
      this.#slot = 0;
      return;
    }
    if (this.#escaped || (!this.#plain && this.#invalidUtf8)) {
      const raw = lossyText(this.#source.subarray(this.#from, this.#to));
      this.#source = wtf8(this.#escaped ? unescaped(raw) : raw);
      this.#from = 0;
      this.#to = this.#source.length;
    }
    const context = this.#stack[this.#depth - 1]! & ~isObject;
    const at = context === 0 ? 0 : this.#recognise(contexts[context]!);
    if (at !== 0) {
      const facts = this.#facts;
      if (facts[at] !== undefined) this.#duplicateKey = true;
      facts[at] = undefined;
      for (const inner of insideOf[at]!) facts[inner] = undefined;
    }
    this.#slot = at;
    if (!(this.#duplicateKey && this.#caseVariantKey)) this.#track();
  }

  #recognise(list: readonly Known[]): number {
    const bytes = this.#source;
    const from = this.#from;
    const length = this.#to - from;
    for (let k = 0; k < list.length; k++) {
      const candidate = list[k]!;
      if (candidate.bytes.length !== length) continue;
      let same = true;
      let sameFolded = true;
      for (let j = 0; j < length && sameFolded; j++) {
        const a = bytes[from + j]!;
        const b = candidate.bytes[j]!;
        if (a !== b) {
          same = false;
          sameFolded = folded[a] === folded[b];
        }
      }
      if (same) return candidate.slot;
      if (sameFolded && candidate.guarded) this.#caseVariantKey = true;
    }
    return 0;
  }

  /** Compares a key with the others of its object and remembers it. */
  #track(): void {
    const bytes = this.#source;
    const from = this.#from;
    const length = this.#to - from;
    let hash = seed;
    for (let j = from; j < this.#to; j++) hash = Math.imul(hash ^ folded[bytes[j]!]!, 0x01000193);
    hash ^= hash >>> 15;
    const bucket = hash & (buckets - 1);
    const base = this.#bases[this.#depth - 1]!;
    const text = this.#keyText;
    let steps = 0;
    for (let k = this.#heads[bucket]!; k >= base && steps < chainMost; k = this.#keyNext[k]!, steps++) {
      if (this.#keyHash[k] !== hash || this.#keyLength[k] !== length) continue;
      const start = this.#keyStart[k]!;
      let same = true;
      let sameFolded = true;
      for (let j = 0; j < length && sameFolded; j++) {
        const a = text[start + j]!;
        const b = bytes[from + j]!;
        if (a !== b) {
          same = false;
          // once one such pair was found, only equal keys are of interest
          sameFolded = !this.#caseVariantKey && folded[a] === folded[b];
        }
      }
      if (same) {
        this.#duplicateKey = true;
        return;
      }
      if (sameFolded) this.#caseVariantKey = true;
    }
    const at = this.#keyCount;
    if (at === keysMost || this.#keyTextBytes + length > keyBytesMost) return;
    if (at === this.#keyStart.length) this.#growKeys();
    if (this.#keyTextBytes + length > this.#keyText.length) {
      const larger = new Uint8Array(2 * (this.#keyTextBytes + length));
      larger.set(this.#keyText);
      this.#keyText = larger;
    }
    const keyText = this.#keyText;
    for (let j = 0, to = this.#keyTextBytes; j < length; j++, to++) keyText[to] = bytes[from + j]!;
    this.#keyStart[at] = this.#keyTextBytes;
    this.#keyLength[at] = length;
    this.#keyHash[at] = hash;
    this.#keyNext[at] = this.#heads[bucket]!;
    this.#heads[bucket] = at;
    this.#keyCount = at + 1;
    this.#keyTextBytes += length;
  }

  #growKeys(): void {
    const grow = (old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const larger = new Int32Array(2 * old.length);
      larger.set(old);
      return larger;
    };
    this.#keyStart = grow(this.#keyStart);
    this.#keyLength = grow(this.#keyLength);
    this.#keyHash = grow(this.#keyHash);
    this.#keyNext = grow(this.#keyNext);
  }

  #popKeys(base: number): void {
    // newest first, so each one is the head of its chain
    for (let k = this.#keyCount - 1; k >= base; k--) this.#heads[this.#keyHash[k]! & (buckets - 1)] = this.#keyNext[k]!;
    if (this.#keyCount > base) this.#keyTextBytes = this.#keyStart[base]!;
    this.#keyCount = base;
  }

  #close(): void {
    this.#depth--;
    this.#popKeys(this.#bases[this.#depth]!);
  }

  #beginItem(at: number): void {
    if (this.#items.length === 2 * batchItems) this.#tooManyItems = true;
    else this.#items.push(this.#offset + at);
  }

  #endItem(at: number): void {
    if (!this.#tooManyItems) this.#items.push(this.#offset + at);
  }

  /** Whether `first` begins a longer UTF-8 sequence; sets what must follow. */
  #lead(first: number): boolean {
    this.#low = 0x80;
    this.#high = 0xbf;
    if (first >= 0xc2 && first <= 0xdf) this.#need = 1;
    else if (first >= 0xe0 && first <= 0xef) {
      this.#need = 2;
      if (first === 0xe0) this.#low = 0xa0;
      else if (first === 0xed) this.#high = 0x9f;
    } else if (first >= 0xf0 && first <= 0xf4) {
      this.#need = 3;
      if (first === 0xf0) this.#low = 0x90;
      else if (first === 0xf4) this.#high = 0x8f;
    } else return false;
    return true;
  }

  #fail(reason: 'not-json' | 'too-deep', chunk: Uint8Array, at: number): void {
    this.#reason = reason;
    this.#keep = false;
    this.#heldBytes = 0;
    this.#cut = false;
    this.#rest(chunk, at);
  }

  /** After a failure only UTF-8 and NUL are looked at; before it there was no NUL, because JSON allows none. */
  #rest(chunk: Uint8Array, from: number): void {
    if (!this.#nulByte && chunk.indexOf(0, from) >= 0) this.#nulByte = true;
    if (this.#invalidUtf8) return;
    for (let i = from; i < chunk.length; i++) {
      const byte = chunk[i]!;
      if (this.#need > 0) {
        if (byte < this.#low || byte > this.#high) {
          this.#invalidUtf8 = true;
          return;
        }
        this.#low = 0x80;
        this.#high = 0xbf;
        this.#need--;
      } else if (byte >= 0x80 && !this.#lead(byte)) {
        this.#invalidUtf8 = true;
        return;
      }
    }
  }
}

const shortText = 48;

/** Whether these ASCII bytes are the text. */
function isText(text: string, bytes: Uint8Array, from: number, to: number): boolean {
  if (text.length !== to - from) return false;
  for (let i = from; i < to; i++) if (text.charCodeAt(i - from) !== bytes[i]) return false;
  return true;
}

/** The text of ASCII bytes. For short ones a call into the decoder costs more than the loop. */
function asciiText(bytes: Uint8Array, from: number, to: number): string {
  if (to - from > shortText) return lossyText(bytes.subarray(from, to));
  let text = '';
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

/** The text of a number. Most are ids that count up, and have the text that JavaScript gives them. */
function numberText(bytes: Uint8Array, from: number, to: number): string {
  if (to - from > 15) return asciiText(bytes, from, to);
  let number = 0;
  for (let i = from; i < to; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return asciiText(bytes, from, to);
    number = number * 10 + digit;
  }
  return String(number);
}

/** The value of the inside of a JSON string that was checked before; when it was cut, an escape that is not whole is left out. */
function unescaped(raw: string): string {
  for (let dropped = 0; dropped < 8; dropped++) {
    try {
      return JSON.parse(`"${raw.slice(0, raw.length - dropped)}"`) as string;
    } catch {
      // cut inside an escape: try without its last character
    }
  }
  return raw;
}

/** UTF-8 that also has lone surrogates, so that two keys are equal here when they are equal in JavaScript. */
function wtf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(bytes);
}

const shared = new Scanner();

/** The scan of a whole frame. */
export function scanFrame(frame: Uint8Array): Scan {
  shared.reset();
  shared.push(frame);
  return shared.end();
}
