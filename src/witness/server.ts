/** A witness over HTTP (C2SP tlog-witness): submission and monitoring under one prefix, and the key. TLS is for whoever stands in front. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { witnessConnections, witnessRequestBytes } from '../limits.ts';
import type { Witness, WitnessAnswer } from './witness.ts';

/** A server that does not listen yet. Whatever comes in, it answers or closes the connection; nothing of a request makes it throw. */
export function witnessServer(witness: Witness, vkey: string): Server {
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 30_000, connectionsCheckingInterval: 1_000, maxHeaderSize: 8 * 1024 },
    (request, response) => {
      request.on('error', () => undefined);
      response.on('error', () => undefined);
      handle(witness, vkey, request)
        .catch((): WitnessAnswer => ({ status: 500, type: 'text/plain; charset=utf-8', body: 'the witness failed\n' }))
        .then((answer) => answer && send(request, response, answer))
        .catch(() => response.destroy());
    },
  );
  server.maxConnections = witnessConnections;
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    else socket.destroy();
  });
  return server;
}

/** The answer, or `undefined` when nobody waits for one any more. */
async function handle(witness: Witness, vkey: string, request: IncomingMessage): Promise<WitnessAnswer | undefined> {
  const text = (status: number, body: string): WitnessAnswer => ({ status, type: 'text/plain; charset=utf-8', body });
  const path = (request.url ?? '').split('?')[0]!;
  const reads = request.method === 'GET' || request.method === 'HEAD';
  if (path === '/add-checkpoint') {
    if (request.method !== 'POST') return text(405, 'POST a checkpoint\n');
    const body = await bodyOf(request);
    if (body === undefined) return undefined;
    return body === 'too-large' ? text(413, `a request has at most ${witnessRequestBytes} bytes\n`) : witness.addCheckpoint(body);
  }
  if (path === '/') return reads ? text(200, `${vkey}\n`) : text(405, 'GET the key\n');
  const hash = /^\/([0-9a-f]{64})\/checkpoint$/.exec(path)?.[1];
  if (hash === undefined) return text(404, 'not here\n');
  if (!reads) return text(405, 'GET the checkpoint\n');
  const checkpoint = witness.latest(hash);
  return checkpoint === undefined ? text(404, 'nothing was cosigned of this origin\n') : text(200, Buffer.from(checkpoint).toString());
}

function bodyOf(request: IncomingMessage): Promise<Uint8Array | 'too-large' | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > witnessRequestBytes) return Promise.resolve('too-large');
  return new Promise((done) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    request.on('data', (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= witnessRequestBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        request.pause();
        done('too-large');
      }
    });
    request.on('end', () => done(new Uint8Array(Buffer.concat(chunks))));
    request.on('close', () => done(undefined));
  });
}

function send(request: IncomingMessage, response: ServerResponse, { status, type, body }: WitnessAnswer): void {
  const content = Buffer.from(body);
  // nobody wants to read the rest of it
  if (status === 413) response.setHeader('Connection', 'close');
  if (status === 503) response.setHeader('Retry-After', '1');
  if (status === 405) response.setHeader('Allow', request.url === '/add-checkpoint' ? 'POST' : 'GET, HEAD');
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': content.length,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
  });
  response.end(request.method === 'HEAD' ? undefined : content);
}
