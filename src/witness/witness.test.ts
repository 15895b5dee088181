import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { signerOf, TestLog } from '../../test/witness-log.ts';
import { base64, concat, utf8, utf8Text } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { witnessEvidence, witnessRequestBytes, witnessWaiting } from '../limits.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { openCosigned, verifyCosignature } from '../tlog/cosignature.ts';
import { formatNote, parseNote, parseSignatureLines, signNote } from '../tlog/note.ts';
import { witnessKey, type WitnessKey } from './key.ts';
import { formatAddCheckpoint, parseAddCheckpoint, sizeType } from './request.ts';
import { nodeDisk, originHash, StoreError, WitnessStore, type Disk } from './store.ts';
import { Witness, type WitnessEvent } from './witness.ts';

let folder: string;
let key: WitnessKey;
let events: WitnessEvent[];
let fatal: StoreError | undefined;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-witness-'));
  key = await witnessKey(folder, 'w.example/1');
  events = [];
  fatal = undefined;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const log = new TestLog();
const other = new TestLog('log.example/other');
async function open(disk: Disk = nodeDisk): Promise<Witness> {
  return new Witness({
    logs: [log.vkey, other.vkey],
    key,
    store: await WitnessStore.open(folder, key.cosigner, disk),
    onEvent: (event) => events.push(event),
    onFatal: (error) => (fatal = error),
    nowS: () => 1795300000,
  });
}
const body = (oldSize: number, size: number, of = log, proof = of.proof(oldSize, size)) =>
  formatAddCheckpoint({ oldSize, proof, checkpoint: of.note(size) });
const text = (bytes: Uint8Array) => utf8Text(bytes)!;
const evidence = () => readdirSync(join(folder, 'evidence')).toSorted();

/** Whether the answer is a cosignature of ours over the checkpoint. */
function cosigns(answer: { status: number; body: string }, of: TestLog, size: number): boolean {
  const [line] = (answer.status === 200 && parseSignatureLines(answer.body)) || [];
  return line !== undefined && verifyCosignature(nodeCrypto, key.cosigner, of.text(size), line)?.timeS === 1795300000;
}

