/**
 * Tool pinning in the recorder: what servers list is held against what is trusted, each difference is an entry, and calls are judged by it (`policy/pins.ts`).
 *
 * What must stay true: the entries about a list stand before the entry of the list, so that no definition is delivered whose pin or drift could be lost; a list
 * that is not delivered pins nothing; what could not be recorded is not known afterwards either.
 */
import { join } from 'node:path';
import type { PolicyEntry } from '../entry/entry.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { Ledger, Waiter } from '../ledger/ledger.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { entryIn, walkSegment } from '../ledger/rewrite.ts';
import { targetBytes } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import { definitionDigest, readDefinitions, type Definition } from '../mcp/definition.ts';
import type { Message } from '../mcp/message.ts';
import { asks, type Subject } from '../policy/match.ts';
import { Pins, type Looked, type PinAct, type PinPlace, type PinProblem, type PinSettings } from '../policy/pins.ts';
import { ownRules, type Verdict } from '../policy/verdict.ts';
import { attributesOf } from './attributes.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { seal, type Attributes } from './seal.ts';

interface Deps {
  ledger: Ledger;
  clock: Clock;
  isOpen(connection: string): boolean;
}

/** What a message means for pins. `verdict`: beside what the rules say. `take`: what becomes of the pins once it is known that it is delivered. */
export interface Pinning {
  verdict?: Verdict;
  /** `keepsContent`: definitions may be stored. */
  take?(keepsContent: boolean): void;
}

/** A list that goes on on other pages: who asks for it. What `server/discover` said before it is its beginning. */
interface FirstList {
  connection: string;
  speaker: string;
  isBegun: boolean;
}

const ranks = { pass: 0, flag: 1, ask: 2, block: 3 } as const;

/** The stricter of two; of equal ones the first. Whoever is asked because of a rule is told what pins say, too. */
export function stricter(verdict: Verdict, other: Verdict | undefined): Verdict {
  if (other === undefined) return verdict;
  if (ranks[other.kind] > ranks[verdict.kind]) return other;
  if (verdict.kind !== 'ask' || other.reason === undefined) return verdict;
  return { ...verdict, reason: verdict.reason === undefined ? other.reason : `${verdict.reason}; ${other.reason}` };
}

export class Pinner {
  readonly pins: Pins;
  readonly #deps: Deps;
  /**
   * By server: who is still at its first list, whose pages are trusted until the last one came, or that client lists anew or calls. Not in the snapshot: a recorder
   * that starts between two of them takes what is on the later ones for new.
   */
  readonly #first = new Map<string, FirstList>();
  /** Of a stdio connection: names on the pages of the list that is under way. Over HTTP a list may be one principal's alone. */
  readonly #listed = new WeakMap<Connection, Set<string>>();

  constructor(deps: Deps, pins: Pins) {
    this.#deps = deps;
    this.pins = pins;
  }

