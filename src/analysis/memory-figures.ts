/** What the answers over rows in memory are made of: which entries belong together, figures of tools and entities, and orders. */
import type { CallRow, EntityRow, FindingRow, Principal, Severity, ToolRow, TouchRow } from './rows.ts';
import type { PackedRows } from './packed-rows.ts';
import { newTool } from './tools.ts';

export const severities: readonly Severity[] = ['high', 'medium', 'low', 'info'];

export interface Indexes {
  ledgers: Set<string>;
  principals: Map<string, Principal>;
  /** The first request of the call that an entry belongs to. */
  callOf(ledger: string, index: number): number | undefined;
  findingsOf(ledger: string, index: number): FindingRow[];
  touchesOf(ledger: string, call: number): TouchRow[];
}

export function indexesOf(rows: PackedRows): Indexes {
  const ledgers = new Set<string>();
  for (const { ledger } of rows.calls.packed.each(rows.calls.all(), 'ledger')) ledgers.add(ledger);
  const findings = new Map<string, FindingRow[]>();
  for (const finding of rows.rows('findings')) {
    for (const index of finding.indexes) {
      const key = `${finding.ledger} ${index}`;
      const list = findings.get(key);
      if (list === undefined) findings.set(key, [finding]);
      else list.push(finding);
    }
  }
  const touches = grouped(rows.rows('touches'), (touch) => `${touch.ledger} ${touch.call}`);
  const principals = new Map<string, Principal>();
  for (const session of rows.rows('sessions')) {
    ledgers.add(session.ledger);
    for (const one of session.who) principals.set(`${session.ledger} ${one.index}`, one);
  }
  return {
    ledgers,
    principals,
    callOf: (ledger, index) => {
      const entry = rows.entries.find(ledger, index);
      const first = entry === undefined ? undefined : rows.entries.packed.value(entry, 'call');
      const call = first ?? index;
      return rows.calls.find(ledger, call) === undefined ? undefined : call;
    },
    findingsOf: (ledger, index) => findings.get(`${ledger} ${index}`) ?? [],
    touchesOf: (ledger, call) => touches.get(`${ledger} ${call}`) ?? [],
  };
}

export function isError({ state }: Pick<CallRow, 'state'>): boolean {
  return state === 'error' || state === 'toolError';
}

export function durationsOf(calls: Iterable<Pick<CallRow, 'durationUs'>>): number[] {
  const durations: number[] = [];
  for (const { durationUs } of calls) if (durationUs !== undefined) durations.push(durationUs);
  return durations.sort((a, b) => a - b);
}

/** Of ascending values: the smallest that a share `of` of them does not exceed. */
export function quantile(ascending: readonly number[], of: number): number {
  return ascending[Math.max(0, Math.ceil(ascending.length * of) - 1)]!;
}

export function leastOf<Row>(rows: readonly Row[], of: (row: Row) => string): string {
  return rows.reduce((least, row) => (of(row) < least ? of(row) : least), of(rows[0]!));
}

export function mostOf<Row>(rows: readonly Row[], of: (row: Row) => string): string {
  return rows.reduce((most, row) => (of(row) > most ? of(row) : most), of(rows[0]!));
}

/** What of a call the figures of its tool are made of. */
export const figureFields = [
  'ledger',
  'index',
  'server',
  'method',
  'target',
  'effect',
  'effectFrom',
  'sensitive',
  'destructive',
  'state',
  'beganAt',
  'durationUs',
  'resultBytes',
  'contextTokens',
] as const satisfies readonly (keyof CallRow)[];
export type CallFigures = Pick<CallRow, (typeof figureFields)[number]>;

export function toolRow(calls: readonly CallFigures[], base: ToolRow | undefined): ToolRow {
  const [first] = calls;
  const durations = durationsOf(calls);
  const sum = (of: (call: CallFigures) => number): number => calls.reduce((all, call) => all + of(call), 0);
  const { p50Us: _, p95Us: __, longestUs: ___, firstAt: ____, lastAt: _____, ...known } = base ?? unlisted(first!);
  return {
    ...known,
    calls: calls.length,
    errors: sum((call) => (isError(call) ? 1 : 0)),
    blocked: sum((call) => (call.state === 'blocked' ? 1 : 0)),
    unanswered: sum((call) => (call.state === 'unanswered' ? 1 : 0)),
    resultBytes: sum((call) => call.resultBytes ?? 0),
    contextTokens: sum((call) => call.contextTokens ?? 0),
    ...(durations.length === 0 ? {} : { p50Us: quantile(durations, 0.5), p95Us: quantile(durations, 0.95), longestUs: durations.at(-1)! }),
    ...(first === undefined ? {} : { firstAt: leastOf(calls, (call) => call.beganAt), lastAt: mostOf(calls, (call) => call.beganAt) }),
  };
}

