/**
 * The description of the dashboard's API (`spec/openapi.json`), made from one table: each question with its parameters and the shape of its answer. `npm run check`
 * notices when the file is another one; a test holds the running server against the same shapes; the compiler holds the shapes against `src/analysis/views.ts`.
 */
import { z } from 'zod';
import { approvalDecisions, approvalHows, kinds } from '../src/entry/entry.ts';
import type * as waits from '../src/analysis/approval-views.ts';
import type * as rows from '../src/analysis/rows.ts';
import type * as views from '../src/analysis/views.ts';
import { accessNoteBytes, answerRows, approvalReasonLength, approverChars, decisionsAtOnce, filterChars, mostBuckets } from '../src/limits.ts';

const text = z.string();
const time = z.string().describe('ISO 8601, UTC');
const count = z.int().min(0);
const index = z.int().min(0).describe('leaf position in the ledger');
const yes = z.literal(true).optional();
const ledgerId = z.string().regex(/^[0-9a-f]{32}$/);
const effect = z.enum(['read', 'write', 'unknown']);
const effectFrom = z.enum(['override', 'annotation', 'default', 'reading']);
const verdict = z.enum(['pass', 'block', 'flag', 'ask']);
const custody = z.enum(['same-user', 'separate-user', 'remote', 'in-process']);
const transport = z.enum(['stdio', 'http']);
const callState = z.enum(['open', 'ok', 'error', 'toolError', 'blocked', 'cancelled', 'unanswered']);
const severity = z.enum(['high', 'medium', 'low', 'info']);
const peer = z.strictObject({ name: text, version: text.optional() });

const principal = z.strictObject({
  source: z.enum(['observed', 'verified', 'declared']),
  index,
  uid: z.int().optional(),
  pid: count.optional(),
  user: text.optional(),
  executable: text.optional(),
  name: text.optional(),
});

export const sessionRow = z.strictObject({
  ledger: ledgerId,
  session: text,
  connection: text,
  index,
  server: text,
  transport,
  client: peer.optional(),
  serverInfo: peer.optional(),
  protocolVersion: text.optional(),
  mode: z.enum(['commit', 'observe']).optional(),
  custody: custody.optional(),
  labels: z.record(text, text).optional(),
  who: z.array(principal),
  openedAt: time,
  lastAt: time,
  closedAt: time.optional(),
  closeReason: text.optional(),
  messages: count,
  calls: count,
  writes: count,
  errors: count,
  unanswered: count,
  cancelled: count,
  blocked: count,
  flagged: count,
  asked: count,
  lost: count,
  anomalies: count,
  sizeBytes: count,
});

const approval = z.strictObject({
  index,
  request: index,
  decision: z.enum(approvalDecisions),
  at: time,
  waitedMs: count,
  how: z.enum(approvalHows),
  uid: z.int().optional(),
  pid: z.int().optional(),
  viewer: text.optional(),
  approver: text.optional(),
  reason: text.optional(),
  selfApproved: yes,
});

export const callRow = z.strictObject({
  ledger: ledgerId,
  index,
  session: text,
  server: text,
  method: text,
  target: text.optional(),
  definition: text.optional(),
  who: index.optional(),
  era: z.enum(['legacy', 'modern']).optional(),
  effect,
  effectFrom,
  sensitive: yes,
  destructive: yes,
  state: callState,
  code: z.number().optional(),
  verdict,
  rule: text.optional(),
  reason: text.optional(),
  retryAfterMs: count.optional(),
  approvedBy: z.enum(['nobody', 'rule', 'person']).optional(),
  approval: approval.optional().describe('a person was asked, and what became of that'),
  beganAt: time,
  endedAt: time.optional(),
  sinceOpenUs: z.int(),
  durationUs: count.optional(),
  requestBytes: count,
  resultBytes: count.optional(),
  contextTokens: count.optional(),
  argumentsText: text.optional(),
  resultText: text.optional(),
  requests: count,
  asked: count,
  taskStatus: text.optional(),
  legs: z.array(index),
  findings: z.array(text).optional(),
});

