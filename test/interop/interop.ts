/**
 * What others make of our logs: Go's packages for transparency logs, Tessera's `fsck`, the witness of transparency-dev, openssl. Each check holds, does not,
 * or is left out with the reason: nothing here fails because a program or a module cannot be had.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { base64, utf8 } from '../../src/bytes/bytes.ts';
import { PublishedLog } from '../../src/readers/published.ts';
import { proveCommand } from '../../src/cli/prove.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { commitmentOf, segmentHash } from '../../src/entry/commitment.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../../src/tlog/checkpoint.ts';
import { openCosigned, parseCosigner } from '../../src/tlog/cosignature.ts';
import { openNote, parseNote, parseVkey } from '../../src/tlog/note.ts';
import { verifyConsistency } from '../../src/tlog/proof.ts';
import { witnessKey } from '../../src/witness/key.ts';
import { witnessServer } from '../../src/witness/server.ts';
import { WitnessStore } from '../../src/witness/store.ts';
import { submitCheckpoint } from '../../src/witness/submit.ts';
import { Witness } from '../../src/witness/witness.ts';

const goFolder = join(import.meta.dirname, 'go');
const waitMs = 120_000;

/** Why something is not checked here. */
export class LeftOut extends Error {
  override readonly name = 'LeftOut';
}

export interface InteropLog {
  /** `log/`, with checkpoint and tiles. */
  log: string;
  ledger: string;
  vkey: string;
  size: number;
  /** An older checkpoint of it. */
  oldNote: Uint8Array;
  note: Uint8Array;
}

interface Ran {
  status: number | string;
  stdout: string;
  stderr: string;
}

interface RunOptions {
  cwd?: string;
  env?: Record<string, string>;
  timeoutMs?: number;
}

function run(program: string, words: readonly string[], { cwd, env, timeoutMs = waitMs }: RunOptions = {}): Promise<Ran> {
  const child = spawn(program, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    ...(cwd === undefined ? {} : { cwd }),
  });
  return ended(child);
}

function ended(child: ChildProcess): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((done) => {
    child.on('error', (error) => done({ status: (error as NodeJS.ErrnoException).code ?? 'error', stdout, stderr: error.message }));
    child.on('close', (status, signal) => done({ status: signal ?? status ?? -1, stdout, stderr }));
  });
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1)!.trim();
const okLines = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => line.startsWith('ok '))
    .map((line) => line.slice(3));

/**
 * Builds a program of the Go module in `folder`. Modules come from the cache, or else from the proxy within `fetchMs`.
 * @throws LeftOut without Go, or without a module that is needed; Error when it does not compile
 */
export async function goProgram(folder: string, program: string, output: string, fetchMs: number): Promise<string> {
  const cwd = join(goFolder, folder);
  // no other toolchain is fetched, and nothing in the folder is written
  const env = { GOTOOLCHAIN: 'local', GOFLAGS: '-mod=readonly -buildvcs=false', CGO_ENABLED: '0' };
  const there = await run('go', ['version'], { env });
  if (there.status !== 0) throw new LeftOut('there is no Go here');
  const listed = await run('go', ['list', '-deps', program], { cwd, env: { ...env, GOPROXY: 'off' } });
  if (listed.status !== 0) {
    const fetched = await run('go', ['list', '-deps', program], { cwd, env, timeoutMs: fetchMs });
    if (fetched.status !== 0) {
      const why = typeof fetched.status === 'string' ? `not within ${fetchMs / 1000} s` : lastLine(fetched.stderr);
      throw new LeftOut(`its Go modules cannot be had: ${why}`);
    }
  }
  const built = await run('go', ['build', '-o', output, program], { cwd, env, timeoutMs: 300_000 });
  if (built.status !== 0) throw new Error(`go build ${program}: ${built.stderr}`);
  return output;
}

