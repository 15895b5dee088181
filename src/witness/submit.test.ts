import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { signerOf, TestLog } from '../../test/witness-log.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { witnessAnswerBytes, witnessRequestBytes } from '../limits.ts';
import { cosign, openCosigned, withSignatures } from '../tlog/cosignature.ts';
import { signatureLine } from '../tlog/note.ts';
import { witnessKey, type WitnessKey } from './key.ts';
import { parseAddCheckpoint } from './request.ts';
import { witnessServer } from './server.ts';
import { originHash, WitnessStore } from './store.ts';
import { submitCheckpoint, type Submission } from './submit.ts';
import { Witness } from './witness.ts';

let folder: string;
let key: WitnessKey;
const servers: Server[] = [];
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sworn-submit-'));
  key = await witnessKey(folder, 'w.example');
});
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
  rmSync(folder, { recursive: true, force: true });
});

const log = new TestLog();
async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
async function realWitness(): Promise<string> {
  const store = await WitnessStore.open(folder, key.cosigner);
  return listen(witnessServer(new Witness({ logs: [log.vkey], key, store }), key.vkey));
}
const fake = (answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void) =>
  listen(
    createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => answer(request, response, Buffer.concat(chunks)));
    }),
  );
const submit = (url: string, size: number, oldSize: number, of = log, more: Partial<Submission> = {}) =>
  submitCheckpoint(nodeCrypto, {
    url,
    cosigner: key.cosigner,
    checkpoint: of.note(size),
    oldSize,
    proof: ({ size1, size2 }) => of.proof(size1, size2),
    timeoutMs: 5_000,
    ...more,
  });

describe('a submission to a real witness', () => {
  it('brings cosignatures that stand in the checkpoint', async () => {
    const url = await realWitness();
    const first = await submit(url, 5, 0);
    if ('problem' in first) throw new Error(first.message);
    expect(first).toMatchObject({ size: 5, cosignatures: [{ cosigner: key.cosigner }] });
    const whole = withSignatures(
      log.note(5),
      first.cosignatures.map(({ signature }) => signature),
    )!;
    expect(openCosigned(nodeCrypto, whole, [log.vkey], [key.cosigner])).toMatchObject({ logs: [log.vkey], cosignatures: [{}], unknown: [] });
    const { timeS } = first.cosignatures[0]!;
    expect(Math.abs(timeS - Date.now() / 1000)).toBeLessThan(60);
    expect(await submit(`${url}/`, 9, 5)).toMatchObject({ size: 9 });
    // a prefix is kept: this witness has none
    expect(await submit(`${url}/prefix`, 9, 5)).toMatchObject({ problem: 'refused', status: 404 });
  });

  it('finds the size of the witness by itself', async () => {
    const url = await realWitness();
    for (const [size, oldSize] of [
      [5, 3],
      [9, 0],
      [9, 5],
      [9, 9],
      [12, 40],
    ] as const) {
      expect(await submit(url, size, oldSize), `${size} from ${oldSize}`).toMatchObject({ size });
    }
  });

  it('tells a fork, and a log that has become shorter', async () => {
    const url = await realWitness();
    await submit(url, 9, 0);
    expect(await submit(url, 7, 0)).toMatchObject({ problem: 'ahead', size: 9 });
    const fork = new TestLog(log.origin, 3);
    expect(await submit(url, 9, 9, fork)).toMatchObject({ problem: 'fork', size: 9 });
    expect(await submit(url, 9, 0, fork)).toMatchObject({ problem: 'fork', size: 9 });
    expect(await submit(url, 12, 9, fork)).toMatchObject({ problem: 'refused', status: 422 });
    expect(await submit(url, 12, 9, new TestLog('log.example/unknown'))).toMatchObject({ problem: 'refused', status: 404 });
  });

  it('survives others who submit too', async () => {
    const url = await realWitness();
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => submit(url, 30 - (i % 3), 0)));
    const done = all.filter((one) => !('problem' in one));
    expect(done.length).toBeGreaterThan(0);
    expect(all.every((one) => !('problem' in one) || one.problem === 'ahead' || one.problem === 'refused')).toBe(true);
  });
});

