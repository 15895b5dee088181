/**
 * Pairs replies with requests on one connection. The key is stream, direction and typed id (JSON-RPC 2.0 §4–5; MCP: ids are unique for their sender,
 * and the two directions have separate ids). Replies to an id that is used twice at a time pair first in, first out.
 */
import { pendingRequests } from '../limits.ts';
import type { EffectFields } from './effect.ts';
import type { Anomaly, Direction, Era, Message, Target } from './message.ts';

/** A request without its reply yet. The recorder adds what it decides about it (effect, `call`), so that the reply can repeat it. */
export interface PendingRequest {
  /** Leaf position of the request's entry. */
  index: number;
  stream: number;
  direction: Direction;
  idKey: string;
  method?: string;
  target?: Target;
  era?: Era;
  /** When the tap saw the request, in microseconds of the tap's monotonic clock. */
  seenUs: number;
  effects?: EffectFields;
  /** Leaf position of the first request of the logical call, where it is another one. */
  call?: number;
}

export interface Placement {
  /** On a request its own index; on a reply and on a cancellation that of the request; absent where there is none. */
  exchange?: number;
  /** On a request the one that now waits, to be completed by the recorder; on a reply or a cancellation the one that it belongs to. */
  request?: PendingRequest;
  anomalies: Anomaly[];
  /** Takes the placement back, for an entry that could not be stored. Placements are taken back last first, and each at most once. */
  undo: () => void;
}

interface Link {
  request: PendingRequest;
  key: string;
  older: Link;
  newer: Link;
  /** Neighbours of the same key. */
  olderSame: Link | undefined;
  newerSame: Link | undefined;
}

const nothing = (): void => undefined;

export class Exchanges {
  readonly #most: number;
  /** The oldest and the newest waiting request of a key. */
  readonly #byKey = new Map<string, { oldest: Link; newest: Link }>();
  /** Ring of all waiting requests by age; `#ring.newer` is the oldest, `#ring.older` the newest. */
  readonly #ring: Link;
  #size = 0;

  /** `most`: requests that wait at a time; beyond it the oldest are forgotten, and a reply to one of them is a reply to nothing. */
  constructor(most: number = pendingRequests) {
    this.#most = most;
    const ring = { key: '' } as Link;
    ring.older = ring;
    ring.newer = ring;
    this.#ring = ring;
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
      const link = this.#byKey.get(keyOf(stream, direction, message.cancels))?.oldest;
      if (link !== undefined) return { exchange: link.request.index, request: link.request, anomalies: [], undo: nothing };
    }
    return { anomalies: [], undo: nothing };
  }

  #request(message: Message, direction: Direction, index: number, seenUs: number, stream: number): Placement {
    if (message.idKey === undefined) return { exchange: index, anomalies: [], undo: nothing };
    const request: PendingRequest = { index, stream, direction, idKey: message.idKey, seenUs };
    if (message.method !== undefined) request.method = message.method;
    if (message.target !== undefined) request.target = message.target;
    if (message.era !== undefined) request.era = message.era;
    const forgotten = this.#size >= this.#most ? this.#ring.newer : undefined;
    if (forgotten !== undefined) this.#remove(forgotten);
    const link = this.#append(request);
    const undo = (): void => {
      this.#remove(link);
      if (forgotten !== undefined) this.#putBack(forgotten);
    };
    return { exchange: index, request, anomalies: link.olderSame !== undefined ? ['id-reused'] : [], undo };
  }

  #reply(message: Message, direction: Direction, stream: number): Placement {
    const asked: Direction = direction === 'c2s' ? 's2c' : 'c2s';
    const link = message.idKey === undefined ? undefined : this.#byKey.get(keyOf(stream, asked, message.idKey))?.oldest;
    if (link === undefined) return { anomalies: ['reply-to-nothing'], undo: nothing };
    this.#remove(link);
    return { exchange: link.request.index, request: link.request, anomalies: [], undo: () => this.#putBack(link) };
  }

  #append(request: PendingRequest): Link {
    const ring = this.#ring;
    const key = keyOf(request.stream, request.direction, request.idKey);
    const same = this.#byKey.get(key);
    const link: Link = { request, key, older: ring.older, newer: ring, olderSame: same?.newest, newerSame: undefined };
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
    return [...this.pending()];
  }

  /** From what `toJSON` gave, after a round through JSON. Items that do not fit are left out. */
  static from(json: unknown, most: number = pendingRequests): Exchanges {
    const exchanges = new Exchanges(most);
    if (!Array.isArray(json)) return exchanges;
    for (const item of json as unknown[]) {
      if (typeof item !== 'object' || item === null) continue;
      const request = item as PendingRequest;
      const fits =
        Number.isSafeInteger(request.index) &&
        Number.isSafeInteger(request.stream) &&
        Number.isFinite(request.seenUs) &&
        typeof request.idKey === 'string' &&
        (request.direction === 'c2s' || request.direction === 's2c');
      if (fits && exchanges.#size < most) exchanges.#append(request);
    }
    return exchanges;
  }
}

function keyOf(stream: number, direction: Direction, idKey: string): string {
  return `${stream}${direction}${idKey}`;
}
