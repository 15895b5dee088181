/** The questions of `Backend` about rows, over the catalogs of one or several ledgers. */
import { emptyBuckets, noBuckets } from '../analysis/buckets.ts';
import { byTool, severities, sortedBy } from '../analysis/memory-figures.ts';
import type { CallRow, EntityRow, EntryRow, FindingRow, SessionRow, Severity, ToolRow } from '../analysis/rows.ts';
import type { CallDetail, EntityDetail, Matrix, Overview, Page, Paging, Range, Timeline, ToolDetail } from '../analysis/views.ts';
import type { Kind } from '../entry/entry.ts';
import { LedgerRows, toolsOfMatrix, type Counts, type Cut, type List } from './ledger-rows.ts';
import { quantileOf, timeText } from './rows.ts';

const limitMost = 1_000;
const limitDefault = 100;

export interface CatalogPlace {
  /** The ledger's id. */
  ledger: string;
  /** Of the catalog. */
  path: string;
}

export class CatalogRows {
  readonly #ledgers: readonly LedgerRows[];
  readonly #now: () => number;

  /** `now`: ms since 1970. */
  constructor(places: readonly CatalogPlace[], now: () => number = Date.now) {
    this.#ledgers = places.map(({ ledger, path }) => new LedgerRows(ledger, path));
    this.#now = now;
  }

