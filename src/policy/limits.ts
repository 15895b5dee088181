/**
 * Rate limits (`spec/policy.md`, Limits): token buckets for requests and bytes, and how many requests run at a time, by whoever and whatever a limit counts apart. Pure: time
 * and digests come in. The recorder, `policy test` and `policy simulate` take from the same code.
 *
 * What must stay true: of a bucket never more passes than its burst and what its rate gives in the time that went by; of several limits all give, or none; a bucket that is
 * forgotten is full and nothing of it runs, so that a new one in its place gives no more. Times are milliseconds on a line that never goes back (`timeline.ts`).
 */
import { limitBuckets, slotRetryMs } from '../limits.ts';
import { lookOf } from './look-alike.ts';
import type { Party, Principal, Subject } from './match.ts';
import type { Limit, LimitKey, Rate } from './policy.ts';
import { ownRules } from './verdict.ts';

/** A limit as requests are held against it. */
export interface CompiledLimit extends Limit {
  /** Equal for limits that say the same, whatever they are called: their buckets go on when a policy is loaded again. */
  id: string;
  /** As entries and refusals name it. */
  rule: string;
}

export function compileLimits(limits: readonly Limit[] = []): CompiledLimit[] {
  const same = new Map<string, number>();
  return limits.map((limit) => {
    const said = JSON.stringify({ ...limit, name: undefined });
    const before = same.get(said) ?? 0;
    same.set(said, before + 1);
    return { ...limit, id: `${said}#${before}`, rule: limit.name === undefined ? ownRules.limit : `${ownRules.limit}/${limit.name}` };
  });
}

/** Who asks. */
export interface Asker {
  party: Party;
  /** Equal within one session, and for no other. */
  session: string;
  /** Where the party's principal is not the one that asks: the digest of its name (`principalOf`). */
  principal?: string;
}

/** A request is refused: by which limit, and how long it takes at least until it could pass. */
export interface Limited {
  limit: CompiledLimit;
  /** Of the bucket. */
  key: string;
  retryAfterMs: number;
  reason: string;
}

class Bucket {
  readonly limit: CompiledLimit;
  readonly key: string;
  /** Left at `atMs`; of bytes less than nothing where replies took more than there was. */
  requests: number;
  bytes: number;
  atMs: number;
  /** Requests that passed and wait for a reply, and of them those that count as running. */
  waiting = 0;
  running = 0;

  constructor(limit: CompiledLimit, key: string, nowMs: number) {
    this.limit = limit;
    this.key = key;
    this.requests = burstOf(limit);
    this.bytes = limit.bytes?.amount ?? Infinity;
    this.atMs = nowMs;
  }

  refill(nowMs: number): void {
    const elapsedMs = nowMs - this.atMs;
    if (elapsedMs <= 0) return;
    const { requests, bytes } = this.limit;
    if (requests !== undefined) this.requests = Math.min(burstOf(this.limit), this.requests + elapsedMs * perMs(requests));
    if (bytes !== undefined) this.bytes = Math.min(bytes.amount, this.bytes + elapsedMs * perMs(bytes));
    this.atMs = nowMs;
  }

  add(requests: number, bytes: number): void {
    this.requests = Math.min(burstOf(this.limit), this.requests + requests);
    this.bytes = Math.min(this.limit.bytes?.amount ?? Infinity, this.bytes + bytes);
  }

  /** To forget it changes nothing. */
  isIdle(nowMs: number): boolean {
    if (this.waiting > 0) return false;
    this.refill(nowMs);
    return this.requests >= burstOf(this.limit) && this.bytes >= (this.limit.bytes?.amount ?? Infinity);
  }
}

/** What is lost in sums of fractions must not make a client wait that waited as long as it was told. */
const epsilon = 1e-6;

function burstOf({ requests, burst }: Limit): number {
  return requests === undefined ? Infinity : (burst ?? requests.amount);
}

function perMs({ amount, periodMs }: Rate): number {
  return amount / periodMs;
}

/** What a request has taken; it holds its slots until its place among the waiting ones is known, or it is given back. */
export class Taken {
  readonly #buckets: readonly Bucket[];
  readonly #sizeBytes: number;
  #isHeld = true;