describe('a submission to a bad witness', () => {
  const line = (size: number) => signatureLine(cosign(log.text(size), key.signer, 1));
  it('believes nothing', async () => {
    const stranger = signatureLine(cosign(log.text(5), signerOf('w.example', 'stranger', 4).signer, 1));
    const cases: [number, string, string, string][] = [
      [200, 'text/plain', '', 'answer'],
      [200, 'text/plain', 'ok\n', 'answer'],
      [200, 'text/plain', line(5).slice(0, -1), 'answer'],
      [200, 'text/plain', `${line(5)}\n`, 'answer'],
      [200, 'text/plain', line(6), 'answer'],
      [200, 'text/plain', stranger, 'answer'],
      [200, 'text/plain', line(5) + line(6), 'answer'],
      [200, 'text/plain', 'x'.repeat(witnessAnswerBytes + 1), 'answer'],
      [409, 'text/plain', '3\n', 'answer'],
      [409, 'text/x.tlog.size', '3', 'answer'],
      [409, 'text/x.tlog.size', '03\n', 'answer'],
      [409, 'text/x.tlog.size', '-3\n', 'answer'],
      [409, 'text/x.tlog.size', '0\n', 'answer'],
      [409, 'text/x.tlog.size', '9007199254740993\n', 'answer'],
      [409, 'text/x.tlog.size', '6\n', 'ahead'],
      [409, 'text/x.tlog.size', '5\n', 'fork'],
      [500, 'text/plain', 'no\u001b[31m\nmore', 'refused'],
      [204, 'text/plain', '', 'refused'],
      [301, 'text/plain', '', 'unreachable'],
    ];
    for (const [status, type, body, problem] of cases) {
      const url = await fake((_request, response) => response.writeHead(status, { 'Content-Type': type, Location: 'http://127.0.0.1:1/' }).end(body));
      expect(await submit(url, 5, 0), `${status} ${body.slice(0, 20)}`).toMatchObject({ problem });
    }
    // lines of strangers beside the good one are ignored
    const url = await fake((_request, response) => response.end(stranger + line(5) + line(5)));
    expect(await submit(url, 5, 0)).toMatchObject({ cosignatures: [{}, {}] });
  });

  it('gives up in time', async () => {
    const silent = await fake(() => undefined);
    const slow = await fake((_request, response) => {
      const timer = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(timer));
    });
    for (const url of [silent, slow]) {
      const from = performance.now();
      expect(await submit(url, 5, 0, log, { timeoutMs: 300 })).toMatchObject({ problem: 'timeout' });
      expect(performance.now() - from).toBeLessThan(4_000);
    }
    expect(await submit(silent, 5, 0, log, { signal: AbortSignal.abort() })).toMatchObject({
      problem: 'timeout',
      message: 'the submission was given up',
    });
  });

  it('does not try for ever', async () => {
    let asked = 0;
    const url = await fake((_request, response) => response.writeHead(409, { 'Content-Type': 'text/x.tlog.size' }).end(`${++asked}\n`));
    expect(await submit(url, 50, 0)).toMatchObject({ problem: 'refused', status: 409 });
    expect(asked).toBe(3);
  });

  it('says what cannot be submitted', async () => {
    const dead = await fake(() => undefined);
    servers.at(-1)!.close();
    servers.pop();
    expect(await submit(dead, 5, 0)).toMatchObject({ problem: 'unreachable' });
    for (const url of ['', 'w.example', 'ftp://w.example', 'file:///etc']) expect(await submit(url, 5, 0), url).toMatchObject({ problem: 'input' });
    expect(await submit('http://127.0.0.1:1', 5, 0, log, { checkpoint: new Uint8Array(3) })).toMatchObject({ problem: 'input' });
    const proof = () => {
      throw new Error('tile missing');
    };
    expect(await submit('http://127.0.0.1:1', 5, 3, log, { proof })).toMatchObject({
      problem: 'input',
      message: expect.stringContaining('tile missing'),
    });
  });

  it('sends the body of the specification', async () => {
    let sent: unknown;
    const url = await fake((request, response, body) => {
      sent = { method: request.method, url: request.url, ...(parseAddCheckpoint(new Uint8Array(body)) as object) };
      response.end(line(9));
    });
    expect(await submit(`${url}/a/b//`, 9, 4)).toMatchObject({ size: 9 });
    expect(sent).toMatchObject({ method: 'POST', url: '/a/b/add-checkpoint', oldSize: 4, checkpoint: log.note(9) });
    expect((sent as { proof: Uint8Array[] }).proof.map((hash) => Uint8Array.from(hash))).toEqual(
      log.proof(4, 9).map((hash) => Uint8Array.from(hash)),
    );
  });
});