  close(): void {
    for (const ledger of this.#ledgers) ledger.close();
  }

  /** How far the rows of a ledger go; nothing while there is no catalog. */
  progressOf(ledger: string): { next: number; size: number; calls: number; findings: number } {
    try {
      return this.#of(ledger)?.progress() ?? nothing;
    } catch {
      return nothing;
    }
  }

  overview(range: Range): Overview {
    const nowMs = this.#now();
    const midnight = new Date(nowMs).setHours(0, 0, 0, 0);
    const counts = this.#meant(range).map((one) => one.counts(range, midnight * 1000, nowMs));
    const sum = (of: (one: Counts) => number): number => counts.reduce((all, one) => all + of(one), 0);
    const durations = new Map<number, number>();
    for (const one of counts) for (const [bucket, calls] of one.durations) durations.set(bucket, (durations.get(bucket) ?? 0) + calls);
    const [p50Us, p95Us] = [quantileOf(durations, 0.5), quantileOf(durations, 0.95)];
    const answered = sum((one) => one.answered);
    const errors = sum((one) => one.errors);
    const firstUs = counts.flatMap((one) => one.firstUs ?? []);
    const endUs = counts.flatMap((one) => one.endUs ?? []);
    return {
      zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      now: new Date(nowMs).toISOString(),
      sessions: sum((one) => one.sessions),
      openSessions: sum((one) => one.openSessions),
      calls: sum((one) => one.calls),
      callsToday: sum((one) => one.callsToday),
      reads: sum((one) => one.reads),
      writes: sum((one) => one.writes),
      sensitive: sum((one) => one.sensitive),
      blocked: sum((one) => one.blocked),
      errors,
      unanswered: sum((one) => one.unanswered),
      ...(answered === 0 ? {} : { errorRate: errors / answered }),
      ...(p50Us === undefined || p95Us === undefined ? {} : { p50Us, p95Us }),
      findings: Object.fromEntries(severities.map((severity) => [severity, sum((one) => one.findings[severity] ?? 0)])) as Record<Severity, number>,
      acknowledged: sum((one) => one.acknowledged),
      ...(firstUs.length === 0 ? {} : { firstAt: timeText(Math.min(...firstUs)), lastAt: timeText(Math.max(...endUs)) }),
      behind: sum((one) => one.behind),
    };
  }

  timeline(range: Range, wanted: number): Timeline {
    const nowMs = this.#now();
    const spans = this.#meant(range).flatMap((one) => [one.span(range, nowMs) ?? []].filter((span) => span.length > 0)) as [number, number][];
    if (spans.length === 0) return noBuckets();
    const firstMs = Math.floor(Math.min(...spans.map(([first]) => first)) / 1000);
    const lastMs = Math.floor(Math.max(...spans.map(([, last]) => last)) / 1000);
    const { startMs, bucketMs, buckets } = emptyBuckets(firstMs, lastMs, wanted);
    for (const one of this.#meant(range)) {
      for (const [at, layers] of one.times(range, bucketMs, nowMs)) {
        // what came meanwhile may lie behind
        const bucket = buckets[(at - startMs) / bucketMs];
        if (bucket !== undefined) for (const [layer, calls] of layers) bucket[layer] += calls;
      }
    }
    return { bucketMs, buckets };
  }

  sessions(range: Range, paging: Paging): Page<SessionRow> {
    const nowMs = this.#now();
    return this.#page(range, paging, undefined, (one, cut) => one.sessions(range, cut, nowMs));
  }

  calls(range: Range, paging: Paging): Page<CallRow> {
    const nowMs = this.#now();
    return this.#page(range, paging, undefined, (one, cut) => one.calls(range, cut, nowMs));
  }

  entries(range: Range, paging: Paging): Page<EntryRow> {
    const nowMs = this.#now();
    return this.#page(range, paging, undefined, (one, cut) => one.entries(range, cut, nowMs));
  }

  entities(range: Range, paging: Paging): Page<EntityRow> {
    const nowMs = this.#now();
    return this.#page(range, paging, '-lastAt', (one, cut) => one.entities(range, cut, nowMs));
  }

  findings(range: Range, paging: Paging): Page<FindingRow> {
    const nowMs = this.#now();
    return this.#page(range, paging, 'severity', (one, cut) => one.findings(range, cut, nowMs));
  }

  tools(range: Range, paging: Paging): Page<ToolRow> {
    const { offset, limit, sort } = cutOf(paging);
    const nowMs = this.#now();
    const tools = this.#meant(range).flatMap((one) => one.tools(range, nowMs));
    const sorted = sort === undefined ? tools : sortedBy(tools, sort);
    return { rows: sorted.slice(offset, offset + limit), offset, total: sorted.length };
  }

  matrix(range: Range, paging: Paging): Matrix {
    const nowMs = this.#now();
    const page = this.entities(range, { sort: '-sensitive', ...paging });
    const rowOf = new Map(page.rows.map((entity, row) => [`${entity.ledger} ${entity.entity}`, row]));
    const columns = new Map<string, { touches: number; isSensitive: boolean; server: string; tool: string }>();
    const counted = this.#meant(range).flatMap((one) => {
      const entities = page.rows.filter(({ ledger }) => ledger === one.ledger).map(({ entity }) => entity);
      return one
        .cells(range, entities, nowMs)
        .map((cell) => ({ ...cell, row: rowOf.get(`${one.ledger} ${cell.entity}`)!, key: `${cell.server}\0${cell.tool}` }));
    });
    for (const { key, server, tool, reads, writes, sensitive } of counted) {
      const column = columns.get(key) ?? { touches: 0, isSensitive: false, server, tool };
      columns.set(key, { ...column, touches: column.touches + reads + writes, isSensitive: column.isSensitive || sensitive > 0 });
    }
    const kept = [...columns].sort(([, a], [, b]) => b.touches - a.touches || byTool(a, b)).slice(0, toolsOfMatrix);
    const columnOf = new Map(kept.map(([key], column) => [key, column]));
    const cells = page.rows.map(() => kept.map(() => ({ reads: 0, writes: 0, sensitive: 0 })));
    for (const { key, row, reads, writes, sensitive } of counted) {
      const cell = cells[row]![columnOf.get(key) ?? -1];
      if (cell === undefined) continue;
      cell.reads += reads;
      cell.writes += writes;
      cell.sensitive += sensitive;
    }
    const tools = kept.map(([, { server, tool, isSensitive }]) => ({ server, tool, ...(isSensitive ? { sensitive: true as const } : {}) }));
    return { tools, entities: page.rows, cells, total: page.total };
  }

  /** Without the content of its entries. `index`: of any of them. */
  call(ledger: string, index: number): Omit<CallDetail, 'legs'> | undefined {
    return this.#of(ledger)?.call(index);
  }

  tool(ledger: string, server: string, tool: string): ToolDetail | undefined {
    return this.#of(ledger)?.tool(server, tool);
  }

  entity(ledger: string, entity: string): EntityDetail | undefined {
    return this.#of(ledger)?.entity(entity);
  }

  finding(ledger: string, finding: string): FindingRow | undefined {
    return this.#of(ledger)?.finding(finding);
  }

  /** Entries of a kind from an index on: the latest, at most so many, latest first. @throws SwornError `catalog-missing` */
  indexesOf(ledger: string, kind: Kind, from: number, most: number): number[] {
    return this.#of(ledger)?.indexesOf(kind, from, most) ?? [];
  }

  /** Findings whose id begins so. */
  findingsLike(ledger: string, beginning: string): FindingRow[] {
    return this.#of(ledger)?.findingsLike(beginning) ?? [];
  }

  #of(ledger: string): LedgerRows | undefined {
    return this.#ledgers.find((one) => one.ledger === ledger);
  }

  #meant({ ledger }: Range): readonly LedgerRows[] {
    return ledger === undefined ? this.#ledgers : this.#ledgers.filter((one) => one.ledger === ledger);
  }

  /** A page over ledgers: without an order one behind the other; in an order the first rows of each are put together. */
  #page<Row extends object>(range: Range, paging: Paging, sort: string | undefined, ask: (one: LedgerRows, cut: Cut) => List<Row>): Page<Row> {
    const cut = cutOf(sort === undefined || paging.sort !== undefined ? paging : { ...paging, sort });
    const { offset, limit } = cut;
    const [first, ...others] = this.#meant(range);
    if (first === undefined) return { rows: [], offset, total: 0 };
    if (others.length === 0) return { ...ask(first, cut), offset };
    let total = 0;
    const rows: Row[] = [];
    for (const one of [first, ...others]) {
      if (cut.sort === undefined) {
        const list = ask(one, { ...cut, offset: Math.max(0, offset - total), limit: Math.max(1, limit - rows.length) });
        rows.push(...list.rows.slice(0, limit - rows.length));
        total += list.total;
      } else {
        const list = ask(one, { ...cut, offset: 0, limit: offset + limit });
        rows.push(...list.rows);
        total += list.total;
      }
    }
    return { rows: cut.sort === undefined ? rows : sortedBy(rows, cut.sort).slice(offset, offset + limit), offset, total };
  }
}

const nothing = { next: 0, size: 0, calls: 0, findings: 0 };

function cutOf({ offset = 0, limit = limitDefault, sort }: Paging): Cut {
  return { offset: Math.max(0, offset), limit: Math.max(1, Math.min(limitMost, limit)), ...(sort === undefined ? {} : { sort }) };
}