/** Of a tool that has no row: what its calls say. */
function unlisted(call: CallFigures): ToolRow {
  return {
    ...newTool(call.ledger, call.server, call.target ?? ''),
    effect: call.effect,
    effectFrom: call.effectFrom,
    ...(call.sensitive ? { sensitive: true as const } : {}),
    ...(call.destructive ? { destructive: true as const } : {}),
  };
}

export function narrowed(entity: EntityRow, touches: readonly TouchRow[]): EntityRow {
  return {
    ...entity,
    reads: touches.filter((touch) => touch.kind !== 'write').length,
    writes: touches.filter((touch) => touch.kind === 'write').length,
    sensitive: touches.filter((touch) => touch.sensitive).length,
    sessions: new Set(touches.map((touch) => touch.session)).size,
    firstAt: leastOf(touches, (touch) => touch.at),
    lastAt: mostOf(touches, (touch) => touch.at),
  };
}

export function bySeverity(a: FindingRow, b: FindingRow): number {
  const rank = (finding: FindingRow): number => (finding.acknowledged === undefined ? 0 : severities.length) + severities.indexOf(finding.severity);
  // of the same weight in the order in which it happened, as a story is told
  return rank(a) - rank(b) || compared(a.firstAt, b.firstAt) || compared(a.finding, b.finding);
}

/** Of two texts as SQLite compares them, but for characters beyond U+FFFF. */
function compared(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** The order of what no other order tells apart, in both backends. */
export function byTool(a: { server: string; tool: string }, b: { server: string; tool: string }): number {
  return compared(a.server, b.server) || compared(a.tool, b.tool);
}

export function byFirst(a: EntityRow, b: EntityRow): number {
  return compared(a.firstAt, b.firstAt) || compared(a.entity, b.entity);
}

/** Ledger by ledger, as they came. */
export function inLedgers<Row extends { ledger: string }>(rows: readonly Row[], order: (a: Row, b: Row) => number): Row[] {
  return [...grouped(rows, ({ ledger }) => ledger).values()].flatMap((some) => some.toSorted(order));
}

/** By a field's name, descending with a leading `-`; what has no value comes last. Findings by `severity` in the order of weight. */
export function sortedBy<Row extends object>(rows: readonly Row[], sort: string): Row[] {
  const isDescending = sort.startsWith('-');
  const field = isDescending ? sort.slice(1) : sort;
  if (field === 'severity') {
    const sorted = (rows as unknown as FindingRow[]).toSorted(bySeverity) as unknown as Row[];
    return isDescending ? sorted.reverse() : sorted;
  }
  const of = (row: Row): unknown => (Object.hasOwn(row, field) ? (row as Record<string, unknown>)[field] : undefined);
  return rows.toSorted((a, b) => inOrder(of(a), of(b), isDescending));
}

/** Positions by what orders their rows, as `sortedBy` has rows: what is equal stays in its order. */
export function positionsBy(positions: Uint32Array, of: (position: number) => unknown, isDescending: boolean): Uint32Array {
  const values = Array.from(positions, of);
  // places in the list, which is longer than any of its parts
  const places = Uint32Array.from(positions, (_, place) => place).sort((a, b) => inOrder(values[a], values[b], isDescending));
  return places.map((place) => positions[place]!);
}

function inOrder(x: unknown, y: unknown, isDescending: boolean): number {
  if (x === undefined || y === undefined) return Number(x === undefined) - Number(y === undefined);
  const order = typeof x === 'number' && typeof y === 'number' ? x - y : textOf(x) < textOf(y) ? -1 : textOf(x) > textOf(y) ? 1 : 0;
  return isDescending ? -order : order;
}

export function grouped<Row>(rows: Iterable<Row>, of: (row: Row) => string): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const group = groups.get(of(row));
    if (group === undefined) groups.set(of(row), [row]);
    else group.push(row);
  }
  return groups;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