describe('the server', () => {
  it('shows key and checkpoint', async () => {
    const url = await realWitness();
    const get = async (path: string, method = 'GET') => {
      const response = await fetch(`${url}${path}`, { method });
      return [response.status, await response.text()];
    };
    expect(await get('/')).toEqual([200, `${key.vkey}\n`]);
    const path = `/${originHash(log.origin)}/checkpoint`;
    expect(await get(path)).toEqual([404, 'nothing was cosigned of this origin\n']);
    await submit(url, 5, 0);
    const [status, note] = await get(path);
    expect(status).toBe(200);
    const opened = openCosigned(nodeCrypto, Buffer.from(note as string), [log.vkey], [key.cosigner]);
    if ('problem' in opened) throw new Error(opened.message);
    expect(opened).toMatchObject({ text: log.text(5), logs: [log.vkey], cosignatures: [{}] });
    expect(await get(path, 'HEAD')).toEqual([200, '']);
    for (const [wrong, method, code] of [
      [path, 'POST', 405],
      ['/', 'DELETE', 405],
      ['/add-checkpoint', 'GET', 405],
      [path.toUpperCase(), 'GET', 404],
      ['/x', 'GET', 404],
      ['/..%2fkey', 'GET', 404],
    ] as const) {
      expect((await get(wrong, method))[0], `${method} ${wrong}`).toBe(code);
    }
  });

  it('keeps connections, and survives what is no request', async () => {
    const url = await realWitness();
    const port = Number(new URL(url).port);
    const raw = (text: string) =>
      new Promise<string>((done) => {
        const socket = connect(port, '127.0.0.1', () => socket.write(text));
        let answer = '';
        socket.on('data', (chunk: Buffer) => {
          answer += chunk.toString();
          if (answer.includes('\r\n\r\n') && !text.startsWith('POST')) socket.end();
        });
        socket.on('error', () => undefined);
        socket.on('close', () => done(answer));
      });
    expect(await raw('nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 /);
    expect(await raw(`GET /${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`)).toMatch(/^HTTP\/1.1 400 /);
    expect(await raw('GET / HTTP/1.1\r\nHost: x\r\n\r\n')).toMatch(/keep-alive/i);
    expect(await raw(`POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: ${witnessRequestBytes + 1}\r\n\r\n`)).toMatch(/^HTTP\/1.1 413 /);
    const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
    expect(await raw(`POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(20)}`)).toMatch(/^HTTP\/1.1 413 /);
    // gone in the middle of its body
    await new Promise((done) => {
      const request = httpRequest(`${url}/add-checkpoint`, { method: 'POST', headers: { 'Content-Length': '100' } });
      request.on('error', done);
      request.write('old');
      setTimeout(() => request.destroy(new Error('gone')), 50);
    });
    expect(await submit(url, 5, 0)).toMatchObject({ size: 5 });
  });
});