export const entryRow = z.strictObject({
  ledger: ledgerId,
  index,
  kind: z.enum(kinds),
  time,
  session: text.optional(),
  server: text.optional(),
  direction: z.enum(['c2s', 's2c']).optional(),
  type: z.enum(['request', 'notification', 'result', 'error', 'opaque', 'http']).optional(),
  method: text.optional(),
  target: text.optional(),
  id: text.optional(),
  outcome: z.enum(['ok', 'error', 'toolError']).optional(),
  effect: effect.optional(),
  sensitive: yes,
  destructive: yes,
  verdict: verdict.optional(),
  rule: text.optional(),
  call: index.optional(),
  durationUs: count.optional(),
  sizeBytes: count.optional(),
  anomalies: z.array(text).optional(),
  summary: text.optional(),
});

export const toolRow = z.strictObject({
  ledger: ledgerId,
  server: text,
  tool: text,
  effect,
  effectFrom,
  sensitive: yes,
  destructive: yes,
  calls: count,
  errors: count,
  blocked: count,
  unanswered: count,
  p50Us: count.optional(),
  p95Us: count.optional(),
  longestUs: count.optional(),
  resultBytes: count,
  contextTokens: count,
  firstAt: time.optional(),
  lastAt: time.optional(),
  isListed: z.boolean(),
  definitions: count,
  hiddenText: z.array(text).optional(),
});

export const definitionRow = z.strictObject({
  ledger: ledgerId,
  server: text,
  tool: text,
  digest: text,
  firstIndex: index,
  firstAt: time,
  lastIndex: index,
  lastAt: time,
  text,
});

export const entityRow = z.strictObject({
  ledger: ledgerId,
  entity: text,
  type: text,
  value: text,
  attributes: z.record(text, text).optional(),
  reads: count,
  writes: count,
  sensitive: count,
  sessions: count,
  firstAt: time,
  lastAt: time,
  isMissing: yes,
});

export const touchRow = z.strictObject({
  ledger: ledgerId,
  entity: text,
  call: index,
  session: text,
  server: text,
  tool: text,
  kind: z.enum(['read', 'write', 'unknown']),
  sensitive: yes,
  path: text,
  at: time,
  who: index.optional(),
});

export const findingRow = z.strictObject({
  ledger: ledgerId,
  finding: z.string().regex(/^[0-9a-f]{12}$/),
  rule: text,
  severity,
  title: text,
  detail: text,
  why: text,
  silence: text,
  session: text.optional(),
  server: text.optional(),
  tool: text.optional(),
  indexes: z.array(index).max(100),
  count,
  firstAt: time,
  lastAt: time,
  acknowledged: z.strictObject({ index, at: time, note: text.optional() }).optional(),
});

export const evidenceState = z.strictObject({
  ledger: ledgerId,
  name: text,
  state: z.enum(['verifying', 'holds', 'tampered', 'inconclusive', 'policy', 'fork', 'unverified']),
  sentence: text,
  progress: z.number().min(0).max(1).optional(),
  verifiedAt: time.optional(),
  size: count,
  shown: count,
  later: count,
  keyFingerprint: text.optional(),
  isPinned: z.boolean().optional(),
  custody: custody.optional(),
  custodyMeans: text.optional(),
  witnesses: z.array(z.strictObject({ name: text, at: time, isVerified: z.boolean() })),
  firstBad: index.optional(),
  findings: z.array(z.strictObject({ severity: text, code: text, message: text, index: index.optional(), path: text.optional() })),
  steps: z.array(z.strictObject({ name: text, result: z.enum(['ok', 'bad', 'unknown', 'running']), detail: text, tookMs: z.number().optional() })),
  checked: z.array(text),
  notChecked: z.array(text),
  commands: z.array(z.strictObject({ does: text, command: text })),
});

export const overview = z.strictObject({
  zone: text,
  now: time,
  sessions: count,
  openSessions: count,
  calls: count,
  callsToday: count,
  reads: count,
  writes: count,
  sensitive: count,
  blocked: count,
  errors: count,
  unanswered: count,
  errorRate: z.number().min(0).max(1).optional(),
  p50Us: count.optional(),
  p95Us: count.optional(),
  findings: z.strictObject({ high: count, medium: count, low: count, info: count }),
  acknowledged: count,
  firstAt: time.optional(),
  lastAt: time.optional(),
  behind: count,
});

const bucket = z.strictObject({ at: time, reads: count, writes: count, sensitive: count, errors: count, blocked: count, other: count });
export const timeline = z.strictObject({ bucketMs: z.number(), buckets: z.array(bucket) });

