/** The change of a ledger's key: by a real recorder over its socket, with keys in its file, behind a command and in an ssh-agent. */
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { base64 } from '../bytes/bytes.ts';
import { directorySource } from '../cli/verify-files.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { KeyEntry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { scanSegment, segmentName } from '../ledger/segment.ts';
import { formatVkey, parseNote, parseVkey } from '../tlog/note.ts';
import { Findings } from '../verify/finding.ts';
import { Keys } from '../verify/keys.ts';
import { verifyLedger, type Verification } from '../verify/verifier.ts';
import { ask } from '../wire/ask.ts';
import { loadNative } from './native.ts';
import type { RecorderOptions } from './options.ts';
import { Recorder } from './recorder.ts';

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-keys-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Running {
  recorder: Recorder;
  socket: string;
  lines: string[];
  end(): Promise<void>;
}

async function start(at: string, more: Partial<RecorderOptions> = {}): Promise<Running> {
  const ledger = join(at, 'ledger');
  mkdirSync(join(ledger, 'run'), { recursive: true, mode: 0o700 });
  const lines: string[] = [];
  const socket = join(at, 'sock');
  const recorder = new Recorder(
    { ledger, keysHome: join(at, 'keys'), socket, version: '0', ...more },
    loadNative(),
    { kind: 'flock', release: () => undefined },
    (line) => lines.push(line),
    () => undefined,
  );
  await recorder.listen();
  const end = (): Promise<void> => recorder.end('signal');
  cleanups.push(end);
  return { recorder, socket, lines, end };
}

/** With this key alone, as whoever pinned it would. */
function verify(at: string, vkey: string): Promise<Verification> {
  return verifyLedger({ crypto: nodeCrypto, source: directorySource(join(at, 'ledger')), vkeys: [parseVkey(nodeCrypto, vkey)!] });
}

function keyEntries(at: string): KeyEntry[] {
  const payload = join(at, 'ledger', 'payload');
  return segmentFiles(payload).flatMap((first) =>
    [...scanSegment(join(payload, segmentName(first)))].flatMap((scanned) => {
      const entry = scanned.kind === 'record' && scanned.record.type === 'entry' ? readEntry(scanned.record.leaf) : undefined;
      return entry === undefined || entry instanceof EntryProblem || entry.kind !== 'key' ? [] : [entry];
    }),
  );
}

const signaturesOf = (at: string): number => parseNote(readFileSync(join(at, 'ledger', 'log', 'checkpoint')))!.signatures.length;

it('whoever pinned the first key follows to the newest, also when it signs alone [attack-none-rotation]', async () => {
  const at = scratch();
  const first = await start(at);
  const { vkey } = first.recorder.ledger.key;
  const rotated = await ask(first.socket, 'rotate');
  expect(rotated).toMatchObject({ holder: 'file', older: [vkey] });
  expect(rotated['vkey']).not.toBe(vkey);
  await first.recorder.ledger.publish();
  expect(signaturesOf(at)).toBe(2);
  expect(readFileSync(join(first.recorder.ledger.keysFolder, 'vkey'), 'utf8')).toBe(`${String(rotated['vkey'])}\n${vkey}\n`);
  expect(await verify(at, vkey)).toMatchObject({ exit: 0, vkey });
  expect(await verify(at, String(rotated['vkey']))).toMatchObject({ exit: 0, vkey: rotated['vkey'] });

  const again = await ask(first.socket, 'rotate');
  expect(again['older']).toEqual([rotated['vkey'], vkey]);
  expect(await ask(first.socket, 'retire')).toMatchObject({ vkey: again['vkey'], older: [] });
  // nobody has to wait for the next checkpoint, whichever key he knows
  for (const known of [vkey, String(rotated['vkey']), String(again['vkey'])]) expect(await verify(at, known)).toMatchObject({ exit: 0 });
  await first.end();
  expect(signaturesOf(at)).toBe(1);
  // the next recorder signs with it, and its first entry names it
  const second = await start(at);
  expect(second.recorder.ledger.key).toMatchObject({ vkey: again['vkey'], older: [] });
  await second.end();
  const result = await verify(at, vkey);
  expect(result).toMatchObject({ exit: 0, vkey: again['vkey'], pinned: true, vkeys: [vkey, rotated['vkey'], again['vkey']] });
  expect(result.findings.filter(({ code }) => code === 'key')).toHaveLength(2);
  expect(keyEntries(at).map(({ act }) => act)).toEqual(['rotate', 'rotate', 'retire']);

  const stranger = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const foreign = formatVkey(nodeCrypto, parseVkey(nodeCrypto, vkey)!.name, stranger);
  const wrong = await verify(at, foreign);
  expect(wrong.exit).toBe(1);
  expect(wrong.findings.map(({ code }) => code)).toContain('key-changed');
});

it('a new key that no entry names yet is named by the next recorder', async () => {
  const at = scratch();
  const first = await start(at);
  const { vkey } = first.recorder.ledger.key;
  // as if it had died before the entry
  const { vkey: next } = await first.recorder.ledger.addKey();
  await first.end();
  expect(keyEntries(at)).toEqual([]);
  expect((await verify(at, vkey)).exit).toBe(0);
  const second = await start(at);
  await vi.waitFor(() => expect(second.recorder.ledger.size).toBe(second.recorder.ledger.nextIndex), 10_000);
  await vi.waitFor(() => expect(keyEntries(at)).toMatchObject([{ act: 'rotate', previous: vkey, vkey: next }]), 10_000);
  await ask(second.socket, 'retire');
  await second.end();
  expect(await verify(at, vkey)).toMatchObject({ exit: 0, vkey: next });
});

