/** Requests that wait in the story's session, and a desk that decides them as a dashboard does: with the secret `open-sesame-1234`, and bound to what was shown. */
import type { ApprovalRow, ApprovalsBackend, DecisionRow } from '../../../src/analysis/approval-views.ts';
import { ledger, type World } from './rows.ts';

const told: readonly [string, Record<string, unknown>, Partial<ApprovalRow>][] = [
  [
    'submit_payment',
    { employee: 'e-102', iban: 'DE89 3704 0044 0532 0130 00', amountEur: 4_180.5, purpose: 'Travel to the offsite, receipts 14 to 19', notify: true },
    { effect: 'write', sensitive: true, rule: 'pay-needs-a-human', reason: 'Payments need a person: check the account and the amount.' },
  ],
  [
    'delete_employee',
    { id: 'e-201', cascade: true },
    { effect: 'write', destructive: true, rule: 'no-deleting-alone', reason: 'Deleted is deleted.' },
  ],
  ['get_pay_info', { id: 'e-201' }, { effect: 'read', sensitive: true, rule: 'salaries' }],
  [
    'submit_time_off',
    {
      id: 'e-102',
      from: '2026-12-21',
      to: '2027-01-05',
      note: 'A longer text that does not fit into one line of the queue, nor into what other views show of a text before they fold it, because it goes on and on about who stands in, what is handed over and to whom, and when all of that is to be read again.',
    },
    { effect: 'write', rule: 'writes', reason: 'Everything that writes waits.' },
  ],
];

export function desk(world: World, waiting: number, mayUnlock: boolean): ApprovalsBackend {
  const beganMs = Date.now();
  const time = (ms: number): string => `${new Date(beganMs + ms).toISOString().slice(0, 23)}000Z`;
  const session = world.rows.rows('sessions')[0];
  const calls = world.rows.rows('calls');
  const rows = Array.from({ length: waiting }, (_, n): ApprovalRow => {
    const [tool, args, more] = told[n % told.length]!;
    return {
      ledger,
      request: 1_000 + n,
      connection: session?.connection ?? '0'.repeat(32),
      server: 'hr',
      client: 'demo-agent',
      principal: 'uid 1000 (mira), /usr/bin/node',
      method: 'tools/call',
      tool,
      rule: 'writes',
      askedAt: time(-20_000 + n),
      deadline: time([252_000, 44_000, 9_000, 7_200_000][n % 4]! + n * 100),
      sizeBytes: JSON.stringify(args).length + 80,
      commitment: `${String(n).padStart(8, 'Q')}${'x'.repeat(35)}=`,
      argumentsText: JSON.stringify(args).slice(0, 160),
      ...(JSON.stringify(args).length <= 160 ? { isAll: true as const } : {}),
      ...(n === 2 ? { isAll: undefined as never, isCut: true as const, sizeBytes: 41_000 } : {}),
      ...more,
    };
  });
  const decisions: DecisionRow[] = [
    { decision: 'approved', how: 'dashboard', viewer: '3f2a91c27b0d44e1', uid: 1000, pid: 77, selfApproved: true, waitedMs: 12_300 },
    {
      decision: 'denied',
      how: 'webhook',
      approver: 'jonas@example.com',
      uid: 1000,
      pid: 77,
      waitedMs: 61_000,
      reason: 'Not before the audit is over; ask again in December.',
    },
    { decision: 'timed-out', how: 'recorder', waitedMs: 300_000 },
    { decision: 'denied', how: 'command', uid: 1001, pid: 81, waitedMs: 4_000 },
    { decision: 'cancelled', how: 'recorder', waitedMs: 2_500 },
    { decision: 'lost', how: 'recorder', waitedMs: 900 },
  ].map((one, n) => ({
    ledger,
    index: 990 - n,
    at: time(-60_000 * (n + 1)),
    request: 900 - n,
    rule: 'writes',
    commitment: 'x',
    session: session?.session ?? '',
    server: 'hr',
    method: 'tools/call',
    tool: told[n % told.length]![0],
    argumentsText: JSON.stringify(told[n % told.length]![1]).slice(0, 160),
    ...one,
  })) as DecisionRow[];
  const isOpen = { key: '' };
  return {
    queue: () =>
      Promise.resolve({
        now: new Date().toISOString(),
        rows: rows.slice(0, 1_000),
        total: rows.length,
        problems: [],
        mayUnlock,
      }),
    detail: (of, request) => {
      const row = rows.find((one) => of === ledger && one.request === request);
      if (row === undefined) return Promise.resolve(undefined);
      const args = told[(request - 1_000) % told.length]![1];
      const text = JSON.stringify({ jsonrpc: '2.0', id: request, method: row.method, params: { name: row.tool, arguments: args } });
      return Promise.resolve({
        approval: row,
        // of two members a server may take the second one
        shown: request === 1_009 ? text.replace('"arguments"', '"arguments":{"id":"harmless"},"arguments"') : row.isCut ? text.slice(0, -20) : text,
        ...(session === undefined ? {} : { session }),
        before: calls.toReversed().slice(0, 6),
      });
    },
    decisions: () => Promise.resolve(waiting === 0 && world.rows.rows('calls').length === 0 ? [] : decisions),
    unlock: (secret) => {
      if (secret !== 'open-sesame-1234') return Promise.reject(new Error('This is not the secret that `sworn serve` printed.'));
      isOpen.key = 'k'.repeat(43);
      return Promise.resolve({ key: isOpen.key, forMs: 1_800_000 });
    },
    decide: ({ key, decision, reason }, requests) => {
      if (key !== isOpen.key) return Promise.reject(new Error('To decide, type the second secret.'));
      return Promise.resolve(
        requests.map(({ request, commitment }) => {
          const at = rows.findIndex((one) => one.request === request && one.commitment === commitment);
          if (at < 0) return { ledger, request, problem: 'It does not wait any more.' };
          const [row] = rows.splice(at, 1);
          decisions.unshift({
            ...decisions[0]!,
            index: 2_000 + request,
            request,
            decision,
            at: new Date().toISOString(),
            tool: row!.tool!,
            argumentsText: row!.argumentsText!,
            ...(reason === undefined ? {} : { reason }),
          });
          return { ledger, request, decided: 2_000 + request, waitedMs: 12 };
        }),
      );
    },
  };
}
