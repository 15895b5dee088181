/**
 * The live backend. `GET /api/v1/<method>` with the arguments as query parameters answers with the method's result as JSON; `undefined` is 404. `GET /api/v1/stream` is an event
 * stream whose `change` events carry {entries, calls, findings, evidence, approvals}; whoever reads decides when to look. What changes something is a POST with a JSON body.
 */
import type { ApprovalsBackend } from '../src/analysis/approval-views.ts';
import type { Backend, EvidenceState, Heard, Overview, Paging, Range, Timeline } from '../src/analysis/views.ts';

/** An answer that is not what was asked for, in words for people. */
export class AnswerError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** How long an answer to a question is waited for. */
const answerMs = 60_000;
/** Between two attempts to be told of what is new, at first and at most. */
const retryMs = 1_000;
const retryMostMs = 15_000;
/** Held by the one tab among those that nobody sees which is told of what is new: of what waits for a person its title says how much there is. */
const hiddenStream = 'sworn: the stream of hidden pages';

const words: Readonly<Record<number, string>> = {
  401: 'The token was not accepted, or has ended: open the address that `sworn serve` printed.',
  403: 'The dashboard does not answer under this address.',
  429: 'Too many questions at once: try again in a moment.',
};

export class HttpBackend implements Backend {
  readonly kind = 'live';

  readonly #base: string;
  readonly #changed = new Set<(change: Heard) => void>();
  readonly #asked = new Map<string, Promise<unknown>>();
  #stream: EventSource | undefined;
  #giveUp: (() => void) | undefined;
  #retry: number | undefined;
  #retryMs = retryMs;
  /** The cursor of the live tail that the newest answer was made at. */
  #told = '';

  constructor(base = '/api/v1/') {
    this.#base = base;
  }

  /** Parts of a page that ask the same at once share the answer; a moment later it may be another one, although the first is still to come. */
  #ask<Answer>(method: string, parameters: object, body?: object): Promise<Answer | undefined> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
    const search = query.toString();
    const path = `${method}${search === '' ? '' : `?${search}`}`;
    if (body !== undefined) return this.#fetch<Answer>(path, body);
    const same = this.#asked.get(path) as Promise<Answer | undefined> | undefined;
    if (same !== undefined) return same;
    const asked = this.#fetch<Answer>(path);
    this.#asked.set(path, asked);
    setTimeout(() => this.#asked.delete(path));
    return asked;
  }

