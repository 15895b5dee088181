/** What waits for a person, from a client's request over the recorder's queue to a browser or a webhook that decides it, and back to the server: all of it real. */
import { createHmac } from 'node:crypto';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { approvalDetail, approvalQueue, decisionRow } from '../../scripts/openapi.ts';
import type { ApprovalQueue, ApprovalRow, DecisionRow } from '../../src/analysis/approval-views.ts';
import type { ApprovalEntry } from '../../src/entry/entry.ts';
import { readEntries } from '../../src/readers/entries.ts';
import { startBrowser, type TestBrowser, type Watched } from '../browser.ts';
import { Client, until, World } from '../support-processes.ts';
import { call, closed, Serving, sessionApart, type Answer } from './serving.ts';

const hookSecret = 'the secret of a webhook';
const policy = (url: string, secret: string): string => `
policy:
  rules:
    - { name: pay-needs-a-human, ask: true, tool: "submit_*", reason: "Payments need a person", timeout: 10m }
    - { name: soon-over, ask: true, tool: "soon_*", timeout: 1s }
redact: { keys: [pin] }
approvals: { webhook: { url: "${url}", secret: ${secret} } }
`;

let world: World;
let browser: TestBrowser | string;
let receiver: Server;
/** What the webhook was told. */
const told: { kind: string; request: number; signature: string; text: string }[] = [];
let config: string;
let serving: Serving;
let client: Client;
let watched: Watched;
let page: Page;
let ids = 0;

beforeAll(async () => {
  world = new World('approvals');
  browser = await startBrowser();
  receiver = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      const { kind, request: index } = JSON.parse(text) as { kind: string; request: number };
      told.push({ kind, request: index, signature: String(request.headers['sworn-signature']), text });
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((done) => receiver.listen(0, '127.0.0.1', done));
  const secret = join(world.folder, 'hook.secret');
  writeFileSync(secret, `${hookSecret}\n`, { mode: 0o600 });
  config = join(world.folder, 'sworn.yaml');
  writeFileSync(config, policy(`http://127.0.0.1:${(receiver.address() as AddressInfo).port}/in`, secret));
  client = tapped();
  await call(client, 'get_employee', { id: 'E1' });
  serving = await Serving.start(world, ['--config', config]);
});

afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  receiver.closeAllConnections();
  receiver.close();
  await world.end();
});

function tapped(): Client {
  return sessionApart(world, world.ledger, ['--name', 'hr', '--config', config], 'echo.log');
}

/** Sends a call that will wait; its id. */
function ask(name: string, more: Record<string, unknown> = {}): number {
  const id = ++ids;
  client.write({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: more, tag: id } });
  return id;
}

let last = -1;

/** So many that were not told of here before. */
async function waiting(count: number): Promise<ApprovalRow[]> {
  return until(`${count} to wait`, async () => {
    const queue = approvalQueue.parse(await serving.json('approvals')) as ApprovalQueue;
    const rows = queue.rows.filter(({ request }) => request > last);
    if (rows.length !== count) return undefined;
    last = rows.at(-1)?.request ?? last;
    return rows;
  });
}

/** Nothing waits. */
async function settled(): Promise<void> {
  await until('nothing to wait', async () => ((await serving.json('approvals')) as ApprovalQueue).total === 0);
}

async function decided(request: number): Promise<DecisionRow> {
  return until(`what was decided of ${request}`, async () =>
    (decisionRow.array().parse(await serving.json('decisions')) as DecisionRow[]).find((one) => one.request === request),
  );
}

async function approvals(): Promise<(ApprovalEntry & { index: number })[]> {
  const found: (ApprovalEntry & { index: number })[] = [];
  for await (const { index, entry } of readEntries(world.ledger)) if (entry.kind === 'approval') found.push({ ...entry, index });
  return found;
}

function hook(body: unknown, { secret = hookSecret, ageS = 0 } = {}): Promise<Answer> {
  const text = JSON.stringify(body);
  const at = Math.floor(Date.now() / 1000) - ageS;
  return signed(text, `t=${at},v1=${createHmac('sha256', secret).update(`${at}.${text}`).digest('hex')}`);
}

function signed(body: string, signature: string): Promise<Answer> {
  return serving.ask('/hooks/approvals', { method: 'POST', headers: { 'Content-Type': 'application/json', 'Sworn-Signature': signature }, body });
}

async function opened(context: TestContext): Promise<Page> {
  if (typeof browser === 'string') return context.skip(browser);
  if (page !== undefined) return page;
  watched = await browser.open({ offline: false });
  ({ page } = watched);
  // the login that programs here have too: the address lets one in
  const [name, value] = (await serving.cookie()).split('=') as [string, string];
  const url = `http://127.0.0.1:${serving.port}/`;
  await page.context().addCookies([{ name, value, url }]);
  await page.goto(url);
  await page.getByText('get_employee').first().waitFor();
  return page;
}

