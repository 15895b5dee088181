/** `sworn log --calls`: one line for each logical tool call, whatever it took. */
import { approvalText, isWaiting } from '../analysis/approvals.ts';
import { approvers } from '../analysis/filter.ts';
import { SwornError } from '../errors.ts';
import { indexSince, readEntries } from '../readers/entries.ts';
import { readCalls, type Call, type CallState } from '../readers/calls.ts';
import type { FilterOptions } from './filter.ts';
import { filterFor } from './log-filter.ts';
import { cell, count, duration, paint, safeJson, visible, type Output, type Style } from './output.ts';
import { headline } from './rows.ts';
import { effectText } from './words.ts';

const styles: Record<CallState, Style> = {
  open: 'yellow',
  ok: 'green',
  error: 'red',
  toolError: 'red',
  blocked: 'red',
  cancelled: 'yellow',
  unanswered: 'yellow',
};

export async function showCalls(
  options: FilterOptions & { json?: boolean; approvedBy?: string; definition?: string },
  output: Output,
  ledgers: readonly string[],
  most: number | undefined,
): Promise<number> {
  if (!options.json) for (const ledger of ledgers) output.out(await headline(ledger, output));
  if (!options.json) output.out('\n');
  const { outcome, approvedBy, ...others } = options;
  if (approvedBy !== undefined && !(approvers as readonly string[]).includes(approvedBy))
    throw new SwornError('usage', `--approved-by ${approvedBy} is not one of: ${approvers.join(', ')}`, { command: 'log' });
  for (const ledger of ledgers) {
    const filter = await filterFor({ ...others, direction: 'c2s' }, ledger);
    const from = filter.sinceMs === undefined ? 0 : await indexSince(ledger, filter.sinceMs);
    const newest: Call[] = [];
    for await (const call of readCalls(readEntries(ledger, { from }), (located) => filter.matches(located))) {
      if (approvedBy !== undefined && call.approvedBy !== approvedBy) continue;
      if (outcome !== undefined && call.state !== outcome && !(outcome === 'unanswered' && call.state === 'open')) continue;
      if (most === undefined) output.out(row(call, options.json === true, output, ledgers.length > 1 ? ledger : undefined));
      else if (newest.push(call) > most) newest.shift();
      await output.drained?.();
      if (output.closed) return 0;
    }
    for (const call of newest) output.out(row(call, options.json === true, output, ledgers.length > 1 ? ledger : undefined));
  }
  return 0;
}

function row(call: Call, isJson: boolean, output: Output, ledger: string | undefined): string {
  if (isJson) return `${safeJson(JSON.stringify(ledger === undefined ? call : { ledger, ...call }))}\n`;
  const cells = [
    cell(String(call.index), 6, 'right'),
    paint(output, 'dim', `${call.beganAt.slice(0, 10)} ${call.beganAt.slice(11, 23)}`),
    paint(output, 'dim', cell(call.server, 12)),
    cell(call.target ?? '(no name)', 40),
    cell(effectText(call), 8),
    paint(output, styles[call.state], cell(stateText(call), 12)),
    cell(call.durationUs === undefined ? '' : duration(call.durationUs), 9, 'right'),
  ];
  const notes = [
    call.requests > 1 ? count(call.requests, 'request') : '',
    call.asked > 0 ? `asked ${count(call.asked, 'time')}` : '',
    call.taskStatus === undefined ? '' : `task ${visible(call.taskStatus)}`,
    call.rule === undefined || call.isAsked ? '' : `by ${visible(call.rule)}`,
    approvedText(call),
    ledger === undefined ? '' : visible(ledger),
  ].filter((note) => note !== '');
  return `${[...cells, paint(output, 'dim', notes.join(', '))].join(' ').trimEnd()}\n`;
}

/** Of each call that writes, and of each that a person was asked about, who let it happen. */
function approvedText(call: Call): string {
  const { approval, approvedBy, rule = '' } = call;
  if (approval !== undefined) return approvalText(approval);
  if (call.isAsked) return `${call.state === 'open' ? 'waits' : 'waited'} for a person (${visible(rule)})`;
  return approvedBy === undefined ? '' : `approved by ${approvedBy === 'rule' ? 'a rule' : approvedBy}`;
}

function stateText(call: Call): string {
  const { state, code } = call;
  if (call.isAsked && isWaiting({ ...call, verdict: 'ask' })) return 'waiting';
  if (state === 'toolError') return 'tool error';
  return state === 'error' && code !== undefined ? `error ${code}` : state;
}
