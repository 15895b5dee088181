/**
 * Pairs replies with requests on one connection. The key is stream, direction and typed id (JSON-RPC 2.0 §4–5; MCP: ids are unique for their sender,
 * and the two directions have separate ids). Replies to an id that is used twice at a time pair first in, first out.
 */
import { idKeyBytes, methodBytes, pendingBytes, pendingRequests, pendingSecretsChars, targetBytes } from '../limits.ts';
import { bounded, schemeOf } from './bounded.ts';
import type { EffectFields } from './effect.ts';
import type { Anomaly, Direction, Era, Message, Target } from './message.ts';

/**
 * A request without its reply yet: what the reply's entry repeats of it, and no more, because a peer can have thousands of them wait. The recorder adds what it decides about it (effect, `call`), so that the reply can repeat it.
 */
export interface PendingRequest {
  /** Leaf position of the request's entry. */
  index: number;
  stream: number;
  direction: Direction;
  /** The message's own, or a digest of one longer than `limits.idKeyBytes`. */
  idKey: string;
  /** At most `limits.methodBytes`. */
  method?: string;
  /** At most `limits.targetBytes`; of a resource the scheme only. */
  target?: Target;
  era?: Era;
  /** When the tap saw the request, in microseconds of the tap's monotonic clock. */
  seenUs: number;
  effects?: EffectFields;
  /** Its id, method or target must not be written anywhere: it is left out of the snapshot. */
  concealed?: true;
  /** What was left out of its content, while it waits: its answer may repeat it. Never in the snapshot. */
  secrets?: readonly string[];
  /** They were known to an earlier recorder, or are too many or too long: its answer may repeat them, and nobody could tell. */
  secretsLost?: true;
  /** It has no entry (`capture: none`): nor has its reply, and `index` says nothing. */
  uncaptured?: true;
  /** Leaf position of the first request of the logical call, where it is another one. */
  call?: number;
  /** Buckets of rate limits that its reply changes, and in which it counts as running, unless it is vacated. */
  limits?: readonly string[];
  /** It waits for a person, and its receiver has not seen it: whoever lets them wait bounds how many. */
  isAside?: true;
  /** It was cancelled, its stream ended, or it waits for too long: it counts as running no more, though a reply may come. */
  isVacated?: true;
  /** Of one with `limits`: the stream that it came on, which is not where its id is unique. */
  wireStream?: number;
}

/** Who counts the waiting requests that hold places in limits. */
export interface Slots {
  /** A request begins to hold these places (1), or holds them no more (-1). */
  hold(limits: readonly string[], by: 1 | -1, isVacated?: boolean): void;
}

export interface Placement {
  /** On a request its own index; on a reply and on a cancellation that of the request; absent where there is none. */
  readonly exchange?: number;
  /** On a request the one that now waits, to be completed by the recorder; on a reply or a cancellation the one that it belongs to. */
  readonly request?: PendingRequest;
  readonly anomalies: readonly Anomaly[];
  /** Takes the placement back, for an entry that could not be stored. Placements are taken back last first, and each at most once. */
  undo(): void;
}

interface Link {
  request: PendingRequest;
  key: string;
  sizeBytes: number;
  older: Link;
  newer: Link;
  /** Neighbours of the same key. */
  olderSame: Link | undefined;
  newerSame: Link | undefined;
}

const nothing = (): void => undefined;
const none: readonly never[] = [];

/** A request that waits from now on, or a reply that ends one. Thousands of these are kept until their entries are durable: no closures. */
class Placed implements Placement {
  readonly exchange: number;
  readonly request: PendingRequest;
  readonly anomalies: readonly Anomaly[];
  readonly #exchanges: Exchanges;
  readonly #link: Link;
  /** Of a request: those that were forgotten for it. */
  readonly #forgotten: readonly Link[] | undefined;

  constructor(exchanges: Exchanges, link: Link, anomalies: readonly Anomaly[], forgotten?: readonly Link[]) {
    this.exchange = link.request.index;
    this.request = link.request;
    this.anomalies = anomalies;
    this.#exchanges = exchanges;
    this.#link = link;
    this.#forgotten = forgotten;
  }

  undo(): void {
    this.#exchanges.takeBack(this.#link, this.#forgotten);
  }
}

export class Exchanges {
  readonly #most: number;
  readonly #mostBytes: number;
  /** The oldest and the newest waiting request of a key. */
  readonly #byKey = new Map<string, { oldest: Link; newest: Link }>();
  /** Ring of all waiting requests by age; `#ring.newer` is the oldest, `#ring.older` the newest. */
  readonly #ring: Link;
  #size = 0;
  #sizeBytes = 0;
  /** Those of which something was left out. */
  readonly #withSecrets = new Set<PendingRequest>();
  #secretsChars = 0;
  #slots: Slots | undefined;

