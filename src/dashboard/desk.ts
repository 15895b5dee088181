/** All that a dashboard has about approvals, put together: the queue, what was decided, the second secret, and the webhook in both directions. */
import type { WebhookSettings } from '../config/config.ts';
import { approvalCommands, approvalQuestions } from './approvals-api.ts';
import type { Command, Question, Rows } from './api.ts';
import { Approvals } from './approvals.ts';
import { Decisions } from './decisions.ts';
import type { Ledger } from './evidence.ts';
import { ApprovalsHook } from './hook.ts';
import type { Openings } from './openings.ts';
import { AnswerError } from './parameters.ts';
import { SignedBodies } from './signature.ts';
import type { Stream } from './stream.ts';
import { Unlocking } from './unlocking.ts';
import { readSecret, Webhook } from './webhook.ts';

export interface DeskDeps {
  secret: string;
  webhook?: WebhookSettings;
  ledgers: readonly Ledger[];
  rows: Pick<Rows, 'call' | 'calls' | 'sessions' | 'indexesOf'>;
  openings: Openings;
  socketOf(path: string): string;
  stream: Stream;
  log(line: string): void;
}

export class ApprovalsDesk {
  readonly questions: Readonly<Record<string, Question>>;
  readonly commands: Readonly<Record<string, Command>>;
  readonly hook: ApprovalsHook | undefined;
  readonly #approvals: Approvals;
  readonly #decisions: Decisions;
  readonly #webhook: Webhook | undefined;

  constructor({ secret, webhook: settings, ledgers, rows, openings, socketOf, stream, log }: DeskDeps) {
    this.#approvals = new Approvals({
      ledgers,
      socketOf,
      changed: () => stream.approvalsChanged(),
      appeared: (appeared) => this.#webhook?.pending(appeared),
    });
    this.#decisions = new Decisions({
      ledgers,
      rows,
      decided: (decided) => {
        stream.approvalsChanged();
        this.#webhook?.decided(decided);
      },
    });
    if (settings !== undefined) {
      this.#webhook = new Webhook({
        settings,
        shownOf: async (id, request) => {
          const ledger = ledgers.find((one) => one.id === id);
          const pending = ledger && (await this.#approvals.pending(ledger, request));
          return pending && { shown: pending.shown, ...(pending.isCut === undefined ? {} : { isCut: pending.isCut }) };
        },
        log,
      });
      this.hook = new ApprovalsHook(this.#approvals, new SignedBodies(secretNow(settings.secret)));
    }
    const deps = { ledgers, rows, openings, approvals: this.#approvals, decisions: this.#decisions, unlocking: new Unlocking(secret) };
    this.questions = approvalQuestions(deps);
    this.commands = approvalCommands(deps);
  }

  start(): void {
    this.#approvals.start();
  }

  /** There are rows of this ledger that there were not. */
  look(ledger: string): void {
    this.#decisions.look(ledger);
  }

  end(): void {
    this.#approvals.end();
    this.#webhook?.end();
  }
}

/** @throws AnswerError 503 when it cannot be read now */
function secretNow(path: string): () => string {
  return () => {
    try {
      return readSecret(path);
    } catch (error) {
      throw new AnswerError(503, `Signatures cannot be checked: ${(error as Error).message}.`);
    }
  };
}