const stretch = z.union([
  z.strictObject({ text }),
  z.strictObject({ missing: z.enum(['redacted', 'not captured', 'erased', 'withheld', 'lost']), sizeBytes: count, rule: text.optional() }),
]);

export const entryDetail = z.strictObject({
  ledger: ledgerId,
  index,
  leaf: text.describe('the leaf as stored: JSON text'),
  leafHash: text,
  attributes: z.record(text, z.unknown()),
  frame: z.array(stretch).optional(),
  binary: text.optional(),
  isVerified: z.boolean(),
});

export const callDetail = z.strictObject({
  call: callRow,
  legs: z.array(entryDetail),
  principal: principal.loose().optional(),
  findings: z.array(findingRow),
  touches: z.array(touchRow),
});

export const toolDetail = z.strictObject({ tool: toolRow, definitions: z.array(definitionRow), findings: z.array(findingRow) });
export const entityDetail = z.strictObject({
  entity: entityRow,
  touches: z.array(touchRow),
  calls: z.array(callRow),
  principals: z.array(principal),
});
export const matrix = z.strictObject({
  tools: z.array(z.strictObject({ server: text, tool: text, sensitive: yes })),
  entities: z.array(entityRow),
  cells: z.array(z.array(z.strictObject({ reads: count, writes: count, sensitive: count }))),
  total: count,
});

const commitment = z
  .string()
  .regex(/^[A-Za-z0-9+/]{43}=$/)
  .describe('of what was shown');
export const approvalRow = z.strictObject({
  ledger: ledgerId,
  request: index,
  connection: text,
  server: text,
  client: text.optional(),
  principal: text.optional(),
  method: text,
  tool: text.optional(),
  effect: effect.optional(),
  sensitive: yes,
  destructive: yes,
  rule: text,
  reason: text.optional(),
  askedAt: time,
  deadline: time,
  sizeBytes: count,
  commitment,
  argumentsText: text.optional(),
  isAll: yes,
  isCut: yes,
  selfOnly: yes,
});

export const approvalQueue = z.strictObject({
  now: time,
  rows: z.array(approvalRow).max(answerRows),
  total: count,
  problems: z.array(z.strictObject({ ledger: ledgerId, message: text })),
  mayUnlock: z.boolean(),
});

export const approvalDetail = z.strictObject({
  approval: approvalRow,
  shown: text.describe('the message as stored, at most 8 KiB of it'),
  session: sessionRow.optional(),
  before: z.array(callRow),
});

export const decisionRow = approval.extend({
  ledger: ledgerId,
  rule: text,
  commitment: text,
  session: text.optional(),
  server: text.optional(),
  method: text.optional(),
  tool: text.optional(),
  argumentsText: text.optional(),
});

const decided = { decided: index.describe('of its approval entry'), waitedMs: count, selfApproved: yes };
export const decideResult = z.strictObject({
  ledger: ledgerId,
  request: index,
  decided: decided.decided.optional(),
  waitedMs: count.optional(),
  selfApproved: yes,
  problem: text.optional(),
});
const decision = z.enum(['approved', 'denied']);
const reason = z.string().max(approvalReasonLength).optional().describe('told to whoever asked');

export const problem = z.strictObject({ error: z.strictObject({ message: text }) });

const page = <Row extends z.ZodType>(row: Row): z.ZodObject => z.strictObject({ rows: z.array(row), offset: count, total: count });

/** Fails to compile where a row and its shape differ: each field of one is a field of the other, and its values fit. */
type Fits<Row, Shape extends z.ZodType> =
  Row extends z.infer<Shape> ? (keyof z.infer<Shape> extends keyof Row ? (keyof Row extends keyof z.infer<Shape> ? true : never) : never) : never;
export const fits: [
  Fits<rows.SessionRow, typeof sessionRow>,
  Fits<rows.CallRow, typeof callRow>,
  Fits<rows.EntryRow, typeof entryRow>,
  Fits<rows.ToolRow, typeof toolRow>,
  Fits<rows.DefinitionRow, typeof definitionRow>,
  Fits<rows.EntityRow, typeof entityRow>,
  Fits<rows.TouchRow, typeof touchRow>,
  Fits<rows.FindingRow, typeof findingRow>,
  Fits<views.EvidenceState, typeof evidenceState>,
  Fits<views.Overview, typeof overview>,
  Fits<views.Timeline, typeof timeline>,
  Fits<views.EntryDetail, typeof entryDetail>,
  Fits<views.ToolDetail, typeof toolDetail>,
  Fits<views.EntityDetail, typeof entityDetail>,
  Fits<views.Matrix, typeof matrix>,
  Fits<waits.ApprovalRow, typeof approvalRow>,
  Fits<waits.ApprovalQueue, typeof approvalQueue>,
  Fits<waits.ApprovalDetail, typeof approvalDetail>,
  Fits<waits.DecisionRow, typeof decisionRow>,
  Fits<waits.DecideResult, typeof decideResult>,
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true];