describe('add-checkpoint', () => {
  it('answers as the specification says', async () => {
    const witness = await open();
    const good = text(body(0, 5));
    const fork = new TestLog(log.origin, 3);
    const strange = signerOf('log.example/one', 'somebody else').signer;
    const foreign = new TestLog('log.example/unknown');
    const extended = signNote(`${log.text(5)}more\n`, log.signer);
    type Case = [what: string, body: Uint8Array | string, status: number, says?: string | RegExp];
    const before: Case[] = [
      ['nothing', '', 400],
      ['no checkpoint', 'old 0\n\n', 400],
      ['no old line', good.slice(6), 400],
      ['leading zeros', good.replace('old 0', 'old 00'), 400],
      ['a sign', good.replace('old 0', 'old +0'), 400],
      ['two spaces', good.replace('old 0', 'old  0'), 400],
      ['a size above 2^53', good.replace('old 0', 'old 9007199254740992'), 400],
      ['carriage returns', good.replaceAll('\n', '\r\n'), 400],
      ['no empty line', good.replace('\n\n', '\n'), 400],
      ['junk in the proof', good.replace('old 0\n', 'old 0\nx\n'), 400],
      ['a short hash', good.replace('old 0\n', `old 0\n${base64(new Uint8Array(31))}\n`), 400],
      ['base64 that is not canonical', good.replace('old 0\n', `old 0\n${base64(new Uint8Array(32)).replace('A=', 'B=')}\n`), 400],
      [
        '64 hashes',
        body(
          0,
          5,
          log,
          Array.from({ length: 64 }, () => log.root(1)),
        ),
        400,
      ],
      ['too many bytes', concat(utf8(good), new Uint8Array(witnessRequestBytes)), 400],
      ['not UTF-8', concat(Uint8Array.of(0xff), utf8(good)), 400],
      ['no signature', good.slice(0, good.indexOf('\u2014')), 400],
      ['no checkpoint in the note', formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: signNote('log.example/one\n', log.signer) }), 400],
      ['old above the size', body(6, 5), 400],
      ['an unknown origin', body(0, 5, foreign), 404],
      ['a signature by somebody else', formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: signNote(log.text(5), strange) }), 403],
      ['by the key of another log', formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: signNote(log.text(5), other.signer) }), 403],
      ['a changed size', good.replace('\n5\n', '\n6\n'), 403],
      ['a size that was never cosigned', body(3, 5), 409, '0\n'],
      ['a proof from nothing', body(0, 5, log, [log.root(1)]), 422],
      ['the empty tree with another root', formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: log.note(0, log.root(1)) }), 422],
      ['the empty tree', body(0, 0), 200],
      ['the empty tree again', body(0, 0), 200],
      ['the first checkpoint', good, 200],
      ['it again, as if for the first time', good, 409, '5\n'],
      ['it again', body(5, 5), 200],
      ['a proof of nothing', body(5, 5, log, [log.root(1)]), 422],
      ['an old size that is too low', body(3, 9), 409, '5\n'],
      ['one that is too high', body(7, 9), 409, '5\n'],
      ['an older checkpoint', body(3, 3), 409, '5\n'],
      ['no proof', body(5, 9, log, []), 422],
      ['a wrong proof', body(5, 9, log, log.proof(4, 9)), 422],
      ['another tree of this size', body(5, 5, fork), 409, /^another tree/],
      ['another tree of this size, with a wrong old size', body(0, 5, fork), 409, '5\n'],
      ['a fork that has grown', body(5, 9, fork), 422],
      ['the next checkpoint', body(5, 9), 200],
      ['a fork from the old one', body(5, 9, new TestLog(log.origin, 5)), 409, '9\n'],
      ['the other log', body(0, 4, other), 200],
      ['an extension line', formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint: extended }), 409, '9\n'],
    ];
    for (const [what, request, status, says] of before) {
      const answer = await witness.addCheckpoint(typeof request === 'string' ? utf8(request) : request);
      expect(answer.status, `${what}: ${answer.body}`).toBe(status);
      if (says !== undefined) expect(answer.body, what).toMatch(says);
      expect(answer.type === sizeType, what).toBe(status === 409 && /^\d+\n$/.test(answer.body));
      if (status === 200) {
        const { checkpoint } = parseAddCheckpoint(typeof request === 'string' ? utf8(request) : request) as { checkpoint: Uint8Array };
        const of = text(checkpoint).startsWith(log.origin) ? log : other;
        expect(cosigns(answer, of, Number(text(checkpoint).split('\n')[1])), what).toBe(true);
      }
    }
    // what monitors see is a checkpoint with both signatures, and no others
    const latest = openCosigned(nodeCrypto, witness.latest(originHash(log.origin))!, [log.vkey], [key.cosigner]);
    expect(latest).toMatchObject({ text: log.text(9), logs: [log.vkey], cosignatures: [{ timeS: 1795300000 }], unknown: [] });
    expect(events.filter(({ kind }) => kind === 'cosigned').map(({ message }) => message)).toEqual([
      'log.example/one at size 0',
      'log.example/one at size 5',
      'log.example/one at size 9',
      'log.example/other at size 4',
    ]);
  });

  it('keeps the evidence of a fork, whole and once', async () => {
    const witness = await open();
    const fork = new TestLog(log.origin, 3);
    const before = await open();
    await witness.addCheckpoint(body(0, 5));
    for (let i = 0; i < 3; i++) await witness.addCheckpoint(body(5, 5, fork));
    await witness.addCheckpoint(body(5, 9, fork));
    const told = events.filter(({ kind }) => kind !== 'cosigned');
    expect(told.map(({ kind, message }) => [kind, message])).toEqual([
      ['equivocation', 'log.example/one signed two trees of 5 entries'],
      ['unproven', 'log.example/one was sent with a proof that does not hold, from 5 to 9 entries'],
    ]);
    expect(evidence()).toHaveLength(4);
    const [first] = told;
    const submitted = parseAddCheckpoint(readFileSync(first!.path!)) as { checkpoint: Uint8Array };
    const cosigned = readFileSync(first!.path!.replace('.submitted', '.cosigned'));
    const roots = [submitted.checkpoint, cosigned].map((note) => {
      const opened = openCosigned(nodeCrypto, note, [log.vkey], []);
      if ('problem' in opened) throw new Error(opened.message);
      expect(opened.logs).toEqual([log.vkey]);
      return parseCheckpoint(opened.text)!;
    });
    expect(roots.map(({ size }) => size)).toEqual([5, 5]);
    expect(roots[0]!.root).not.toEqual(roots[1]!.root);
    // after a restart it is still known
    const again = await open();
    await again.addCheckpoint(body(5, 5, fork));
    expect(evidence()).toHaveLength(4);
    expect(before.latest(originHash(log.origin))).toBeUndefined();
  });

  it('bounds what it keeps', async () => {
    const witness = await open();
    await witness.addCheckpoint(body(0, 5));
    for (let i = 0; i < witnessEvidence + 5; i++) {
      const checkpoint = log.note(5, nodeCrypto.sha256(utf8(`root ${i}`)));
      expect((await witness.addCheckpoint(formatAddCheckpoint({ oldSize: 5, proof: [], checkpoint }))).status).toBe(409);
    }
    expect(evidence()).toHaveLength(2 * witnessEvidence);
    expect(events.filter(({ kind }) => kind === 'equivocation')).toHaveLength(witnessEvidence + 5);
    expect((await witness.addCheckpoint(body(5, 6))).status).toBe(200);
  });

  it('takes a log with two keys, and passes on no line of others', async () => {
    const { signer } = signerOf(log.origin, 'a second key');
    const store = await WitnessStore.open(folder, key.cosigner);
    const { publicKey } = signerOf(log.origin, 'a second key');
    const witness = new Witness({ logs: [log.vkey, { name: log.origin, keyId: signer.keyId, publicKey }], key, store });
    const lines = [
      { name: 'x.example', keyId: new Uint8Array(4), signature: new Uint8Array(64) },
      ...parseNote(signNote(log.text(5), signer))!.signatures,
      ...parseNote(log.note(5))!.signatures,
    ];
    const checkpoint = formatNote({ text: log.text(5), signatures: lines });
    expect(await witness.addCheckpoint(formatAddCheckpoint({ oldSize: 0, proof: [], checkpoint }))).toMatchObject({ status: 200 });
    expect(parseNote(witness.latest(originHash(log.origin))!)!.signatures.map(({ name }) => name)).toEqual([log.origin, log.origin, 'w.example/1']);
    // one good signature does not make up for a known key with a bad one
    const bad = lines.map((line, i) => (i === 2 ? { ...line, signature: new Uint8Array(64) } : line));
    const spoiled = formatNote({ text: log.text(5), signatures: bad });
    expect(await witness.addCheckpoint(formatAddCheckpoint({ oldSize: 5, proof: [], checkpoint: spoiled }))).toMatchObject({ status: 403 });
  });

  it('never rejects, and never cosigns a changed request', async () => {
    const witness = await open();
    await witness.addCheckpoint(body(0, 5));
    const request = body(5, 9);
    await fc.assert(
      fc.asyncProperty(fc.nat(request.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const { status } = await witness.addCheckpoint(request.with(at, request[at]! ^ flip));
        // a line of the log may become one by somebody else, and then nobody has signed
        expect([400, 403, 404, 409, 422]).toContain(status);
      }),
      { numRuns: 300 },
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        expect((await witness.addCheckpoint(bytes)).status).toBe(400);
      }),
    );
    expect((await witness.addCheckpoint(request)).status).toBe(200);
  });
});