  constructor(buckets: readonly Bucket[], sizeBytes: number) {
    this.#buckets = buckets;
    this.#sizeBytes = sizeBytes;
  }

  /** Buckets that its reply, or the end of its wait, changes. */
  get keys(): string[] {
    return this.#buckets.filter(({ limit }) => limit.concurrent !== undefined || limit.bytes !== undefined).map(({ key }) => key);
  }

  /** It waits for a reply by now (`Limiter.hold`), or for none. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    for (const bucket of this.#buckets) {
      bucket.waiting--;
      bucket.running--;
    }
  }

  /** It was not sent: as if it had not been asked. */
  giveBack(): void {
    this.release();
    for (const bucket of this.#buckets) bucket.add(1, this.#sizeBytes);
  }
}

/** Of a snapshot: numbers are what is left at its time, `null` where the limit has none. */
export interface BucketsState {
  /** Digests of the limits' ids. */
  limits: string[];
  buckets: [limit: number, key: string, requests: number | null, bytes: number | null][];
}

/** Looked at for one to forget with each new bucket, and at the bound. */
const looksNew = 4;
const looksFull = 64;

export class Limiter {
  readonly #digest: (text: string) => string;
  readonly #most: number;
  #limits: readonly CompiledLimit[] = [];
  readonly #buckets = new Map<string, Bucket>();
  readonly #principals = new WeakMap<Principal, string>();
  #looked: Iterator<Bucket> | undefined;
  /** Requests that found no room for a bucket of their own. */
  crowded = 0;
  /** Refused requests by rule, of those that are in force. */
  readonly hits = new Map<string, number>();

  /** `digest`: short, and equal for equal texts alone. `most`: buckets. */
  constructor(digest: (text: string) => string, most: number = limitBuckets) {
    this.#digest = digest;
    this.#most = most;
  }

