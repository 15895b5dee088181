/** The webhook against a receiver that listens, refuses, and is away. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ApprovalRow, DecisionRow } from '../analysis/approval-views.ts';
import { SignedBodies } from './signature.ts';
import { Webhook } from './webhook.ts';

const secret = 'a secret of 16 and more';
interface Told {
  kind: string;
  id: string;
  request: number;
  [field: string]: unknown;
}

/** However slow the machine is. */
const patient = { timeout: 30_000 };

let folder: string;
let server: Server;
let told: Told[];
let tries: number;
let lines: string[];
let isRefusing: (told: Told) => boolean;
let webhook: Webhook | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-webhook-'));
  writeFileSync(join(folder, 'secret'), `${secret}\n`);
  [told, lines, tries] = [[], [], 0];
  isRefusing = () => false;
  const bodies = new SignedBodies(() => secret);
  server = createServer((request: IncomingMessage, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      tries++;
      const body = JSON.parse(text) as Told;
      const isSigned = bodies.take(request.headers['sworn-signature'] as string, text) === 'ok';
      const isTaken = isSigned && !isRefusing(body);
      if (isTaken) told.push(body);
      response.writeHead(isTaken ? 204 : 500).end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
});

afterEach(async () => {
  webhook?.end();
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  rmSync(folder, { recursive: true, force: true });
});

function begin(content = false): Webhook {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/in?token=hidden`;
  webhook = new Webhook({
    settings: { url, secret: join(folder, 'secret'), content },
    shownOf: (_, request) => Promise.resolve(request === 99 ? undefined : { shown: `{"id":${request}}` }),
    log: (line) => lines.push(line),
  });
  return webhook;
}

const row = (request: number, forMs = 60_000): ApprovalRow => ({
  ledger: 'ab'.repeat(16),
  request,
  connection: 'cd'.repeat(16),
  server: 'hr',
  method: 'tools/call',
  tool: 'submit_payment',
  rule: 'pay',
  askedAt: new Date().toISOString(),
  deadline: new Date(Date.now() + forMs).toISOString(),
  sizeBytes: 100,
  commitment: `${String(request).padStart(43, 'A')}=`,
  argumentsText: '{"iban":"DE89"}',
});
const decision = (request: number): DecisionRow => ({
  ledger: 'ab'.repeat(16),
  index: 500 + request,
  at: new Date().toISOString(),
  request,
  decision: 'denied',
  rule: 'pay',
  how: 'dashboard',
  waitedMs: 5,
  commitment: row(request).commitment,
  argumentsText: '{"iban":"DE89"}',
});

test('what waits and what was decided is told, signed, without content', async () => {
  const of = begin();
  of.pending([row(1)]);
  await expect.poll(() => told, patient).toHaveLength(1);
  const { argumentsText: _, ...rest } = row(1);
  expect(told[0]).toEqual({
    v: 1,
    kind: 'approval-pending',
    id: `${rest.ledger}/1/pending`,
    ...rest,
    askedAt: told[0]!['askedAt'],
    deadline: told[0]!['deadline'],
  });
  of.decided([decision(1)]);
  await expect.poll(() => told, patient).toHaveLength(2);
  expect(told[1]).toMatchObject({ v: 1, kind: 'approval-decided', id: `${rest.ledger}/1/decided`, entry: 501, decision: 'denied', how: 'dashboard' });
  expect(JSON.stringify(told)).not.toContain('iban');
});

test('with content only where that was said, and of what does not wait any more nothing', async () => {
  const of = begin(true);
  of.pending([row(99), row(2)]);
  await expect.poll(() => told.length, patient).toBe(1);
  expect(told[0]).toMatchObject({ request: 2, shown: '{"id":2}' });
});

test('what is refused is tried again, and holds up nothing else', async () => {
  const of = begin();
  isRefusing = ({ request }) => request <= 20;
  of.pending(Array.from({ length: 40 }, (_, n) => row(n + 1)));
  // more are refused than are posted at a time: the others come through before those are tried again
  await expect.poll(() => told.length, patient).toBe(20);
  expect(lines).toEqual([expect.stringMatching(/^the webhook at http:\/\/127\.0\.0\.1:\d+ could not be told: it answered 500/)]);
  isRefusing = () => false;
  await expect.poll(() => told.length, patient).toBe(40);
});

test('who was not told that it waits is told of the decision alone; and what is over is not told', async () => {
  const of = begin();
  isRefusing = () => true;
  of.pending([row(1), row(2, -1)]);
  await expect.poll(() => tries, patient).toBe(1);
  isRefusing = () => false;
  of.decided([decision(1)]);
  await expect.poll(() => told.length, patient).toBe(1);
  expect(told[0]).toMatchObject({ kind: 'approval-decided', request: 1 });
});

test('a secret that went missing is said, and counts again when it is back', async () => {
  const of = begin();
  rmSync(join(folder, 'secret'));
  of.pending([row(1)]);
  await expect.poll(() => lines.length, patient).toBe(1);
  writeFileSync(join(folder, 'secret'), secret);
  await expect.poll(() => told.length, patient).toBe(1);
});

test('where nobody answers it is tried now and then, and all is told when somebody does', async () => {
  const of = begin();
  const { port } = server.address() as AddressInfo;
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  of.pending(Array.from({ length: 100 }, (_, n) => row(n + 1)));
  await expect.poll(() => lines.length, patient).toBe(1);
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  await expect.poll(() => new Set(told.map(({ request }) => request)).size, patient).toBe(100);
});