describe('requests at once', () => {
  it('about one log have one winner', async () => {
    const witness = await open();
    await witness.addCheckpoint(body(0, 5));
    const forks = [log, ...[5, 6, 7].map((at) => new TestLog(log.origin, at))];
    const answers = await Promise.all(forks.flatMap((fork) => [body(5, 9, fork), body(5, 11, fork)]).map((one) => witness.addCheckpoint(one)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status !== 200).every(({ status }) => status === 409 || status === 422)).toBe(true);
  });

  it('wait for each other, and not for other logs', async () => {
    let go: () => void = () => undefined;
    let waits = false;
    const gate = new Promise<void>((done) => (go = done));
    const slow: Disk = {
      ...nodeDisk,
      async rename(from, to) {
        await nodeDisk.rename(from, to);
        waits = to.includes(originHash(log.origin));
      },
      async syncFolder(path) {
        const wait = waits;
        waits = false;
        // the name is there, and a power cut could still take it back
        if (wait) await gate;
        await nodeDisk.syncFolder(path);
      },
    };
    const witness = await open(slow);
    let answered = 0;
    const waiting = Array.from({ length: witnessWaiting }, async () => {
      const answer = await witness.addCheckpoint(body(0, 5));
      answered++;
      return answer;
    });
    expect((await witness.addCheckpoint(body(0, 5))).status).toBe(503);
    expect((await witness.addCheckpoint(body(0, 5, other))).status).toBe(200);
    // nothing is shown of what is not recorded
    expect(witness.latest(originHash(log.origin))).toBeUndefined();
    expect(answered).toBe(0);
    go();
    const statuses = (await Promise.all(waiting)).map(({ status }) => status);
    expect(statuses).toEqual([200, ...Array.from({ length: witnessWaiting - 1 }, () => 409)]);
    expect((await witness.addCheckpoint(body(5, 5))).status).toBe(200);
  });
});

