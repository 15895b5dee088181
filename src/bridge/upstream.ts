/**
 * HTTP to one MCP endpoint: connects, sends, and gives the answer as soon as its head is there. There is a time for the connection and one for the first
 * byte; behind it none, because a stream may be silent for hours.
 */
import { Agent as HttpAgent, request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

export interface UpstreamOptions {
  url: URL;
  headers: readonly (readonly [name: string, value: string])[];
  /** PEM; in addition to nothing: certificates of others are then refused. */
  ca?: string;
  connectTimeoutMs: number;
  answerTimeoutMs: number;
}

/** No answer came. `message` names no credential. */
export class NoAnswer extends Error {
  readonly reason: 'failed' | 'timeout';

  constructor(reason: 'failed' | 'timeout', message: string) {
    super(message);
    this.reason = reason;
  }
}

export interface Sending {
  url?: URL;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array;
  signal?: AbortSignal;
  /** It may take as long as it likes until something comes. */
  patient?: boolean;
}

/** An idle connection is given up before servers do it (Node's after five seconds): one that ends under a request leaves open whether it was heard. */
const idleMs = 4_000;
const keepAliveMs = 30_000;
const maxRedirects = 5;

export class Upstream {
  readonly url: URL;
  readonly #options: UpstreamOptions;
  readonly #agent: HttpAgent;
  readonly #secrets: readonly string[];

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.url = new URL(options.url);
    const agent = { keepAlive: true, timeout: idleMs, maxFreeSockets: 8 };
    this.#agent =
      this.url.protocol === 'https:' ? new HttpsAgent({ ...agent, ...(options.ca === undefined ? {} : { ca: options.ca }) }) : new HttpAgent(agent);
    this.#secrets = secretsOf(options);
  }

  #has(header: string): boolean {
    return this.#options.headers.some(([name]) => name.toLowerCase() === header);
  }

  /** From the address, where no header says otherwise. */
  get #authorization(): string | undefined {
    const { username, password } = this.#options.url;
    if ((username === '' && password === '') || this.#has('authorization')) return undefined;
    return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64')}`;
  }

  /** A text of others, without what we sent them in confidence. */
  withoutSecrets(text: string): string {
    return this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, '[credential]'), text);
  }

  /**
   * The answer, with its body unread. Redirects within the origin are followed, method and body unchanged.
   * @throws NoAnswer
   */
  async send(method: 'POST' | 'GET' | 'DELETE', sending: Sending): Promise<IncomingMessage> {
    let url = sending.url ?? this.url;
    for (let redirects = 0; ; redirects++) {
      // oxlint-disable-next-line no-await-in-loop -- one redirect after the other
      const answer = await this.#once(method, url, sending);
      const { location } = answer.headers;
      if (![301, 302, 307, 308].includes(answer.statusCode!) || location === undefined || redirects === maxRedirects) return answer;
      const next = URL.parse(location, url.href);
      // our headers are for this origin; whoever reads of the answer is told where it leads
      if (next === null || next.origin !== url.origin) return answer;
      answer.resume();
      url = next;
    }
  }

  #once(method: string, url: URL, { headers = {}, body, signal, patient = false }: Sending): Promise<IncomingMessage> {
    const { connectTimeoutMs, answerTimeoutMs } = this.#options;
    return new Promise((done, failed) => {
      let timer: NodeJS.Timeout | undefined;
      const options: RequestOptions = {
        method,
        agent: this.#agent,
        headers: [
          ...Object.entries(headers),
          // the decoded forms cost nothing to us, and everything that is recorded is seen as it came
          ['Accept-Encoding', 'identity'] as const,
          ...(body === undefined ? [] : [['Content-Length', String(body.length)] as const]),
          ...(this.#has('user-agent') ? [] : [['User-Agent', 'sworn'] as const]),
          ...(this.#has('host') ? [] : [['Host', url.host] as const]),
          ...(this.#authorization === undefined ? [] : [['Authorization', this.#authorization] as const]),
          ...this.#options.headers,
        ].flat(),
      };
      let request: ClientRequest;
      const fail = (reason: NoAnswer['reason'], message: string): void => {
        clearTimeout(timer);
        failed(new NoAnswer(reason, message));
      };
      const within = (limitMs: number, what: string): void => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          fail('timeout', `${what} ${this.url.origin} within ${limitMs / 1000} s`);
          request.destroy();
        }, limitMs);
      };
      const connected = (): void => {
        if (patient) clearTimeout(timer);
        else within(answerTimeoutMs, 'no answer from');
      };
      request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, options, (answer) => {
        clearTimeout(timer);
        // read or not, its end is met where it is read
        answer.on('error', () => undefined);
        done(answer);
      });
      request.on('socket', (socket) => {
        socket.setKeepAlive(true, keepAliveMs);
        if (!socket.connecting) connected();
        else {
          within(connectTimeoutMs, 'no connection to');
          socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', connected);
        }
      });
      // not as an option: Node would bind it to the connection too, which others use after us
      const stop = (): void => {
        fail('failed', 'stopped');
        request.destroy();
      };
      if (signal?.aborted === true) stop();
      else signal?.addEventListener('abort', stop);
      request.on('close', () => signal?.removeEventListener('abort', stop));
      request.on('error', (error: NodeJS.ErrnoException) =>
        fail('failed', `${this.url.origin} cannot be reached: ${this.withoutSecrets(reasonOf(error))}`),
      );
      request.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function reasonOf(error: NodeJS.ErrnoException & { errors?: Error[] }): string {
  // several addresses were tried
  const text = error.message === '' ? (error.errors?.map(({ message }) => message).join('; ') ?? error.code ?? 'unknown') : error.message;
  const isCertificate = /SELF_SIGNED|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/.test(error.code ?? '');
  return isCertificate ? `${text} (give the certificate of its authority with --ca)` : text;
}

/** Of headers their values, whole and behind the scheme; of the address what stands in front of the host and in its parameters. Shorter ones are words. */
function secretsOf({ url, headers }: UpstreamOptions): string[] {
  const values = headers.flatMap(([, value]) => [value, value.replace(/^\S+ +/, '')]);
  const secrets = [...values, url.password, decoded(url.password), ...url.searchParams.values()];
  return [...new Set(secrets)].filter((secret) => secret.length >= 6).toSorted((a, b) => b.length - a.length);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
