/** Checkpoints kept elsewhere: a real recorder, real witnesses over HTTP, and a timestamp authority made with openssl. */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { nodeCrypto } from '../crypto-node.ts';
import { readEntry, EntryProblem } from '../entry/read.ts';
import type { AnchorEntry } from '../entry/entry.ts';
import { segmentFiles } from '../ledger/recover.ts';
import { scanSegment, segmentName } from '../ledger/segment.ts';
import { unruled } from '../policy/judge.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { openCosigned, parseCosigner } from '../tlog/cosignature.ts';
import { parseNote, parseVkey } from '../tlog/note.ts';
import { parseTrustPolicy, type TrustPolicy } from '../tlog/policy.ts';
import { TileStack } from '../tlog/tile.ts';
import { witnessKey } from '../witness/key.ts';
import { witnessServer } from '../witness/server.ts';
import { WitnessStore } from '../witness/store.ts';
import { Witness } from '../witness/witness.ts';
import { directorySource } from '../cli/verify-files.ts';
import { Anchors, type TileReader } from '../verify/anchors.ts';
import { Findings } from '../verify/finding.ts';
import { judgeAnchors } from '../verify/trust.ts';
import { verifyLedger } from '../verify/verifier.ts';
import { Recorder } from './recorder.ts';
import { timestampQuery, timestampStatus } from './timestamp.ts';

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-anchors-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

interface Running {
  recorder: Recorder;
  lines: string[];
  end(): Promise<void>;
}

async function start(at: string): Promise<Running> {
  const ledger = join(at, 'ledger');
  mkdirSync(join(ledger, 'run'), { recursive: true, mode: 0o700 });
  const lines: string[] = [];
  const recorder = new Recorder(
    { ledger, keysHome: join(at, 'keys'), socket: join(at, 'sock'), version: '0', config: join(at, 'sworn.yaml') },
    { missing: 'not needed' },
    { kind: 'flock', release: () => undefined },
    (line) => lines.push(line),
    () => undefined,
    { compiled: unruled },
  );
  await recorder.listen();
  const end = (): Promise<void> => recorder.end('signal');
  cleanups.push(end);
  return { recorder, lines, end };
}

/** JSON is YAML. */
async function configure({ recorder }: Running, at: string, anchors: unknown): Promise<void> {
  writeFileSync(join(at, 'sworn.yaml'), JSON.stringify({ anchors }));
  expect(await recorder.reload()).toMatchObject({ reloaded: true });
}

/** A checkpoint over everything so far. */
async function publish({ recorder: { ledger } }: Running): Promise<void> {
  await vi.waitFor(() => expect(ledger.size).toBe(ledger.nextIndex), 10_000);
  await ledger.publish();
}