describe('a disk that fails', () => {
  const failing = (step: keyof Disk, error: Error, when: (path: string) => boolean = () => true): Disk => ({
    ...nodeDisk,
    [step]: async (...values: [string, ...never[]]) => {
      if (when(values[0])) throw error;
      return (nodeDisk[step] as (...values: unknown[]) => Promise<void>)(...values);
    },
  });
  const checkpoints = (path: string) => path.includes('checkpoints') && path.includes(originHash(log.origin));

  it('when it is full, cosigns nothing, and goes on when there is room', async () => {
    let full = true;
    const witness = await open(failing('write', Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }), (path) => full && checkpoints(path)));
    expect(await witness.addCheckpoint(body(0, 5))).toMatchObject({ status: 500 });
    expect(witness.latest(originHash(log.origin))).toBeUndefined();
    expect(fatal).toBeUndefined();
    full = false;
    expect((await witness.addCheckpoint(body(0, 6))).status).toBe(200);
  });

  it.each(['write', 'rename', 'syncFolder'] as const)('when it is not known what happened (%s), cosigns nothing any more', async (step) => {
    let broken = false;
    const error = step === 'write' ? new StoreError('sync of x: EIO') : new Error('EIO');
    const witness = await open(failing(step, error, (path) => broken && path.includes('checkpoints')));
    expect((await witness.addCheckpoint(body(0, 5))).status).toBe(200);
    broken = true;
    expect((await witness.addCheckpoint(body(5, 9))).status).toBe(500);
    expect(fatal).toBeInstanceOf(StoreError);
    broken = false;
    expect((await witness.addCheckpoint(body(5, 9))).status).toBe(500);
    expect((await witness.addCheckpoint(body(0, 1, other))).status).toBe(500);
    // the next one knows what the disk has
    const next = await open();
    const size = Number(text(next.latest(originHash(log.origin))!).split('\n')[1]);
    expect(size).toBe(step === 'syncFolder' ? 9 : 5);
    expect((await next.addCheckpoint(body(size, 12))).status).toBe(200);
  });

  it('refuses evidence without losing the refusal', async () => {
    const witness = await open(failing('write', new Error('ENOSPC'), (path) => path.includes('evidence')));
    await witness.addCheckpoint(body(0, 5));
    expect((await witness.addCheckpoint(body(5, 5, new TestLog(log.origin, 1)))).status).toBe(409);
    expect(events.at(-1)).toMatchObject({ kind: 'equivocation', message: expect.stringContaining('could not be kept') });
  });
});

describe('a folder', () => {
  it('that was changed is refused [attack-witness-folder]', async () => {
    const witness = await open();
    await witness.addCheckpoint(body(0, 5));
    const path = join(folder, 'checkpoints', originHash(log.origin));
    const bytes = readFileSync(path);
    for (const changed of [Buffer.from(log.note(5)), Buffer.from(''), Buffer.from(bytes.toString().replace('\n5\n', '\n4\n'))]) {
      writeFileSync(path, changed);
      await expect(open()).rejects.toMatchObject({ code: 'witness-corrupt' });
    }
    writeFileSync(path, bytes);
    writeFileSync(join(folder, 'checkpoints', originHash('x')), bytes);
    await expect(open()).rejects.toMatchObject({ code: 'witness-corrupt' });
    rmSync(join(folder, 'checkpoints', originHash('x')));
    // what a killed write left says nothing
    writeFileSync(`${path}.tmp`, 'half');
    expect((await (await open()).addCheckpoint(body(5, 9))).status).toBe(200);
    rmSync(join(folder, 'key'));
    await expect(witnessKey(folder)).rejects.toMatchObject({ code: 'witness-corrupt' });
  });

  it('has one key with one name', async () => {
    expect(await witnessKey(folder)).toMatchObject({ vkey: key.vkey });
    expect(readFileSync(join(folder, 'vkey'), 'utf8')).toBe(`${key.vkey}\n`);
    await expect(witnessKey(folder, 'another.example')).rejects.toMatchObject({ code: 'usage' });
    await expect(witnessKey(folder, 'a b')).rejects.toMatchObject({ code: 'usage' });
    const path = join(folder, 'key');
    const skey = readFileSync(path, 'utf8');
    writeFileSync(path, skey.replace('w.example', 'v.example'));
    await expect(witnessKey(folder)).rejects.toMatchObject({ code: 'witness-corrupt' });
  });
});
