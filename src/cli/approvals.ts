/** `sworn approvals`: what waits for a person, over the recorder's socket, and deciding on it. */
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';
import type { Pending } from '../recorder/approval-question.ts';
import { ask } from '../wire/ask.ts';
import { decideOn, pendingAt, type Decision } from './approvals-queue.ts';
import { argumentsOf, askerOf, effectOf, leftOf, nameOf } from './approvals-words.ts';
import type { CommandHelp } from './help.ts';
import { placeOf, type PlaceOptions } from './keeping.ts';
import { cut, duration, paint, safeJson, table, visible, type Output } from './output.ts';

export const approvalsHelp: CommandHelp = {
  options: [
    { flags: '--reason <text>', description: 'approve, deny: why; whoever is denied is told' },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'list, watch: one JSON object a line; else the answer as one' },
  ],
  example: 'sworn approvals deny 41 --reason "not this customer"',
};

interface ApprovalsOptions extends PlaceOptions {
  action?: string;
  ids?: string[];
  reason?: string;
  json?: boolean;
}

/** @throws SwornError `usage`, `no-recorder`, `not-found`, `permission`, or whatever the recorder answers */
export async function approvalsCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as ApprovalsOptions;
  const { action = 'list', ids = [] } = options;
  if (action === 'approve' || action === 'deny') return decide(action === 'approve' ? 'approved' : 'denied', options, output);
  if (ids.length > 0) throw usage(`\`sworn approvals ${action}\` takes no number`);
  if (options.reason !== undefined) throw usage('--reason goes with approve or deny');
  if (action === 'watch') return (await import('./approvals-watch.ts')).watchApprovals(options, output);
  return list(options, output);
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'approvals' });
}

async function list(options: ApprovalsOptions, output: Output): Promise<number> {
  const { waiting, approvals } = await pendingAt(placeOf(options).socket);
  if (options.json === true) {
    for (const pending of approvals) output.out(`${safeJson(JSON.stringify(pending))}\n`);
    return 0;
  }
  if (approvals.length === 0) {
    output.out('nothing waits that you may decide\n');
    return 0;
  }
  const now = Date.now();
  const columns = [
    { title: 'entry', align: 'right' as const },
    { title: 'asks for', most: 48 },
    { title: 'effect' },
    { title: 'rule', most: 32 },
    { title: 'asked by', most: 40 },
    { title: 'left', align: 'right' as const },
  ];
  const rows = approvals.map((one) => [String(one.request), nameOf(one), effectOf(one), one.rule, askerOf(one), leftOf(one, now)]);
  output.out(table(output, columns, rows));
  if (approvals.length < waiting) output.out(`and ${waiting - approvals.length} more\n`);
  output.out('\n');
  for (const one of approvals) {
    const shown = one.shown === '' ? 'its content is not stored, and cannot be shown' : argumentsOf(one);
    output.out(`${paint(output, 'dim', `${one.request}  `)}${cut(visible(shown), output.columns - String(one.request).length - 2)}\n`);
  }
  output.out(
    paint(
      output,
      'dim',
      `\nsworn approvals approve ${approvals[0]!.request} · sworn approvals deny ${approvals[0]!.request} · sworn approvals watch\n`,
    ),
  );
  return 0;
}

async function decide(decision: 'approved' | 'denied', options: ApprovalsOptions, output: Output): Promise<number> {
  const { ids = [], reason } = options;
  if (ids.length === 0) throw usage(`\`sworn approvals ${decision === 'approved' ? 'approve' : 'deny'}\` takes the number of what waits`);
  const requests = ids.map((id) => {
    const request = wholeNumber(id);
    if (request === undefined) throw usage(`${id} is not the number of an entry`);
    return request;
  });
  const { socket } = placeOf(options);
  for (const request of requests) {
    const { approvals } = (await ask(socket, 'approvals', { request })) as unknown as { approvals: Pending[] };
    const waiting = approvals.find((one) => one.request === request);
    // the recorder says what became of it
    const answer = await decideOn(socket, { request, commitment: waiting?.commitment ?? '' }, decision, reason);
    if (options.json === true) output.out(`${safeJson(JSON.stringify(answer))}\n`);
    else output.out(decidedText(request, decision, answer));
  }
  return 0;
}

function decidedText(request: number, decision: 'approved' | 'denied', { decided, waitedMs, selfApproved }: Decision): string {
  const self = selfApproved === undefined ? '' : '\n  with the agent’s own account: the record says so';
  return `${request} ${decision}, entry ${decided}, after ${duration(waitedMs * 1000)}${self}\n`;
}