  /** Changes nothing. `bytes`: of the message. */
  consider(message: Message, subject: Subject, bytes: Buffer | undefined, connection: Connection): Pinning | undefined {
    const settings = connection.judge.compiled.policy.tools;
    if (settings === undefined) return undefined;
    const { direction, method } = subject;
    if (direction === 's2c') {
      if (message.method === 'notifications/tools/list_changed') return { take: () => this.#stale(connection) };
      const mayList = method === 'tools/list' || method === 'server/discover' || subject.isUnasked === true;
      return message.type === 'result' && mayList && bytes !== undefined ? this.#list(subject, bytes, connection, settings) : undefined;
    }
    if (method === 'tools/list' && message.type === 'request') return hasCursor(bytes) ? undefined : { take: () => this.#begin(connection) };
    if (method !== 'tools/call' || !asks(subject)) return undefined;
    const called = subject.target?.kind === 'tool' ? subject.target.value : undefined;
    const place = placeOf(connection);
    const tool = called === undefined ? undefined : shown(called, connection);
    const problem = this.pins.problem(place, tool, settings.file);
    // mostly nobody is at a first list
    const take = this.#first.size === 0 ? undefined : (): void => this.#endFirst(connection);
    if (problem === undefined) return take === undefined ? undefined : { take };
    return { ...(take === undefined ? {} : { take }), verdict: verdictOn(problem, tool, message, settings) };
  }

  /** Why a call that waits for a person since entry `since` may not go on now: what it calls was listed otherwise meanwhile, or pins refuse it by now. */
  driftSince(since: number, { method, target }: Subject, connection: Connection): string | undefined {
    const settings = connection.judge.compiled.policy.tools;
    if (settings === undefined || settings.mode === 'warn' || method !== 'tools/call') return undefined;
    const tool = target?.kind === 'tool' ? shown(target.value, connection) : undefined;
    const problem = this.pins.problem(placeOf(connection), tool, settings.file);
    if (problem === undefined || problem === 'unseen') return undefined;
    if (settings.mode === 'block') return reasonOf(problem, tool);
    const drift = tool === undefined ? undefined : this.pins.of(placeOf(connection), tool)?.drifts.find(({ index }) => index > since);
    return drift === undefined
      ? undefined
      : `its definition changed since it was asked for (entry ${drift.index}): deny it, and let it be asked again`;
  }

  #list(subject: Subject, bytes: Buffer, connection: Connection, { file }: PinSettings): Pinning | undefined {
    const page = readDefinitions(bytes);
    if (page === undefined) return undefined;
    const place = placeOf(connection);
    const key = keyOf(place);
    const isAsked = subject.isUnasked !== true;
    const listed = page.definitions.map(({ name, value }) => ({ name: shown(name, connection), definition: definitionDigest(nodeCrypto, value) }));
    const look = (): Looked => this.pins.look(place, listed, isAsked && (!this.pins.has(place) || this.#isFirst(key)), file);
    const { drifted } = look();
    const take = (keepsContent: boolean): void => {
      const isFirst = !this.pins.has(place) && isAsked;
      // again: another list of its batch may have been taken meanwhile
      for (const act of look().acts) this.#append(act, place, connection, keepsContent ? page.definitions : []);
      const isBegun = subject.method === 'tools/list';
      if (isFirst && (page.next !== undefined || !isBegun))
        this.#first.set(key, { connection: connection.id, speaker: speakerOf(connection), isBegun });
      else if (page.next === undefined && isBegun) this.#endFirst(connection);
      if (subject.method === 'tools/list') this.#gone(listed, page.next === undefined, place, connection);
    };
    if (drifted.length === 0) return { take };
    const names = drifted.length === 1 ? 'one definition is' : `${drifted.length} definitions are`;
    return { take, verdict: { kind: 'flag', rule: ownRules.pin, reason: `${names} not accepted: ${drifted.slice(0, 8).join(', ')}` } };
  }

  /** Notes what a whole list does not have any more. */
  #gone(listed: readonly { name: string }[], isLast: boolean, place: PinPlace, connection: Connection): void {
    const names = this.#listed.get(connection);
    if (names === undefined) return;
    for (const { name } of listed) names.add(bounded(name, targetBytes));
    if (!isLast) return;
    this.#listed.delete(connection);
    for (const act of this.pins.gone(place, names)) this.#append(act, place, connection);
  }

  /** A client begins a list: what it was still to get of an earlier one it will not. */
  #begin(connection: Connection): void {
    const first = this.#first.get(keyOf(placeOf(connection)));
    if (first?.isBegun === false && isOf(first, connection)) first.isBegun = true;
    else this.#endFirst(connection);
    if (connection.transport === 'stdio') this.#listed.set(connection, new Set());
  }

  /** A list will be other than before. What was listed until now stays what agents were shown, and calls are judged by it; the first list is over. */
  #stale(connection: Connection): void {
    this.#listed.delete(connection);
    this.#first.delete(keyOf(placeOf(connection)));
  }