  /** Other limits are in force. Buckets of those that say the same go on, the others are forgotten. */
  configure(limits: readonly CompiledLimit[]): void {
    this.#limits = limits;
    const kept = new Set(limits.map(({ id }) => id));
    for (const [key, { limit }] of this.#buckets) if (!kept.has(limit.id)) this.#buckets.delete(key);
    const rules = new Set(limits.map(({ rule }) => rule));
    for (const rule of this.hits.keys()) if (!rules.has(rule)) this.hits.delete(rule);
  }

  get limits(): readonly CompiledLimit[] {
    return this.#limits;
  }

  /** Buckets that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Of buckets that are remembered: requests that run. */
  get running(): number {
    let running = 0;
    for (const bucket of this.#buckets.values()) running += bucket.running;
    return running;
  }

  /**
   * Takes one request of `sizeBytes` from the buckets of all `limits`, or from none. `isDue`: it is with its receiver already, so it is taken whatever is left; then what a
   * limit says of it is in `limited`.
   */
  take(limits: readonly CompiledLimit[], asker: Asker, subject: Subject, sizeBytes: number, nowMs: number, isDue = false): Taken | Limited | Due {
    const buckets: Bucket[] = [];
    let limited: Limited | undefined;
    for (const limit of limits) {
      const bucket = this.#bucket(limit, asker, subject, nowMs);
      // what is looked at here is not forgotten for the next one
      bucket.waiting++;
      bucket.refill(nowMs);
      const [retryAfterMs, reason] = refusalOf(bucket, sizeBytes);
      if (retryAfterMs > 0) {
        if (limited === undefined) limited = { limit, key: bucket.key, retryAfterMs, reason };
        else limited.retryAfterMs = Math.max(limited.retryAfterMs, retryAfterMs);
      }
      buckets.push(bucket);
    }
    if (limited !== undefined) {
      this.hits.set(limited.limit.rule, (this.hits.get(limited.limit.rule) ?? 0) + 1);
      if (!isDue) {
        for (const bucket of buckets) bucket.waiting--;
        return limited;
      }
    }
    for (const bucket of buckets) {
      bucket.requests -= 1;
      bucket.bytes -= sizeBytes;
      bucket.running++;
    }
    const taken = new Taken(buckets, sizeBytes);
    return limited === undefined ? taken : { ...limited, taken };
  }

  /** A request that holds these buckets begins to wait for its reply (1), or waits no more (-1). `isVacated`: it counts as running no more, though a reply may come. */
  hold(keys: readonly string[], by: 1 | -1, isVacated = false): void {
    for (const key of keys) {
      const bucket = this.#buckets.get(key);
      if (bucket === undefined) continue;
      bucket.waiting = Math.max(0, bucket.waiting + by);
      if (!isVacated) bucket.running = Math.max(0, bucket.running + by);
    }
  }

  /** A reply of `sizeBytes` passed; fewer than none give back. */
  charge(keys: readonly string[], sizeBytes: number, nowMs: number): void {
    for (const key of keys) {
      const bucket = this.#buckets.get(key);
      if (bucket?.limit.bytes === undefined) continue;
      bucket.refill(nowMs);
      bucket.add(0, -sizeBytes);
    }
  }

  /** Looks at `most` buckets, one after the other over all of them, and forgets those that are full and idle. */
  sweep(most: number, nowMs: number): void {
    for (let looked = 0; looked < most; looked++) {
      this.#looked ??= this.#buckets.values();
      const { value: bucket, done } = this.#looked.next();
      if (done === true) {
        this.#looked = undefined;
        return;
      }
      if (bucket.isIdle(nowMs)) this.#buckets.delete(bucket.key);
    }
  }

  /** What stands for a principal: the verified subject, else the account that the OS names, else nobody. Never what somebody says of itself. */
  principalOf(principal: Principal): string {
    let found = this.#principals.get(principal);
    if (found === undefined) this.#principals.set(principal, (found = this.#digest(principalName(principal))));
    return found;
  }

  #bucket(limit: CompiledLimit, { party, session, principal }: Asker, subject: Subject, nowMs: number): Bucket {
    let text = limit.id;
    for (const one of limit.per) {
      const value = one === 'principal' ? (principal ?? this.principalOf(party.principal)) : partOf(one, party, session, subject);
      text += ` ${value.length}:${value}`;
    }
    const key = this.#digest(text);
    return this.#buckets.get(key) ?? this.#newBucket(limit, key, nowMs);
  }

  /** Beyond the bound, and where no bucket can be forgotten, all that would need a new one share one bucket of their limit: too little rather than too much passes. */
  #newBucket(limit: CompiledLimit, key: string, nowMs: number): Bucket {
    this.sweep(looksNew, nowMs);
    if (this.#buckets.size >= this.#most) this.sweep(looksFull, nowMs);
    if (this.#buckets.size >= this.#most) {
      this.crowded++;
      const shared = this.#digest(`${limit.id} shared`);
      return this.#buckets.get(shared) ?? this.#put(new Bucket(limit, shared, nowMs));
    }
    return this.#put(new Bucket(limit, key, nowMs));
  }

  #put(bucket: Bucket): Bucket {
    this.#buckets.set(bucket.key, bucket);
    return bucket;
  }