async function serve(listener: RequestListener | Server): Promise<string> {
  const server = typeof listener === 'function' ? createServer(listener) : listener;
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  cleanups.push(() => new Promise((done) => (server.close(done), server.closeAllConnections())));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface RunningWitness {
  key: string;
  url: string;
  name: string;
}

async function witness(vkey: string, name: string): Promise<RunningWitness> {
  const folder = scratch();
  const key = await witnessKey(folder, name);
  const store = await WitnessStore.open(folder, key.cosigner);
  const running = new Witness({ logs: [parseVkey(nodeCrypto, vkey)!], key, store });
  return { key: key.vkey, url: await serve(witnessServer(running, key.vkey)), name: key.cosigner.name };
}

function entriesOf(at: string): ReturnType<typeof readEntry>[] {
  const payload = join(at, 'ledger', 'payload');
  return segmentFiles(payload).flatMap((first) =>
    [...scanSegment(join(payload, segmentName(first)))].flatMap((scanned) =>
      scanned.kind === 'record' && scanned.record.type === 'entry' ? [readEntry(scanned.record.leaf)] : [],
    ),
  );
}

const anchorsOf = (at: string): AnchorEntry[] =>
  entriesOf(at).flatMap((entry) => (!(entry instanceof EntryProblem) && entry.kind === 'anchor' ? [entry] : []));

const checkpointOf = (at: string): Uint8Array => readFileSync(join(at, 'ledger', 'log', 'checkpoint'));

it('a public checkpoint has the cosignatures of the witnesses, and an entry says what they have seen', async () => {
  const at = scratch();
  const running = await start(at);
  const { vkey } = running.recorder.ledger.key;
  const witnesses = [await witness(vkey, 'w1.example'), await witness(vkey, 'w2.example')];
  await configure(running, at, { witnesses: witnesses.map(({ key, url }) => ({ key, url })) });
  await publish(running);

  const cosigners = witnesses.map(({ key }) => parseCosigner(nodeCrypto, key)!);
  const opened = openCosigned(nodeCrypto, checkpointOf(at), [parseVkey(nodeCrypto, vkey)!], cosigners);
  if ('problem' in opened) throw new Error(opened.message);
  expect(opened.cosignatures.map(({ cosigner }) => cosigner.name).toSorted()).toEqual(['w1.example', 'w2.example']);
  const { size, root } = parseCheckpoint(parseNote(checkpointOf(at))!.text)!;
  const ofThis = (): AnchorEntry[] => anchorsOf(at).filter((anchor) => anchor.size === size);
  await vi.waitFor(() => expect(ofThis()).toHaveLength(2), 10_000);
  for (const anchor of ofThis()) expect(anchor).toMatchObject({ source: 'witness', size, root: Buffer.from(root).toString('base64') });
  expect(running.recorder.status()['anchors']).toMatchObject([
    { kind: 'witness', name: 'w1.example', size },
    { kind: 'witness', name: 'w2.example', size },
  ]);

  // what an anchor says asks for no checkpoint of its own; the next one proves from where the witnesses stand
  await publish(running);
  await configure(running, at, { witnesses: witnesses.map(({ key, url }) => ({ key, url })), urls: [] });
  await publish(running);
  await running.end();
  const result = await verifyLedger({ crypto: nodeCrypto, source: directorySource(join(at, 'ledger')), vkeys: [parseVkey(nodeCrypto, vkey)!] });
  expect(result.findings).toEqual([]);
  expect(result.exit).toBe(0);

  // whose cosignatures they are, by a trust file
  const lines = witnesses.map(({ key, name }) => `witness ${name} ${key}\n`).join('');
  const policyOf = (text: string): TrustPolicy => {
    const policy = parseTrustPolicy(nodeCrypto, Buffer.from(text));
    if ('problem' in policy) throw new Error(policy.message);
    return policy;
  };
  const policy = policyOf(`log ${vkey}\n${lines}group both all w1.example w2.example\nquorum both\n`);
  const seen = judgeAnchors(nodeCrypto, policy, result.origin!, result.witnessed);
  expect(seen.findings).toEqual([]);
  expect(seen.checked).toEqual([expect.stringMatching(/^entries below \d+ were seen by w1\.example, w2\.example|w2\.example, w1\.example/)]);
  const stranger = await witness(vkey, 'w3.example');
  expect(
    judgeAnchors(nodeCrypto, policyOf(`log ${vkey}\nwitness w3 ${stranger.key}\nquorum w3\n`), result.origin!, result.witnessed).checked,
  ).toEqual([]);
  const forged = result.witnessed.map((one) => ({ ...one, signature: Buffer.alloc(76, 1).toString('base64') }));
  const wrong = judgeAnchors(nodeCrypto, policy, result.origin!, forged).findings;
  expect(wrong).toHaveLength(forged.length);
  expect(wrong[0]).toMatchObject({ code: 'anchor', severity: 'tampered' });
});

it('an anchor about another tree than this one is tampering, somewhere behind what the last anchor that holds has seen', async () => {
  const source: TileReader = async (_level, _n, width) => new Uint8Array(32 * width);
  const entry: AnchorEntry = {
    v: 1,
    kind: 'anchor',
    time: '',
    monotonicUs: 0,
    source: 'witness',
    name: 'w',
    size: 3,
    root: '',
    signature: 'AA',
    signedAtS: 1,
  };
  const findings = new Findings();
  const anchors = new Anchors(nodeCrypto, findings);
  anchors.take(7, entry);
  anchors.take(2, entry);
  anchors.take(9, { ...entry, size: 300 });
  anchors.take(400, {
    ...entry,
    size: 300,
    root: Buffer.from(TileStack.restore(nodeCrypto, 300, (_l, _n, width) => new Uint8Array(32 * width)).root()).toString('base64'),
  });
  await anchors.judge(source, 400);
  expect(findings.list.map(({ severity, index }) => [severity, index])).toEqual([
    ['tampered', 0],
    ['tampered', 2],
    ['tampered', 9],
  ]);
});

it('a witness that is away holds nothing up, and is told when it is back', async () => {
  const at = scratch();
  const running = await start(at);
  const { vkey } = running.recorder.ledger.key;
  const { key, url } = await witness(vkey, 'w1.example');
  let isAway = true;
  const between = await serve((request, response) => {
    if (isAway) return; // never answered
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      void fetch(`${url}${request.url}`, { method: 'POST', body: Buffer.concat(chunks) }).then(async (answer) => {
        response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
        response.end(Buffer.from(await answer.arrayBuffer()));
      });
    });
  });
  await configure(running, at, { witnesses: [{ key, url: between }] });
  await publish(running);
  expect(existsSync(join(at, 'ledger', 'log', 'checkpoint'))).toBe(true);
  expect(running.recorder.ledger.publishedSize).toBeGreaterThan(0);
  expect(running.recorder.status()['anchors']).toMatchObject([{ problem: expect.stringContaining('no answer') }]);
  isAway = false;
  await configure(running, at, { witnesses: [{ key, url: between }], urls: [] });
  await publish(running);
  expect(running.lines.filter((line) => line.includes('w1.example'))).toEqual([
    expect.stringContaining('no answer'),
    expect.stringContaining('has the checkpoints again'),
  ]);
  await vi.waitFor(() => expect(anchorsOf(at).length).toBeGreaterThan(0), 10_000);
});