  #endFirst(connection: Connection): void {
    const key = keyOf(placeOf(connection));
    const first = this.#first.get(key);
    if (first !== undefined && isOf(first, connection)) this.#first.delete(key);
  }

  #isFirst(key: string): boolean {
    const first = this.#first.get(key);
    if (first === undefined) return false;
    if (this.#deps.isOpen(first.connection)) return true;
    this.#first.delete(key);
    return false;
  }

  /** `definitions`: those of the list, as far as they may be stored. */
  #append({ at = -1, ...act }: PinAct, place: PinPlace, connection: Connection, definitions: readonly Definition[] = []): void {
    const entry: PolicyEntry = { ...this.#deps.clock.common('policy'), ...place, ...act, connection: connection.id };
    const value = definitions[at]?.value;
    const attributes: Attributes = value === undefined ? {} : { defined: connection.judge.anyRedactor?.cleanAll(value) ?? value };
    this.#put(entry, attributes, connection.wait === 'receipt');
  }

  /** In force before it is durable; what cannot be stored is taken back. */
  #put(entry: PolicyEntry, attributes: Attributes, urgent: boolean, done?: (stored: boolean) => void): void {
    const undo = this.pins.apply(entry, this.#deps.ledger.nextIndex);
    const waiter: Waiter = { undo, durable: () => done?.(true), failed: () => done?.(false) };
    this.#deps.ledger.append(seal(entry, attributes), waiter, { urgent });
  }

  /** An administrator accepts a definition that was recorded. */
  accept(entry: PolicyEntry, attributes: Attributes, done: (stored: boolean) => void): void {
    this.#put(entry, attributes, true, done);
  }

  /** Says again what stands before an index, with the definitions as far as they are kept, since those entries are about to go. False when it could not be stored. */
  async restate(from: number): Promise<boolean> {
    const due: { entry: () => PolicyEntry; index: number }[] = [];
    for (const { transport, server, tool, pinned } of this.pins.all()) {
      const said = (index: number, more: Partial<PolicyEntry> & Pick<PolicyEntry, 'act'>): void => {
        if (index < from) due.push({ index, entry: () => ({ ...this.#deps.clock.common('policy'), transport, server, tool, ...more }) });
      };
      for (const { index, definition, source } of pinned.accepted) said(index, { act: 'pin', definition, source });
      for (const { index, definition, change } of pinned.drifts) said(index, { act: 'drift', definition, change });
      if (pinned.gone !== undefined) said(pinned.gone, { act: 'drift', change: 'gone' });
    }
    if (due.length === 0) return true;
    const defined = await this.#definitionsOf(new Set(due.map(({ index }) => index)));
    const stored = due.map(({ entry, index }) => {
      const value = defined.get(index);
      return new Promise<boolean>((done) => this.#put(entry(), value === undefined ? {} : { defined: value }, true, done));
    });
    return (await Promise.all(stored)).every(Boolean);
  }

  /** What of them is erased, or lies in a segment that is closed to us, is missing: the digests stay. */
  async #definitionsOf(indexes: ReadonlySet<number>): Promise<Map<number, unknown>> {
    const { ledger } = this.#deps;
    const payload = join(ledger.folder, 'payload');
    const found = new Map<number, unknown>();
    const files = segmentFiles(payload);
    for (const [i, firstIndex] of files.entries()) {
      const next = files[i + 1] ?? Number.POSITIVE_INFINITY;
      const last = Math.max(...[...indexes].filter((index) => index >= firstIndex && index < next));
      if (last < firstIndex) continue;
      try {
        await walkSegment(payload, firstIndex, ledger.segmentKeys, (walked) => {
          if (walked.type !== 'entry' || !indexes.has(walked.index)) return walked.index <= last;
          const { index } = walked;
          return walked.record().then((body) => {
            const record = entryIn(body);
            const value = record === undefined ? undefined : attributesOf(record)['defined'];
            if (value !== undefined) found.set(index, value);
            return true;
          });
        });
      } catch {
        // without its key nobody reads it
      }
    }
    return found;
  }
}

/** The server's configured name, and how it is reached: what it is started with, and what it says of itself, may change under it. */
function placeOf(connection: Connection): PinPlace {
  return { transport: connection.transport, server: connection.shownServer };
}

function keyOf({ transport, server }: PinPlace): string {
  return `${transport} ${server}`;
}

/** Behind a proxy many clients are on one connection. */
function speakerOf({ who, session }: Connection): string {
  return `${who} ${session}`;
}

function isOf(first: FirstList, connection: Connection): boolean {
  return first.connection === connection.id && first.speaker === speakerOf(connection);
}

/** As it may be written. */
function shown(name: string, connection: Connection): string {
  return (connection.judge.anyRedactor?.cleanAll(name) as string | undefined) ?? name;
}

function hasCursor(bytes: Buffer | undefined): boolean {
  try {
    const { params } = JSON.parse((bytes ?? '').toString()) as { params?: { cursor?: unknown } };
    return typeof params?.cursor === 'string';
  } catch {
    return false;
  }
}

/** Before anything was listed there is nothing that it could differ from: such a call passes, marked. A request without an id cannot wait. */
function verdictOn(problem: PinProblem, tool: string | undefined, { type }: Message, { mode }: PinSettings): Verdict {
  const kind = mode === 'warn' || problem === 'unseen' ? 'flag' : mode === 'ask' && type === 'request' ? 'ask' : 'block';
  return { kind, rule: ownRules.pin, reason: reasonOf(problem, tool) };
}

function reasonOf(problem: PinProblem, tool: string | undefined): string {
  // what an agent made up is not said again, nor what would have to be quoted for a shell
  const name = tool !== undefined && problem !== 'file' && /^[\w./-]{1,64}$/.test(tool) ? tool : '<tool>';
  const look = `see sworn tools diff ${name}, then sworn tools accept ${name}`;
  switch (problem) {
    case 'changed':
      return `its definition changed since it was accepted: ${look}`;
    case 'new':
      return `it came after its server's first list, and nobody has accepted it: ${look}`;
    case 'file':
      return `the file of pins says otherwise: ${look}`;
    case 'unseen':
      return 'its server has not listed its tools yet';
    default:
      return 'its server has not listed it: see sworn tools list; what it lists can be accepted with sworn tools accept';
  }
}
