/** An entry as a row. */
import type { Entry, MessageEntry, PolicyEntry } from '../entry/entry.ts';
import { approvalOf, approvalText } from './approvals.ts';
import type { RowEffect } from './effects.ts';
import type { EntryRow } from './rows.ts';

/** `session`: its id; `effect`: of a message that has one. */
export function entryRow(
  ledger: string,
  index: number,
  entry: Entry,
  around: { session?: string | undefined; target?: string | undefined; call?: number | undefined; effect?: RowEffect | undefined },
): EntryRow {
  const row: EntryRow = { ledger, index, kind: entry.kind, time: entry.time };
  if (around.session !== undefined) row.session = around.session;
  if ('server' in entry && entry.server !== undefined) row.server = entry.server;
  if (entry.kind !== 'message' && entry.kind !== 'batch') {
    row.summary = summaryOf(entry);
    if (around.call !== undefined) row.call = around.call;
    return row;
  }
  row.direction = entry.direction;
  row.verdict = entry.verdict;
  row.sizeBytes = entry.sizeBytes;
  if (entry.rule !== undefined) row.rule = entry.rule;
  if (entry.anomalies !== undefined) row.anomalies = entry.anomalies;
  if (entry.kind === 'batch') {
    row.summary = `batch of ${counted(entry.items, 'message')}`;
    return row;
  }
  row.type = entry.type;
  if (entry.method !== undefined) row.method = entry.method;
  if (around.target !== undefined) row.target = around.target;
  if (entry.id !== undefined) row.id = entry.id;
  if (entry.outcome !== undefined) row.outcome = entry.outcome;
  if (around.effect !== undefined) {
    row.effect = around.effect.effect;
    if (around.effect.sensitive) row.sensitive = true;
    if (around.effect.destructive) row.destructive = true;
  }
  if (around.call !== undefined) row.call = around.call;
  if (entry.durationUs !== undefined) row.durationUs = entry.durationUs;
  if (entry.type === 'http') row.summary = httpSummary(entry);
  return row;
}

function httpSummary({ direction, http: { method = 'POST', status = 200, end, own } = {} }: MessageEntry): string {
  if (own) return `HTTP ${status}${end === undefined ? '' : `: ${end}`}`;
  if (end !== undefined) return `stream ended: ${end}`;
  return direction === 'c2s' ? `HTTP ${method}` : `HTTP ${status}`;
}

function summaryOf(entry: Exclude<Entry, MessageEntry>): string {
  switch (entry.kind) {
    case 'start':
      return `recorder ${entry.recorder.version} started`;
    case 'stop':
      return `recorder stopped: ${entry.reason}`;
    case 'open':
      return `${entry.server} opened, ${entry.mode}, custody ${entry.custody}`;
    case 'principal':
      return `who: ${entry.source}${entry.uid === undefined ? '' : `, uid ${entry.uid}`}${entry.failure === undefined ? '' : `, failed: ${entry.failure}`}`;
    case 'close':
      return `closed: ${entry.reason}${entry.signal === undefined ? (entry.exitCode ? `, status ${entry.exitCode}` : '') : `, ${entry.signal}`}`;
    case 'gap':
      return `gap: ${counted(entry.lost.c2s + entry.lost.s2c, 'frame')} not recorded`;
    case 'recovery':
      return `recovery: ${entry.reason}`;
    case 'policy':
      return policySummary(entry);
    case 'erasure':
      return `erasure by ${entry.scope} of ${targetsText(entry.targets)}`;
    case 'prune':
      return `pruned: the entries before ${entry.end}`;
    case 'key':
      return `key: ${entry.act}`;
    case 'anchor':
      return `${entry.source} ${entry.name} ${entry.problem === undefined ? 'signed' : 'REFUSES'} the checkpoint of ${counted(entry.size, 'entry', 'entries')}`;
    case 'approval':
      return `entry ${entry.request} ${approvalText(approvalOf(0, entry))}`;
    case 'access':
      return entry.act === 'open'
        ? `${counted(entry.count ?? 0, 'entry', 'entries')} opened (${entry.how})`
        : `finding ${entry.finding ?? ''} acknowledged (${entry.how})`;
    default:
      return entry.kind;
  }
}

/** In the words of `sworn log`. */
function policySummary({ act, server = '', tool = '', change, count, rule: by }: PolicyEntry): string {
  if (act === 'pin') return `tool pinned: ${server}/${tool}`;
  if (act === 'drift') return `tool ${change === 'gone' ? 'not listed any more' : change === 'new' ? 'new' : 'changed'}: ${server}/${tool}`;
  if (act === 'limited') return `limited: ${counted(count ?? 0, 'more request')} refused by ${by ?? ''}`;
  return act === 'accept' ? `tool accepted: ${server}/${tool}` : `policy ${act}`;
}

function targetsText(targets: readonly { index: number; to?: number }[]): string {
  return counted(
    targets.reduce((sum, { index, to = index }) => sum + to - index + 1, 0),
    'entry',
    'entries',
  );
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}