interface Parameter {
  name: string;
  isRequired?: true;
  description?: string;
  schema: z.ZodType;
}

const ledger: Parameter = { name: 'ledger', schema: ledgerId, description: 'of this ledger; absent: of all' };
const thatLedger: Parameter = { name: 'ledger', isRequired: true, schema: ledgerId };
const thatIndex: Parameter = { name: 'index', isRequired: true, schema: index };
const range: readonly Parameter[] = [
  ledger,
  { name: 'session', schema: text, description: 'as `sworn sessions` shows it' },
  { name: 'since', schema: time },
  { name: 'until', schema: time },
  { name: 'filter', schema: text.max(filterChars), description: 'the words of `sworn log`\'s flags: `tool:get_* outcome:error "free text"`' },
];
const paging: readonly Parameter[] = [
  { name: 'offset', schema: count },
  { name: 'limit', schema: z.int().min(1).max(answerRows), description: 'default 100' },
  { name: 'sort', schema: text, description: "a row's field, descending with a leading -" },
];

export interface Asked {
  name: string;
  does: string;
  parameters: readonly Parameter[];
  answer: z.ZodType;
  /** It names one thing, which may not be there. */
  isOne?: true;
  /** It opens content, which has to be recorded first. */
  opens?: true;
}

export const questions: readonly Asked[] = [
  { name: 'evidence', does: 'What was verified of each ledger, and when', parameters: [], answer: z.array(evidenceState) },
  { name: 'overview', does: 'Counts over all sessions and calls', parameters: range, answer: overview },
  {
    name: 'timeline',
    does: 'Calls by the time at which they began',
    parameters: [...range, { name: 'wanted', schema: z.int().min(1).max(mostBuckets), description: 'about so many buckets; default 120' }],
    answer: timeline,
  },
  { name: 'sessions', does: 'Sessions', parameters: [...range, ...paging], answer: page(sessionRow) },
  { name: 'calls', does: 'Logical calls', parameters: [...range, ...paging], answer: page(callRow) },
  { name: 'call', does: 'One call with its entries, opened', parameters: [thatLedger, thatIndex], answer: callDetail, isOne: true, opens: true },
  { name: 'entries', does: 'Entries', parameters: [...range, ...paging], answer: page(entryRow) },
  { name: 'entry', does: 'One entry, opened', parameters: [thatLedger, thatIndex], answer: entryDetail, isOne: true, opens: true },
  { name: 'tools', does: 'Tools', parameters: [...range, ...paging], answer: page(toolRow) },
  {
    name: 'tool',
    does: 'One tool with its definitions',
    parameters: [thatLedger, { name: 'server', isRequired: true, schema: text }, { name: 'tool', isRequired: true, schema: text }],
    answer: toolDetail,
    isOne: true,
  },
  { name: 'entities', does: 'What calls named: employees, files, tables, addresses', parameters: [...range, ...paging], answer: page(entityRow) },
  {
    name: 'entity',
    does: 'One of them with every touch, in the order of time',
    parameters: [thatLedger, { name: 'entity', isRequired: true, schema: text }],
    answer: entityDetail,
    isOne: true,
  },
  { name: 'matrix', does: 'Tools by entities', parameters: [...range, ...paging], answer: matrix },
  { name: 'findings', does: 'What an analysis wants a person to look at', parameters: [...range, ...paging], answer: page(findingRow) },
  { name: 'approvals', does: 'Requests that wait for a person, oldest first', parameters: [], answer: approvalQueue },
  {
    name: 'approval',
    does: 'One of them, opened, with what its session did before',
    parameters: [thatLedger, thatIndex],
    answer: approvalDetail,
    isOne: true,
    opens: true,
  },
  { name: 'decisions', does: 'What was decided about such requests, the latest first', parameters: [], answer: z.array(decisionRow) },
];

