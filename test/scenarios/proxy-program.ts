/** The built proxy with the options or the configuration of a scenario, for what real HTTP clients and servers do through it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { node, sworn, Tap, type Stage } from './stage.ts';

export class ProxyProgram {
  readonly tap: Tap;
  readonly port: number;
  readonly #scheme: string;

  private constructor(tap: Tap, scheme: string, port: number) {
    this.tap = tap;
    this.#scheme = scheme;
    this.port = port;
  }

  /** Started, and listening. It may administrate, like a program that was started by nobody's agent. */
  static async start(stage: Stage, ...words: string[]): Promise<ProxyProgram> {
    const listen = words.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
    const child = spawn(node, [sworn, 'proxy', '--ledger', stage.ledger, ...listen, ...words], {
      cwd: stage.folder,
      env: stage.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const tap = new Tap(stage.started(child), true);
    const said = /at (https?):\/\/[^\s/]+:(\d+)/;
    await tap.errors.until(({ text }) => said.test(text));
    const [, scheme, port] = said.exec(tap.errors.text)!;
    return new ProxyProgram(tap, scheme!, Number(port));
  }

  /** `path`: with the mount, as clients write it. */
  at(path = '/mcp'): string {
    return `${this.#scheme}://127.0.0.1:${this.port}${path}`;
  }

  /** Waits for the next of these words on its stderr. */
  async says(words: string | RegExp, work: () => unknown): Promise<void> {
    const before = this.tap.errors.text.length;
    await work();
    await this.tap.errors.until(({ text }) => (typeof words === 'string' ? text.slice(before).includes(words) : words.test(text.slice(before))));
  }

  /** Ends it in order. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.tap.process.kill(signal);
    return this.tap.ended;
  }
}

/** A server of the scenario's own, ended with it. */
export async function serving(listener: RequestListener, server: Server = createServer()): Promise<{ server: Server; port: number }> {
  server.on('request', listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

export async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString();
}

/** A port that nobody listens at: for addresses that must be known before. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Never half of it. */
export function written(stage: Stage, name: string, content: string | object): string {
  const path = join(stage.folder, name);
  writeFileSync(`${path}.new`, typeof content === 'string' ? content : JSON.stringify(content));
  renameSync(`${path}.new`, path);
  return path;
}