  /** `most`, `mostBytes`: of requests that wait at a time; beyond it the oldest are forgotten, and a reply to one of them is a reply to nothing. */
  constructor(most: number = pendingRequests, mostBytes: number = pendingBytes) {
    this.#most = most;
    this.#mostBytes = mostBytes;
    const ring = { key: '' } as Link;
    ring.older = ring;
    ring.newer = ring;
    this.#ring = ring;
  }

  /** The request that a message would be placed with, without placing it: of a reply its request, of a cancellation the one that it names. */
  peek(message: Message, direction: Direction, stream = 0): PendingRequest | undefined {
    if (message.type === 'result' || message.type === 'error') {
      const asked: Direction = direction === 'c2s' ? 's2c' : 'c2s';
      return message.idKey === undefined ? undefined : this.#byKey.get(keyOf(stream, asked, shortKey(message.idKey)))?.oldest.request;
    }
    return message.cancels === undefined ? undefined : this.#byKey.get(keyOf(stream, direction, shortKey(message.cancels)))?.oldest.request;
  }

  /** Whether another request waits with the same id. */
  isShared(request: PendingRequest): boolean {
    const same = this.#byKey.get(keyOf(request.stream, request.direction, request.idKey));
    return same !== undefined && same.oldest !== same.newest;
  }

  /** Whether a request with this id waits already. */
  isWaiting(message: Message, direction: Direction, stream = 0): boolean {
    return message.idKey !== undefined && this.#byKey.has(keyOf(stream, direction, shortKey(message.idKey)));
  }

  /** What was left out of a waiting request; `undefined` where it is more than can be remembered. */
  remember(request: PendingRequest, secrets: readonly string[] | undefined): void {
    if (secrets?.length === 0) return;
    this.#count(request, -1);
    delete request.secrets;
    const chars = secrets?.reduce((sum, secret) => sum + secret.length, 0) ?? Infinity;
    if (secrets === undefined || this.#secretsChars + chars > pendingSecretsChars) request.secretsLost = true;
    else request.secrets = secrets;
    this.#count(request, 1);
  }

  /** The waiting requests of which something was left out. */
  get withSecrets(): ReadonlySet<PendingRequest> {
    return this.#withSecrets;
  }

  /** Who counts from now on, instead of who did: those that wait hold their places there. */
  attach(slots: Slots | undefined): void {
    for (const { limits, isVacated } of this.#size === 0 ? none : this.pending()) {
      if (limits === undefined) continue;
      this.#slots?.hold(limits, -1, isVacated);
      slots?.hold(limits, 1, isVacated);
    }
    this.#slots = slots;
  }

  /** A waiting request that came on `wireStream` holds these places as long as it waits. */
  occupy(request: PendingRequest, limits: readonly string[], wireStream: number): void {
    request.limits = limits;
    request.wireStream = wireStream;
    this.#slots?.hold(limits, 1);
  }

  /** A waiting request counts as running no more; the answer takes it back, while it still waits. */
  vacate(request: PendingRequest): () => void {
    const { limits } = request;
    if (limits === undefined || request.isVacated) return nothing;
    const turn = (isVacated: boolean): void => {
      this.#slots?.hold(limits, -1, request.isVacated);
      if (isVacated) request.isVacated = true;
      else delete request.isVacated;
      this.#slots?.hold(limits, 1, request.isVacated);
    };
    turn(true);
    return () => turn(false);
  }

  /** Those that came on a stream over which nothing more comes. */
  vacateStream(wireStream: number): () => void {
    const undos: (() => void)[] = [];
    for (const request of this.pending()) if (request.limits !== undefined && request.wireStream === wireStream) undos.push(this.vacate(request));
    return undos.length === 0 ? nothing : (): void => undos.forEach((undo) => undo());
  }

  /** Those that came before a time of the tap's clock. */
  vacateBefore(seenUs: number): void {
    for (const request of this.pending()) if (request.seenUs < seenUs) this.vacate(request);
  }

  #count(request: PendingRequest, by: 1 | -1): void {
    if (request.limits !== undefined) this.#slots?.hold(request.limits, by, request.isVacated);
    if (request.secrets === undefined && request.secretsLost === undefined) return;
    if (by === 1) this.#withSecrets.add(request);
    else this.#withSecrets.delete(request);
    for (const secret of request.secrets ?? []) this.#secretsChars += by * secret.length;
  }

  /** How many requests wait. */
  get size(): number {
    return this.#size;
  }

