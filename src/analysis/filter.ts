/**
 * Which entries and calls are meant: the meaning of `sworn log`'s flags, and the line in which pages write them, `tool:get_* outcome:error since:1h "free text"`. Pure, so
 * that a terminal, the catalog and a report in a browser mean the same.
 */
import type { CallState, CallRow, EntryRow, FindingRow, Principal } from './rows.ts';
import type { Direction, Effect, MessageType, Outcome, VerdictKind } from '../entry/entry.ts';
import { filterChars, filterTexts, filterWords } from '../limits.ts';
import { globMatches } from '../mcp/glob.ts';

export const directions = ['c2s', 's2c'] as const;
export const effects = ['read', 'write', 'unknown', 'sensitive', 'destructive'] as const;
export const outcomes = ['ok', 'error', 'toolError', 'blocked', 'cancelled', 'unanswered'] as const;
export const verdicts = ['block', 'flag', 'ask', 'pass'] as const;
export const approvers = ['nobody', 'rule', 'person'] as const;

/** What one word asks of a message. */
export type MessageWord = 'tool' | 'method' | 'direction' | 'effect' | 'outcome' | 'verdict';
export type Word = MessageWord | 'session' | 'server' | 'since' | 'until' | 'entity' | 'finding' | 'who' | 'approvedBy' | 'definition';

interface WordKind {
  readonly does: string;
  /** Absent: a glob, or what the reader of the value says. */
  readonly values?: readonly string[];
}

export const words: Readonly<Record<Word, WordKind>> = {
  tool: { does: 'calls of these tools, and their replies (glob)' },
  method: { does: 'these methods, and their replies (glob)' },
  session: { does: 'this connection, the beginning of its id is enough; behind a proxy id/index' },
  server: { does: 'servers of this name (glob)' },
  direction: { does: 'c2s (client to server) or s2c', values: directions },
  effect: { does: 'read, write, unknown, sensitive or destructive', values: effects },
  outcome: { does: 'replies that are ok, error or toolError, or requests that are blocked, cancelled or unanswered', values: outcomes },
  verdict: { does: 'block, flag, ask (a person was asked) or pass', values: verdicts },
  since: { does: 'from this time on: 90s, 30m, 1h or 7d ago, or 2026-11-20, or 2026-11-20T23:45:00Z' },
  until: { does: 'up to this time' },
  entity: { does: 'calls that named this, type:value (glob)' },
  finding: { does: 'what findings of this id, or of this rule (glob), name' },
  approvedBy: { does: 'calls that this let happen: nobody, a rule or a person; of nobody and rule those that write', values: approvers },
  who: { does: 'calls of this principal: its name, user or executable (glob), or its index' },
  definition: { does: 'calls of a tool as it was defined then: the beginning of its definition’s digest' },
};

export interface Term {
  readonly word: Word;
  readonly value: string;
  /** `-tool:x`: what does not fit. */
  readonly isNot: boolean;
  /** Of `since` and `until`: milliseconds since 1970. */
  readonly ms?: number;
}

/** Terms of one word: one of those that ask for something must fit, and all those with `-`. All words must fit, and all texts. */
export interface Filter {
  readonly terms: readonly Term[];
  /** Each must be contained; letters fit in either case. */
  readonly texts: readonly string[];
}

/** A line that is no filter: what is wrong, and where, in characters from 0. */
export class FilterProblem extends Error {
  override readonly name = 'FilterProblem';
  readonly from: number;
  readonly to: number;

  constructor(message: string, from: number, to: number) {
    super(`${message} (at ${from + 1})`);
    this.from = from;
    this.to = to;
  }
}

/** Reads a line. @throws FilterProblem */
export function parseFilter(line: string, nowMs: number): Filter {
  if (line.length > filterChars) throw new FilterProblem(`a filter has at most ${filterChars} characters`, filterChars, line.length);
  const terms: Term[] = [];
  const texts: string[] = [];
  for (let at = 0; at < line.length;) {
    if (/\s/.test(line[at]!)) {
      at++;
      continue;
    }
    const [head, minus, name] = /^(-?)([A-Za-z]+):/.exec(line.slice(at)) ?? [];
    const value = readValue(line, at + (head?.length ?? 0));
    if (head === undefined) texts.push(value.text);
    else terms.push(termOf(name!, value.text, minus === '-', at, value.end, nowMs));
    if (terms.length > filterWords) throw new FilterProblem(`a filter has at most ${filterWords} words`, at, value.end);
    if (texts.length > filterTexts) throw new FilterProblem(`a filter has at most ${filterTexts} texts; "…" makes one of several`, at, value.end);
    at = value.end;
  }
  return { terms, texts: texts.filter((text) => text !== '') };
}