  /** What the next recorder needs: what of a bucket waits for a reply it knows from who waits. */
  toJSON(nowMs: number): BucketsState {
    const places = new Map(this.#limits.map(({ id }, i) => [id, i]));
    const buckets: BucketsState['buckets'] = [];
    for (const bucket of this.#buckets.values()) {
      if (bucket.isIdle(nowMs)) continue;
      const { limit, key, requests, bytes } = bucket;
      buckets.push([places.get(limit.id)!, key, rounded(requests), rounded(bytes)]);
    }
    return { limits: this.#limits.map(({ id }) => this.#digest(id)), buckets };
  }

  /** From what `toJSON` gave, after a round through JSON; what does not fit, or is of no limit that is in force, is left out. */
  restore(json: unknown, nowMs: number): void {
    const { limits, buckets } = (json ?? {}) as Partial<BucketsState>;
    if (!Array.isArray(limits) || !Array.isArray(buckets)) return;
    const known = new Map(this.#limits.map((limit) => [this.#digest(limit.id), limit]));
    for (const one of buckets as unknown[]) {
      if (!Array.isArray(one)) continue;
      const [place, key, requests, bytes] = one as unknown[];
      const limit = known.get(limits[place as number]!);
      if (limit === undefined || typeof key !== 'string' || this.#buckets.size >= this.#most) continue;
      const bucket = this.#put(new Bucket(limit, key, nowMs));
      if (limit.requests !== undefined && Number.isFinite(requests)) bucket.requests = Math.min(bucket.requests, requests as number);
      if (limit.bytes !== undefined && Number.isFinite(bytes)) bucket.bytes = Math.min(bucket.bytes, bytes as number);
    }
  }
}

/** A request that could not be kept back any more: taken, and what would have been said. */
export interface Due extends Limited {
  taken: Taken;
}

/** How long until the bucket gives what is asked for, at least a millisecond, and why; 0: now. */
function refusalOf({ limit, requests, bytes, running }: Bucket, sizeBytes: number): [retryAfterMs: number, reason: string] {
  let retryAfterMs = 0;
  let reason = '';
  const refuse = (waitMs: number, why: string): void => {
    if (waitMs <= retryAfterMs) return;
    retryAfterMs = waitMs;
    reason = why;
  };
  if (limit.concurrent !== undefined && running >= limit.concurrent) refuse(slotRetryMs, `more than ${limit.concurrent} at a time`);
  if (limit.requests !== undefined && requests < 1 - epsilon)
    refuse(wholeMs((1 - requests) / perMs(limit.requests)), tooManyOf(limit.requests, burstOf(limit)));
  if (limit.bytes !== undefined) {
    // one that is longer than all there can be passes when all is there, and is paid for afterwards
    const needed = Math.min(sizeBytes, limit.bytes.amount);
    if (bytes < needed - epsilon) refuse(wholeMs((needed - bytes) / perMs(limit.bytes)), `more than ${limit.bytes.text}`);
  }
  return [retryAfterMs, reason];
}

/** A small burst is gone long before the rate is reached. */
function tooManyOf({ amount, text }: Rate, burst: number): string {
  return burst < amount ? `more than ${burst} requests at once and ${text} behind them` : `more than ${text} requests`;
}

function wholeMs(ms: number): number {
  return Math.max(1, Math.ceil(ms - epsilon));
}

function principalName({ verified, observed }: Principal): string {
  if (verified.subject !== undefined) return `verified ${verified.issuer?.length ?? 0}:${verified.issuer ?? ''} ${verified.subject}`;
  return observed.uid === undefined ? 'nobody' : `observed ${observed.uid}`;
}

/** Of a call its tool, by its looks: a server may take `Delete` for `delete`. What is no call counts by its method. */
function partOf(key: Exclude<LimitKey, 'principal'>, party: Party, session: string, { method, target }: Subject): string {
  if (key === 'server') return party.server;
  if (key === 'client') return party.client ?? party.clientInfo?.name ?? '';
  if (key === 'session') return session;
  return method === 'tools/call' && target?.kind === 'tool' ? `tool ${lookOf(target.value)}` : `method ${method ?? ''}`;
}

/** Whom a limit counts apart, in words: for whoever reads of it. */
export function countedFor({ per }: Limit, { party, session }: Asker, subject: Subject): Partial<Record<LimitKey, string | number>> {
  const found: Partial<Record<LimitKey, string | number>> = {};
  for (const key of per) {
    if (key === 'principal') {
      const { verified, observed } = party.principal;
      const value = verified.subject ?? observed.uid;
      if (value !== undefined) found.principal = value;
    } else if (key === 'tool')
      found.tool = subject.method === 'tools/call' && subject.target?.kind === 'tool' ? subject.target.value : (subject.method ?? '');
    else found[key] = partOf(key, party, session, subject);
  }
  return found;
}

/** Thousandths: 10,000 buckets are not to be written with sixteen digits each. Downwards, so that no restart gives anything. */
function rounded(amount: number): number | null {
  return Number.isFinite(amount) ? Math.floor(amount * 1000) / 1000 : null;
}