  /** The waiting requests, oldest first. */
  *pending(): Generator<PendingRequest> {
    for (let link = this.#ring.newer; link !== this.#ring; link = link.newer) yield link.request;
  }

  /**
   * Places a message that is about to be entry `index`. `seenUs`: the tap's monotonic clock. `stream`: 0 on stdio.
   * Opaque messages and plain notifications have no exchange. A request whose id cannot be paired is its own exchange and does not wait.
   */
  place(message: Message, direction: Direction, index: number, seenUs: number, stream = 0): Placement {
    if (message.type === 'request') return this.#request(message, direction, index, seenUs, stream);
    if (message.type === 'result' || message.type === 'error') return this.#reply(message, direction, stream);
    if (message.cancels !== undefined) {
      // whoever asked cancels, so the request went the same way
      const link = this.#byKey.get(keyOf(stream, direction, shortKey(message.cancels)))?.oldest;
      if (link !== undefined) return { exchange: link.request.index, request: link.request, anomalies: none, undo: nothing };
    }
    return { anomalies: none, undo: nothing };
  }

  #request(message: Message, direction: Direction, index: number, seenUs: number, stream: number): Placement {
    if (message.idKey === undefined) return { exchange: index, anomalies: none, undo: nothing };
    const request: PendingRequest = { index, stream, direction, idKey: shortKey(message.idKey), seenUs };
    if (message.method !== undefined) request.method = bounded(message.method, methodBytes);
    if (message.target !== undefined) request.target = shortTarget(message.target);
    if (message.era !== undefined) request.era = message.era;
    let forgotten: readonly Link[] = none;
    const sizeBytes = sizeOf(request);
    while (this.#size > 0 && (this.#size >= this.#most || this.#sizeBytes + sizeBytes > this.#mostBytes)) {
      const oldest = this.#forgettable();
      if (oldest === undefined) break;
      forgotten = [...forgotten, oldest];
      this.#remove(oldest);
    }
    const link = this.#append(request);
    return new Placed(this, link, link.olderSame !== undefined ? ['id-reused'] : none, forgotten);
  }

