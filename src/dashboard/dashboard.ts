/**
 * The dashboard: ledgers that are followed and verified in threads of their own, and the HTTP in front of them. It only reads; the recorder is asked for nothing but to
 * record that content was opened, a finding acknowledged, or a request decided that waits for a person, and for what does wait.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { WebhookSettings } from '../config/config.ts';
import { ApprovalsDesk } from './desk.ts';
import { commandsOf, questionsOf, type Rows } from './api.ts';
import { Evidence, type EvidenceDeps, type Ledger } from './evidence.ts';
import { Openings, type OpeningsDeps } from './openings.ts';
import type { Page } from './page.ts';
import { DashboardServer } from './server.ts';
import { Stream, type Progress } from './stream.ts';
import { Viewers } from './viewers.ts';

export { isLoopback } from '../proxy/admission.ts';

export interface DashboardOptions extends OpeningsDeps, Pick<EvidenceDeps, 'check' | 'commands'> {
  ledgers: readonly Ledger[];
  rows: Rows;
  /** How far the rows of a ledger go, looked up now. */
  progressOf(ledger: string): Progress;
  /** The thread that makes rows of a ledger, which says something whenever there are new ones. */
  follow(ledger: Ledger): Worker;
  page: Page | undefined;
  openapi: Buffer | undefined;
  bind: string;
  port: number;
  allowHosts: readonly string[];
  tokens: readonly string[];
  /** Absent: nobody decides here. */
  approvals?: ApprovalsOptions;
  log(line: string): void;
}

export interface ApprovalsOptions {
  /** The second secret. */
  secret: string;
  webhook?: WebhookSettings;
}

/** How long the address waits for catalogs to be opened. */
const openMs = 5_000;
/** A thread that died is started again after so long. */
const againMs = 1_000;
/** Rows that another process makes are looked for so often. */
const lookMs = 250;

export class Dashboard {
  readonly #options: DashboardOptions;
  readonly #server: DashboardServer;
  readonly #stream: Stream;
  readonly #evidence: Evidence;
  readonly #desk: ApprovalsDesk | undefined;
  readonly #workers = new Map<string, Worker>();
  readonly #next = new Map<string, number>();
  readonly #timers: NodeJS.Timeout[] = [];
  #isEnding = false;

  constructor(options: DashboardOptions) {
    this.#options = options;
    const { ledgers, rows, tokens } = options;
    this.#stream = new Stream(ledgers.map(({ id }) => id));
    this.#evidence = new Evidence(ledgers, {
      check: options.check,
      commands: options.commands,
      shown: (ledger) => this.#next.get(ledger) ?? 0,
      changed: () => this.#stream.evidenceChanged(),
    });
    const openings = new Openings(options);
    const deps = { ledgers, rows, evidence: this.#evidence, openings };
    this.#desk =
      options.approvals &&
      new ApprovalsDesk({ ...options.approvals, ledgers, rows, openings, socketOf: options.socketOf, stream: this.#stream, log: options.log });
    this.#server = new DashboardServer({
      questions: { ...questionsOf(deps), ...this.#desk?.questions },
      commands: { ...commandsOf(deps), ...this.#desk?.commands },
      hook: this.#desk?.hook,
      viewersAt: (port) => new Viewers(port, tokens),
      stream: this.#stream,
      look: () => ledgers.forEach((ledger) => this.#look(ledger)),
      page: options.page,
      openapi: options.openapi,
      bind: options.bind,
      port: options.port,
      allowHosts: options.allowHosts,
      log: options.log,
    });
  }

  /** The port that it listens at. @throws (rejects) SwornError `dashboard-listen` */
  async start(): Promise<number> {
    // first: threads would keep a process that cannot listen from ending
    const port = await this.#server.listen();
    const opened = this.#options.ledgers.map((ledger) => {
      const worker = this.#follow(ledger);
      return Promise.race([once(worker, 'message'), once(worker, 'exit'), sleep(openMs, undefined, { ref: false })]).catch(() => undefined);
    });
    // the first question finds rows, if not yet all of them
    await Promise.all(opened);
    this.#desk?.start();
    for (const ledger of this.#options.ledgers) {
      this.#look(ledger);
      // also where another process writes the catalog, which tells us nothing
      this.#timers.push(setInterval(() => this.#look(ledger), lookMs));
    }
    return port;
  }

  /** A token for one login. */
  issue(): string {
    return this.#server.viewers.issue();
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#server.end();
    this.#evidence.end();
    this.#desk?.end();
    await Promise.all([...this.#workers.values()].map((worker) => worker.terminate()));
  }

  #follow(ledger: Ledger): Worker {
    const worker = this.#options.follow(ledger);
    this.#workers.set(ledger.id, worker);
    worker.on('message', () => this.#look(ledger));
    worker.on('error', (error: Error) => this.#options.log(`${ledger.path} is not followed: ${error.message}`));
    worker.on('exit', () => {
      if (!this.#isEnding) this.#timers.push(setTimeout(() => this.#isEnding || this.#follow(ledger), againMs));
    });
    return worker;
  }

  #look(ledger: Ledger): void {
    const progress = this.#options.progressOf(ledger.id);
    if (progress.next !== this.#next.get(ledger.id)) this.#desk?.look(ledger.id);
    this.#next.set(ledger.id, progress.next);
    this.#stream.advance(ledger.id, progress);
  }
}

/** What a thread that verifies says. */
export type Verifying<Found> = { progress: number } | { found: Found } | { problem: string };

/** Runs one verification in a thread. @throws (rejects) Error with words for people */
export async function inThread<Found>(worker: Worker, progress: (done: number) => void): Promise<Found> {
  const ended = once(worker, 'exit');
  return new Promise((resolve, reject) => {
    worker.on('message', (said: Verifying<Found>) => {
      if ('progress' in said) progress(said.progress);
      else if ('found' in said) resolve(said.found);
      else reject(new Error(said.problem));
    });
    worker.on('error', reject);
    void ended.then(() => reject(new Error('the verifier has ended')));
  });
}
