/**
 * The catalog's tables. A row of `analysis/rows.ts` is a row here, column by field; what many rows of a table have in common (a call's session, tool, state and so on)
 * stands once in the table `…_facets`, which keeps a million rows small and lets questions be answered from sums over a few facets.
 *
 * A catalog with other tables than these is made again (`version`). People may query the views `sworn_…` (docs/catalog.md).
 */
import { keys, type Table } from '../analysis/sink.ts';

/** What is in the tables, where that changes and the tables do not. */
const contents = 2;
/** Of the views that people may query (docs/catalog.md): what they lack is added without a change of it, nothing is taken away or renamed. */
export const viewsVersion = 1;

/** `time`: µs since 1970, in rows and views the text of an entry. `flag`: 1 or absent. `switch`: 0 or 1. */
export type Kind = 'text' | 'number' | 'time' | 'flag' | 'switch' | 'json';

export interface Column {
  readonly name: string;
  readonly kind: Kind;
  readonly isFacet: boolean;
}

type Spec = Record<string, Kind | `${Kind} facet`>;

const specs: Readonly<Record<Table, Spec>> = {
  sessions: {
    session: 'text',
    connection: 'text',
    index: 'number',
    server: 'text',
    transport: 'text',
    client: 'json',
    serverInfo: 'json',
    protocolVersion: 'text',
    mode: 'text',
    custody: 'text',
    labels: 'json',
    who: 'json',
    openedAt: 'time',
    lastAt: 'time',
    closedAt: 'time',
    closeReason: 'text',
    messages: 'number',
    calls: 'number',
    writes: 'number',
    errors: 'number',
    unanswered: 'number',
    cancelled: 'number',
    blocked: 'number',
    flagged: 'number',
    asked: 'number',
    lost: 'number',
    anomalies: 'number',
    sizeBytes: 'number',
  },
  calls: {
    index: 'number',
    session: 'text facet',
    server: 'text facet',
    method: 'text facet',
    target: 'text facet',
    definition: 'text facet',
    who: 'number facet',
    era: 'text facet',
    effect: 'text facet',
    effectFrom: 'text facet',
    sensitive: 'flag facet',
    destructive: 'flag facet',
    state: 'text facet',
    code: 'number',
    verdict: 'text facet',
    rule: 'text facet',
    reason: 'text',
    retryAfterMs: 'number',
    approvedBy: 'text facet',
    approval: 'json',
    beganAt: 'time',
    endedAt: 'time',
    sinceOpenUs: 'number',
    durationUs: 'number',
    requestBytes: 'number',
    resultBytes: 'number',
    contextTokens: 'number',
    argumentsText: 'text',
    resultText: 'text',
    requests: 'number',
    asked: 'number',
    taskStatus: 'text',
    legs: 'json',
    findings: 'json',
  },
  entries: {
    index: 'number',
    kind: 'text facet',
    time: 'time',
    session: 'text facet',
    server: 'text facet',
    direction: 'text facet',
    type: 'text facet',
    method: 'text facet',
    target: 'text facet',
    id: 'text',
    outcome: 'text facet',
    effect: 'text facet',
    sensitive: 'flag facet',
    destructive: 'flag facet',
    verdict: 'text facet',
    rule: 'text facet',
    call: 'number',
    durationUs: 'number',
    sizeBytes: 'number',
    anomalies: 'json',
    summary: 'text',
  },
  tools: {
    server: 'text',
    tool: 'text',
    effect: 'text',
    effectFrom: 'text',
    sensitive: 'flag',
    destructive: 'flag',
    calls: 'number',
    errors: 'number',
    blocked: 'number',
    unanswered: 'number',
    p50Us: 'number',
    p95Us: 'number',
    longestUs: 'number',
    resultBytes: 'number',
    contextTokens: 'number',
    firstAt: 'time',
    lastAt: 'time',
    isListed: 'switch',
    definitions: 'number',
    hiddenText: 'json',
  },
  definitions: {
    server: 'text',
    tool: 'text',
    digest: 'text',
    firstIndex: 'number',
    firstAt: 'time',
    lastIndex: 'number',
    lastAt: 'time',
    text: 'text',
  },
  entities: {
    entity: 'text',
    type: 'text',
    value: 'text',
    attributes: 'json',
    reads: 'number',
    writes: 'number',
    sensitive: 'number',
    sessions: 'number',
    firstAt: 'time',
    lastAt: 'time',
    isMissing: 'flag',
  },
  touches: {
    entity: 'text',
    call: 'number',
    session: 'text facet',
    server: 'text facet',
    tool: 'text facet',
    kind: 'text facet',
    sensitive: 'flag facet',
    path: 'text facet',
    at: 'time',
    who: 'number facet',
  },
  findings: {
    finding: 'text',
    rule: 'text',
    severity: 'text',
    title: 'text',
    detail: 'text',
    why: 'text',
    silence: 'text',
    session: 'text',
    server: 'text',
    tool: 'text',
    indexes: 'json',
    count: 'number',
    firstAt: 'time',
    lastAt: 'time',
    acknowledged: 'json',
  },
};