  #reply(message: Message, direction: Direction, stream: number): Placement {
    const asked: Direction = direction === 'c2s' ? 's2c' : 'c2s';
    const link = message.idKey === undefined ? undefined : this.#byKey.get(keyOf(stream, asked, shortKey(message.idKey)))?.oldest;
    if (link === undefined) return { anomalies: ['reply-to-nothing'], undo: nothing };
    this.#remove(link);
    return new Placed(this, link, none);
  }

  /** `forgotten`: those that were forgotten for a request, which waits no more; none for a reply, whose request waits again. */
  takeBack(link: Link, forgotten: readonly Link[] | undefined): void {
    if (forgotten === undefined) {
      this.#putBack(link);
      return;
    }
    this.#remove(link);
    for (let i = forgotten.length - 1; i >= 0; i--) this.#putBack(forgotten[i]!);
  }

  /** The oldest that may be forgotten: of one that waits for a person its cancellation, and a reply that comes too soon, must be known for what they are. */
  #forgettable(): Link | undefined {
    let link = this.#ring.newer;
    while (link !== this.#ring && link.request.isAside === true) link = link.newer;
    return link === this.#ring ? undefined : link;
  }

  #append(request: PendingRequest): Link {
    const ring = this.#ring;
    const key = keyOf(request.stream, request.direction, request.idKey);
    const same = this.#byKey.get(key);
    const link: Link = { request, key, sizeBytes: sizeOf(request), older: ring.older, newer: ring, olderSame: same?.newest, newerSame: undefined };
    this.#putBack(link);
    return link;
  }

  /** A removed link keeps its neighbours: as placements are taken back last first, they are its neighbours again when it is put back. */
  #remove(link: Link): void {
    link.older.newer = link.newer;
    link.newer.older = link.older;
    if (link.olderSame !== undefined) link.olderSame.newerSame = link.newerSame;
    if (link.newerSame !== undefined) link.newerSame.olderSame = link.olderSame;
    const same = this.#byKey.get(link.key)!;
    if (link.olderSame === undefined && link.newerSame === undefined) this.#byKey.delete(link.key);
    else if (link.olderSame === undefined) same.oldest = link.newerSame!;
    else if (link.newerSame === undefined) same.newest = link.olderSame;
    this.#size--;
    this.#sizeBytes -= link.sizeBytes;
    this.#count(link.request, -1);
  }

  #putBack(link: Link): void {
    link.older.newer = link;
    link.newer.older = link;
    if (link.olderSame !== undefined) link.olderSame.newerSame = link;
    if (link.newerSame !== undefined) link.newerSame.olderSame = link;
    const same = this.#byKey.get(link.key);
    if (same === undefined) this.#byKey.set(link.key, { oldest: link, newest: link });
    else if (link.olderSame === undefined) same.oldest = link;
    else if (link.newerSame === undefined) same.newest = link;
    this.#size++;
    this.#sizeBytes += link.sizeBytes;
    this.#count(link.request, 1);
  }

  /** The request of entry `index` waits no longer: it was answered in its receiver's place. The answer takes it back. */
  answered(index: number): () => void {
    const link = this.#find(index);
    if (link === undefined) return nothing;
    this.#remove(link);
    return () => this.#putBack(link);
  }

  /** The request of entry `index` was not delivered until now: its reply is timed from here. The answer takes it back. */
  delivered(index: number, seenUs: number): () => void {
    const link = this.#find(index);
    if (link === undefined) return nothing;
    const { request } = link;
    const { seenUs: before, isAside } = request;
    request.seenUs = seenUs;
    delete request.isAside;
    return () => void Object.assign(request, { seenUs: before, ...(isAside === undefined ? {} : { isAside }) });
  }

  /** Mostly one of the newest. */
  #find(index: number): Link | undefined {
    let link = this.#ring.older;
    while (link !== this.#ring && link.request.index !== index) link = link.older;
    return link === this.#ring ? undefined : link;
  }

  /** The request of entry `index` waits no longer: a reply was recorded that is not read again. */
  forget(index: number): void {
    for (let link = this.#ring.newer; link !== this.#ring; link = link.newer) {
      if (link.request.index !== index) continue;
      this.#remove(link);
      return;
    }
  }

  /** The waiting requests, oldest first, for the recorder's snapshot. */
  toJSON(): PendingRequest[] {
    return [...this.pending()]
      .filter(({ concealed }) => concealed === undefined)
      .map((request) => {
        const written = { ...request };
        if (written.secrets !== undefined) written.secretsLost = true;
        delete written.secrets;
        return written;
      });
  }

  /** From what `toJSON` gave, after a round through JSON. Items that do not fit are left out. */
  static from(json?: unknown, most: number = pendingRequests, mostBytes: number = pendingBytes): Exchanges {
    const exchanges = new Exchanges(most, mostBytes);
    if (!Array.isArray(json)) return exchanges;
    for (const item of json as unknown[]) {
      if (typeof item !== 'object' || item === null) continue;
      const request = item as PendingRequest;
      const fits =
        Number.isSafeInteger(request.index) &&
        Number.isSafeInteger(request.stream) &&
        Number.isFinite(request.seenUs) &&
        isText(request.idKey, idKeyBytes) &&
        (request.method === undefined || isText(request.method, methodBytes)) &&
        (request.target === undefined || isText(request.target?.value, targetBytes)) &&
        (request.direction === 'c2s' || request.direction === 's2c') &&
        (request.limits === undefined || (Array.isArray(request.limits) && request.limits.every((key) => isText(key, idKeyBytes))));
      if (fits && exchanges.#size < most && exchanges.#sizeBytes + sizeOf(request) <= mostBytes) exchanges.#append(request);
    }
    return exchanges;
  }
}

function keyOf(stream: number, direction: Direction, idKey: string): string {
  return `${stream}${direction}${idKey}`;
}

function isText(value: unknown, mostChars: number): boolean {
  return typeof value === 'string' && value.length <= mostChars;
}

function shortTarget({ kind, value }: Target): Target {
  return { kind, value: bounded(kind === 'resource' ? schemeOf(value) : value, targetBytes) };
}

/** What a link and its fixed fields take, roughly. */
const linkBytes = 160;

/** Two bytes for each character that a peer chose: what they take in memory at most, and in a snapshot unless they are escaped. */
function sizeOf({ idKey, method, target }: PendingRequest): number {
  return linkBytes + 2 * (2 * idKey.length + (method?.length ?? 0) + (target?.value.length ?? 0));
}

/**
 * The key of an id, or a digest of a long one. Not a cryptographic digest: who finds two ids with the same one confuses the pairing of its own requests,
 * which it can do with equal ids, too. No other key begins with its letter.
 */
function shortKey(idKey: string): string {
  if (idKey.length <= idKeyBytes) return idKey;
  let digest = `h${idKey.length}`;
  for (let lane = 1; lane <= 4; lane++) {
    let hash = Math.imul(lane, 0x9e3779b1) | 0;
    for (let i = 0; i < idKey.length; i++) {
      hash = Math.imul(hash ^ idKey.charCodeAt(i), 0x01000193);
      hash ^= hash >>> 15;
    }
    digest += `.${(hash >>> 0).toString(16)}`;
  }
  return digest;
}
