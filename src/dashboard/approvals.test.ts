/** The queue against a recorder's socket that answers badly: in parts, of another version, with refusals, or not at all. What a real recorder does is in test/dashboard. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ApprovalRow } from '../analysis/approval-views.ts';
import { encodeJson, readJson, WireReader, wireType } from '../wire/wire.ts';
import { Approvals, rowOf, type Pending } from './approvals.ts';

type Asked = Record<string, unknown>;

/** However slow the machine is. */
const patient = { timeout: 30_000 };

let folder: string;
let socket: string;
let server: Server | undefined;
let sockets: Set<Socket>;
let approvals: Approvals | undefined;
let appeared: ApprovalRow[];
let asked: Asked[];
/** An object is the reply, a text the code of an error, nothing leaves whoever asks waiting. */
let answer: (asked: Asked) => object | string | undefined;

const ledger = { id: 'ab'.repeat(16), path: '/nowhere' };
const pending = (request: number): Pending => ({
  request,
  connection: 'cd'.repeat(16),
  server: 'hr',
  method: 'tools/call',
  tool: 'submit_payment',
  rule: 'pay',
  askedAt: `2026-11-20T10:00:${String(request % 60).padStart(2, '0')}.000000Z`,
  deadline: '2026-11-20T10:05:00.000000Z',
  sizeBytes: 100,
  commitment: `${String(request).padStart(43, 'A')}=`,
  shown: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"submit_payment","arguments":{"n":${request}}}}`,
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-queue-'));
  socket = join(folder, 'r.sock');
  appeared = [];
  asked = [];
  sockets = new Set();
});

afterEach(async () => {
  approvals?.end();
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

async function listen(): Promise<void> {
  server = createServer((one) => {
    sockets.add(one);
    const reader = new WireReader();
    one.on('error', () => undefined);
    one.on('data', (chunk) =>
      reader.push(chunk, (_type, body) => {
        const question = readJson(body)!;
        asked.push(question);
        const said = answer(question);
        if (typeof said === 'string') one.write(encodeJson(wireType.error, { code: said, message: `because of ${said}`, hint: '' }));
        else if (said !== undefined) one.write(encodeJson(wireType.reply, said));
      }),
    );
  });
  await new Promise<void>((done) => server!.listen(socket, done));
}

async function stop(): Promise<void> {
  for (const one of sockets) one.destroy();
  const ended = server && new Promise((done) => server!.close(done));
  server = undefined;
  await ended;
}

function follow(): Approvals {
  approvals = new Approvals({ ledgers: [ledger], socketOf: () => socket, changed: () => undefined, appeared: (rows) => appeared.push(...rows) });
  approvals.start();
  return approvals;
}

const requests = (of: Approvals): number[] => of.rows().map(({ request }) => request);

test('a queue that comes in parts is put together, each is told of once, and what is gone is gone', async () => {
  let waiting = Array.from({ length: 7 }, (_, n) => pending(n + 1));
  let version = 1;
  answer = ({ after = 0, since }) => {
    if (since === version) return undefined;
    const rest = waiting.filter(({ request }) => request > (after as number));
    return { version, approvals: rest.slice(0, 3), waiting: waiting.length, more: rest.length > 3 };
  };
  await listen();
  const of = follow();
  await expect.poll(() => requests(of), patient).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(of.total).toBe(7);
  waiting = [...waiting.slice(2), pending(8)];
  version = 2;
  // whoever waits for another version is answered when there is one
  for (const one of sockets) one.destroy();
  await expect.poll(() => requests(of), patient).toEqual([3, 4, 5, 6, 7, 8]);
  expect(new Set(appeared.map(({ request }) => request)).size).toBe(8);
  expect(of.ledgerOf(8, pending(8).commitment)).toBe(ledger);
  expect(of.ledgerOf(8, pending(7).commitment)).toBeUndefined();
  expect(of.ledgerOf(1, pending(1).commitment)).toBeUndefined();
});

test('without a recorder nothing waits, and one that begins is found; a refusal is said', async () => {
  const of = follow();
  expect([requests(of), of.problems]).toEqual([[], []]);
  answer = () => 'permission';
  await listen();
  await expect.poll(() => of.problems, patient).toEqual([{ ledger: ledger.id, message: 'because of permission' }]);
  await stop();
});

test('a recorder that goes takes its queue along', async () => {
  answer = ({ since }) => (since === undefined ? { version: 5, approvals: [pending(1)] } : undefined);
  await listen();
  const of = follow();
  await expect.poll(() => requests(of), patient).toEqual([1]);
  await stop();
  await expect.poll(() => requests(of), patient).toEqual([]);
  expect(of.problems).toEqual([]);
});

test('a decision names what was shown, and a refusal of it keeps its code', async () => {
  answer = ({ what, request }) =>
    what === 'decide' ? (request === 1 ? { decided: 9, waitedMs: 12, selfApproved: true } : 'not-found') : { version: 1, approvals: [] };
  await listen();
  const of = follow();
  const verdict = { decision: 'denied', how: 'dashboard', viewer: '0'.repeat(16), reason: 'no' } as const;
  expect(await of.decide(ledger, 1, 'c', verdict)).toEqual({ decided: 9, waitedMs: 12, selfApproved: true });
  expect(asked).toContainEqual({ what: 'decide', request: 1, commitment: 'c', ...verdict });
  await expect(of.decide(ledger, 2, 'c', verdict)).rejects.toMatchObject({ code: 'not-found' });
});

test('of a request one line is shown, also where it cannot be read', () => {
  expect(rowOf(ledger.id, pending(3))).toMatchObject({ ledger: ledger.id, argumentsText: '{"n":3}' });
  expect(rowOf(ledger.id, { ...pending(3), shown: '{"params":{"arguments":{"a":"b\nc' }).argumentsText).toBe('{"a":"b c');
  expect(rowOf(ledger.id, { ...pending(3), shown: `{"params":{"arguments":{"a":"${'x'.repeat(9_000)}"}}}` }).argumentsText).toHaveLength(160);
  expect(rowOf(ledger.id, { ...pending(3), shown: '' })).not.toHaveProperty('argumentsText');
  expect(rowOf(ledger.id, pending(3))).not.toHaveProperty('shown');
});

test('a line is all of a request only where nothing stands beside it, or twice', () => {
  const call = (params: string): string => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay",${params}}}`;
  const isAll = (shown: string): boolean => rowOf(ledger.id, { ...pending(3), shown }).isAll === true;
  expect(isAll(call('"arguments":{"n":1}'))).toBe(true);
  for (const odd of [
    '"arguments":{"n":1},"arguments":{"n":9}',
    '"arguments":{"n":1,"n":9}',
    '"arguments":{"n":1},"_meta":{}',
    '"arguments":{"n": 1}',
    '"arguments":{"n":1.0}',
    '"argument":{"n":1}',
  ])
    expect(isAll(call(odd)), odd).toBe(false);
  expect(isAll(call(`"arguments":{"n":"${'x'.repeat(160)}"}`))).toBe(false);
  expect(isAll(call('"arguments":{"n":1}').slice(0, -1))).toBe(false);
});
