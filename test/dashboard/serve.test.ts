/** `sworn serve` as a process, in front of ledgers that a recorder writes: who gets in, what it answers, and what it leaves in the record. */
import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dashboardFailures, dashboardRequests, streamClients } from '../../src/limits.ts';
import { readCalls } from '../../src/readers/calls.ts';
import { readEntries } from '../../src/readers/entries.ts';
import { readSessions } from '../../src/readers/sessions.ts';
import { isAlive, until, World } from '../support-processes.ts';
import { call, closed, Serving, sessionOf, type Answer } from './serving.ts';

const token = 'f'.repeat(40);
let world: World;
let serving: Serving;

beforeAll(async () => {
  world = new World('serve');
  const client = sessionOf(world);
  for (let i = 0; i < 5; i++) await call(client, i % 2 === 0 ? 'get_employee' : 'set_salary', { id: `E${i}` });
  await closed(client);
  writeFileSync(join(world.folder, 'tokens'), `# of a test\n${token}\n`, { mode: 0o600 });
  serving = await Serving.start(world, ['--token-file', join(world.folder, 'tokens')]);
  await serving.caughtUp(10);
});
afterAll(() => world.end());

const bearer = { Authorization: `Bearer ${token}` };
const overview = '/api/v1/overview';

function errorOf({ text }: Answer): string {
  return (JSON.parse(text) as { error: { message: string } }).error.message;
}

test('the printed address lets one browser in, once', async () => {
  const other = await Serving.start(world);
  const path = other.url.replace(/^http:\/\/[^/]+/, '');
  expect(other.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/\?token=[\w-]{43}$/);
  // who only looks does not use it up
  expect((await other.ask(path, { method: 'HEAD' })).status).toBe(405);
  const first = await other.ask(path);
  expect(first.status).toBe(303);
  expect(first.headers.location).toBe('/');
  expect(first.headers['set-cookie']![0]).toMatch(new RegExp(`^sworn-${other.port}=[\\w-]{43}; HttpOnly; SameSite=Strict; Path=/; Max-Age=\\d+$`));
  const second = await other.ask(path);
  expect(second.status).toBe(401);
  expect(second.headers['set-cookie']).toBeUndefined();
  const cookie = first.headers['set-cookie']![0]!.split(';')[0]!;
  expect((await other.ask(overview, { headers: { Cookie: cookie } })).status).toBe(200);
  // the other one does not know it
  expect((await serving.ask(overview, { headers: { Cookie: cookie.replace(String(other.port), String(serving.port)) } })).status).toBe(401);
  other.child.kill('SIGTERM');
  expect(await other.exited).toEqual({ code: 0, signal: null });
});

test('nobody who is not known is answered, and a program shows its token', async () => {
  const nobody = await serving.ask(overview);
  expect(nobody.status).toBe(401);
  expect(nobody.headers['www-authenticate']).toMatch(/^Bearer/);
  expect((await serving.ask(overview, { headers: { Authorization: `Bearer ${token}x` } })).status).toBe(401);
  expect((await serving.ask(overview, { headers: bearer })).status).toBe(200);
  // the page has no data in it
  expect([200, 503]).toContain((await serving.ask('/')).status);
});

test('other names of this machine are not served (DNS rebinding), nor other origins', async () => {
  for (const Host of ['evil.example', `evil.example:${serving.port}`, `127.0.0.1:${serving.port + 1}`])
    expect((await serving.ask(overview, { headers: { ...bearer, Host } })).status, Host).toBe(403);
  for (const Host of [`localhost:${serving.port}`, `[::1]:${serving.port}`])
    expect((await serving.ask(overview, { headers: { ...bearer, Host } })).status).toBe(200);
  for (const Origin of ['http://evil.example', 'null', `https://127.0.0.1:${serving.port}`, `http://localhost:${serving.port}`])
    expect((await serving.ask(overview, { headers: { ...bearer, Origin } })).status, Origin).toBe(403);
  const { status, headers } = await serving.ask(overview, { headers: { ...bearer, Origin: `http://127.0.0.1:${serving.port}` } });
  expect(status).toBe(200);
  expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  // an image of a page at another port, which sends no Origin, and our cookie
  for (const from of ['same-site', 'cross-site'])
    expect((await serving.ask(overview, { headers: { Cookie: await serving.cookie(), 'Sec-Fetch-Site': from } })).status, from).toBe(403);
  for (const from of ['same-origin', 'none'])
    expect((await serving.ask(overview, { headers: { Cookie: await serving.cookie(), 'Sec-Fetch-Site': from } })).status, from).toBe(200);
  // also of the address itself, before its token is looked at
  expect((await serving.ask('/?token=x', { headers: { Host: 'evil.example' } })).status).toBe(403);
});