it('a ledger that goes on from an older copy of everything is contradicted by its witness, and its record says so once', async () => {
  const at = scratch();
  const first = await start(at);
  const { vkey } = first.recorder.ledger.key;
  const { key, url } = await witness(vkey, 'w1.example');
  await configure(first, at, { witnesses: [{ key, url }] });
  await publish(first);
  await first.end();
  const copy = scratch();
  cpSync(at, copy, { recursive: true });

  const second = await start(at);
  await configure(second, at, { witnesses: [{ key, url }], urls: [] });
  await publish(second);
  await second.end();
  expect(anchorsOf(at).filter(({ problem }) => problem !== undefined)).toEqual([]);

  const restored = await start(copy);
  await configure(restored, copy, { witnesses: [{ key, url }] });
  await publish(restored);
  await configure(restored, copy, { witnesses: [{ key, url }], urls: [] });
  await publish(restored);
  await restored.end();
  const contradictions = anchorsOf(copy).filter(({ problem }) => problem !== undefined);
  expect(contradictions.length).toBeGreaterThan(0);
  expect(contradictions.length).toBeLessThan(3);
  expect(contradictions[0]).toMatchObject({ problem: expect.stringMatching(/^(?:ahead|fork)$/), name: 'w1.example' });
  const result = await verifyLedger({ crypto: nodeCrypto, source: directorySource(join(copy, 'ledger')), vkeys: [parseVkey(nodeCrypto, vkey)!] });
  expect(result.exit).toBe(5);
  expect(result.findings[0]).toMatchObject({ code: 'witness', message: expect.stringContaining('w1.example refused') });
});

it('a restored ledger that has grown beyond what the witness saw proves from another tree, which is a fork', async () => {
  const at = scratch();
  const first = await start(at);
  const { vkey } = first.recorder.ledger.key;
  const { key, url } = await witness(vkey, 'w1.example');
  await first.end();
  const copy = scratch();
  cpSync(at, copy, { recursive: true });
  const second = await start(at);
  await configure(second, at, { witnesses: [{ key, url }] });
  await publish(second);
  await second.end();

  const restored = await start(copy);
  for (let i = 0; i < 12; i++) await configure(restored, copy, { files: [`/tmp/${i}/nowhere`] });
  await configure(restored, copy, { witnesses: [{ key, url }] });
  await publish(restored);
  await restored.end();
  expect(anchorsOf(copy).filter(({ problem }) => problem !== undefined)[0]).toMatchObject({ problem: 'fork', name: 'w1.example' });
});

