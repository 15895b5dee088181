/** Approvals with the official client and server, the commands that people use, and an agent that would rather decide for itself. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import type { Pending } from '../../src/recorder/approval-question.ts';
import { ask } from '../../src/wire/ask.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { Approving, call, payPolicy, result } from './approving.ts';
import { connect, kinds } from './clients.ts';
import { gone, isAlive, messages, node, ours, Stage, sworn, Tap } from './stage.ts';

vi.setConfig({ testTimeout: 120_000 });

const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];
const json = (text: string): Pending[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Pending);

/** Looks until somebody waits. */
async function waits(stage: Stage): Promise<Pending> {
  for (;;) {
    const { stdout } = await stage.command('approvals', '--ledger', stage.ledger, '--json');
    const [first] = json(stdout);
    if (first !== undefined) return first;
    await sleep(20);
  }
}

test.each(kinds)('the official client (%s) gets its answer once somebody approved, and an error once somebody denied', async (kind) => {
  const stage = new Stage();
  const file = join(stage.folder, 'sworn.yaml');
  writeFileSync(file, payPolicy);
  const client = await connect(kind, [...apart, ...stage.words(ours('deciding.ts'), ['--config', file])], stage.env);
  const paid = client.callTool('pay', { to: 'bob' });
  const looked = await client.listTools();
  expect(looked.tools.map(({ name }) => name)).toContain('pay');
  const first = await waits(stage);
  const listed = await stage.command('approvals', '--ledger', stage.ledger);
  expect(listed.stdout).toContain('{"to":"bob"}');
  const approved = await stage.command('approvals', 'approve', String(first.request), '--ledger', stage.ledger);
  expect(approved).toMatchObject({ code: 0, stdout: expect.stringContaining('own account') });
  expect(await paid).toMatchObject({ content: [{ text: 'paid bob' }] });
  const refused = client.callTool('pay', { to: 'eve' });
  refused.catch(() => undefined);
  const second = await waits(stage);
  await stage.command('approvals', 'deny', String(second.request), '--reason', 'who is eve?', '--ledger', stage.ledger);
  await expect(refused).rejects.toThrow(/denied by a person.*who is eve/);
  const late = await stage.command('approvals', 'approve', String(second.request), '--ledger', stage.ledger);
  expect(late).toMatchObject({ code: 3, stderr: expect.stringContaining('it was denied by uid') });
  await client.close();
  const entries = await stage.finished();
  expect(entries.filter((one) => one.kind === 'approval')).toMatchObject([{ decision: 'approved' }, { decision: 'denied' }]);
});

test('the agent’s own server tries every command, and is refused [approval-agent]', async () => {
  const stage = new Stage();
  const file = join(stage.folder, 'sworn.yaml');
  writeFileSync(file, payPolicy);
  const client = await connect('sdk 1', [...apart, ...stage.words(ours('deciding.ts'), ['--config', file])], stage.env);
  const paid = client.callTool('pay', { to: 'mallory' });
  paid.catch(() => undefined);
  const { request, commitment } = await waits(stage);
  const socket = socketPathOf(stage.ledger);
  const shell = async (...words: string[]): Promise<{ status: number; stdout: string; stderr: string }> => {
    const { content } = await client.callTool('shell', { words });
    return JSON.parse((content as { text: string }[])[0]!.text) as { status: number; stdout: string; stderr: string };
  };
  const place = ['--ledger', stage.ledger];
  const commands = [
    ['approvals', ...place],
    ['approvals', 'list', '--json', ...place],
    ['approvals', 'approve', String(request), ...place],
    ['approvals', 'deny', String(request), ...place],
    ['approvals', 'watch', '--json', ...place],
  ];
  for (const words of commands) {
    const { status, stdout, stderr } = await shell(node, sworn, ...words);
    expect([words[1], status, stdout]).toEqual([words[1], 77, '']);
    expect(stderr).toContain('belongs to a tapped client and may not decide');
  }
  // nor by another parent, by the wire itself
  const question = JSON.stringify({ what: 'decide', request, commitment, decision: 'approved', how: 'dashboard', viewer: '0'.repeat(16) });
  const program = `const q=Buffer.from(process.argv[2]),m=Buffer.alloc(5);m.writeUInt32BE(1+q.length);m[4]=5;
    const s=require('net').connect(process.argv[1],()=>s.write(Buffer.concat([m,q])));s.pipe(process.stdout)`;
  expect((await shell(node, '-e', program, socket, question)).stdout).toContain('may not decide');
  expect((await shell('setsid', node, '-e', program, socket, question)).stdout).toContain('may not decide');
  expect((await ask(socket, 'approvals'))['approvals']).toMatchObject([{ request }]);
  await ask(socket, 'decide', { request, commitment, decision: 'denied' });
  await expect(paid).rejects.toThrow(/denied by a person/);
  // what has left its parents is nobody's child any more: with one account for all it may, and the record says what that is worth
  const again = client.callTool('pay', { to: 'mallory' });
  const second = await waits(stage);
  await shell('setsid', '-f', node, sworn, 'approvals', 'approve', String(second.request), ...place);
  expect(await again).toMatchObject({ content: [{ text: 'paid mallory' }] });
  await client.close();
  const entries = await stage.finished();
  expect(entries.filter((one) => one.kind === 'approval')).toMatchObject([
    { decision: 'denied', by: { pid: process.pid }, selfApproved: true },
    { decision: 'approved', selfApproved: true },
  ]);
});