test('a request is on the page while it waits, and one key lets the server have it', async (context) => {
  const shown = await opened(context);
  await shown.keyboard.press('p');
  await shown.getByText('Nothing waits.').waitFor();
  const id = ask('submit_payment', { iban: 'DE89', pin: '1234' });
  // pushed, while somebody looks
  await shown.locator('.askname', { hasText: 'submit_payment' }).waitFor();
  expect(await shown.title()).toBe('(1) Approvals · sworn');
  await shown.getByText('Payments need a person').waitFor();
  await shown.getByText('pay-needs-a-human asks').waitFor();
  // as stored, and what the session did before
  await shown.getByText('[redacted]').first().waitFor();
  await shown.getByRole('region', { name: 'What this session did before' }).getByText('get_employee').waitFor();
  await shown.locator('#secret').fill(serving.approvalsSecret!);
  await shown.keyboard.press('Enter');
  await shown.getByText('recorded as self-approved').waitFor();
  expect(client.answered(id)).toBe(false);
  const approve = shown.getByRole('button', { name: 'Approve' });
  await until('it to be approvable', () => approve.isEnabled());
  await shown.waitForTimeout(500);
  await shown.keyboard.press('a');
  await until('the server to answer', () => client.answered(id));
  await shown.getByText('Approved: submit_payment').waitFor();
  await shown.locator('.decided').getByText('self-approved').waitFor();
  expect(await shown.title()).toBe('Approvals · sworn');
  const [entry] = await approvals();
  expect(entry).toMatchObject({
    decision: 'approved',
    how: 'dashboard',
    viewer: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
    selfApproved: true,
  });
  // opening it was recorded before it was shown
  const accesses = [];
  for await (const { entry: one } of readEntries(world.ledger)) if (one.kind === 'access') accesses.push(one);
  expect(accesses[0]).toMatchObject({ act: 'open', how: 'dashboard', viewer: entry!.viewer, opened: [[entry!.request, entry!.request]] });
});

test('denied with a reason, which its sender is told; timed out and taken back, which the page says', async (context) => {
  const shown = await opened(context);
  const id = ask('submit_payment', { iban: 'DE90' });
  await shown.getByText('DE90').first().waitFor();
  await shown.waitForTimeout(500);
  await shown.keyboard.press('d');
  await shown.getByRole('dialog').getByText('Deny submit_payment?').waitFor();
  await shown.keyboard.type('not to this account');
  await shown.keyboard.press('Enter');
  await until('it to be refused', () => client.answered(id));
  expect(client.errors.find((one) => one.id === id)!.error.message).toContain('not to this account');
  await shown.locator('.decided').getByText('not to this account').waitFor();
  const late = ask('soon_over');
  await shown.locator('.askname', { hasText: 'soon_over' }).waitFor();
  await until('its time to be over', () => client.answered(late));
  await shown.getByText('does not wait any more: its time was over').waitFor();
  await shown.locator('.decided').getByText('timed out').waitFor();
  const taken = ask('submit_payment', { iban: 'DE91' });
  await waiting(1);
  client.write({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: taken } });
  await shown.locator('.decided').getByText('cancelled').waitFor();
  await settled();
  // what the page's policy refuses, or throws, would stand here
  expect(watched.errors).toEqual([]);
});

test('several in any order, each bound to what was shown: another commitment decides nothing', async () => {
  const sent = [1, 2, 3, 4].map((n) => ask('submit_payment', { n }));
  const rows = await waiting(4);
  const unlocked = JSON.parse((await serving.post('unlock', { secret: serving.approvalsSecret })).text) as { key: string };
  const ledger = serving.ledgers[0]!.id;
  const name = (at: number, of = at): object => ({ ledger, request: rows[at]!.request, commitment: rows[of]!.commitment });
  const decide = async (decision: string, requests: object[], key = unlocked.key): Promise<Answer> =>
    serving.post('decide', { key, decision, requests });
  expect(await decide('approved', [name(0)], 'k'.repeat(43))).toMatchObject({ status: 403 });
  const swapped = JSON.parse((await decide('approved', [name(0, 1)])).text) as { problem: string }[];
  expect(swapped).toMatchObject([{ problem: 'What you saw is not what waits: look at it again.' }]);
  expect(sent.filter((id) => client.answered(id))).toEqual([]);
  const results = JSON.parse((await decide('approved', [name(3), name(1), name(1, 0)])).text) as object[];
  expect(results).toMatchObject([
    { decided: expect.any(Number) as number },
    { decided: expect.any(Number) as number },
    { problem: expect.any(String) as string },
  ]);
  await until('two answers', () => client.answered(sent[3]!) && client.answered(sent[1]!));
  expect([client.answered(sent[0]!), client.answered(sent[2]!)]).toEqual([false, false]);
  await decide('denied', [name(0), name(2)]);
  await until('all answers', () => sent.every((id) => client.answered(id)));
  // a second time there is nothing to decide
  expect(JSON.parse((await decide('approved', [name(0)])).text)).toMatchObject([{ problem: expect.stringContaining('does not wait') as string }]);
  const detail = await serving.get(`approval?ledger=${ledger}&index=${rows[0]!.request}`);
  expect(detail.status).toBe(404);
});