export const commands = [
  { name: 'verify', does: 'Checks all of a ledger again; `evidence` tells how it goes', body: z.strictObject({ ledger: ledgerId }) },
  {
    name: 'acknowledge',
    does: 'Answers for a finding: an `access` entry of the ledger',
    body: z.strictObject({
      ledger: ledgerId,
      finding: z.string().regex(/^[0-9a-f]{12}$/),
      note: z.string().min(1).max(accessNoteBytes),
    }),
    mayLack: true,
  },
  {
    name: 'unlock',
    does: 'Exchanges the second secret for a key to decide with. Of a login alone, not of a token',
    body: z.strictObject({ secret: z.string().min(1).max(256) }),
    answer: z.strictObject({ key: text, forMs: count }),
  },
  {
    name: 'decide',
    does: 'Approves or denies requests that wait, each bound to what was shown; an `approval` entry of the ledger each',
    body: z.strictObject({
      key: text.describe('of unlock'),
      decision,
      reason,
      requests: z
        .array(z.strictObject({ ledger: ledgerId, request: index, commitment }))
        .min(1)
        .max(decisionsAtOnce),
    }),
    answer: z.array(decideResult),
  },
] as const;

/** `POST /hooks/approvals`. */
export const hook = {
  body: z.strictObject({ request: index, commitment, decision, reason, approver: z.string().min(1).max(approverChars) }),
  answer: z.strictObject(decided),
};

const shapes = {
  SessionRow: sessionRow,
  CallRow: callRow,
  EntryRow: entryRow,
  ToolRow: toolRow,
  DefinitionRow: definitionRow,
  EntityRow: entityRow,
  TouchRow: touchRow,
  FindingRow: findingRow,
  EvidenceState: evidenceState,
  Overview: overview,
  Timeline: timeline,
  EntryDetail: entryDetail,
  ApprovalRow: approvalRow,
  DecisionRow: decisionRow,
  Problem: problem,
};

/** A shape as JSON Schema, those that have a name referred to by it. */
function schemaOf(shape: z.ZodType): object {
  const text = JSON.stringify(z.toJSONSchema(shape, { metadata: registryOf(), target: 'draft-2020-12' }));
  const { $schema: _, $defs: __, id: ___, ...schema } = JSON.parse(text.replaceAll('"#/$defs/', '"#/components/schemas/')) as Record<string, unknown>;
  return open(schema) as object;
}

/** Without our names of shapes; and fields may be added to an answer. */
function open(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(open);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, inner]) => !(name === 'id' && typeof inner === 'string') && !(name === 'additionalProperties' && inner === false))
      .map(([name, inner]) => [name, open(inner)]),
  );
}

const ofProblem = (description: string, headers: Record<string, string> = {}): object => ({
  description,
  ...(Object.keys(headers).length === 0
    ? {}
    : { headers: Object.fromEntries(Object.entries(headers).map(([name, what]) => [name, { description: what, schema: { type: 'string' } }])) }),
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Problem' } } },
});

const refusals = {
  400: ofProblem('What was asked cannot be read; the message says what is wrong'),
  401: ofProblem('Nobody who is known', { 'WWW-Authenticate': '`Bearer`' }),
  403: ofProblem('`Host` or `Origin` is not served here'),
  405: ofProblem('Another method', { Allow: 'the one that it is' }),
  429: ofProblem('Too many requests', { 'Retry-After': 'seconds' }),
};
const missing = { 404: ofProblem('There is no such thing in the record, or it is gone') };
const unrecorded = { 503: ofProblem('There are no rows yet; or opening content is recorded first, and it could not be') };
const unready = { 503: ofProblem('There are no rows yet') };

const inQuery = ({ name, isRequired, description, schema }: Parameter): object => ({
  name,
  in: 'query',
  ...(isRequired ? { required: true } : {}),
  ...(description === undefined ? {} : { description }),
  schema: schemaOf(schema),
});

