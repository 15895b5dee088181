/**
 * `dist/bridge.mjs`: what the tap of `sworn run --url` starts as its server. Lines on standard input and output, HTTP behind; ends with its input, as a server
 * on stdio does, or with the session.
 */
import { readFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import { lossyText } from '../bytes/bytes.ts';
import { visible } from '../bytes/visible.ts';
import { SwornError } from '../errors.ts';
import { LineSplitter } from '../frames/lines.ts';
import { Bridge } from './bridge.ts';
import { headerOf, readHeaderLine, settingsVariable, type BridgeSettings } from './command.ts';
import { Upstream } from './upstream.ts';

const lineEnd = Buffer.from('\n');
const lastWriteMs = 1_000;

function complain(text: string): void {
  process.stderr.write(`sworn: error: ${visible(text)}\n`);
}

function settings(): BridgeSettings {
  const text = process.env[settingsVariable];
  delete process.env[settingsVariable];
  if (text === undefined) throw new SwornError('usage', 'this program is started by `sworn run --url`', { command: 'run' });
  return JSON.parse(text) as BridgeSettings;
}

function textOf(path: string): string {
  try {
    return lossyText(readFileSync(path));
  } catch (error) {
    throw new SwornError('remote-file', `${path} cannot be read: ${(error as Error).message}`);
  }
}

function headersOf({ headers, headerFiles, headerVariables }: BridgeSettings): (readonly [string, string])[] {
  const found = [...headers];
  for (const path of headerFiles) {
    for (const [i, line] of textOf(path).split(/\r?\n/).entries()) {
      if (line.trim() !== '' && !line.startsWith('#')) found.push(readHeaderLine(line, `${path}:${i + 1}`));
    }
  }
  for (const [name, variable] of headerVariables) {
    const value = process.env[variable];
    if (value === undefined) throw new SwornError('usage', `--header-env: there is no variable ${variable} in the environment`, { command: 'run' });
    found.push(headerOf(name, value.trim(), '--header-env'));
  }
  return found;
}

function caOf({ ca }: BridgeSettings): { ca?: string } {
  if (ca === undefined) return {};
  const pem = textOf(ca);
  try {
    createSecureContext({ ca: pem });
  } catch (error) {
    throw new SwornError('remote-file', `${ca} is no certificate: ${(error as Error).message}`);
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) throw new SwornError('remote-file', `${ca} holds no certificate`);
  return { ca: pem };
}

function start(): void {
  const given = settings();
  const { connectTimeoutMs, answerTimeoutMs } = given;
  const upstream = new Upstream({ url: new URL(given.url), headers: headersOf(given), ...caOf(given), connectTimeoutMs, answerTimeoutMs });
  // not Node's own: it waits for a slow reader with everything else
  const output = new Socket({ fd: 1, readable: false, writable: true });
  let ending = false;
  const finish = (status: number, atOnce: boolean): void => {
    if (ending) return;
    ending = true;
    // what is on its way to the client is written first, if it reads
    void bridge.end(atOnce).then(() => {
      output.end(() => process.exit(status));
      setTimeout(() => process.exit(status), lastWriteMs);
    });
  };
  const bridge: Bridge = new Bridge(upstream, {
    write: (line) => new Promise((done) => void output.write(Buffer.concat([line, lineEnd]), () => done())),
    complain,
    finish: (status) => finish(status, true),
  });
  const splitter = new LineSplitter();
  let parts: Uint8Array[] = [];
  const take = (units: ReturnType<LineSplitter['push']>): void => {
    for (const { bytes, more } of units) {
      parts.push(bytes);
      if (more) continue;
      const line = parts.length === 1 ? bytes : Buffer.concat(parts);
      parts = [];
      if (line.length > 0) bridge.accept(line);
    }
  };
  process.stdin.on('data', (chunk: Buffer) => take(splitter.push(chunk)));
  process.stdin.on('end', () => {
    take(splitter.end());
    finish(0, false);
  });
  output.on('error', () => finish(0, true)); // nobody reads any more
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => finish(0, true));
}

try {
  start();
} catch (error) {
  if (!(error instanceof SwornError)) throw error;
  complain(error.message);
  process.stderr.write(`sworn: hint: ${visible(error.hint)}\n`);
  process.exitCode = error.exit;
}
