/**
 * Tells somebody of new findings: a POST or a command for each, once for each place. Runs where a catalog is followed. What was told is remembered beside the catalog, also
 * when that is made again; what could not be told is tried again, by the next process too, so a receiver may get one twice and tells them apart by their id.
 */
import { spawn } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { severities } from '../analysis/memory-figures.ts';
import type { FindingRow, Severity } from '../analysis/rows.ts';
import { notificationsWaiting, notifiedFindings, notifyWaitMs } from '../limits.ts';
import { CatalogRows } from './queries.ts';

export interface NotifyPlace {
  /** Either, or a command, word by word: it gets the same body on standard input. */
  url?: string;
  command?: readonly string[];
  /** A file whose first line signs what is sent. */
  secret?: string;
  /** The least severity. */
  from: Severity;
}

export interface NotifyOptions {
  /** Of the ledger. */
  ledger: string;
  /** Of the catalog. */
  path: string;
  places: readonly NotifyPlace[];
  log(line: string): void;
}

/** How often at most it is looked for findings. */
const lookMs = 500;
const retryFirstMs = 1_000;
const retryMostMs = 60_000;

export class Notifier {
  readonly #options: NotifyOptions;
  readonly #rows: CatalogRows;
  readonly #file: string;
  readonly #told = new Set<string>();
  readonly #under = new Set<string>();
  readonly #ending = new AbortController();
  #since = '';
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: NotifyOptions) {
    this.#options = options;
    this.#rows = new CatalogRows([{ ledger: options.ledger, path: options.path }]);
    this.#file = `${options.path}.notified`;
    this.#load();
  }

  /** There may be new ones. */
  look(): void {
    if (this.#ending.signal.aborted || this.#timer !== undefined) return;
    const waitMs = this.#lookedAtMs + lookMs - performance.now();
    if (waitMs > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.look();
      }, waitMs);
      return;
    }
    this.#lookedAtMs = performance.now();
    let found: FindingRow[];
    try {
      found = this.#rows.findings({ ledger: this.#options.ledger, since: this.#since }, { sort: '-lastAt', limit: 1_000 }).rows;
    } catch {
      // a catalog that is made again just now: whoever makes it calls again
      return;
    }
    for (const row of found.reverse()) {
      if (row.acknowledged !== undefined || row.firstAt < this.#since) continue;
      for (const place of this.#options.places) {
        const key = `${row.finding} ${nameOf(place)}`;
        if (severities.indexOf(row.severity) > severities.indexOf(place.from) || this.#told.has(key) || this.#under.has(key)) continue;
        if (this.#under.size >= notificationsWaiting) return;
        this.#under.add(key);
        void this.#tell(place, row, key).finally(() => this.#under.delete(key));
      }
    }
  }

  end(): void {
    this.#ending.abort();
    clearTimeout(this.#timer);
    this.#rows.close();
  }

  async #tell(place: NotifyPlace, row: FindingRow, key: string): Promise<void> {
    const { signal } = this.#ending;
    const body = JSON.stringify({ v: 1, kind: 'finding', ...row });
    for (let waitMs = retryFirstMs; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMostMs)) {
      try {
        await send(place, body, AbortSignal.any([signal, AbortSignal.timeout(notifyWaitMs)]));
        this.#told.add(key);
        appendFileSync(this.#file, `${key}\n`);
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log(
          `finding ${row.finding} could not be told (${wordsOf(place)}): ${(error as Error).message}; tried again in ${waitMs / 1000} s`,
        );
        await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Who begins to be told is not told of what was found before. */
  #load(): void {
    let lines: string[] = [];
    try {
      lines = readFileSync(this.#file, 'utf8').split('\n');
    } catch {
      // the first time
    }
    const [since = '', ...told] = lines;
    this.#since = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(since) ? since : new Date().toISOString();
    const kept = told.filter((line) => line !== '').slice(-notifiedFindings);
    for (const key of kept) this.#told.add(key);
    writeFileSync(this.#file, [this.#since, ...kept, ''].join('\n'), { mode: 0o600 });
  }
}

/** Of a place, in the file: where it is, and nothing of it in the clear. */
function nameOf({ url, command }: NotifyPlace): string {
  return createHash('sha256')
    .update(JSON.stringify(url ?? command))
    .digest('hex')
    .slice(0, 16);
}

function wordsOf({ url, command }: NotifyPlace): string {
  // an address may hold a token
  return url === undefined ? command![0]! : new URL(url).origin;
}

/** @throws Error when it was not taken */
async function send({ url, command, secret }: NotifyPlace, body: string, signal: AbortSignal): Promise<void> {
  const signature = secret === undefined ? undefined : signatureOf(body, secret);
  if (url !== undefined) {
    const headers = { 'content-type': 'application/json', ...(signature === undefined ? {} : { 'sworn-signature': signature }) };
    const answer = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'error' });
    await answer.body?.cancel();
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    return;
  }
  const [program, ...words] = command!;
  const child = spawn(program!, words, {
    stdio: ['pipe', 'ignore', 'ignore'],
    signal,
    env: { ...process.env, ...(signature === undefined ? {} : { SWORN_SIGNATURE: signature }) },
  });
  const ended = new Promise<void>((done, failed) => {
    child.on('error', failed);
    child.on('exit', (code, killed) => (code === 0 ? done() : failed(new Error(`it ended with ${code ?? killed}`))));
  });
  // one that does not read it may still have done what it should
  child.stdin.on('error', () => undefined);
  child.stdin.end(body);
  await ended;
}

/** HMAC-SHA256 of the body, keyed with the file's first line. */
function signatureOf(body: string, secret: string): string {
  const [key = ''] = readFileSync(secret, 'utf8').split('\n');
  if (key.trim() === '') throw new Error(`the secret ${secret} is empty`);
  return `sha256=${createHmac('sha256', key.trim()).update(body).digest('hex')}`;
}
