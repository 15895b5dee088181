/**
 * Answers the questions of pages from rows in memory: what the catalog does with SQL, for a report in a browser. Pure but for what it is handed. Answers are computed when they are
 * asked for; of the lists that a filter leaves over, the last few are kept, since pages ask for one list in many pieces.
 */
import { openedLegs } from './calls.ts';
import { matchesCall, matchesEntry, parseFilter, type Beside, type Filter } from './filter.ts';
import { buckets } from './buckets.ts';
import {
  byFirst,
  bySeverity,
  byTool,
  durationsOf,
  figureFields,
  grouped,
  indexesOf,
  inLedgers,
  isError,
  narrowed,
  positionsBy,
  quantile,
  severities,
  sortedBy,
  toolRow,
  type Indexes,
} from './memory-figures.ts';
import type { IndexedRows, PackedRows } from './packed-rows.ts';
import type { CallRow, EntityRow, EntryRow, FindingRow, Principal, SessionRow, Severity, ToolRow, TouchRow } from './rows.ts';
import type {
  Backend,
  CallDetail,
  EntityDetail,
  EntryDetail,
  EvidenceState,
  Matrix,
  Overview,
  Page,
  Paging,
  Range,
  Timeline,
  ToolDetail,
} from './views.ts';

export interface MemoryDeps {
  rows: PackedRows;
  /** Opens an entry; `undefined`: it is not here. */
  entry(ledger: string, index: number): Promise<EntryDetail | undefined>;
  /** Which of the texts (lower case) stand in the content of which entries: index → those texts. Absent: only what rows say is looked through. */
  textsIn?(ledger: string, texts: readonly string[]): Promise<ReadonlyMap<number, readonly string[]>>;
  evidence(): EvidenceState[];
  verify(ledger: string): Promise<void>;
  /** When the newest record was made, where "now" is not the reader's clock. ISO 8601. */
  now(): string;
  zone: string;
  /** Entries that are not yet rows; absent: none. */
  behind?(): number;
}

const limitMost = 1_000;
const limitDefault = 100;
/** Lists that are kept. */
const keptLists = 12;
const toolsOfMatrix = 40;

type Subscriber = Parameters<Backend['subscribe']>[0];

export class MemoryBackend implements Backend {
  readonly kind = 'report';
  readonly #deps: MemoryDeps;
  readonly #lists = new Map<string, unknown>();
  readonly #subscribers = new Set<Subscriber>();
  #indexed: Indexes | undefined;
  /** What is said of rows waits until all of them are there. Evidence does not wait. */
  ready: Promise<void> = Promise.resolve();
  /** The overview and the timeline wait for it instead: the overview says what is missing in it. */
  begun: Promise<void> = Promise.resolve();

  constructor(deps: MemoryDeps) {
    this.#deps = deps;
  }