/** A ledger of messages with content, written by the recorder's own writer and published twice. */
export async function writeLog(folder: string, entries: number): Promise<InteropLog> {
  const ledgerFolder = join(folder, 'ledger');
  const never = { signEveryMs: 1e9, publishEveryMs: 1e9 };
  let failed: Error | undefined;
  const events = { flushed: () => undefined, recordable: () => undefined, fatal: (error: Error) => void (failed = error) };
  const ledger = Ledger.open(ledgerFolder, join(folder, 'keys'), { from: 0, entry: () => undefined }, events, undefined, never);
  const waiter = { durable: () => undefined, failed: (error: Error) => void (failed = error) };
  const append = (fields: Record<string, unknown>, frame: { salt: Uint8Array; bytes: Uint8Array }[]): void => {
    const index = ledger.nextIndex;
    const entry = { v: 1, time: `2026-11-20T23:45:01.${String(index % 1_000_000).padStart(6, '0')}Z`, monotonicUs: index, ...fields };
    ledger.append({ leaf: utf8(JSON.stringify(entry)), attributes: [], frame: frame.map((one) => ({ state: 'kept', ...one })) }, waiter);
  };
  append({ kind: 'start', ledger: ledger.id, origin: ledger.origin, vkey: ledger.key.vkey, recorder: { version: '0.1.0', uid: 0, pid: 1 } }, []);
  const old = Math.floor((entries * 13) / 14);
  let oldNote: Uint8Array | undefined;
  for (let i = 1; i < entries; i++) {
    // now and then a long one, of which the hash is more than one block, and one in three segments
    const frame = (i % 1000 === 0 ? [`${'x'.repeat(5000)} ▒`, 'y', 'z'] : [`{"jsonrpc":"2.0","id":${i},"method":"tools/call"}`]).map((text, k) => ({
      salt: nodeCrypto.sha256(utf8(`salt ${i} ${k}`)).slice(0, 16),
      bytes: utf8(text),
    }));
    const commitment = commitmentOf(
      nodeCrypto,
      frame.map(({ salt, bytes }) => segmentHash(nodeCrypto, salt, bytes)),
    );
    append(
      {
        ...{ kind: 'message', connection: 'c0'.repeat(16), stream: 0, seq: i, tapSeq: i, direction: 'c2s', transport: 'stdio', server: 'fs' },
        ...{ verdict: 'pass', origin: 'client', type: 'request', id: String(i), method: 'tools/call' },
        sizeBytes: frame.reduce((sum, { bytes }) => sum + bytes.length, 0),
        segments: frame.length,
        commitment: base64(commitment),
      },
      frame,
    );
    if (i % 2000 === 0 || i + 1 === old) {
      while (ledger.size < i + 1 && !failed) await new Promise((done) => setTimeout(done, 1));
      if (failed) throw failed;
    }
    if (i + 1 === old) {
      await ledger.publish();
      oldNote = new Uint8Array(readFileSync(join(ledgerFolder, 'log', 'checkpoint')));
    }
  }
  await ledger.close();
  if (failed) throw failed;
  const log = join(ledgerFolder, 'log');
  const note = new Uint8Array(readFileSync(join(log, 'checkpoint')));
  return { log, ledger: ledgerFolder, vkey: ledger.key.vkey, size: entries, oldNote: oldNote!, note };
}

const parsed = (note: Uint8Array): ParsedCheckpoint => parseCheckpoint(parseNote(note)!.text)!;

