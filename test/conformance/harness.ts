/** Which comparisons there are, and what runs for each. */
import { join } from 'node:path';
import { World, type Finished } from '../support-processes.ts';
import type { Placement } from './client-through.ts';
import { compare, readExceptions, type Comparison, type Difference } from './compare.ts';
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
  /** What differed in one run and not in the next. */
  readonly unsteady: readonly Difference[];
}

/** Runs scenarios and leaves what the suite writes in a folder. */
type Judge = (scenarios: readonly string[], folder: string) => Promise<Results>;

const attempts = 3;

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

  /** What `sworn verify` says of the ledger in which everything was recorded that went through `sworn`. */
  verify(): Finished {
    return this.#world.run(['verify', this.#world.ledger]);
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

  /**
   * Judges both sides, and those scenarios again that differ: some of them wait for a fixed time, within which a busy machine may or may not answer. What
   * differs every time counts; what differed once is told.
   */
  async #compareBoth(comparison: string, revision: Revision, scenarios: readonly string[], direct: Judge, through: Judge): Promise<Compared> {
    const exceptions = readExceptions().filter((one) => one.comparison === comparison && one.revision === revision);
    const sides: [Results, Results] = [new Map(), new Map()];
    const unsteady: Difference[] = [];
    let result: Comparison | undefined;
    let again = scenarios;
    for (let attempt = 1; attempt <= attempts && again.length > 0; attempt++) {
      for (const [i, judge] of [direct, through].entries()) {
        const folder = join(this.#results, `${comparison.replaceAll(/\W+/g, '-')}-${revision}`, `${['direct', 'through'][i]!}-${attempt}`);
        for (const [scenario, checks] of await judge(again, folder)) sides[i]!.set(scenario, checks);
      }
      const before = result?.differing ?? [];
      result = compare(...sides, exceptions);
      const differing = new Set(result.differing.map(({ scenario }) => scenario));
      unsteady.push(...before.filter(({ scenario }) => !differing.has(scenario)));
      again = [...differing];
    }
    return { comparison, direct: sides[0], through: sides[1], result: result!, unsteady };
  }

  async #compareServer(revision: Revision, scenarios: readonly string[]): Promise<Compared> {
    const { env, ledger } = this.#world;
    const { proxy } = this.#options;
    const server = await startServer(env);
    const front = await startProxy(proxy, server.url, '127.0.0.1:0', ledger, env);
    const judge =
      ({ url }: Running): Judge =>
      (some, folder) =>
        judgeServer(url, revision, some, folder, env);
    try {
      return await this.#compareBoth(`server, ${proxy}`, revision, scenarios, judge(server), judge(front));
    } finally {
      await front.end();
      await server.end();
    }
  }

  #compareStdio(revision: Revision, scenarios: readonly string[]): Promise<Compared> {
    const { env, ledger } = this.#world;
    const judge =
      (between: string | undefined): Judge =>
      async (some, folder) => {
        // the bridge has sessions in the old era only if it is asked for them
        const bridge = await startBridge(revision < '2026-07-28', between, env);
        try {
          return await judgeServer(bridge.url, revision, some, folder, env, ['patient.ts']);
        } finally {
          await bridge.end();
        }
      };
    return this.#compareBoth('stdio, sworn run', revision, scenarios, judge(undefined), judge(ledger));
  }

  async #compareClient(revision: Revision, scenarios: readonly string[]): Promise<Compared[]> {
    const { env, ledger } = this.#world;
    const { proxy } = this.#options;
    const judge =
      (file: string, ...words: string[]): Judge =>
      (some, folder) =>
        judgeClient([process.execPath, join(import.meta.dirname, file), ...words], revision, some, folder, env);
    const compared: Compared[] = [];
    for (const placement of ['same-origin', 'own-url'] satisfies Placement[]) {
      // OAuth binds a token to the origin that the client dialled: at the proxy's own URL that is another one
      const possible = scenarios.filter((scenario) => placement === 'same-origin' || !scenario.startsWith('auth/'));
      if (possible.length === 0) continue;
      const through = judge('client-through.ts', proxy, placement, ledger);
      compared.push(await this.#compareBoth(`client ${placement}, ${proxy}`, revision, possible, judge('client.ts'), through));
    }
    return compared;
  }
}