test('one that is opened is answered whole, in the shape that is described', async () => {
  const id = ask('submit_payment', { text: 'x'.repeat(20_000) });
  const rows = await waiting(1);
  const ledger = serving.ledgers[0]!.id;
  const detail = approvalDetail.parse(await serving.json(`approval?ledger=${ledger}&index=${rows[0]!.request}`));
  expect(detail).toMatchObject({ approval: { isCut: true, sizeBytes: expect.any(Number) as number }, session: { server: 'hr' } });
  expect(Buffer.byteLength(detail.shown)).toBeLessThanOrEqual(8_192);
  expect(detail.before.length).toBeGreaterThan(0);
  expect(detail.before.every(({ index }) => index < rows[0]!.request)).toBe(true);
  expect((await hook({ request: rows[0]!.request, commitment: rows[0]!.commitment, decision: 'denied', approver: 'mira' })).status).toBe(200);
  await until('it to be refused', () => client.answered(id));
});

test('a webhook is told, and decides in the name of a person; a body counts once, while it is young', async () => {
  const id = ask('submit_payment', { iban: 'DE92' });
  const rows = await waiting(1);
  const { signature, text } = await until('the webhook to be told', () =>
    told.find(({ kind, request }) => kind === 'approval-pending' && request === rows[0]!.request),
  );
  const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature)!;
  expect(v1).toBe(createHmac('sha256', hookSecret).update(`${t}.${text}`).digest('hex'));
  const event = JSON.parse(text) as { request: number; commitment: string };
  expect(event).toMatchObject({
    v: 1,
    kind: 'approval-pending',
    tool: 'submit_payment',
    rule: 'pay-needs-a-human',
    reason: 'Payments need a person',
  });
  expect(text).not.toContain('DE92');
  const body = { request: event.request, commitment: event.commitment, decision: 'approved', reason: 'seen', approver: 'mira@example.com' };
  expect((await hook(body, { secret: `${hookSecret}!` })).status).toBe(401);
  expect((await hook(body, { ageS: 301 })).status).toBe(401);
  expect((await hook(body, { ageS: -301 })).status).toBe(401);
  expect((await hook({ ...body, commitment: `${'A'.repeat(43)}=` })).status).toBe(404);
  expect((await hook({ ...body, approver: '' })).status).toBe(400);
  // what we sent ourselves is no decision
  expect((await signed(text, signature)).status).toBe(400);
  expect(client.answered(id)).toBe(false);
  const at = Math.floor(Date.now() / 1000);
  const whole = JSON.stringify(body);
  const mark = `t=${at},v1=${createHmac('sha256', hookSecret).update(`${at}.${whole}`).digest('hex')}`;
  const good = await signed(whole, mark);
  expect(good.status, good.text).toBe(200);
  expect(JSON.parse(good.text)).toMatchObject({ decided: expect.any(Number) as number, waitedMs: expect.any(Number) as number });
  expect((await signed(whole, mark)).status).toBe(409);
  await until('the server to answer', () => client.answered(id));
  expect(await decided(event.request)).toMatchObject({ decision: 'approved', how: 'webhook', approver: 'mira@example.com', reason: 'seen' });
  await until('the decision to be told', () => told.some(({ kind, request }) => kind === 'approval-decided' && request === event.request));
});

