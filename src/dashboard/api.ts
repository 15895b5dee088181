/**
 * The questions of `Backend` (`analysis/views.ts`) as paths below `/api/v1/`, from the rows of the catalog, the ledgers themselves and the last verification. What is asked
 * is read whole before anything is looked up.
 */
import { openedLegs } from '../analysis/calls.ts';
import type { Backend, CallDetail, EntryDetail, Page } from '../analysis/views.ts';
import type { Table } from '../analysis/sink.ts';
import { tables } from '../catalog/schema.ts';
import type { Kind } from '../entry/entry.ts';
import { FilterProblem } from '../analysis/filter.ts';
import type { FindingRow } from '../analysis/rows.ts';
import { SwornError } from '../errors.ts';
import { accessNoteBytes } from '../limits.ts';
import { detailOf, hasContent } from './details.ts';
import type { Evidence, Ledger } from './evidence.ts';
import type { Openings } from './openings.ts';
import { AnswerError, readBody, type Parameters } from './parameters.ts';
import type { Viewer } from './viewers.ts';

type Now<Answer> = Answer | Promise<Answer>;
type Asked<Method extends keyof Backend> = Backend[Method] extends (...asked: infer Values) => Promise<infer Answer>
  ? (...asked: Values) => Now<Answer>
  : never;

/** What the catalog answers. A call comes without its entries' content. */
export type Rows = {
  [
    Method in 'overview' | 'timeline' | 'sessions' | 'calls' | 'entries' | 'tools' | 'tool' | 'entities' | 'matrix' | 'entity' | 'findings'
  ]: Asked<Method>;
} & {
  call(ledger: string, index: number): Now<Omit<CallDetail, 'legs'> | undefined>;
  finding(ledger: string, finding: string): Now<FindingRow | undefined>;
  /** Entries of a kind from an index on: the latest, at most so many, latest first. */
  indexesOf(ledger: string, kind: Kind, from: number, most: number): Now<number[]>;
};

export interface ApiDeps {
  ledgers: readonly Ledger[];
  rows: Rows;
  evidence: Evidence;
  openings: Openings;
}

export type Question = (parameters: Parameters, viewer: Viewer) => Promise<unknown>;
/** `undefined` is answered with 204. */
export type Command = (body: string, viewer: Viewer) => Promise<unknown>;

/** By method of `Backend`: what is asked with GET; `undefined` is answered with 404. */
export function questionsOf({ ledgers, rows, evidence, openings }: ApiDeps): Readonly<Record<string, Question>> {
  const ledgerOf = (id: string): Ledger => {
    const ledger = ledgers.find((one) => one.id === id);
    if (ledger === undefined) throw new AnswerError(404, `No ledger ${id} is served here.`);
    return ledger;
  };
  const open = async (ledger: Ledger, indexes: readonly number[], viewer: Viewer): Promise<EntryDetail[]> => {
    const proven = evidence.provenOf(ledger.id);
    const details: EntryDetail[] = [];
    for (const index of indexes) {
      const detail = await detailOf(ledger, index, proven);
      if (detail !== undefined) details.push(detail);
    }
    const opened = details.filter(hasContent).map(({ index }) => index);
    // before anything is shown
    if (opened.length > 0) await openings.opened(ledger, viewer, opened);
    return details;
  };
  /** A question about rows: a range and a page. */
  const list =
    (
      table: Table,
      ask: (range: ReturnType<Parameters['range']>, paging: ReturnType<Parameters['paging']>) => Now<Page<unknown> | object>,
    ): Question =>
    async (parameters) => {
      const range = parameters.range();
      const paging = parameters.paging();
      const column = paging.sort?.replace('-', '');
      if (column !== undefined && !tables[table].columns.some(({ name }) => name === column))
        throw new AnswerError(400, `sort is a field of ${table}, not ${column}.`);
      parameters.end();
      return ask(range, paging);
    };
  return {
    evidence: async (parameters) => {
      parameters.end();
      return evidence.states();
    },
    overview: async (parameters) => {
      const range = parameters.range();
      parameters.end();
      return rows.overview(range);
    },
    timeline: async (parameters) => {
      const range = parameters.range();
      const wanted = parameters.buckets();
      parameters.end();
      return rows.timeline(range, wanted);
    },
    sessions: list('sessions', (range, paging) => rows.sessions(range, paging)),
    calls: list('calls', (range, paging) => rows.calls(range, paging)),
    entries: list('entries', (range, paging) => rows.entries(range, paging)),
    tools: list('tools', (range, paging) => rows.tools(range, paging)),
    entities: list('entities', (range, paging) => rows.entities(range, paging)),
    matrix: list('entities', (range, paging) => rows.matrix(range, paging)),
    findings: list('findings', (range, paging) => rows.findings(range, paging)),
    call: async (parameters, viewer) => {
      const ledger = ledgerOf(parameters.ledger());
      const index = parameters.index();
      parameters.end();
      const found = await rows.call(ledger.id, index);
      if (found === undefined) return undefined;
      const legs = await open(ledger, openedLegs(found.call.legs), viewer);
      return { ...found, legs } satisfies CallDetail;
    },
    entry: async (parameters, viewer) => {
      const ledger = ledgerOf(parameters.ledger());
      const index = parameters.index();
      parameters.end();
      const [detail] = await open(ledger, [index], viewer);
      return detail;
    },
    tool: async (parameters) => {
      const ledger = ledgerOf(parameters.ledger());
      const server = parameters.required('server');
      const tool = parameters.required('tool');
      parameters.end();
      return rows.tool(ledger.id, server, tool);
    },
    entity: async (parameters) => {
      const ledger = ledgerOf(parameters.ledger());
      const entity = parameters.required('entity', 4_096);
      parameters.end();
      return rows.entity(ledger.id, entity);
    },
  };
}

/** By method: what is asked with POST. */
export function commandsOf({ ledgers, rows, evidence, openings }: ApiDeps): Readonly<Record<string, Command>> {
  return {
    verify: async (text) => {
      const { ledger } = readBody(text, { ledger: 32 });
      if (!evidence.verify(ledger!)) throw new AnswerError(404, `No ledger ${ledger} is served here.`);
    },
    acknowledge: async (text, viewer) => {
      const { ledger: id, finding, note } = readBody(text, { ledger: 32, finding: 12, note: accessNoteBytes });
      const ledger = ledgers.find((one) => one.id === id);
      const row = ledger && (await rows.finding(ledger.id, finding!));
      if (ledger === undefined || row === undefined) throw new AnswerError(404, `There is no finding ${finding} in that ledger.`);
      await openings.acknowledge(ledger, viewer, row.finding, row.rule, note!.trim());
    },
  };
}

/** What went wrong, as an answer. What is not foreseen says nothing of itself to whoever asked. */
export function answerOf(error: unknown): AnswerError | undefined {
  if (error instanceof AnswerError) return error;
  if (error instanceof FilterProblem) return new AnswerError(400, error.message);
  if (!(error instanceof SwornError)) return undefined;
  if (error.code === 'catalog-missing') return new AnswerError(503, `There are no rows yet: ${error.message}.`, { 'Retry-After': '1' });
  const status = error.code === 'usage' ? 400 : error.code === 'not-found' || error.code === 'pruned' || error.code === 'no-ledger' ? 404 : 503;
  return new AnswerError(status, error.message);
}
