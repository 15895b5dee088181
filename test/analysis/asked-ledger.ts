/** A ledger, made by hand, in which a person was asked about each kind of thing that can become of that. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApprovalDecision } from '../../src/entry/entry.ts';
import { Fixture, fixtureConnection as connection, fixtureKey, fixtureLedgerId, fixtureOrigin, writeFixture } from '../ledger-fixture.ts';

const wanted = ['approved', 'denied', 'timed-out', 'cancelled', 'lost', 'self', 'reading'] as const;

/** A connection in which a person is asked about each kind of thing that can become of that; `waits`: and about one more, so far. */
export function askedLedger(waits = true): { path: string; index: Record<string, number> } {
  const fixture = new Fixture();
  const index: Record<string, number> = {};
  const { vkey } = fixtureKey(fixtureOrigin);
  fixture.add({ kind: 'start', ledger: fixtureLedgerId, origin: fixtureOrigin, vkey, recorder: { version: '0', uid: 1000, pid: 7 } });
  const custody = { mode: 'commit', onUnrecordable: 'block', custody: 'same-user', tap: { uid: 1000, source: 'kernel' } };
  fixture.add({ kind: 'open', connection, transport: 'stdio', server: 'hr', ...custody });
  const units = [0, 0];
  const frame = (direction: 'c2s' | 's2c'): object => ({
    connection,
    stream: 0,
    seq: fixture.leaves.length,
    tapSeq: ++units[direction === 'c2s' ? 0 : 1]!,
    direction,
    transport: 'stdio',
    server: 'hr',
    origin: direction === 'c2s' ? 'client' : 'server',
  });
  const call = (tool: string, verdict: object, effect = 'write'): number => {
    const exchange = fixture.leaves.length;
    const id = String(exchange);
    fixture.add(
      {
        kind: 'message',
        ...frame('c2s'),
        type: 'request',
        id,
        method: 'tools/call',
        target: tool,
        era: 'legacy',
        exchange,
        effect,
        effectSource: 'override',
        ...verdict,
      },
      {},
      [`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"${tool}","arguments":{"amount":5}}}`],
    );
    return exchange;
  };
  const answer = (exchange: number, more: object = { type: 'result', outcome: 'ok', durationUs: 12, verdict: 'pass' }): void => {
    fixture.add({ kind: 'message', ...frame('s2c'), id: String(exchange), method: 'tools/call', exchange, ...more }, {}, [
      `{"jsonrpc":"2.0","id":${exchange},"result":{}}`,
    ]);
  };
  const ask = { verdict: 'ask', rule: 'pay', reason: 'money' };
  for (const what of wanted) {
    const request = (index[what] = call(`pay_${what}`, ask, what === 'reading' ? 'read' : 'write'));
    const decision: ApprovalDecision = what === 'self' || what === 'reading' ? 'approved' : what;
    const by = decision === 'approved' || decision === 'denied' ? { how: 'command', by: { uid: 1001, pid: 4711 } } : { how: 'recorder' };
    const self = what === 'self' ? { selfApproved: true } : {};
    index[`${what} approval`] = fixture.add(
      { kind: 'approval', connection, request, rule: 'pay', decision, commitment: 'q83v'.repeat(10) + 'q80=', waitedMs: 8140, ...by, ...self },
      what === 'denied' ? { reason: 'not \u001b[31mthis month' } : {},
    );
    if (decision === 'approved') answer(request);
    else if (what === 'denied' || what === 'timed-out')
      answer(request, { type: 'error', outcome: 'error', code: what === 'denied' ? 4030 : 4080, verdict: 'pass', origin: 'sworn', rule: 'pay' });
  }
  index['rule'] = call('book', { verdict: 'pass', rule: 'booking' });
  answer(index['rule']);
  index['nobody'] = call('note', { verdict: 'pass' });
  answer(index['nobody']);
  if (waits) index['waits'] = call('pay_waits', ask);
  const path = mkdtempSync(join(tmpdir(), 'sworn-approvals-'));
  writeFixture(fixture.files(), path);
  return { path, index };
}