/** Go's `sumdb` and transparency-dev's `formats` on a log of ours: checkpoint, tiles, bundles, proofs, proof files, cosignature. */
export async function checkWithGo(program: string, folder: string, { log, ledger, vkey, size, oldNote, note }: InteropLog): Promise<string[]> {
  const published = new PublishedLog(ledger);
  const old = parsed(oldNote);
  const middle = Math.floor(size / 2);
  const indexes = [...new Set([0, 1, 2, 255, 256, middle, middle - (middle % 1000), old.size - 1, old.size, size - 2, size - 1])].filter(
    (i) => i < size,
  );
  const proofFiles: string[] = [];
  const silent = { out: () => undefined, err: () => undefined, isTTY: false, color: false, columns: Infinity };
  // entry 0 has no content
  for (const index of indexes.filter((one) => one > 0)) {
    const path = join(folder, `${index}.tlog-proof`);
    await proveCommand({ index, ledger, output: path }, silent);
    proofFiles.push(path);
  }
  const consistency = published.consistency(old.size);
  const { root } = published.checkpoint;
  if (!verifyConsistency(nodeCrypto, { size1: old.size, size2: size, root1: old.root, root2: root, proof: consistency }))
    throw new Error('our own consistency proof does not hold');
  const question = {
    log,
    vkey,
    proofs: indexes.map((index) => ({ index, hashes: published.inclusion(index, published.leaf(index)).map(base64) })),
    oldSize: old.size,
    oldRoot: base64(old.root),
    consistency: consistency.map(base64),
    proofFiles,
  };
  writeFileSync(join(folder, 'question.json'), JSON.stringify(question));
  const ran = await run(program, ['check', folder]);
  if (ran.status !== 0) throw new Error(ran.stderr);

  const cosigner = parseCosigner(nodeCrypto, readFileSync(join(folder, 'cosigner'), 'utf8'))!;
  const opened = openCosigned(nodeCrypto, readFileSync(join(folder, 'cosigned')), [parseVkey(nodeCrypto, vkey)!], [cosigner]);
  if ('problem' in opened || opened.logs.length !== 1 || opened.cosignatures.length !== 1 || opened.text !== parseNote(note)!.text)
    throw new Error(`a cosignature by formats/note is not taken: ${JSON.stringify(opened)}`);
  return [...okLines(ran.stdout), 'sworn takes a cosignature of it by formats/note'];
}

/** Our witness, over HTTP, and a log that is Go's own. */
export async function feedOurWitness(program: string, folder: string): Promise<string[]> {
  const witnessFolder = join(folder, 'witness');
  mkdirSync(witnessFolder);
  const child = spawn(program, ['feed'], { stdio: ['pipe', 'pipe', 'pipe'], timeout: waitMs, killSignal: 'SIGKILL' });
  const end = ended(child);
  const vkeyText = await firstLines(child, 1, end);
  const key = await witnessKey(witnessFolder, 'w.example/interop');
  const store = await WitnessStore.open(witnessFolder, key.cosigner);
  const server = witnessServer(new Witness({ logs: [parseVkey(nodeCrypto, vkeyText[0]!)!], key, store }), key.vkey);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    const { port } = server.address() as AddressInfo;
    child.stdin.end(`${JSON.stringify({ address: `127.0.0.1:${port}`, witness: key.vkey })}\n`);
    const ran = await end;
    if (ran.status !== 0) throw new Error(ran.stderr);
    return okLines(ran.stdout);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** The first lines that a child prints. @throws Error with what it said when it ends before */
async function firstLines(child: ChildProcess, count: number, end: Promise<Ran>): Promise<string[]> {
  let text = '';
  const lines = new Promise<string[]>((done) => {
    child.stdout!.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.split('\n').length > count) done(text.split('\n').slice(0, count));
    });
  });
  const early = end.then(({ stderr }): string[] => {
    throw new Error(`it ended at once: ${stderr}`);
  });
  return Promise.race([lines, early]);
}

