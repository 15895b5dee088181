/** Query parameters and bodies, read strictly: what is not known or out of its bounds is an error that says so, not a default. */
import type { Paging, Range } from '../analysis/views.ts';
import { answerRows, filterChars, mostBuckets } from '../limits.ts';

/** What was asked cannot be answered: the status, and why in words for people. */
export class AnswerError extends Error {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

const bad = (message: string): AnswerError => new AnswerError(400, message);

const ledgerId = /^[0-9a-f]{32}$/;

export class Parameters {
  readonly #values = new Map<string, string>();
  readonly #taken = new Set<string>();

  /** @throws AnswerError 400 for a parameter that stands twice */
  constructor(search: URLSearchParams) {
    for (const [name, value] of search) {
      if (this.#values.has(name)) throw bad(`${name} stands twice`);
      this.#values.set(name, value);
    }
  }

  text(name: string, mostChars = 1_024): string | undefined {
    this.#taken.add(name);
    const value = this.#values.get(name);
    if (value !== undefined && value.length > mostChars) throw bad(`${name} has more than ${mostChars} characters`);
    return value;
  }

  required(name: string, mostChars?: number): string {
    const value = this.text(name, mostChars);
    if (value === undefined || value === '') throw bad(`${name} is missing`);
    return value;
  }

  ledger(): string {
    const value = this.required('ledger');
    if (!ledgerId.test(value)) throw bad('ledger is the id of a ledger: 32 hex digits');
    return value;
  }

  integer(name: string, least: number, most: number): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const number = /^\d{1,16}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most)) throw bad(`${name} is a whole number from ${least} to ${most}`);
    return number;
  }

  index(): number {
    const index = this.integer('index', 0, Number.MAX_SAFE_INTEGER);
    if (index === undefined) throw bad('index is missing');
    return index;
  }

  range(): Range {
    const range: Range = {};
    const ledger = this.text('ledger');
    if (ledger !== undefined) {
      if (!ledgerId.test(ledger)) throw bad('ledger is the id of a ledger: 32 hex digits');
      range.ledger = ledger;
    }
    for (const name of ['since', 'until'] as const) {
      const value = this.text(name, 64);
      if (value === undefined) continue;
      if (!/^\d{4}-\d\d-\d\d/.test(value) || Number.isNaN(Date.parse(value)))
        throw bad(`${name} is a time as ISO 8601 writes it: 2026-11-20T23:45:00Z`);
      range[name] = new Date(value).toISOString();
    }
    const session = this.text('session');
    if (session !== undefined) range.session = session;
    const filter = this.text('filter', filterChars);
    if (filter !== undefined && filter.trim() !== '') range.filter = filter;
    return range;
  }

  /** Which columns there are the rows know. */
  paging(): Paging {
    const paging: Paging = {};
    const offset = this.integer('offset', 0, Number.MAX_SAFE_INTEGER);
    if (offset !== undefined) paging.offset = offset;
    const limit = this.integer('limit', 1, answerRows);
    if (limit !== undefined) paging.limit = limit;
    const sort = this.text('sort', 64);
    if (sort !== undefined) {
      if (!/^-?[A-Za-z][A-Za-z0-9]*$/.test(sort)) throw bad('sort is the name of a field, descending with a leading -');
      paging.sort = sort;
    }
    return paging;
  }

  buckets(): number {
    return this.integer('wanted', 1, mostBuckets) ?? 120;
  }

  /** @throws AnswerError 400 when there is a parameter that nobody asked about */
  end(): void {
    for (const name of this.#values.keys()) if (!this.#taken.has(name)) throw bad(`${name.slice(0, 64)} is no parameter of this question`);
  }
}

/** A JSON object with no other fields than these. @throws AnswerError 400 */
export function objectOf(text: string, fields: readonly string[]): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw bad('the body is no JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad('the body is no JSON object');
  for (const name of Object.keys(value)) if (!fields.includes(name)) throw bad(`${name.slice(0, 64)} is no field of this body`);
  return value as Record<string, unknown>;
}

/** A JSON object with these texts, each from 1 to so many characters. @throws AnswerError 400 */
export function readBody(text: string, fields: Readonly<Record<string, number>>): Record<string, string> {
  const value = objectOf(text, Object.keys(fields));
  const read: Record<string, string> = {};
  for (const [name, mostChars] of Object.entries(fields)) {
    const field = Object.hasOwn(value, name) ? value[name] : undefined;
    if (typeof field !== 'string' || field.trim() === '' || field.length > mostChars) throw bad(`${name} is a text of 1 to ${mostChars} characters`);
    read[name] = field;
  }
  if (read['ledger'] !== undefined && !ledgerId.test(read['ledger'])) throw bad('ledger is the id of a ledger: 32 hex digits');
  return read;
}
