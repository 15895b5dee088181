/** Writes conversations down as they go over the wire: what a client and a server of either era say, with times. */
import type { Beginning, Happening } from './replay.ts';

export interface Definition {
  name: string;
  description?: string;
  readOnly?: boolean;
  destructive?: boolean;
  properties?: Record<string, unknown>;
}

/** What a server answers: a text, structured content, a result that says that it is an error, a JSON-RPC error, or nothing at all. */
export type Answer = string | { structured: unknown } | { toolError: string } | { error: string; code?: number } | { raw: object } | undefined;

const legacyVersion = '2025-06-18';
const modernVersion = '2026-07-28';

export class Talk {
  readonly beginning: Beginning;
  readonly happenings: Happening[] = [];
  readonly #isModern: boolean;
  #at = 0;
  #id = 0;
  #stream = 0;
  #headers: [string, string][] = [];

  constructor(session: string, server: string, more: Omit<Beginning, 'session' | 'server'> & { era?: 'modern' } = {}) {
    const { era, ...rest } = more;
    this.beginning = { session, server, ...rest };
    this.#isModern = era === 'modern';
  }

  /** Lets time pass, ms. */
  wait(ms: number): this {
    this.#at += ms;
    return this;
  }

  /** The two sides introduce themselves; `tools` are listed. */
  hello(tools?: Definition[], serverVersion = '1.0.0'): this {
    const serverInfo = { name: this.beginning.server, version: serverVersion };
    if (this.#isModern) {
      this.ask(
        'server/discover',
        {},
        { raw: { supportedVersions: [modernVersion], capabilities: { tools: {} }, _meta: { 'io.modelcontextprotocol/serverInfo': serverInfo } } },
      );
    } else {
      const params = { protocolVersion: legacyVersion, capabilities: {}, clientInfo: { name: 'agent', version: '1.0.0' } };
      this.ask('initialize', params, { raw: { protocolVersion: legacyVersion, capabilities: { tools: {} }, serverInfo } });
      this.say({ method: 'notifications/initialized' });
    }
    if (tools !== undefined) this.list(tools);
    return this;
  }

  list(tools: Definition[]): this {
    const listed = tools.map(({ name, description, readOnly, destructive, properties = {} }) => ({
      name,
      description: description ?? name.replaceAll('_', ' '),
      inputSchema: { type: 'object', properties },
      annotations: {
        ...(readOnly === undefined ? {} : { readOnlyHint: readOnly }),
        ...(destructive === undefined ? {} : { destructiveHint: destructive }),
      },
    }));
    return this.ask('tools/list', {}, { raw: { tools: listed } });
  }

  call(name: string, args: object, answer: Answer, tookMs = 40): this {
    return this.ask('tools/call', { name, arguments: args }, answer, tookMs);
  }

  /** A request of the client and its answer. */
  ask(method: string, params: object, answer: Answer, tookMs = 40): this {
    const id = ++this.#id;
    const meta = this.#isModern
      ? {
          _meta: {
            'io.modelcontextprotocol/protocolVersion': modernVersion,
            'io.modelcontextprotocol/clientInfo': { name: 'agent', version: '1.0.0' },
          },
        }
      : {};
    if (this.beginning.transport === 'http') this.#stream++;
    this.#put({ c2s: { jsonrpc: '2.0', id, method, params: { ...params, ...meta } } });
    this.#at += tookMs;
    if (answer !== undefined) this.#put({ s2c: { jsonrpc: '2.0', id, ...this.#reply(answer) } });
    this.#at += 400;
    return this;
  }

  /** What the client's requests over HTTP say from now on in headers that are kept. */
  headed(...headers: [string, string][]): this {
    this.#headers = headers;
    return this;
  }

  /** A notification of the client's. */
  say(message: object): this {
    if (this.beginning.transport === 'http') this.#stream++;
    this.#put({ c2s: { jsonrpc: '2.0', ...message } });
    return this;
  }

  /** A frame of the server's, as it is. */
  told(frame: unknown): this {
    this.#put({ s2c: frame });
    return this;
  }

  skip(c2s: number, s2c: number): this {
    this.happenings.push({ at: this.#at, skip: [c2s, s2c] });
    return this;
  }

  entry(entry: Record<string, unknown>): this {
    this.happenings.push({ at: this.#at, entry });
    return this;
  }

  /** A call that a person was asked about, and what was decided: as entries, since nobody can be asked here. */
  asked(target: string, decision: string, more: object = {}, approval: object = {}): this {
    const frame = { connection: true, stream: 0, tapSeq: true, transport: 'stdio', server: this.beginning.server };
    const content = { sizeBytes: 2, segments: 1, commitment: `${'A'.repeat(43)}=` };
    const call = { id: '"asked"', method: 'tools/call', target, effect: 'write', effectSource: 'override' };
    const request = {
      kind: 'message',
      ...frame,
      direction: 'c2s',
      origin: 'client',
      type: 'request',
      ...call,
      exchange: true,
      verdict: 'ask',
      rule: 'pay',
    };
    this.entry({ ...request, ...content, ...more }).wait(8_000);
    const decided = { kind: 'approval', connection: true, request: 'asked', rule: 'pay', decision, commitment: content.commitment, waitedMs: 8_000 };
    this.entry({ ...decided, how: 'command', by: { uid: 1000, pid: 7 }, ...approval }).wait(40);
    if (decision !== 'approved') return this;
    const reply = {
      kind: 'message',
      ...frame,
      direction: 's2c',
      origin: 'server',
      type: 'result',
      id: call.id,
      method: 'tools/call',
      exchange: 'asked',
    };
    return this.entry({ ...reply, outcome: 'ok', verdict: 'pass', ...content });
  }

  close(reason = 'client closed'): this {
    return this.entry({ kind: 'close', connection: true, reason });
  }

  /** NDJSON. */
  get text(): string {
    return [this.beginning, ...this.happenings].map((line) => `${JSON.stringify(line)}\n`).join('');
  }

  #put(said: Pick<Happening, 'c2s' | 's2c'>): void {
    const http =
      this.beginning.transport === 'http'
        ? {
            stream: this.#stream,
            head:
              said.c2s === undefined
                ? { status: 200 }
                : { method: 'POST', path: '/mcp', ...(this.#headers.length === 0 ? {} : { headers: this.#headers }) },
          }
        : {};
    this.happenings.push({ at: this.#at, ...http, ...said });
  }

  #reply(answer: Exclude<Answer, undefined>): object {
    const type = this.#isModern ? { resultType: 'complete' } : {};
    if (typeof answer === 'string') return { result: { ...type, content: [{ type: 'text', text: answer }] } };
    if ('structured' in answer)
      return { result: { ...type, content: [{ type: 'text', text: JSON.stringify(answer.structured) }], structuredContent: answer.structured } };
    if ('toolError' in answer) return { result: { ...type, content: [{ type: 'text', text: answer.toolError }], isError: true } };
    if ('raw' in answer) return { result: { ...type, ...answer.raw } };
    return { error: { code: answer.code ?? -32_602, message: answer.error } };
  }
}
