/** The order of system calls, as the kernel saw them: nothing is answered or delivered before its record is synced, and a batch costs one sync. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, readlinkSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Client, isAlive, readLedger, until, World } from '../support-processes.ts';

const canTrace = process.platform === 'linux' && spawnSync('strace', ['-f', '-o', '/dev/null', 'true']).status === 0;
if (!canTrace) console.warn('the test of the order of system calls is skipped: it needs strace, allowed to attach');

const worlds: World[] = [];
afterAll(async () => {
  for (const world of worlds.splice(0)) await world.end();
});

interface Call {
  at: number;
  name: string;
  fd: number;
  line: string;
}

/** The calls of a trace in the order in which they ended; a call that another thread interrupted on paper counts where it resumed. */
function callsOf(trace: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, string>();
  for (const line of trace.split('\n')) {
    const [, thread, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (thread === undefined || rest === undefined) continue;
    const begun = /^(.*) <unfinished \.\.\.>$/.exec(rest);
    if (begun) {
      unfinished.set(thread, begun[1]!);
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const whole = resumed ? `${unfinished.get(thread) ?? ''}${resumed[1]}` : rest;
    const call = /^(\w+)\((\d+)/.exec(whole);
    if (call) calls.push({ at: calls.length, name: call[1]!, fd: Number(call[2]), line: whole });
  }
  return calls;
}

describe.skipIf(!canTrace)('the kernel’s view', () => {
  test('commit: written, synced, then answered; one sync for each batch', async () => {
    const world = new World('strace');
    worlds.push(world);
    mkdirSync(world.home);
    // sed answers each request on a line of its own; its system calls are not looked at
    const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--', 'sed', '-u', 's/"method":"echo"/"result":{}/']));
    client.request({ tag: 'first' });
    await client.settled();
    const recorder = world.recorderPid()!;
    const fds = readdirSync(`/proc/${recorder}/fd`).map((fd) => ({ fd: Number(fd), path: linkOf(`/proc/${recorder}/fd/${fd}`) }));
    const segment = fds.find(({ path }) => path.includes('/payload/'))!.fd;

    const output = join(world.folder, 'trace');
    const calls = ['pwrite64', 'pwritev', 'pwritev2', 'fdatasync', 'fsync', 'write', 'writev', 'sendmsg'];
    const tracer = world.spawn('strace', ['-f', '-p', String(recorder), '-e', `trace=${calls.join(',')}`, '-s', '64', '-o', output]);
    let said = '';
    tracer.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await until('strace to attach', () => said.includes('attached'));
    const before = readLedger(world.ledger).entries.length;
    // one at a time, then many at once
    for (let i = 0; i < 5; i++) {
      client.request({ tag: `alone ${i}` });
      await client.settled();
    }
    for (let i = 0; i < 400; i++) client.request({ tag: `together ${i}` });
    await client.settled();
    const entries = readLedger(world.ledger).entries.length - before;
    tracer.kill('SIGINT');
    await until('strace to end', () => !isAlive(tracer.pid!));

    const trace = callsOf(readFileSync(output, 'utf8'));
    const writes = trace.filter(({ name, fd }) => fd === segment && name.startsWith('pwrite'));
    const syncs = trace.filter(({ name, fd }) => fd === segment && (name === 'fdatasync' || name === 'fsync'));
    // the answers are `pass` messages: type 66 (B) behind a length of 50 (the character 2)
    const answers = trace.filter(({ name, line }) => /^(write|writev|sendmsg)$/.test(name) && line.includes('\\0\\0\\0002B'));
    expect(entries).toBeGreaterThanOrEqual(810);
    expect(answers.length).toBeGreaterThan(5);
    // one write and one sync for each batch, in turns
    expect(writes.length).toBe(syncs.length);
    for (const [i, sync] of syncs.entries()) {
      expect(sync.name).toBe('fdatasync');
      expect(writes[i]!.at).toBeLessThan(sync.at);
      if (i > 0) expect(writes[i]!.at).toBeGreaterThan(syncs[i - 1]!.at);
    }
    expect(syncs.length).toBeLessThan(entries / 2);
    // no answer between a write and its sync, and each answer behind a sync of its own
    for (const answer of answers) {
      const written = writes.findLast(({ at }) => at < answer.at);
      if (written === undefined) continue;
      const synced = syncs.find(({ at }) => at > written.at)!;
      expect(synced.at, `${written.line}\n${answer.line}`).toBeLessThan(answer.at);
    }
    client.child.stdin.end();
    expect(await client.ended).toEqual({ code: 0, signal: null });
  });
});

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