  async #fetch<Answer>(path: string, body?: object): Promise<Answer | undefined> {
    let answer: Response;
    try {
      answer = await fetch(`${this.#base}${path}`, {
        credentials: 'same-origin',
        ...(body === undefined
          ? { signal: AbortSignal.timeout(answerMs) }
          : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      });
    } catch {
      throw new AnswerError(0, 'The dashboard does not answer: is `sworn serve` still running?');
    }
    const told = answer.headers.get('sworn-told');
    if (told !== null && !isCovered(told, this.#told)) this.#told = told;
    if (answer.status === 404) return undefined;
    if (!answer.ok)
      throw new AnswerError(answer.status, (await messageOf(answer)) ?? words[answer.status] ?? `The dashboard answered ${answer.status}.`);
    try {
      return answer.status === 204 ? undefined : ((await answer.json()) as Answer);
    } catch {
      throw new AnswerError(0, 'The dashboard stopped in the middle of an answer.');
    }
  }

  async #page<Answer>(method: string, parameters: object): Promise<Answer> {
    const answer = await this.#ask<Answer>(method, parameters);
    if (answer === undefined) throw new AnswerError(404, `This dashboard does not know ${method}.`);
    return answer;
  }

  evidence = (): Promise<EvidenceState[]> => this.#page('evidence', {});
  overview = (range: Range): Promise<Overview> => this.#page('overview', range);
  timeline = (range: Range, wanted: number): Promise<Timeline> => this.#page('timeline', { ...range, wanted });
  sessions: Backend['sessions'] = (range, paging) => this.#page('sessions', { ...range, ...paging });
  calls: Backend['calls'] = (range, paging) => this.#page('calls', { ...range, ...paging });
  call: Backend['call'] = (ledger, index) => this.#ask('call', { ledger, index });
  entries: Backend['entries'] = (range, paging) => this.#page('entries', { ...range, ...paging });
  entry: Backend['entry'] = (ledger, index) => this.#ask('entry', { ledger, index });
  tools: Backend['tools'] = (range, paging) => this.#page('tools', { ...range, ...paging });
  tool: Backend['tool'] = (ledger, server, tool) => this.#ask('tool', { ledger, server, tool });
  entities: Backend['entities'] = (range, paging) => this.#page('entities', { ...range, ...paging });
  matrix = (range: Range, paging: Paging): ReturnType<Backend['matrix']> => this.#page('matrix', { ...range, ...paging });
  entity: Backend['entity'] = (ledger, entity) => this.#ask('entity', { ledger, entity });
  findings: Backend['findings'] = (range, paging) => this.#page('findings', { ...range, ...paging });

  async verify(ledger: string): Promise<void> {
    await this.#ask('verify', {}, { ledger });
  }

  async acknowledge(ledger: string, finding: string, note: string): Promise<void> {
    await this.#ask('acknowledge', {}, { ledger, finding, note });
  }

  readonly approvals: ApprovalsBackend = {
    queue: () => this.#ask('approvals', {}),
    detail: (ledger, index) => this.#ask('approval', { ledger, index }),
    decisions: () => this.#page('decisions', {}),
    unlock: async (secret) => this.#answered(await this.#ask('unlock', {}, { secret })),
    decide: async (decision, requests) =>
      this.#answered(
        await this.#ask(
          'decide',
          {},
          { ...decision, requests: requests.map(({ ledger, request, commitment }) => ({ ledger, request, commitment })) },
        ),
      ),
  };

  #answered<Answer>(answer: Answer | undefined): Answer {
    if (answer === undefined) throw new AnswerError(404, 'This dashboard decides nothing.');
    return answer;
  }

  /** One stream for all that subscribe: a browser keeps few connections to a server, which all of its tabs share. */
  subscribe(changed: (change: Heard) => void): () => void {
    this.#changed.add(changed);
    if (this.#changed.size === 1) {
      document.addEventListener('visibilitychange', this.#attend);
      this.#attend();
    }
    return () => {
      this.#changed.delete(changed);
      if (this.#changed.size > 0) return;
      document.removeEventListener('visibilitychange', this.#attend);
      this.#giveUp?.();
      this.#giveUp = undefined;
      this.#close();
    };
  }

  /** A tab that is seen has a stream; of the others one. */
  readonly #attend = (): void => {
    if (!document.hidden) {
      this.#giveUp?.();
      this.#giveUp = undefined;
      this.#open();
      return;
    }
    this.#close();
    // a page that is not of this machine, unencrypted, has no locks: no hidden one of them is told
    if (!('locks' in navigator)) return;
    const waiting = new AbortController();
    const isSeen = new Promise<void>((done) => {
      this.#giveUp = () => {
        waiting.abort();
        done();
      };
    });
    const held = (): Promise<void> => {
      this.#open();
      return isSeen;
    };
    navigator.locks.request(hiddenStream, { signal: waiting.signal }, held).catch(() => undefined);
  };

  #close(): void {
    clearTimeout(this.#retry);
    this.#stream?.close();
    this.#stream = undefined;
  }

  #tell(change: Heard): void {
    for (const changed of this.#changed) changed(change);
  }

  #open(): void {
    if (this.#stream !== undefined) return;
    const stream = new EventSource(`${this.#base}stream`, { withCredentials: true });
    this.#stream = stream;
    stream.addEventListener('change', (event) => {
      try {
        const { data, lastEventId } = event as MessageEvent<string>;
        const change = JSON.parse(data) as Heard;
        // What an answer has overtaken is on the page, if not all of it: nobody is told of it as new, and everything is asked again that may lack it.
        this.#tell(isCovered(lastEventId, this.#told) ? { ...change, entries: 0, calls: 0, findings: 0, missed: true } : change);
      } catch {
        // what is no JSON says nothing new
      }
    });
    // what came between an answer and now, and what waits now, is not told to whoever comes, or comes back
    stream.addEventListener('open', () => {
      this.#retryMs = retryMs;
      this.#tell({ approvals: true, evidence: true, missed: true, isConnected: true });
    });
    stream.addEventListener('error', () => {
      if (this.#stream !== stream) return;
      this.#tell({ isConnected: false, evidence: true });
      // a browser comes back by itself, but for what was refused
      if (stream.readyState !== EventSource.CLOSED) return;
      this.#close();
      this.#retry = setTimeout(() => this.#open(), this.#retryMs);
      this.#retryMs = Math.min(retryMostMs, this.#retryMs * 2);
    });
  }
}

/** Whether a cursor of the live tail (entries told of each ledger) is at most another. */
function isCovered(cursor: string, by: string): boolean {
  const there = by.split('.').map(Number);
  const each = cursor.split('.').map(Number);
  return cursor !== '' && each.length === there.length && each.every((told, i) => told <= there[i]!);
}

/** `{"error":{"message":…}}`, as every error of the API. */
async function messageOf(answer: Response): Promise<string | undefined> {
  try {
    const { error } = (await answer.json()) as { error?: { message?: unknown } };
    return typeof error?.message === 'string' ? error.message : undefined;
  } catch {
    return undefined;
  }
}