/** Up to the next blank; `"…"` may hold blanks, and \" and \\ in it. */
function readValue(line: string, from: number): { text: string; end: number } {
  if (line[from] !== '"') {
    const length = line.slice(from).search(/\s/);
    const end = length < 0 ? line.length : from + length;
    return { text: line.slice(from, end), end };
  }
  let text = '';
  for (let i = from + 1; i < line.length; i++) {
    const char = line[i]!;
    if (char === '"') return { text, end: i + 1 };
    if (char === '\\' && (line[i + 1] === '"' || line[i + 1] === '\\')) i++;
    text += line[i];
  }
  throw new FilterProblem('a text that begins with " has no second one', from, line.length);
}

function termOf(name: string, value: string, isNot: boolean, from: number, to: number, nowMs: number): Term {
  const problem = (message: string): FilterProblem => new FilterProblem(message, from, to);
  if (!Object.hasOwn(words, name)) {
    throw problem(`there is no word ${name}: (there are ${Object.keys(words).join(', ')}); write it in "…" to look for it as text`);
  }
  const word = name as Word;
  const { values } = words[word];
  if (value === '') throw problem(`${word}: has nothing behind it`);
  if (values !== undefined && !values.includes(value)) throw problem(`${word}:${value} is not one of ${values.join(', ')}`);
  if (word === 'session' && namedSession(value) === undefined) throw problem(`session:${value} is not the beginning of a connection id (hex digits)`);
  if (word === 'definition' && !isDigest(value)) throw problem(`definition:${value} is not the beginning of a digest (hex digits)`);
  if (word !== 'since' && word !== 'until') return { word, value, isNot };
  if (isNot) throw problem(`-${word}: means nothing; there is ${word === 'since' ? 'until' : 'since'}:`);
  const ms = timeMs(value, nowMs);
  if (ms === undefined) throw problem(`${word}:${value} is no time: 90s, 30m, 1h or 7d, or 2026-11-20, or 2026-11-20T23:45:00Z`);
  return { word, value, isNot, ms };
}