  /** The rows are others now. */
  changed(change: Parameters<Subscriber>[0]): void {
    if (change.entries !== undefined || change.calls !== undefined || change.findings !== undefined) {
      this.#lists.clear();
      this.#indexed = undefined;
    }
    for (const subscriber of this.#subscribers) subscriber(change);
  }

  subscribe(changed: Subscriber): () => void {
    this.#subscribers.add(changed);
    return () => this.#subscribers.delete(changed);
  }

  async evidence(): Promise<EvidenceState[]> {
    return this.#deps.evidence();
  }

  verify(ledger: string): Promise<void> {
    return this.#deps.verify(ledger);
  }

  async overview(range: Range): Promise<Overview> {
    await this.begun;
    const calls = await this.#toolCalls(range, 'state', 'effect', 'sensitive', 'beganAt', 'endedAt');
    const sessions = await this.#sessions(range);
    const findings = await this.#findings(range);
    const durations = durationsOf(await this.#toolCalls(range, 'durationUs'));
    const now = this.#deps.now();
    const today = now.slice(0, 10);
    const counted = Object.fromEntries(severities.map((severity) => [severity, 0])) as Record<Severity, number>;
    for (const finding of findings) if (finding.acknowledged === undefined && Object.hasOwn(counted, finding.severity)) counted[finding.severity]++;
    const sums = { calls: 0, callsToday: 0, reads: 0, writes: 0, sensitive: 0, blocked: 0, errors: 0, unanswered: 0 };
    let answered = 0;
    let times: Pick<Overview, 'firstAt' | 'lastAt'> = {};
    for (const call of calls) {
      const { state, effect, sensitive, beganAt, endedAt = beganAt } = call;
      sums.calls++;
      if (beganAt.startsWith(today)) sums.callsToday++;
      if (effect === 'read') sums.reads++;
      if (effect === 'write') sums.writes++;
      if (sensitive === true) sums.sensitive++;
      if (state === 'blocked') sums.blocked++;
      if (state === 'unanswered') sums.unanswered++;
      if (isError(call)) sums.errors++;
      if (isAnswered(call)) answered++;
      const { firstAt = beganAt, lastAt = endedAt } = times;
      times = { firstAt: beganAt < firstAt ? beganAt : firstAt, lastAt: endedAt > lastAt ? endedAt : lastAt };
    }
    return {
      zone: this.#deps.zone,
      now,
      sessions: sessions.length,
      openSessions: sessions.filter((session) => session.closedAt === undefined).length,
      ...sums,
      ...(answered === 0 ? {} : { errorRate: sums.errors / answered }),
      ...(durations.length === 0 ? {} : { p50Us: quantile(durations, 0.5), p95Us: quantile(durations, 0.95) }),
      findings: counted,
      acknowledged: findings.filter((finding) => finding.acknowledged !== undefined).length,
      ...times,
      behind: this.#deps.behind?.() ?? 0,
    };
  }

  async timeline(range: Range, wanted: number): Promise<Timeline> {
    await this.begun;
    return buckets(await this.#toolCalls(range, 'beganAt', 'state', 'sensitive', 'effect'), wanted);
  }

  async sessions(range: Range, paging: Paging): Promise<Page<SessionRow>> {
    return this.#page('sessions', range, paging, () => this.#sessions(range));
  }

  async calls(range: Range, paging: Paging): Promise<Page<CallRow>> {
    return this.#pageOf('calls', range, paging, () => this.#calls(range));
  }

  async entries(range: Range, paging: Paging): Promise<Page<EntryRow>> {
    return this.#pageOf('entries', range, paging, () => this.#entries(range));
  }

  async tools(range: Range, paging: Paging): Promise<Page<ToolRow>> {
    return this.#page('tools', range, paging, () => this.#tools(range));
  }

  async entities(range: Range, paging: Paging): Promise<Page<EntityRow>> {
    return this.#page('entities', range, { sort: '-lastAt', ...paging }, () => this.#entities(range));
  }

  async findings(range: Range, paging: Paging): Promise<Page<FindingRow>> {
    return this.#page('findings', range, { sort: 'severity', ...paging }, () => this.#findings(range));
  }

  async call(ledger: string, index: number): Promise<CallDetail | undefined> {
    await this.ready;
    const { callOf, findingsOf, touchesOf } = this.#indexes();
    const first = callOf(ledger, index);
    const call = first === undefined ? undefined : this.#deps.rows.get('calls', { ledger, index: first });
    if (call === undefined) return undefined;
    const legs = await Promise.all(openedLegs(call.legs).map((leg) => this.#deps.entry(ledger, leg)));
    const principal = call.who === undefined ? undefined : this.#principal(call);
    const findings = new Map<string, FindingRow>();
    for (const leg of call.legs) for (const finding of findingsOf(ledger, leg)) findings.set(finding.finding, finding);
    return {
      call,
      legs: legs.filter((leg) => leg !== undefined),
      ...(principal === undefined ? {} : { principal: { ...principal } }),
      findings: [...findings.values()].toSorted(bySeverity),
      touches: touchesOf(ledger, call.index),
    };
  }

  async entry(ledger: string, index: number): Promise<EntryDetail | undefined> {
    await this.ready;
    return this.#deps.entry(ledger, index);
  }

  async tool(ledger: string, server: string, tool: string): Promise<ToolDetail | undefined> {
    await this.ready;
    const { rows } = this.#deps;
    const found = (await this.#tools({ ledger })).find((row) => row.ledger === ledger && row.server === server && row.tool === tool);
    if (found === undefined) return undefined;
    const isOf = (row: { ledger: string; server?: string; tool?: string }): boolean =>
      row.ledger === ledger && row.server === server && row.tool === tool;
    return { tool: found, definitions: rows.rows('definitions').filter(isOf), findings: rows.rows('findings').filter(isOf).toSorted(bySeverity) };
  }

  async entity(ledger: string, entity: string): Promise<EntityDetail | undefined> {
    await this.ready;
    const { rows } = this.#deps;
    const found = rows.get('entities', { ledger, entity });
    if (found === undefined) return undefined;
    const touches = rows
      .rows('touches')
      .filter((touch) => touch.ledger === ledger && touch.entity === entity)
      .toSorted((a, b) => a.call - b.call)
      .slice(0, 10_000);
    const calls = [...new Set(touches.map((touch) => touch.call))].map((index) => rows.get('calls', { ledger, index }));
    const { principals } = this.#indexes();
    const who = [...new Set(touches.flatMap((touch) => touch.who ?? []))].toSorted((a, b) => a - b);
    return {
      entity: found,
      touches,
      calls: calls.filter((call) => call !== undefined),
      principals: who.flatMap((index) => principals.get(`${ledger} ${index}`) ?? []),
    };
  }

  async matrix(range: Range, paging: Paging): Promise<Matrix> {
    const page = await this.entities(range, { sort: '-sensitive', ...paging });
    const calls = await this.#named(range);
    const rowOf = new Map(page.rows.map((entity, row) => [`${entity.ledger} ${entity.entity}`, row]));
    const touches = this.#deps.rows
      .rows('touches')
      .filter((touch) => rowOf.has(`${touch.ledger} ${touch.entity}`) && calls.has(`${touch.ledger} ${touch.call}`));
    const counts = new Map<string, number>();
    for (const touch of touches) counts.set(toolKey(touch), (counts.get(toolKey(touch)) ?? 0) + 1);
    const named = [...counts].map(([key, touched]) => {
      const [server, tool] = key.split('\0') as [string, string];
      return { key, touched, server, tool };
    });
    const sorted = named.toSorted((a, b) => b.touched - a.touched || byTool(a, b)).slice(0, toolsOfMatrix);
    const columns = sorted.map(({ key }) => key);
    const columnOf = new Map(columns.map((key, column) => [key, column]));
    const sensitive = new Set(touches.filter((touch) => touch.sensitive).map(toolKey));
    const cells = page.rows.map(() => columns.map(() => ({ reads: 0, writes: 0, sensitive: 0 })));
    for (const touch of touches) {
      const column = columnOf.get(toolKey(touch));
      if (column === undefined) continue;
      const cell = cells[rowOf.get(`${touch.ledger} ${touch.entity}`)!]![column]!;
      if (touch.kind === 'write') cell.writes++;
      else cell.reads++;
      if (touch.sensitive) cell.sensitive++;
    }
    const tools = sorted.map(({ key, server, tool }) => ({ server, tool, ...(sensitive.has(key) ? { sensitive: true as const } : {}) }));
    return { tools, entities: page.rows, cells, total: page.total };
  }

  /** A page of a list: sorted, cut, and the sorted list kept for the next piece. */
  async #page<Row extends object>(name: string, range: Range, paging: Paging, list: () => Promise<Row[]>): Promise<Page<Row>> {
    await this.ready;
    const { offset = 0, sort } = paging;
    const limit = Math.max(1, Math.min(limitMost, paging.limit ?? limitDefault));
    const sorted =
      sort === undefined ? await list() : await this.#kept(`${name} by ${sort} ${JSON.stringify(range)}`, async () => sortedBy(await list(), sort));
    return { rows: sorted.slice(offset, offset + limit), offset, total: sorted.length };
  }

  /** The same of a table that is in columns: only the rows of the page are made. */
  async #pageOf<Name extends 'calls' | 'entries'>(
    name: Name,
    range: Range,
    paging: Paging,
    list: () => Promise<Uint32Array>,
  ): Promise<Page<Name extends 'calls' ? CallRow : EntryRow>> {
    await this.ready;
    const { packed } = this.#deps.rows[name] as IndexedRows<Name extends 'calls' ? CallRow : EntryRow>;
    const { offset = 0, sort } = paging;
    const limit = Math.max(1, Math.min(limitMost, paging.limit ?? limitDefault));
    const by = sort?.replace(/^-/, '') ?? '';
    const sorted =
      sort === undefined
        ? await list()
        : await this.#kept(`${name} by ${sort} ${JSON.stringify(range)}`, async () =>
            positionsBy(await list(), packed.orderOf(by), sort.startsWith('-')),
          );
    return { rows: Array.from(sorted.subarray(offset, offset + limit), (position) => packed.at(position)), offset, total: sorted.length };
  }

  /** Some fields of the calls of a range. */
  async #picked<Field extends keyof CallRow>(range: Range, ...fields: Field[]): Promise<Iterable<Pick<CallRow, Field>>> {
    return this.#deps.rows.calls.packed.each(await this.#calls(range), ...fields);
  }

  /** Of tools alone. */
  async #toolCalls<Field extends keyof CallRow>(range: Range, ...fields: Field[]): Promise<Iterable<Pick<CallRow, Field>>> {
    const { packed } = this.#deps.rows.calls;
    const methodOf = packed.orderOf('method');
    return packed.each(
      (await this.#calls(range)).filter((position) => methodOf(position) === 'tools/call'),
      ...fields,
    );
  }

  /** The calls of a range as `<ledger> <index>`. */
  async #named(range: Range): Promise<ReadonlySet<string>> {
    return new Set(Array.from(await this.#picked(range, 'ledger', 'index'), (call) => `${call.ledger} ${call.index}`));
  }

  async #kept<Value>(key: string, make: () => Promise<Value>): Promise<Value> {
    if (this.#lists.has(key)) return this.#lists.get(key) as Value;
    const made = await make();
    if (this.#lists.size >= keptLists) this.#lists.delete(this.#lists.keys().next().value!);
    this.#lists.set(key, made);
    return made;
  }

  /** Positions of the calls of a range. */
  #calls(range: Range): Promise<Uint32Array> {
    return this.#kept(`calls ${JSON.stringify(range)}`, async () => {
      const { calls } = this.#deps.rows;
      const all = calls.all();
      const within = isWhole(range)
        ? all
        : keptOf(
            all,
            calls.packed.each(all, 'ledger', 'beganAt', 'session'),
            (call) => isWithin(range, call.ledger, call.beganAt) && isOfSession(range, call.session),
          );
      const filter = filterOf(range);
      if (filter === undefined) return within;
      const beside = await this.#beside(range, filter);
      const near = filter.texts.length > 0;
      return within.filter((position) => {
        const call = calls.packed.at(position, near ? noFields : farFields);
        return matchesCall(filter, call, beside(call.ledger));
      });
    });
  }

  /** Positions of the entries of a range. */
  #entries(range: Range): Promise<Uint32Array> {
    return this.#kept(`entries ${JSON.stringify(range)}`, async () => {
      const { entries } = this.#deps.rows;
      const all = entries.all();
      const within = isWhole(range)
        ? all
        : keptOf(
            all,
            entries.packed.each(all, 'ledger', 'time', 'session'),
            (entry) => isWithin(range, entry.ledger, entry.time) && isOfSession(range, entry.session),
          );
      const filter = filterOf(range);
      if (filter === undefined) return within;
      const beside = await this.#beside(range, filter);
      return within.filter((position) => {
        const entry = entries.packed.at(position);
        return matchesEntry(filter, entry, beside(entry.ledger));
      });
    });
  }

  #sessions(range: Range): Promise<SessionRow[]> {
    return this.#kept(`sessions ${JSON.stringify(range)}`, async () => {
      const all = this.#deps.rows
        .rows('sessions')
        .filter((one) => isOfSession(range, one.session) && isWithin(range, one.ledger, one.openedAt, one.closedAt ?? one.lastAt));
      if (range.filter === undefined || range.filter.trim() === '') return all;
      const meant = new Set(Array.from(await this.#picked(range, 'ledger', 'session'), (call) => `${call.ledger} ${call.session}`));
      return all.filter((session) => meant.has(`${session.ledger} ${session.session}`));
    });
  }

  /** Figures of tools, counted anew over the calls of the range. */
  #tools(range: Range): Promise<ToolRow[]> {
    return this.#kept(`tools ${JSON.stringify(range)}`, async () => {
      const calls = grouped(await this.#toolCalls(range, ...figureFields), (call) => toolKeyOf(call.ledger, call.server, call.target ?? ''));
      const known = new Map(this.#deps.rows.rows('tools').map((tool) => [toolKeyOf(tool.ledger, tool.server, tool.tool), tool]));
      const isEveryTime = range.since === undefined && range.until === undefined && range.session === undefined && filterOf(range) === undefined;
      const keys = new Set([...(isEveryTime ? known.keys() : []), ...calls.keys()]);
      const tools: ToolRow[] = [];
      for (const key of keys) {
        const base = known.get(key);
        if (range.ledger !== undefined && base !== undefined && base.ledger !== range.ledger) continue;
        tools.push(toolRow(calls.get(key) ?? [], base));
      }
      return inLedgers(tools, byTool);
    });
  }

  #entities(range: Range): Promise<EntityRow[]> {
    return this.#kept(`entities ${JSON.stringify(range)}`, async () => {
      const all = inLedgers(
        this.#deps.rows.rows('entities').filter((entity) => range.ledger === undefined || entity.ledger === range.ledger),
        byFirst,
      );
      if (range.since === undefined && range.until === undefined && range.session === undefined && filterOf(range) === undefined) return all;
      const calls = await this.#named(range);
      const touched = grouped(
        this.#deps.rows.rows('touches').filter((touch) => calls.has(`${touch.ledger} ${touch.call}`)),
        (touch) => `${touch.ledger} ${touch.entity}`,
      );
      const meant = all.flatMap((entity) => {
        const touches = touched.get(`${entity.ledger} ${entity.entity}`);
        return touches === undefined ? [] : [narrowed(entity, touches)];
      });
      return inLedgers(meant, byFirst);
    });
  }

  #findings(range: Range): Promise<FindingRow[]> {
    return this.#kept(`findings ${JSON.stringify(range)}`, async () => {
      const all = this.#deps.rows
        .rows('findings')
        .filter((one) => isWithin(range, one.ledger, one.firstAt, one.lastAt) && (range.session === undefined || isOfSession(range, one.session)));
      if (filterOf(range) === undefined) return all;
      const calls = await this.#named(range);
      const { callOf } = this.#indexes();
      return all.filter((one) => one.indexes.some((index) => calls.has(`${one.ledger} ${callOf(one.ledger, index) ?? -1}`)));
    });
  }

  #principal(call: CallRow): Principal | undefined {
    return this.#deps.rows.get('sessions', { ledger: call.ledger, session: call.session })?.who.find((one) => one.index === call.who);
  }

  async #beside(range: Range, filter: Filter): Promise<(ledger: string) => Beside> {
    const texts = filter.texts.map((text) => text.toLowerCase());
    const { ledgers, callOf, findingsOf, touchesOf, principals } = this.#indexes();
    const found = new Map<string, ReadonlyMap<number, readonly string[]>>();
    if (texts.length > 0 && this.#deps.textsIn !== undefined) {
      for (const ledger of ledgers)
        if (range.ledger === undefined || ledger === range.ledger) found.set(ledger, await this.#deps.textsIn(ledger, texts));
    }
    const { calls } = this.#deps.rows;
    return (ledger) => ({
      call: (index) => {
        const first = callOf(ledger, index);
        const position = first === undefined ? undefined : calls.find(ledger, first);
        return position === undefined ? undefined : calls.packed.at(position, farFields);
      },
      entities: (call) => touchesOf(ledger, call).map((touch) => touch.entity),
      findings: (index) => findingsOf(ledger, index),
      principal: (index) => principals.get(`${ledger} ${index}`),
      texts: (index) => found.get(ledger)?.get(index) ?? [],
    });
  }

  #indexes(): Indexes {
    return (this.#indexed ??= indexesOf(this.#deps.rows));
  }
}