test('watch: one keystroke decides, a pipe gets a line for each', async () => {
  const one = await Approving.begin();
  const { stage } = one;
  await one.send(call(1, 'look'), call(2, 'pay', { to: 'bob' }), call(3, 'pay', { to: 'eve' }));
  await one.waiting(2);
  await one.server.write(`${JSON.stringify(result(1))}\n`);
  await one.answer(1);
  const words = [node, sworn, 'approvals', 'watch', '--ledger', stage.ledger];
  const lines = new Tap(stage.started(spawn(words[0]!, [...words.slice(1), '--json'], { env: stage.env, stdio: ['ignore', 'pipe', 'pipe'] })), true);
  await lines.output.count(2);
  expect(json(lines.output.text).map(({ tool }) => tool)).toEqual(['pay', 'pay']);
  // a real terminal
  const pty = 'import pty,sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)';
  const child = spawn('python3', ['-c', pty, ...words], { env: { ...stage.env, TERM: 'xterm', NO_COLOR: '1' }, stdio: ['pipe', 'pipe', 'pipe'] });
  const watch = new Tap(stage.started(child), true);
  await watch.output.until(({ text }) => text.includes('"to": "bob"') && text.includes('look  ok'));
  await sleep(500);
  child.stdin.write('a');
  await one.server.input.count(2);
  expect(one.reached).toEqual([1, 2]);
  await watch.output.until(({ text }) => /\d+ approved: entry \d+/.test(text) && text.includes('"to": "eve"'));
  // what happens to the others shows
  await watch.output.until(({ text }) => /pay +approved, no answer yet/.test(text));
  await sleep(500);
  for (const key of 'Dnot eve\r') child.stdin.write(key);
  expect(await one.answer(3)).toMatchObject({ error: { data: { decision: 'denied', reason: 'not eve' } } });
  await watch.output.until(({ text }) => text.includes('nothing waits for you'));
  await one.send(call(4, 'pay'));
  await lines.output.count(3);
  child.stdin.write('q');
  expect(await watch.ended).toMatchObject({ code: 0 });
  expect(watch.output.text.endsWith('\u001b[?25h\u001b[?1049l')).toBe(true);
  lines.process.kill('SIGKILL');
  await lines.ended;
  await one.tap.close();
  expect((await stage.finished()).filter((entry) => entry.kind === 'approval').length).toBe(3);
});

test('a recorder that is killed again and again delivers each once, where it was approved, and answers each once [approval-kills]', async () => {
  const one = await Approving.begin();
  const { stage, server, tap } = one;
  let rest = '';
  server.socket.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop()!;
    for (const text of lines) void server.write(`${JSON.stringify(result((JSON.parse(text) as { id: unknown }).id))}\n`);
  });
  const count = 60;
  let isOver = false;
  const person = async (): Promise<void> => {
    for (let i = 0; !isOver; i++) {
      try {
        for (const waiting of await one.pending()) await one.decide(waiting, i++ % 3 === 0 ? 'denied' : 'approved');
      } catch {
        // it is just gone
      }
      await sleep(2);
    }
  };
  const killer = async (): Promise<void> => {
    for (let i = 0; !isOver && i < 8; i++) {
      // each time at another moment of what goes on
      await sleep(150 + 37 * i);
      const pid = stage.recorderPid;
      if (pid === undefined || !isAlive(pid)) continue;
      process.kill(pid, 'SIGKILL');
      await gone(pid);
    }
  };
  const others = Promise.all([person(), person(), killer()]);
  for (let i = 0; i < count; i++) {
    await one.send(call(`p${i}`, 'pay', { i }), call(`l${i}`, 'look'));
    await sleep(25);
  }
  await tap.output.until(() => one.answers.length >= 2 * count);
  isOver = true;
  await others;
  await tap.close();
  const answered = one.answers.map(({ id }) => id as string);
  expect(answered.toSorted()).toEqual([...new Set(answered)].toSorted());
  expect(answered.length).toBe(2 * count);
  const entries = await stage.finished();
  const approvals = entries.filter((entry) => entry.kind === 'approval');
  const asked = messages(entries, { verdict: 'ask' });
  expect(approvals.map(({ request }) => request as number).toSorted((a, b) => a - b)).toEqual(asked.map(({ index }) => index));
  const approved = approvals
    .filter(({ decision }) => decision === 'approved')
    .map(({ request }) => JSON.parse(asked.find(({ index }) => index === request)!['id'] as string) as string);
  expect((one.reached as string[]).filter((id) => id.startsWith('p')).toSorted()).toEqual(approved.toSorted());
  expect((one.reached as string[]).filter((id) => id.startsWith('l'))).toEqual(Array.from({ length: count }, (_, i) => `l${i}`));
});