test('every answer says what a browser may do with it', async () => {
  for (const path of ['/', overview, '/api/v1/nothing', '/nothing', '/?token=x', '/api/v1/calls?limit=0']) {
    const { headers } = await serving.ask(path, { headers: bearer });
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'cross-origin-resource-policy': 'same-origin',
    });
    expect(headers['content-security-policy']).toContain("default-src 'none'");
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['content-security-policy']).not.toContain('unsafe');
  }
});

test('what is asked wrongly is said in words', async () => {
  const ledger = serving.ledgers[0]!.id;
  for (const [path, status, words] of [
    ['calls?limit=0', 400, 'limit'],
    ['calls?limit=1&limit=2', 400, 'twice'],
    ['calls?colour=red', 400, 'colour'],
    ['calls?sort=nothing', 400, 'nothing'],
    ['calls?filter=tool:', 400, ''],
    ['call?ledger=x&index=1', 400, 'ledger'],
    [`call?ledger=${ledger}`, 400, 'index'],
    [`call?ledger=${ledger}&index=-1`, 400, 'index'],
    [`call?ledger=${ledger}&index=99999`, 404, ''],
    [`entry?ledger=${'0'.repeat(32)}&index=0`, 404, 'No ledger'],
    ['nothing', 404, 'nothing'],
    ['__proto__', 404, ''],
    ['constructor', 404, ''],
  ] as const) {
    const answer = await serving.ask(`/api/v1/${path}`, { headers: bearer });
    expect(answer.status, path).toBe(status);
    expect(errorOf(answer)).toContain(words);
  }
  const posted = await serving.ask(overview, { headers: bearer, method: 'POST', body: '{}' });
  expect([posted.status, posted.headers.allow]).toEqual([405, 'GET, HEAD']);
  const verify = '/api/v1/verify';
  expect((await serving.ask(verify, { headers: bearer })).headers.allow).toBe('POST');
  const command = { method: 'POST', headers: { ...bearer, 'Content-Type': 'application/json' } };
  expect((await serving.ask(verify, { ...command, body: '{' })).status).toBe(400);
  expect((await serving.ask(verify, { ...command, headers: bearer, body: '{}' })).status).toBe(415);
  expect((await serving.ask(verify, { ...command, body: JSON.stringify({ ledger, more: 'x'.repeat(20_000) }) })).status).toBe(413);
  expect((await serving.ask(verify, { ...command, body: JSON.stringify({ ledger: '0'.repeat(32) }) })).status).toBe(404);
  // a browser says from where it asks; a page elsewhere cannot leave that out
  const { Authorization: _, ...headers } = { ...command.headers, Cookie: await serving.cookie() };
  expect((await serving.ask(verify, { method: 'POST', headers, body: JSON.stringify({ ledger }) })).status).toBe(403);
  expect((await serving.post('verify', { ledger })).status).toBe(204);
  const head = await serving.ask(overview, { method: 'HEAD', headers: bearer });
  expect([head.status, head.text]).toEqual([200, '']);
  expect(Number(head.headers['content-length'])).toBeGreaterThan(100);
});

test('every number of the overview is that of the ledger', async () => {
  const sessions = await readSessions(world.ledger, { content: true });
  const calls = [];
  for await (const one of readCalls(readEntries(world.ledger))) calls.push(one);
  const ofTools = calls.filter(({ method }) => method === 'tools/call');
  const said = await serving.json('overview');
  const answered = ofTools.filter(({ state }) => state === 'ok' || state === 'error' || state === 'toolError');
  const errors = ofTools.filter(({ state }) => state === 'error' || state === 'toolError').length;
  expect(said).toMatchObject({
    sessions: sessions.length,
    openSessions: 0,
    calls: ofTools.length,
    callsToday: ofTools.length,
    blocked: 0,
    errors,
    unanswered: 0,
    errorRate: errors / answered.length,
    behind: 0,
    zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  });
  expect(said.reads + said.writes).toBeLessThanOrEqual(ofTools.length);
  expect((await serving.json('sessions')).total).toBe(sessions.length);
  expect((await serving.json('calls?filter=method:tools/call')).total).toBe(ofTools.length);
});

