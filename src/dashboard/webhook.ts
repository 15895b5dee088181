/**
 * Tells a webhook of requests that wait and of what was decided about them, each at least once while it matters: a request until its time is over, a decision for an hour.
 * Posts wait for nobody and nobody waits for them. After a restart whatever still waits is told again; `id` tells it apart.
 */
import { readFileSync } from 'node:fs';
import type { ApprovalRow, DecisionRow } from '../analysis/approval-views.ts';
import type { WebhookSettings } from '../config/config.ts';
import { notifyWaitMs, webhookDecidedMs, webhookPosts, webhookWaiting } from '../limits.ts';
import { signed } from './signature.ts';
import { leastSecretChars, readSecretLine } from './unlocking.ts';

export interface WebhookDeps {
  settings: WebhookSettings;
  /** The message as stored, at most 8 KiB; `undefined` when it does not wait any more. */
  shownOf(ledger: string, request: number): Promise<{ shown: string; isCut?: true } | undefined>;
  log(line: string): void;
}

interface Post {
  key: string;
  body: () => Promise<object | undefined>;
  untilMs: number;
  retryMs: number;
  ending: AbortController;
}

const retryFirstMs = 1_000;
const retryMostMs = 60_000;
/** What is wrong is said so often at most: a thousand events may fail alike. */
const sayAgainMs = 60_000;

/** The secret as it is now: it may be changed while we run. @throws Error with words for people */
export function readSecret(path: string): string {
  const secret = readSecretLine(readFileSync(path, 'utf8'));
  if (secret === undefined) throw new Error(`the secret file ${path} cannot be used: its first line has fewer than ${leastSecretChars} characters`);
  return secret;
}

export class Webhook {
  readonly #deps: WebhookDeps;
  /** By request, what is under way or waits. */
  readonly #posts = new Map<string, Post>();
  readonly #waiting: Post[] = [];
  readonly #ending = new AbortController();
  #running = 0;
  #dropped = 0;
  #silentUntilMs = 0;
  /** Nobody answers at the address: it is tried again when this is over, with one post after the other as before. */
  #pause: NodeJS.Timeout | undefined;
  #pauseMs = 0;

  constructor(deps: WebhookDeps) {
    this.#deps = deps;
  }

  pending(rows: readonly ApprovalRow[]): void {
    for (const row of rows) {
      const { argumentsText: _, ...told } = row;
      const { content } = this.#deps.settings;
      const body = async (): Promise<object | undefined> => {
        const id = `${row.ledger}/${row.request}/pending`;
        const more = content ? await this.#deps.shownOf(row.ledger, row.request) : {};
        return more === undefined ? undefined : { v: 1, kind: 'approval-pending', id, ...told, ...more };
      };
      this.#add(keyOf(row), body, Date.parse(row.deadline));
    }
  }

  decided(rows: readonly DecisionRow[]): void {
    for (const { argumentsText: _, index, ...told } of rows) {
      const id = `${told.ledger}/${told.request}/decided`;
      this.#add(keyOf(told), () => Promise.resolve({ v: 1, kind: 'approval-decided', id, entry: index, ...told }), Date.now() + webhookDecidedMs);
    }
  }

  end(): void {
    clearTimeout(this.#pause);
    this.#ending.abort();
  }

  #add(key: string, body: Post['body'], untilMs: number): void {
    // who was not told of a request yet need not be told that it waits
    this.#posts.get(key)?.ending.abort();
    if (this.#posts.size >= webhookWaiting && !this.#posts.has(key)) {
      if (this.#dropped++ === 0) this.#deps.log(`more than ${webhookWaiting} events wait for the webhook: further ones are not told`);
      return;
    }
    const post: Post = { key, body, untilMs, retryMs: retryFirstMs, ending: new AbortController() };
    this.#posts.set(key, post);
    this.#waiting.push(post);
    this.#next();
  }

  #next(): void {
    while (this.#running < webhookPosts && this.#pause === undefined) {
      const post = this.#waiting.shift();
      if (post === undefined) return;
      this.#running++;
      void this.#tell(post).then((became) => {
        this.#running--;
        if (became === 'done') this.#forget(post);
        // what it does not take holds up nothing else; where nobody answers all of it waits
        else if (became === 'refused') this.#later(post);
        else this.#away(post);
        this.#next();
      });
    }
  }

  #away(post: Post): void {
    this.#waiting.unshift(post);
    if (this.#pause !== undefined || this.#ending.signal.aborted) return;
    this.#pauseMs = Math.min(Math.max(retryFirstMs, this.#pauseMs * 2), retryMostMs);
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#next();
    }, this.#pauseMs);
  }

  #later(post: Post): void {
    const timer = setTimeout(() => {
      this.#waiting.push(post);
      this.#next();
    }, post.retryMs);
    const abandon = (): void => {
      clearTimeout(timer);
      this.#forget(post);
    };
    AbortSignal.any([this.#ending.signal, post.ending.signal]).addEventListener('abort', abandon, { once: true });
    post.retryMs = Math.min(post.retryMs * 2, retryMostMs);
  }

  #forget(post: Post): void {
    if (this.#posts.get(post.key) === post) this.#posts.delete(post.key);
    if (this.#posts.size === 0) this.#dropped = 0;
  }

  /** `done`: it was told, or need not be any more. */
  async #tell({ body, untilMs, ending }: Post): Promise<'done' | 'refused' | 'away'> {
    const { settings, log } = this.#deps;
    const signal = AbortSignal.any([this.#ending.signal, ending.signal]);
    if (signal.aborted || Date.now() >= untilMs) return 'done';
    let isAnswered = false;
    try {
      const told = await body();
      if (told === undefined) return 'done';
      const text = JSON.stringify(told);
      const answer = await fetch(settings.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'sworn-signature': signed(readSecret(settings.secret), text, Date.now()) },
        body: text,
        signal: AbortSignal.any([signal, AbortSignal.timeout(notifyWaitMs)]),
        redirect: 'error',
      });
      isAnswered = true;
      this.#pauseMs = 0;
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      return 'done';
    } catch (error) {
      if (signal.aborted) return 'done';
      if (performance.now() >= this.#silentUntilMs) {
        this.#silentUntilMs = performance.now() + sayAgainMs;
        // an address may hold a token
        log(`the webhook at ${new URL(settings.url).origin} could not be told: ${(error as Error).message}; it is tried again`);
      }
      return isAnswered ? 'refused' : 'away';
    }
  }
}

function keyOf({ ledger, request }: Pick<ApprovalRow, 'ledger' | 'request'>): string {
  return `${ledger} ${request}`;
}