/** Fields of calls that only texts look at, and that take most of the time to make. */
const farFields: ReadonlySet<string> = new Set(['argumentsText', 'resultText', 'reason']);
const noFields: ReadonlySet<string> = new Set();

/** Nothing but a filter narrows it. */
function isWhole({ ledger, session, since, until }: Range): boolean {
  return ledger === undefined && session === undefined && since === undefined && until === undefined;
}

/** The positions whose rows, in the same order, are meant. */
function keptOf<Row>(positions: Uint32Array, rows: Iterable<Row>, isMeant: (row: Row) => boolean): Uint32Array {
  const kept: number[] = [];
  let at = 0;
  for (const row of rows) {
    if (isMeant(row)) kept.push(positions[at]!);
    at++;
  }
  return Uint32Array.from(kept);
}

/** @throws FilterProblem */
function filterOf(range: Range): Filter | undefined {
  return range.filter === undefined || range.filter.trim() === '' ? undefined : parseFilter(range.filter, Date.now());
}

/** Entries have six decimals, ranges mostly three: without the `Z` their order is that of their text. */
function isWithin({ ledger, since, until }: Range, of: string, from: string, to = from): boolean {
  if (ledger !== undefined && of !== ledger) return false;
  if (since !== undefined && to.replace('Z', '') < since.replace('Z', '')) return false;
  return until === undefined || from.replace('Z', '') <= until.replace('Z', '');
}

function isOfSession({ session }: Range, of: string | undefined): boolean {
  return session === undefined || session === of;
}

function isAnswered(call: Pick<CallRow, 'state'>): boolean {
  return call.state === 'ok' || isError(call);
}

function toolKeyOf(ledger: string, server: string, tool: string): string {
  return `${ledger}\0${server}\0${tool}`;
}

function toolKey({ server, tool }: TouchRow): string {
  return `${server}\0${tool}`;
}