export interface TableShape {
  readonly name: Table;
  readonly columns: readonly Column[];
  readonly facets: readonly Column[];
  /** Columns of its own. */
  readonly own: readonly Column[];
  /** Fields that make a row another one, without the ledger, of which a catalog has one. */
  readonly key: readonly string[];
}

export const tables = Object.fromEntries(
  (Object.keys(specs) as Table[]).map((name): [Table, TableShape] => {
    const columns = Object.entries(specs[name]).map(([field, words]): Column => {
      const [kind, facet] = words.split(' ') as [Kind, string?];
      return { name: field, kind, isFacet: facet !== undefined };
    });
    const [, ...key] = keys[name] as readonly string[];
    return [name, { name, columns, facets: columns.filter((one) => one.isFacet), own: columns.filter((one) => !one.isFacet), key }];
  }),
) as Readonly<Record<Table, TableShape>>;

const types: Readonly<Record<Kind, string>> = { text: 'TEXT', number: 'INTEGER', time: 'INTEGER', flag: 'INTEGER', switch: 'INTEGER', json: 'TEXT' };

export function quoted(name: string): string {
  return `"${name}"`;
}

function definition({ name, columns, facets, own, key }: TableShape): string[] {
  const list = (some: readonly Column[]): string[] => some.map((column) => `${quoted(column.name)} ${types[column.kind]}`);
  const isByIndex = key.length === 1 && columns.find((column) => column.name === key[0])?.kind === 'number';
  const fields = list(own).map((text) => (isByIndex && text.startsWith(`${quoted(key[0]!)} `) ? `${text} PRIMARY KEY` : text));
  if (facets.length > 0) fields.push('facet INTEGER NOT NULL');
  if (name === 'calls') fields.push('bucket INTEGER NOT NULL');
  if (!isByIndex) fields.push(`PRIMARY KEY (${key.map(quoted).join(', ')})`);
  const made = [`CREATE TABLE ${name} (${fields.join(', ')})${isByIndex ? '' : ' WITHOUT ROWID'}`];
  const summed = name === 'calls' ? ', grouping INTEGER NOT NULL' : '';
  if (facets.length > 0)
    made.push(`CREATE TABLE ${name}_facets (facet INTEGER PRIMARY KEY, same TEXT NOT NULL UNIQUE, ${list(facets).join(', ')}${summed})`);
  return made;
}

/** Microseconds as the text that entries have. */
function timeText(column: string): string {
  return `strftime('%Y-%m-%dT%H:%M:%S', ${column} / 1000000, 'unixepoch') || printf('.%06dZ', ${column} % 1000000)`;
}