/** The line of a filter's words, as `parseFilter` reads it. */
export function filterLine(terms: readonly Pick<Term, 'word' | 'value' | 'isNot'>[], texts: readonly string[] = []): string {
  const quoted = (text: string): string => (/[\s"\\]/.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : text);
  return [
    ...terms.map(({ word, value, isNot }) => `${isNot ? '-' : ''}${word}:${quoted(value)}`),
    ...texts.map((text) => (/^-?[A-Za-z]+:/.test(text) ? `"${text.replace(/["\\]/g, '\\$&')}"` : quoted(text))),
  ].join(' ');
}

/** The beginning of a SHA-256 as `DefinitionRow` has it. */
export function isDigest(text: string): boolean {
  return /^[0-9a-f]{1,64}$/.test(text);
}

export interface NamedSession {
  /** The beginning of the connection's id. */
  connection: string;
  /** Of a session behind a proxy: the index that `sworn sessions` shows it with. */
  part: number | undefined;
}

/** What `session` names; `undefined`: nothing that can be one. */
export function namedSession(text: string): NamedSession | undefined {
  const [, connection, part] = /^([0-9a-f]{1,32})(?:\/(\d{1,15}))?$/.exec(text) ?? [];
  return connection === undefined ? undefined : { connection, part: part === undefined ? undefined : Number(part) };
}

const unitsMs: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Milliseconds since 1970 of what `since` and its like say; `undefined`: no time. */
export function timeMs(text: string, nowMs: number): number | undefined {
  const ago = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text);
  if (ago) return nowMs - Number(ago[1]) * unitsMs[ago[2]!]!;
  // a date alone is UTC by the language's rule, a time without zone local: a shell user means the local one
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text.replace(' ', 'T')) : Number.NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

/** What the words of messages look at: an entry of kind `message` has it, and so have its row and that of a call. */
export interface MessageFacts {
  type?: MessageType | 'http';
  direction?: Direction;
  method?: string;
  target?: string;
  effect?: Effect;
  sensitive?: true;
  destructive?: true;
  verdict?: VerdictKind;
  outcome?: Outcome;
  /** Of the request's call, where it is known. Without it `cancelled` and `unanswered` fit every request. */
  state?: CallState;
}

/** Whether a message is what one word asks for. */
export function messageFits(word: MessageWord, value: string, message: MessageFacts): boolean {
  const { method, target, type, state } = message;
  switch (word) {
    case 'tool':
      return method === 'tools/call' && target !== undefined && globMatches(value, target);
    case 'method':
      return method !== undefined && globMatches(value, method);
    case 'direction':
      return message.direction === value;
    case 'effect':
      if (value === 'sensitive' || value === 'destructive') return message[value] === true;
      return message.effect === value;
    case 'verdict':
      return message.verdict === value;
    default:
      if (value === 'cancelled' || value === 'unanswered') return type === 'request' && (state === undefined || state === value);
      // what a person was asked about is refused where its call is
      if (value === 'blocked') return type === 'request' && (message.verdict === 'block' || (message.verdict === 'ask' && state === 'blocked'));
      return message.outcome === value;
  }
}

/** What a filter needs beside a row. What is absent fits nothing, but for `call`. */
export interface Beside {
  call?(index: number): CallRow | undefined;
  /** `<type>:<value>` of what a call named. */
  entities?(call: number): Iterable<string>;
  /** Findings that name the entry. */
  findings?(index: number): Iterable<Pick<FindingRow, 'finding' | 'rule'>>;
  principal?(index: number): Principal | undefined;
  /** Texts of an entry to look in: content and attributes as stored. */
  texts?(index: number): Iterable<string>;
}

export function matchesCall(filter: Filter, row: CallRow, beside: Beside = {}): boolean {
  const message: MessageFacts = { ...row, type: 'request', direction: 'c2s' };
  const answer = row.state;
  if (answer === 'ok' || answer === 'error' || answer === 'toolError') message.outcome = answer;
  const facts: Facts = { time: row.beganAt, session: row.session, server: row.server, message, call: row, indexes: row.legs };
  return fits(filter, facts, beside) && containsTexts(filter, row.legs, [row.argumentsText, row.resultText, row.target, row.method], beside);
}

export function matchesEntry(filter: Filter, row: EntryRow, beside: Beside = {}): boolean {
  const call = beside.call?.(row.call ?? row.index);
  const facts: Facts = { time: row.time, indexes: [row.index] };
  if (row.session !== undefined) facts.session = row.session;
  if (row.server !== undefined) facts.server = row.server;
  if (row.kind === 'message') facts.message = call === undefined || row.type !== 'request' ? row : { ...row, state: call.state };
  if (call !== undefined) facts.call = call;
  return fits(filter, facts, beside) && containsTexts(filter, [row.index], [row.target, row.method, row.summary], beside);
}

interface Facts {
  time: string;
  session?: string;
  server?: string;
  /** Absent: no message. */
  message?: MessageFacts;
  call?: CallRow;
  /** The entries that are meant. */
  indexes: readonly number[];
}

function fits({ terms }: Filter, facts: Facts, beside: Beside): boolean {
  const asked = new Map<Word, boolean>();
  for (const term of terms) {
    const isFit = fitsTerm(term, facts, beside);
    if (term.word === 'since' || term.word === 'until' || term.isNot) {
      if (isFit === term.isNot) return false;
    } else asked.set(term.word, isFit || asked.get(term.word) === true);
  }
  return [...asked.values()].every(Boolean);
}

function fitsTerm({ word, value, ms }: Term, { time, session, server, message, call, indexes }: Facts, beside: Beside): boolean {
  switch (word) {
    case 'since':
      return Date.parse(time) >= ms!;
    case 'until':
      return Date.parse(time) <= ms!;
    case 'session':
      return session !== undefined && sessionFits(value, session);
    case 'server':
      return server !== undefined && globMatches(value, server);
    case 'entity':
      return call !== undefined && [...(beside.entities?.(call.index) ?? [])].some((entity) => globMatches(value, entity));
    case 'finding':
      return indexes.some((index) => [...(beside.findings?.(index) ?? [])].some((one) => one.finding === value || globMatches(value, one.rule)));
    case 'approvedBy':
      return call?.approvedBy === value;
    case 'definition':
      return call?.definition?.startsWith(value) === true;
    case 'who':
      return call?.who !== undefined && principalFits(value, call.who, beside.principal?.(call.who));
    default:
      return message !== undefined && messageFits(word, value, message);
  }
}

/** Of a row's `session`: `<connection>`, or `<connection>/<part>`. */
export function sessionFits(value: string, session: string): boolean {
  const meant = namedSession(value);
  if (meant === undefined || !session.startsWith(meant.connection)) return false;
  return meant.part === undefined || session.slice(session.indexOf('/') + 1) === String(meant.part);
}

export function principalFits(value: string, index: number, principal: Principal | undefined): boolean {
  if (value === String(index)) return true;
  return [principal?.name, principal?.user, principal?.executable].some((name) => name !== undefined && globMatches(value, name));
}

function containsTexts({ texts }: Filter, indexes: readonly number[], near: readonly (string | undefined)[], beside: Beside): boolean {
  if (texts.length === 0) return true;
  const all = near.filter((text) => text !== undefined);
  for (const index of indexes) all.push(...(beside.texts?.(index) ?? []));
  const lower = all.map((text) => text.toLowerCase());
  return texts.every((text) => needlesOf(text).some((needle) => lower.some((one) => one.includes(needle))));
}

/** A text in lower case, as it is and as JSON writes it. */
export function needlesOf(text: string): string[] {
  const plain = text.toLowerCase();
  return [...new Set([plain, JSON.stringify(plain).slice(1, -1)])];
}