test('without a signature, with a login alone, with GET or from another page nobody decides', async () => {
  const body = JSON.stringify({ request: 1, commitment: `${'A'.repeat(43)}=`, decision: 'approved', approver: 'x' });
  const json = { 'Content-Type': 'application/json' };
  expect((await serving.ask('/hooks/approvals', { method: 'POST', headers: { ...json, Cookie: await serving.cookie() }, body })).status).toBe(401);
  expect((await serving.ask('/hooks/approvals')).status).toBe(405);
  expect((await serving.ask('/hooks/approvals', { method: 'POST', headers: { ...json, Host: 'evil.example' }, body })).status).toBe(403);
  expect((await serving.ask('/hooks/approvals', { method: 'POST', headers: { ...json, Origin: 'http://evil.example' }, body })).status).toBe(403);
  // the cookie goes along from a page of another port, and its Origin says so
  for (const command of ['unlock', 'decide'])
    expect(
      (
        await serving.ask(`/api/v1/${command}`, {
          method: 'POST',
          headers: { ...json, Cookie: await serving.cookie(), Origin: 'http://127.0.0.1:1' },
          body,
        })
      ).status,
    ).toBe(403);
  const cookieAlone = { ...json, Cookie: await serving.cookie() };
  expect((await serving.ask('/api/v1/decide', { method: 'POST', headers: cookieAlone, body })).status).toBe(403);
});

test('a wrong secret is slow, a file of one’s own counts, and without approvals there are none', async () => {
  for (let i = 0; i < 5; i++) expect((await serving.post('unlock', { secret: 'wrong wrong wrong' })).status).toBe(403);
  const { status, headers } = await serving.post('unlock', { secret: serving.approvalsSecret });
  expect(status).toBe(429);
  expect(Number(headers['retry-after'])).toBeGreaterThan(1);
  const file = join(world.folder, 'secret');
  writeFileSync(file, 'a secret of my own, with words\n', { mode: 0o600 });
  const other = await Serving.start(world, ['--approvals-secret-file', file]);
  expect((await other.post('unlock', { secret: 'a secret of my own, with words' })).status).toBe(200);
  // without a webhook there is no hook
  expect((await other.ask('/hooks/approvals', { method: 'POST' })).status).toBe(404);
  other.child.kill('SIGTERM');
  chmodSync(file, 0o644);
  const open = await world.finish(['serve', '--port', '0', '--ledger', world.ledger, '--approvals-secret-file', file]);
  expect([open.status, open.stderr]).toEqual([78, expect.stringContaining('others than you may read or change it') as string]);
  writeFileSync(file, 'short\n');
  chmodSync(file, 0o600);
  expect((await world.finish(['serve', '--port', '0', '--ledger', world.ledger, '--approvals-secret-file', file])).stderr).toContain('fewer than 16');
  const none = await Serving.start(world, ['--no-approvals']);
  expect(none.approvalsSecret).toBeUndefined();
  for (const question of ['approvals', 'decisions']) expect((await none.get(question)).status).toBe(404);
  expect((await none.post('unlock', { secret: 'x' })).status).toBe(404);
  none.child.kill('SIGTERM');
});

test('a recorder that is killed takes what waited along: the page says so, and nothing was delivered', async (context) => {
  const shown = await opened(context);
  await shown.goto(`http://127.0.0.1:${serving.port}/#/approvals`);
  const id = ask('submit_payment', { iban: 'DE93' });
  const rows = await waiting(1);
  await shown.locator('.askname', { hasText: 'submit_payment' }).waitFor();
  process.kill(world.recorderPid()!, 'SIGKILL');
  // the tap starts another one, which refuses what it did not ask for itself
  await until('it to be refused', () => client.answered(id));
  expect(await decided(rows[0]!.request)).toMatchObject({ decision: 'lost', how: 'recorder' });
  await shown.locator('.decided').getByText('lost', { exact: true }).waitFor();
  await settled();
  // and the next one is asked about as before
  const next = ask('submit_payment', { iban: 'DE94' });
  await waiting(1);
  await closed(client);
  expect(client.answered(next)).toBe(false);
  // what was not approved no server has seen, of all that was asked here
  const received = readFileSync(join(world.folder, 'echo.log'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('r ') && line.includes('"tools/call"'));
  const missing = ['DE90', 'DE91', 'DE93', 'DE94', 'soon_over', 'xxxx', '"n":1', '"n":3'];
  expect(missing.filter((word) => received.some((line) => line.includes(word)))).toEqual([]);
  expect(received.filter((line) => line.includes('submit_payment'))).toHaveLength(4);
});

test('a dashboard that looks at the queue keeps no idle recorder from ending', async () => {
  const other = new World('onlooker');
  try {
    const recorder = other.sworn(['recorder', 'start', '--daemon', '--idle', '2', '--ledger', other.ledger]);
    const ended = new Promise<number | null>((done) => recorder.on('exit', done));
    await until('the recorder to listen', () => other.status());
    const looking = await Serving.start(other);
    expect(await looking.json('approvals')).toMatchObject({ total: 0, problems: [] });
    expect(await ended).toBe(0);
    expect(await looking.json('approvals')).toMatchObject({ total: 0, problems: [] });
  } finally {
    await other.end();
  }
});
