/** Which comparisons there are, and what runs for each. */
import { join } from 'node:path';
import { World } from '../support-processes.ts';
import type { Placement } from './client-through.ts';
import { compare, readExceptions, type Comparison } from './compare.ts';
import { startBridge, startProxy, startServer, type Proxy, type Running } from './programs.ts';
import { judgeClient, judgeServer, scenariosOf, type Results, type Revision, type Side } from './suite.ts';

/** What is judged: a server over HTTP, a client over HTTP, a server on stdio. */
export const parts = ['server', 'client', 'stdio'] as const;
export type Part = (typeof parts)[number];

/** Quick ones that differ in kind: handshake, streams, requests of the server, headers, errors, several rounds; authorization. */
const shortScenarios: Readonly<Record<Part, readonly string[]>> = {
  server: [
    'server-initialize',
    'tools-call-with-progress',
    'tools-call-elicitation',
    'server-session-lifecycle',
    'dns-rebinding-protection',
    'http-header-validation',
    'input-required-result-multi-round',
  ],
  client: ['tools_call', 'auth/metadata-default', 'http-custom-headers'],
  stdio: ['tools-call-with-progress', 'tools-call-sampling', 'input-required-result-multi-round'],
};

export interface Compared {
  readonly comparison: string;
  readonly direct: Results;
  readonly through: Results;
  readonly result: Comparison;
}

export interface HarnessOptions {
  readonly proxy: Proxy;
  readonly short?: boolean;
  readonly scenarios?: readonly string[] | undefined;
  /** Where the suite's results are left; in the world's own folder without it. */
  readonly keep?: string | undefined;
}

export class Harness {
  readonly #options: HarnessOptions;
  readonly #world = new World('conformance');
  readonly #results: string;

  constructor(options: HarnessOptions) {
    this.#options = options;
    this.#results = options.keep ?? join(this.#world.folder, 'results');
    // the bridge starts a process for each request of the modern era
    this.#world.env['NODE_COMPILE_CACHE'] = join(this.#world.folder, 'compiled');
  }

  /** Ends everything that was started, the recorders too. */
  end(): Promise<void> {
    return this.#world.end();
  }

  /** One part at one revision; a client is put behind the proxy in two ways. */
  async compare(part: Part, revision: Revision): Promise<Compared[]> {
    const scenarios = this.#scenarios(part, revision);
    if (scenarios.length === 0) return [];
    if (part === 'client') return this.#compareClient(revision, scenarios);
    return [part === 'server' ? await this.#compareServer(revision, scenarios) : await this.#compareStdio(revision, scenarios)];
  }

  #scenarios(part: Part, revision: Revision): string[] {
    const side: Side = part === 'client' ? 'client' : 'server';
    const wanted = this.#options.scenarios ?? (this.#options.short === true ? shortScenarios[part] : undefined);
    return scenariosOf(side, revision).filter((scenario) => wanted?.includes(scenario) ?? true);
  }

  #folder(name: string): string {
    return join(this.#results, name);
  }

  #compared(comparison: string, direct: Results, through: Results): Compared {
    const exceptions = readExceptions().filter((one) => one.comparison === comparison);
    return { comparison, direct, through, result: compare(direct, through, exceptions) };
  }

  async #compareServer(revision: Revision, scenarios: readonly string[]): Promise<Compared> {
    const { env, ledger } = this.#world;
    const { proxy } = this.#options;
    const server = await startServer(env);
    const front = await startProxy(proxy, server.url, '127.0.0.1:0', ledger, env);
    const judge = (running: Running, name: string): Promise<Results> =>
      judgeServer(running.url, revision, scenarios, this.#folder(`${name}-${revision}`), env);
    try {
      return this.#compared(`server, ${proxy}`, await judge(server, 'server'), await judge(front, `server-${proxy}`));
    } finally {
      await front.end();
      await server.end();
    }
  }

  async #compareStdio(revision: Revision, scenarios: readonly string[]): Promise<Compared> {
    const { env, ledger } = this.#world;
    const judge = async (name: string, between: string | undefined): Promise<Results> => {
      // the bridge has sessions in the old era only if it is asked for them
      const bridge = await startBridge(revision < '2026-07-28', between, env);
      try {
        return await judgeServer(bridge.url, revision, scenarios, this.#folder(`${name}-${revision}`), env);
      } finally {
        await bridge.end();
      }
    };
    return this.#compared('stdio, sworn run', await judge('stdio', undefined), await judge('stdio-sworn', ledger));
  }

  async #compareClient(revision: Revision, scenarios: readonly string[]): Promise<Compared[]> {
    const { env, ledger } = this.#world;
    const { proxy } = this.#options;
    const script = (file: string): string[] => [process.execPath, join(import.meta.dirname, file)];
    const direct = await judgeClient(script('client.ts'), revision, scenarios, this.#folder(`client-${revision}`), env);
    const compared: Compared[] = [];
    for (const placement of ['same-origin', 'own-url'] satisfies Placement[]) {
      // OAuth binds a token to the origin that the client dialled: at the proxy's own URL that is another one
      const possible = scenarios.filter((scenario) => placement === 'same-origin' || !scenario.startsWith('auth/'));
      const name = `client-${placement}-${proxy}-${revision}`;
      const through = await judgeClient([...script('client-through.ts'), proxy, placement, ledger], revision, possible, this.#folder(name), env);
      compared.push(
        this.#compared(`client ${placement}, ${proxy}`, new Map([...direct].filter(([scenario]) => possible.includes(scenario))), through),
      );
    }
    return compared;
  }
}