export function openapi(): object {
  const named = Object.fromEntries(
    Object.entries(shapes).map(([id, shape]) => {
      // inside another one it is a definition, and does not refer to itself
      const { $defs } = z.toJSONSchema(z.strictObject({ own: shape }), { metadata: registryOf(), target: 'draft-2020-12' }) as {
        $defs: Record<string, object>;
      };
      return [id, open(JSON.parse(JSON.stringify($defs[id]).replaceAll('"#/$defs/', '"#/components/schemas/')))];
    }),
  );
  const paths: Record<string, object> = {};
  for (const { name, does, parameters, answer, isOne, opens } of questions) {
    paths[`/api/v1/${name}`] = {
      get: {
        operationId: name,
        summary: does,
        parameters: parameters.map(inQuery),
        responses: {
          200: {
            description: 'The answer',
            headers: {
              'Sworn-Told': {
                description: 'The cursor of the live tail that it was made at: what an event up to there tells of, it has',
                schema: { type: 'string' },
              },
            },
            content: { 'application/json': { schema: schemaOf(answer) } },
          },
          ...refusals,
          ...(isOne ? missing : {}),
          ...(opens ? unrecorded : name === 'evidence' ? {} : unready),
        },
      },
    };
  }
  paths['/api/v1/stream'] = {
    get: {
      operationId: 'stream',
      summary:
        'Says that there is something new: events `change` with {entries, calls, findings, evidence, approvals}. `id` is a cursor, from which it goes on',
      parameters: [
        { name: 'Last-Event-ID', in: 'header', schema: { type: 'string' } },
        { name: 'cursor', in: 'query', description: 'the same, for clients that cannot send the header', schema: { type: 'string' } },
      ],
      responses: {
        200: { description: 'Goes on until one of both ends it', content: { 'text/event-stream': { schema: { type: 'string' } } } },
        ...refusals,
      },
    },
  };
  paths['/api/v1/openapi.json'] = {
    get: {
      operationId: 'openapi',
      summary: 'This description',
      responses: { 200: { description: 'OpenAPI 3.1', content: { 'application/json': { schema: { type: 'object' } } } }, ...refusals },
    },
  };
  for (const { name, does, body, ...more } of commands) {
    paths[`/api/v1/${name}`] = {
      post: {
        operationId: name,
        summary: does,
        requestBody: { required: true, content: { 'application/json': { schema: schemaOf(body) } } },
        responses: {
          ...('answer' in more
            ? { 200: { description: 'The answer', content: { 'application/json': { schema: schemaOf(more.answer) } } } }
            : { 204: { description: 'Done, or begun' }, ...missing }),
          ...refusals,
          413: ofProblem('The body is too long'),
          415: ofProblem('The body is no JSON'),
          ...('mayLack' in more ? { 503: ofProblem('It could not be recorded') } : {}),
        },
      },
    };
  }
  paths['/hooks/approvals'] = {
    post: {
      operationId: 'hook',
      summary: 'Decides with the webhook’s secret, in the name of a person that it vouches for (docs/approvals.md)',
      security: [],
      parameters: [
        {
          name: 'Sworn-Signature',
          in: 'header',
          required: true,
          description: 't=<unix seconds>,v1=<hex HMAC-SHA256(secret, t + "." + body)>',
          schema: { type: 'string' },
        },
      ],
      requestBody: { required: true, content: { 'application/json': { schema: schemaOf(hook.body) } } },
      responses: {
        200: { description: 'It is an entry', content: { 'application/json': { schema: schemaOf(hook.answer) } } },
        400: refusals[400],
        401: ofProblem('The signature is none of the secret, or too old'),
        403: ofProblem('`Host` is not served here, or the account that serves may not decide'),
        404: ofProblem('It does not wait'),
        405: refusals[405],
        409: ofProblem('The same body was sent before, or something else waits than what was told'),
        413: ofProblem('The body is too long'),
        415: ofProblem('The body is no JSON'),
        429: refusals[429],
        503: ofProblem('It could not be recorded'),
      },
    },
  };
  return {
    openapi: '3.1.0',
    info: {
      title: 'sworn serve',
      version: '1',
      description:
        'What the dashboard asks. Read-only but for four commands. Whoever asks shows the cookie of a browser that opened the printed address, or a token of --token-file.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:9090' }],
    security: [{ token: [] }, { cookie: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        cookie: { type: 'apiKey', in: 'cookie', name: 'sworn-9090', description: 'sworn-<port>; HttpOnly, SameSite=Strict' },
      },
      schemas: named,
    },
  };
}

function registryOf(): ReturnType<typeof z.registry<{ id: string }>> {
  const registry = z.registry<{ id: string }>();
  for (const [id, one] of Object.entries(shapes)) registry.add(one, { id });
  return registry;
}

export function openapiText(): string {
  return `${JSON.stringify(openapi(), null, 2)}\n`;
}