test('the evidence is what the verifier finds', async () => {
  const [state] = await until('a verification', async () => {
    const states = await serving.json('evidence');
    return states[0].state === 'verifying' ? undefined : states;
  });
  expect(state).toMatchObject({
    ledger: serving.ledgers[0]!.id,
    name: world.ledger,
    state: 'holds',
    custody: 'same-user',
    isPinned: expect.any(Boolean) as boolean,
  });
  const verified = JSON.parse(world.run(['verify', world.ledger, '--json']).stdout) as { size: number; notChecked: string[] };
  expect(state.size).toBeLessThanOrEqual(verified.size);
  expect(state.keyFingerprint).toMatch(/^[0-9a-f]{16}$/);
  expect(state.custodyMeans).toContain('sudo -u');
  expect(state.steps.map(({ name }: { name: string }) => name)).toContain('Signature');
  expect(state.commands[0].command).toBe(`sworn verify ${world.ledger}`);
});

test('content is recorded as opened before it is shown, and once a minute', async () => {
  const ledger = serving.ledgers[0]!.id;
  const { rows } = await serving.json('calls?filter=method:tools/call');
  const detail = await serving.json(`call?ledger=${ledger}&index=${rows[0].index}`);
  expect(detail.legs).toHaveLength(2);
  expect(JSON.parse(detail.legs[0].frame[0].text)).toMatchObject({ method: 'tools/call' });
  for (const { index } of rows) expect((await serving.get(`entry?ledger=${ledger}&index=${index}`)).status).toBe(200);
  // a program is another viewer
  await serving.ask(`/api/v1/entry?ledger=${ledger}&index=${rows[1].index}`, { headers: bearer });
  await world.endRecorder();
  const accesses = [];
  for await (const { entry } of readEntries(world.ledger)) if (entry.kind === 'access') accesses.push(entry);
  expect(accesses.map(({ how }) => how).toSorted()).toEqual(['api', 'dashboard', 'dashboard']);
  for (const access of accesses)
    expect(access).toMatchObject({ act: 'open', by: { uid: process.getuid!(), pid: serving.pid }, selfAdministered: true });
  const named = accesses[0]!.opened!.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i));
  expect(named).toEqual(detail.legs.map(({ index }: { index: number }) => index));
  expect(accesses.find(({ how, count }) => how === 'dashboard' && count === rows.length)).toBeDefined();
  expect(world.run(['verify', world.ledger]).status).toBe(0);
  expect(world.run(['log', '--ledger', world.ledger]).stdout).toMatch(/opened: content of entries/);
  // no recorder runs: one is started to record it
  expect((await serving.get(`entry?ledger=${ledger}&index=${rows[0].index}`)).status).toBe(200);
  await until('an access entry', () => world.status());
});

test('where nothing can record it content is not shown, unless whoever serves says so', async () => {
  const copy = join(world.folder, 'copy');
  await world.endRecorder();
  cpSync(world.ledger, copy, { recursive: true });
  rmSync(join(copy, 'run'), { recursive: true });
  // a copy on a machine without its key
  const elsewhere = { ...world.env, HOME: join(world.folder, 'elsewhere') };
  const start = async (...words: string[]): Promise<Serving> => {
    const { env } = world;
    Object.assign(world.env, elsewhere);
    try {
      return await Serving.start(world, words, [copy]);
    } finally {
      Object.assign(world.env, env, { HOME: world.home });
    }
  };
  const closedOne = await start();
  const ledger = closedOne.ledgers[0]!.id;
  const refused = await closedOne.get(`entry?ledger=${ledger}&index=1`);
  expect(refused.status).toBe(503);
  expect(errorOf(refused)).toContain('only when that can be recorded');
  expect((await closedOne.json('overview')).calls).toBe(5);
  const openOne = await start('--unrecorded');
  expect((await openOne.get(`entry?ledger=${ledger}&index=1`)).status).toBe(200);
  closedOne.child.kill();
  openOne.child.kill();
});

test('several ledgers: rows carry theirs, each is verified on its own', async () => {
  const second = join(world.folder, 'second');
  const client = sessionOf(world, second);
  await call(client, 'get_employee');
  await closed(client);
  const both = await Serving.start(world, [], [world.ledger, second]);
  await until('both to be verified', async () => ((await both.json('evidence')) as { state: string }[]).every(({ state }) => state === 'holds'));
  await until('the rows of both', async () => ((await both.json('calls?filter=method:tools/call')) as { total: number }).total === 6);
  const { rows, total } = await both.json('calls?filter=method:tools/call');
  expect(total).toBe(6);
  expect(new Set(rows.map((row: { ledger: string }) => row.ledger))).toEqual(new Set(both.ledgers.map(({ id }) => id)));
  expect((await both.json(`calls?ledger=${both.ledgers[1]!.id}&filter=method:tools/call`)).total).toBe(1);
  expect((await both.json('overview')).sessions).toBe(2);
  both.child.kill();
});