function view({ name, columns, facets }: TableShape): string {
  const list = columns.map(({ name: field, kind, isFacet }) => {
    const column = `${isFacet ? 'f' : 't'}.${quoted(field)}`;
    return kind === 'time' ? `CASE WHEN ${column} IS NOT NULL THEN ${timeText(column)} END AS ${quoted(field)}` : column;
  });
  const from = facets.length > 0 ? `${name} t JOIN ${name}_facets f USING (facet)` : `${name} t`;
  return `CREATE VIEW sworn_${name} AS SELECT (SELECT value FROM state WHERE name = 'ledger') AS ledger, ${list.join(', ')} FROM ${from}`;
}

/** How long a sum's stretches of time are, in µs: a tenth of a second, a minute, an hour. Each is a multiple of the one before. */
export const levelsUs = [100_000, 60_000_000, 3_600_000_000] as const;

/** What sums over calls are kept by: the facets that do not grow with the number of sessions. */
export const groupedBy = ['server', 'method', 'target', 'effect', 'sensitive', 'destructive', 'state', 'verdict'] as const;

/** All statements that make an empty catalog. */
export const creation: readonly string[] = [
  // ledger, origin, cursor, leaf, snapshot, options, textCursor …
  'CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID',
  ...Object.values(tables).flatMap(definition),
  `CREATE TABLE groupings (grouping INTEGER PRIMARY KEY, same TEXT NOT NULL UNIQUE, ${groupedBy.join(', ')})`,
  // calls by stretches of their beginning, grouping and duration (`bucketOf`; -1 without one): what overview, timeline and tools are summed from
  'CREATE TABLE tallies (level INTEGER, at INTEGER, grouping INTEGER, bucket INTEGER, calls INTEGER, resultBytes INTEGER, contextTokens INTEGER, ' +
    'longestUs INTEGER, firstUs INTEGER, lastUs INTEGER, endUs INTEGER, PRIMARY KEY (level, at, grouping, bucket)) WITHOUT ROWID',
  'CREATE TABLE entry_counts (facet INTEGER PRIMARY KEY, rows INTEGER)',
  'CREATE TABLE call_counts (facet INTEGER PRIMARY KEY, rows INTEGER)',
  // which entries a finding names
  'CREATE TABLE finding_entries (entry INTEGER, finding TEXT, PRIMARY KEY (entry, finding)) WITHOUT ROWID',
  'CREATE INDEX calls_facet ON calls (facet, beganAt, bucket, endedAt)',
  'CREATE INDEX calls_beganAt ON calls (beganAt)',
  'CREATE INDEX calls_durationUs ON calls (durationUs)',
  'CREATE INDEX calls_resultBytes ON calls (resultBytes)',
  'CREATE INDEX entries_facet ON entries (facet, "index")',
  'CREATE INDEX entries_time ON entries (time)',
  'CREATE INDEX entries_sizeBytes ON entries (sizeBytes)',
  'CREATE INDEX entries_call ON entries (call) WHERE call IS NOT NULL',
  'CREATE INDEX touches_call ON touches (call)',
  'CREATE INDEX finding_entries_finding ON finding_entries (finding)',
  'CREATE INDEX sessions_openedAt ON sessions (openedAt)',
  'CREATE INDEX calls_facets_session ON calls_facets (session)',
  'CREATE INDEX entries_facets_session ON entries_facets (session)',
  // content and attributes of entries, as stored, and every three characters of them
  'CREATE TABLE texts ("index" INTEGER PRIMARY KEY, text TEXT NOT NULL)',
  `CREATE VIRTUAL TABLE found_texts USING fts5(text, content='texts', content_rowid='index', tokenize='trigram', detail='none', columnsize=0)`,
  ...Object.values(tables).map(view),
  `CREATE VIEW catalog_version AS SELECT ${viewsVersion} AS version`,
];

/** Of tables and contents: 31 bits (FNV-1a), kept in the file's `user_version`. */
export const version =
  [...`${contents} ${creation.join(';')}`].reduce((hash, char) => Math.imul(hash ^ char.charCodeAt(0), 0x01000193), 0x811c9dc5) >>> 1;