/** The witness of transparency-dev cosigns both checkpoints of ours, the second also for one who has forgotten the first, and no fork. */
export async function submitToTheirs(program: string, { ledger, vkey, oldNote, note }: InteropLog, fork: InteropLog): Promise<string[]> {
  const child = spawn(program, [vkey], { stdio: ['pipe', 'pipe', 'pipe'], timeout: waitMs, killSignal: 'SIGKILL' });
  const end = ended(child);
  try {
    const [url, cosignerText] = (await firstLines(child, 2, end)) as [string, string];
    const cosigner = parseCosigner(nodeCrypto, cosignerText);
    if (!cosigner) throw new Error(`${cosignerText} is not a key of a witness`);
    const published = new PublishedLog(ledger);
    const sizes: number[] = [];
    const submit = async (checkpoint: Uint8Array, oldSize: number) => {
      const submitted = await submitCheckpoint(nodeCrypto, {
        url,
        cosigner,
        checkpoint,
        oldSize,
        proof: ({ size1 }) => published.consistency(size1),
        timeoutMs: 20_000,
      });
      if (!('problem' in submitted)) sizes.push(submitted.size);
      return submitted;
    };
    for (const [checkpoint, oldSize] of [
      [oldNote, 0],
      // it must say by its 409 how far it is
      [note, 0],
      [note, parsed(note).size],
    ] as const) {
      const submitted = await submit(checkpoint, oldSize);
      if ('problem' in submitted) throw new Error(`${submitted.problem}: ${submitted.message}`);
      if (submitted.cosignatures.length !== 1) throw new Error('not one cosignature');
    }
    const ahead = await submit(oldNote, 0);
    if (!('problem' in ahead) || ahead.problem !== 'ahead') throw new Error(`an older checkpoint: ${JSON.stringify(ahead)}`);
    const strange = await submit(fork.note, 0);
    if (!('problem' in strange) || strange.status !== 404) throw new Error(`an unknown log: ${JSON.stringify(strange)}`);
    return [`cosigns our checkpoints (${sizes.join(', ')} entries), by its 409 too; refuses an older one and an unknown log`];
  } finally {
    child.stdin.end();
    child.kill('SIGTERM');
    await end;
  }
}

/**
 * Tessera's own command on the whole log; and on one with a byte changed, so that its word means something: version 1.0.4 then says which tile is invalid
 * and waits for ever, and it never has another status than 0.
 */
export async function fsckWithTessera(program: string, folder: string, { log, vkey }: InteropLog): Promise<string[]> {
  const key = join(folder, 'log.vkey');
  writeFileSync(key, vkey);
  const fsck = (timeoutMs: number) => run(program, [`--storage_url=file://${log}/`, `--public_key=${key}`, '--ui=false', '-v=1'], { timeoutMs });
  const whole = await fsck(waitMs);
  const said = /Successfully fsck'd log with size [0-9]+/.exec(whole.stderr)?.[0];
  if (whole.status !== 0 || said === undefined || /fsck failed|:Invalid/.test(whole.stderr)) throw new Error(whole.stderr);
  const tile = join(log, 'tile', '0', '000');
  const bytes = readFileSync(tile);
  try {
    writeFileSync(
      tile,
      bytes.map((byte, i) => (i === 100 ? byte ^ 1 : byte)),
    );
    const changed = await fsck(4000);
    if (!/fsck failed|:Invalid/.test(changed.stderr)) throw new Error(`fsck accepts a tile with a byte changed: ${changed.stderr}`);
  } finally {
    writeFileSync(tile, bytes);
  }
  return [said, 'it finds the tile when a byte of one is changed'];
}

/** The signature of the checkpoint's note, by openssl alone. @throws LeftOut */
export async function verifyWithOpenssl(folder: string, { note, vkey }: InteropLog): Promise<string[]> {
  const version = await run('openssl', ['version']);
  if (version.status !== 0) throw new LeftOut('there is no openssl here');
  const opened = openNote(nodeCrypto, note, [parseVkey(nodeCrypto, vkey)!]);
  if ('problem' in opened) throw new Error(opened.message);
  const at = (name: string) => join(folder, name);
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), parseVkey(nodeCrypto, vkey)!.publicKey]);
  writeFileSync(at('key.pem'), `-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`);
  writeFileSync(at('text'), opened.text);
  writeFileSync(at('signature'), parseNote(note)!.signatures[0]!.signature);
  const verify = (text: string) =>
    run('openssl', ['pkeyutl', '-verify', '-pubin', '-inkey', at('key.pem'), '-rawin', '-sigfile', at('signature'), '-in', at(text)]);
  const held = await verify('text');
  if (/rawin|unknown option|not supported/i.test(held.stderr)) throw new LeftOut(`${version.stdout.trim()} cannot verify Ed25519`);
  if (held.status !== 0) throw new Error(held.stdout + held.stderr);
  writeFileSync(at('other'), `${opened.text} `);
  if ((await verify('other')).status === 0) throw new Error('openssl verifies any text');
  return [`${version.stdout.split(' ').slice(0, 2).join(' ')} verifies the signature of the note`];
}