it('a key that the one before has not endorsed vouches for nothing [attack-key-unendorsed]', async () => {
  const at = scratch();
  const running = await start(at);
  const { vkey } = running.recorder.ledger.key;
  await ask(running.socket, 'rotate');
  await running.end();
  const [entry] = keyEntries(at);
  const trusted = [parseVkey(nodeCrypto, vkey)!];
  for (const [change, isGood] of [
    [{}, true],
    [{ endorsement: base64(Buffer.alloc(64, 1)) }, false],
    [{ endorsement: 'AAAA' }, false],
    [{ previous: entry!.vkey }, false],
    [{ vkey }, false],
  ] as [Partial<KeyEntry>, boolean][]) {
    const findings = new Findings();
    const keys = new Keys(nodeCrypto, findings);
    keys.trust(trusted);
    keys.take(7, { ...entry!, ...change });
    expect(keys.vouched()).toHaveLength(isGood ? 2 : 1);
    expect(findings.list).toMatchObject([{ severity: isGood ? 'note' : 'tampered', code: 'key', index: 7 }]);
  }
});

it('a key behind a command signs; one that does not sign, or signs wrong, is not taken', async () => {
  const at = scratch();
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  writeFileSync(join(at, 'private.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const signer = join(at, 'signer.mjs');
  writeFileSync(
    signer,
    `import { sign } from 'node:crypto'; import { readFileSync } from 'node:fs';
const message = readFileSync(0); console.log(sign(null, message, readFileSync(process.argv[2])).toString('base64'));`,
  );
  const raw = base64(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32));
  const running = await start(at);
  const { vkey } = running.recorder.ledger.key;
  for (const command of [['false'], ['echo', base64(Buffer.alloc(64, 7))], ['/no/such/program'], [], 'words']) {
    await expect(ask(running.socket, 'rotate', { publicKey: raw, command }), JSON.stringify(command)).rejects.toThrow();
  }
  expect(running.recorder.ledger.key).toMatchObject({ vkey, older: [] });
  const command = [process.execPath, signer, join(at, 'private.pem')];
  expect(await ask(running.socket, 'rotate', { publicKey: raw, command })).toMatchObject({ holder: 'command' });
  await ask(running.socket, 'retire');
  await running.end();
  expect(await verify(at, vkey)).toMatchObject({ exit: 0 });
  // nothing of the old key is left to be stolen
  expect(readFileSync(join(running.recorder.ledger.keysFolder, 'key'), 'utf8')).toMatch(/^COMMAND \S+ \[.*\]\n$/);

  // while it does not sign, entries are recorded and not signed; then they are
  const next = await start(at);
  await next.recorder.ledger.publish();
  const signed = next.recorder.ledger.signedSize;
  chmodSync(join(at, 'private.pem'), 0o600);
  writeFileSync(join(at, 'private.pem'), 'gone');
  await next.end();
  expect(next.recorder.ledger.signedSize).toBe(signed);
  expect(next.lines.join('\n')).toContain('does not sign');
  writeFileSync(join(at, 'private.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const last = await start(at);
  await last.end();
  expect(last.recorder.ledger.signedSize).toBe(last.recorder.ledger.size);
  expect(await verify(at, vkey)).toMatchObject({ exit: 0 });
});

const hasAgent = ['ssh-agent', 'ssh-add', 'ssh-keygen'].every((program) => spawnSync('which', [program]).status === 0);

it.runIf(hasAgent)('a key in an ssh-agent signs', async () => {
  const at = scratch();
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(at, 'id')]);
  const agent = join(at, 'agent');
  const pid = Number(/SSH_AGENT_PID=(\d+)/.exec(execFileSync('ssh-agent', ['-a', agent]).toString())![1]);
  cleanups.push(() => void process.kill(pid));
  execFileSync('ssh-add', ['-q', join(at, 'id')], { env: { ...process.env, SSH_AUTH_SOCK: agent } });
  const publicKey = base64(Buffer.from(readFileSync(join(at, 'id.pub'), 'utf8').split(' ')[1]!, 'base64').subarray(-32));
  const running = await start(at);
  const { vkey } = running.recorder.ledger.key;
  await expect(ask(running.socket, 'rotate', { publicKey: base64(Buffer.alloc(32, 1)), agent })).rejects.toThrow();
  expect(await ask(running.socket, 'rotate', { publicKey, agent })).toMatchObject({ holder: 'ssh-agent' });
  await ask(running.socket, 'retire');
  await running.end();
  expect(await verify(at, vkey)).toMatchObject({ exit: 0 });
});

it('after a theft a new ledger binds the last checkpoint of the old one, and only a new one does [attack-key-theft-after]', async () => {
  const old = scratch();
  const first = await start(old);
  await first.end();
  const { size, root, origin } = await verify(old, first.recorder.ledger.key.vkey);
  const continues = { origin: origin!, size, root: base64(root!) };
  const at = scratch();
  const second = await start(at, { continues });
  const { vkey } = second.recorder.ledger.key;
  await second.end();
  const payload = join(at, 'ledger', 'payload');
  const [record] = [...scanSegment(join(payload, segmentName(0)))];
  const entry = record?.kind === 'record' && record.record.type === 'entry' ? readEntry(record.record.leaf) : undefined;
  expect(entry).toMatchObject({ kind: 'start', continues });
  expect((await verify(at, vkey)).exit).toBe(0);
  await expect(start(at, { continues })).rejects.toThrow('only a new ledger');
});