it('copies go to a file, to a command and to a URL [attack-copies-elsewhere]', async () => {
  const at = scratch();
  const got: Buffer[] = [];
  const url = await serve((request, response) => {
    request.on('data', (chunk: Buffer) => got.push(chunk));
    request.on('end', () => response.end());
  });
  const running = await start(at);
  const [file, piped] = [join(at, 'checkpoints'), join(at, 'piped')];
  await configure(running, at, { files: [file, '/proc/no/such'], commands: [['sh', '-c', `cat >> ${piped}`], ['false']], urls: [url] });
  await publish(running);
  await configure(running, at, {
    files: [file, '/proc/no/such'],
    commands: [['sh', '-c', `cat >> ${piped}`], ['false']],
    urls: [url],
    witnesses: [],
  });
  await publish(running);
  const status = (): { kind: string; name: string; problem?: string }[] => running.recorder.status()['anchors'] as never;
  await running.end();
  const last = Buffer.from(checkpointOf(at)).toString();
  const kept = readFileSync(file, 'utf8').split(/\n\n(?=sworn\.invalid)/);
  expect(kept.at(-1)).toBe(`${last}\n`);
  expect(kept.length).toBeGreaterThan(1);
  expect(readFileSync(piped, 'utf8')).toContain(last);
  expect(Buffer.concat(got).toString()).toContain(last);
  expect(status()).toMatchObject([
    { kind: 'file', name: file },
    { kind: 'file', problem: expect.stringContaining('ENOENT') },
    { kind: 'command', name: 'sh' },
    { kind: 'command', name: 'false', problem: 'ended with status 1' },
    { kind: 'url', name: url },
  ]);
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

it.runIf(hasOpenssl)('a timestamp authority signs the time of a checkpoint, and openssl finds that it holds', async () => {
  const ca = scratch();
  const openssl = (...words: string[]): Buffer => execFileSync('openssl', words, { cwd: ca, stdio: ['ignore', 'pipe', 'pipe'] });
  writeFileSync(
    join(ca, 'tsa.cnf'),
    `[req]
distinguished_name = name
[name]
[ext]
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = here
[here]
serial = ${join(ca, 'serial')}
crypto_device = builtin
signer_cert = ${join(ca, 'cert.pem')}
signer_key = ${join(ca, 'key.pem')}
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
`,
  );
  writeFileSync(join(ca, 'serial'), '01\n');
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/CN=authority',
    '-days',
    '2',
    '-config',
    'tsa.cnf',
    '-extensions',
    'ext',
    '-keyout',
    'key.pem',
    '-out',
    'cert.pem',
  );
  const url = await serve((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      writeFileSync(join(ca, 'query'), Buffer.concat(chunks));
      openssl('ts', '-reply', '-config', 'tsa.cnf', '-queryfile', 'query', '-out', 'reply');
      response.end(readFileSync(join(ca, 'reply')));
    });
  });
  const at = scratch();
  const running = await start(at);
  await configure(running, at, { timestamps: [url] });
  await publish(running);
  await vi.waitFor(() => expect(anchorsOf(at).length).toBeGreaterThan(0), 20_000);
  expect(anchorsOf(at)[0]).toMatchObject({ source: 'timestamp', name: url });
  const { token, checkpoint } = attributesOf(at);
  writeFileSync(join(ca, 'token'), Buffer.from(token, 'base64'));
  writeFileSync(join(ca, 'note'), checkpoint);
  expect(parseCheckpoint(parseNote(Buffer.from(checkpoint))!.text)).toMatchObject({ size: anchorsOf(at)[0]!.size });
  const verify = ['ts', '-verify', '-data', 'note', '-in', 'token', '-CAfile', 'cert.pem'];
  expect(openssl(...verify).toString()).toContain('OK');
  writeFileSync(join(ca, 'note'), checkpoint.replace(/^sworn/, 'sw0rn'));
  expect(() => openssl(...verify)).toThrow();
});

/** Those of the anchor entry. */
function attributesOf(at: string): { token: string; checkpoint: string } {
  const payload = join(at, 'ledger', 'payload');
  for (const first of segmentFiles(payload)) {
    for (const scanned of scanSegment(join(payload, segmentName(first)))) {
      if (scanned.kind !== 'record' || scanned.record.type !== 'entry') continue;
      const entry = readEntry(scanned.record.leaf);
      if (entry instanceof EntryProblem || entry.kind !== 'anchor') continue;
      return Object.assign(
        {},
        ...scanned.record.attributes.map((item) => JSON.parse(Buffer.from((item as { bytes: Uint8Array }).bytes).toString())),
      ) as never;
    }
  }
  throw new Error('no anchor');
}

it('an authority that refuses, or is none, is a problem that is told', async () => {
  expect(timestampStatus(Buffer.from('30053003020102', 'hex'))).toBe(2);
  expect(timestampStatus(Buffer.from('hello'))).toBeUndefined();
  expect(timestampStatus(Buffer.alloc(0))).toBeUndefined();
  expect(timestampQuery(Buffer.from('x'), Buffer.alloc(8, 0xff)).length).toBe(2 + 3 + 2 + 15 + 34 + 11 + 3);
  const at = scratch();
  const url = await serve((_request, response) => response.end(Buffer.from('30053003020102', 'hex')));
  const running = await start(at);
  await configure(running, at, { timestamps: [url] });
  await publish(running);
  await vi.waitFor(() => expect(running.recorder.status()['anchors']).toMatchObject([{ problem: 'refused (PKIStatus 2)' }]), 10_000);
  await running.end();
  expect(anchorsOf(at)).toEqual([]);
  expect(existsSync(join(at, 'ledger', 'log', 'checkpoint'))).toBe(true);
});
