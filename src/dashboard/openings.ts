/**
 * Opening content is recorded before any is shown: the recorder is asked, and started where none runs. What could not be recorded is not shown, unless whoever serves said
 * that nothing can record it (a copy of a ledger).
 */
import { SwornError } from '../errors.ts';
import { openingRetryMs } from '../limits.ts';
import { ask } from '../wire/ask.ts';
import type { Ledger } from './evidence.ts';
import { AnswerError } from './parameters.ts';
import type { Viewer } from './viewers.ts';

export interface OpeningsDeps {
  socketOf(path: string): string;
  /** Starts a recorder; a text says why it would not start. */
  startRecorder(path: string): Promise<string | undefined>;
  /** Openings are not recorded, on the word of whoever serves. */
  isUnrecorded: boolean;
}

export class Openings {
  readonly #deps: OpeningsDeps;
  readonly #starting = new Map<string, Promise<string | undefined>>();
  /** Where none would start, and until when that is believed. */
  readonly #refused = new Map<string, { problem: string; untilMs: number }>();

  constructor(deps: OpeningsDeps) {
    this.#deps = deps;
  }

  /** @throws (rejects) AnswerError 503 when it cannot be recorded */
  async opened(ledger: Ledger, { id, how }: Viewer, indexes: readonly number[]): Promise<void> {
    if (this.#deps.isUnrecorded) return;
    const ranges = indexes.map((index) => [index, index]);
    await this.#ask(ledger, 'opened', { how, viewer: id, indexes: ranges }, 'Content is opened only when that can be recorded, and it could not be');
  }

  /** @throws (rejects) AnswerError 400, 503 */
  async acknowledge(ledger: Ledger, { id, how }: Viewer, finding: string, rule: string | undefined, note: string): Promise<void> {
    await this.#ask(ledger, 'acknowledge', { how, viewer: id, finding, rule, note }, 'The acknowledgement could not be recorded');
  }

  async #ask(ledger: Ledger, what: 'opened' | 'acknowledge', more: Record<string, unknown>, failure: string): Promise<void> {
    const socket = this.#deps.socketOf(ledger.path);
    try {
      try {
        await ask(socket, what, more);
      } catch (error) {
        if (!(error instanceof SwornError) || error.code !== 'no-recorder') throw error;
        const problem = await this.#start(ledger.path);
        if (problem !== undefined) throw new Error(problem, { cause: error });
        await ask(socket, what, more);
      }
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof SwornError && error.code === 'usage') throw new AnswerError(400, `${message}.`);
      throw new AnswerError(503, `${failure}: ${message}.`);
    }
  }

  #start(path: string): Promise<string | undefined> {
    const refused = this.#refused.get(path);
    if (refused !== undefined && refused.untilMs > performance.now()) return Promise.resolve(refused.problem);
    const starting =
      this.#starting.get(path) ??
      this.#deps
        .startRecorder(path)
        .catch((error: Error) => error.message)
        .then((problem) => {
          this.#starting.delete(path);
          if (problem !== undefined) this.#refused.set(path, { problem, untilMs: performance.now() + openingRetryMs });
          return problem;
        });
    this.#starting.set(path, starting);
    return starting;
  }
}