test('requests are bounded, and who is known is not held up by who is not', async () => {
  const other = await Serving.start(world, ['--token-file', join(world.folder, 'tokens')]);
  const answers = await Promise.all(Array.from({ length: dashboardFailures.most + 5 }, () => other.ask(overview)));
  expect(answers.filter(({ status }) => status === 401)).toHaveLength(dashboardFailures.most);
  const late = answers.filter(({ status }) => status === 429);
  expect(late).toHaveLength(5);
  expect(Number(late[0]!.headers['retry-after'])).toBeGreaterThanOrEqual(1);
  const many = [];
  for (let i = 0; i < 8; i++) many.push(...(await Promise.all(Array.from({ length: 50 }, () => other.ask('/api/v1/evidence', { headers: bearer })))));
  expect(many.some(({ status }) => status === 429)).toBe(true);
  expect(many.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(dashboardRequests.most);
  expect((await other.get('evidence')).status).toBe(200);
  const tails = await Promise.all(Array.from({ length: streamClients + 1 }, () => other.tail()));
  await until('one too many', () => tails.every(({ status }) => status !== undefined));
  expect(tails.filter(({ status }) => status === 429)).toHaveLength(1);
  for (const tail of tails) tail.close();
  other.child.kill();
});

test('a port that is taken, a bind that others reach, a file that others read: said in words', async () => {
  const taken = world.run(['serve', '--ledger', world.ledger, '--port', String(serving.port)]);
  expect(taken).toMatchObject({ status: 71, stdout: '' });
  expect(taken.stderr).toMatch(
    /^sworn: error: the dashboard cannot listen at 127\.0\.0\.1:\d+: another program listens there\nsworn: hint: .*--port 0/m,
  );
  chmodSync(join(world.folder, 'tokens'), 0o644);
  expect(world.run(['serve', '--ledger', world.ledger, '--token-file', join(world.folder, 'tokens')])).toMatchObject({ status: 78 });
  chmodSync(join(world.folder, 'tokens'), 0o600);
  expect(world.run(['serve', '--ledger', join(world.folder, 'none')])).toMatchObject({ status: 3 });
  expect(world.run(['serve', '--port', '70000'])).toMatchObject({ status: 2 });
  expect(
    world.run(['serve', '--ledger', world.ledger, '--ledger', `${world.ledger}/../ledger`, '--ledger', join(world.folder, 'copy')]).stderr,
  ).toContain('the same ledger');
  expect(isAlive(serving.child.pid!)).toBe(true);
});

test('a finding is acknowledged: an entry of the ledger, and seen in every view', async () => {
  const ledger = join(world.folder, 'secrets');
  const client = sessionOf(world, ledger);
  // put together here: nobody's, but of the form
  await call(client, 'push', { token: ['ghp', 'aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5'].join('_') });
  await closed(client);
  const other = await Serving.start(world, [], [ledger]);
  const [finding] = await until('a finding', async () => {
    await sleep(100);
    const { rows } = (await other.json('findings')) as { rows: { ledger: string; finding: string; rule: string; severity: string }[] };
    return rows.length > 0 ? rows : undefined;
  });
  expect(finding).toMatchObject({ ledger: other.ledgers[0]!.id });
  const before = await other.json('overview');
  const body = { ledger: finding!.ledger, finding: finding!.finding, note: 'of a test, and of no use' };
  expect((await other.post('acknowledge', { ...body, finding: 'f'.repeat(12) })).status).toBe(404);
  expect((await other.post('acknowledge', { ...body, note: '' })).status).toBe(400);
  expect((await other.post('acknowledge', body)).status).toBe(204);
  await until('the acknowledgement to be a row', async () => {
    await sleep(100);
    const { rows } = await other.json('findings');
    return rows.some(
      (row: { finding: string; acknowledged?: { note: string } }) => row.finding === body.finding && row.acknowledged?.note === body.note,
    );
  });
  const after = await other.json('overview');
  expect(after.acknowledged).toBe(before.acknowledged + 1);
  expect(after.findings[finding!.severity]).toBe(before.findings[finding!.severity] - 1);
  await world.endRecorder(ledger);
  const accesses = [];
  for await (const { entry, content } of readEntries(ledger, { content: true }))
    if (entry.kind === 'access') accesses.push({ ...entry, ...content?.attributes });
  expect(accesses).toMatchObject([
    { act: 'acknowledge', how: 'dashboard', finding: body.finding, rule: finding!.rule, note: body.note, by: { pid: other.pid } },
  ]);
  expect(world.run(['log', '--ledger', ledger]).stdout).toContain(`acknowledged: finding ${body.finding} of ${finding!.rule}`);
  other.child.kill();
});
