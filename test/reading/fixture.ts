/** A ledger with one of everything that the reading commands show, written by the real writer with fixed times, so that transcripts are stable. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { commitmentOf, segmentHash } from '../../src/entry/commitment.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { ContentItem } from '../../src/ledger/segment.ts';

type Fields = Record<string, unknown>;

export interface Place {
  folder: string;
  ledger: string;
  remove(): void;
}

/** A folder of its own for a ledger. */
export function place(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-reading-'));
  return { folder, ledger: join(folder, 'ledger'), remove: () => rmSync(folder, { recursive: true, force: true }) };
}

export const connection = `5f0c12ab${'0'.repeat(24)}`;
export const secondConnection = `77aa00ff${'0'.repeat(24)}`;

export class Writer {
  readonly ledger: Ledger;
  #nowUs: number;
  #salts = 0;
  readonly #seqs = new Map<string, number>();
  readonly #tapSeqs = new Map<string, [number, number]>();
  #waiting: Promise<void>[] = [];

  constructor(at: Place, startedAt = '2026-11-20T23:59:58.000Z') {
    this.#nowUs = Date.parse(startedAt) * 1000;
    const events = { flushed: () => undefined, recordable: () => undefined, fatal: (error: Error) => expectNone(error) };
    this.ledger = Ledger.open(at.ledger, join(at.folder, 'keys'), { from: 0, entry: () => undefined }, events);
  }

  /** Microseconds since 1970. */
  get nowUs(): number {
    return this.#nowUs;
  }

  /** Lets time pass. */
  wait(ms: number): void {
    this.#nowUs += ms * 1000;
  }

  #item(bytes: Uint8Array): ContentItem {
    const salt = new Uint8Array(16).fill(++this.#salts & 255);
    return { state: 'kept', salt, bytes };
  }

  /** An entry; its index. `frame` is its bytes, or several segments, each to be written as a part. */
  entry(fields: Fields, attributes: Fields = {}, frame?: Uint8Array | ContentItem[]): number {
    this.#nowUs += 1000;
    const seconds = new Date(Math.floor(this.#nowUs / 1000)).toISOString().slice(0, 19);
    const attributeItems = Object.entries(attributes).map(([name, value]) => this.#item(Buffer.from(JSON.stringify({ [name]: value }))));
    const entry: Fields = {
      v: 1,
      time: `${seconds}.${String(this.#nowUs % 1_000_000).padStart(6, '0')}Z`,
      monotonicUs: this.#nowUs % 1e12,
      ...fields,
    };
    const hashes = (items: ContentItem[]) =>
      items.map((item) => (item.state === 'kept' ? segmentHash(nodeCrypto, item.salt, item.bytes) : item.hash));
    const base64 = (items: ContentItem[]) => Buffer.from(commitmentOf(nodeCrypto, hashes(items))).toString('base64');
    if (attributeItems.length > 0) {
      entry['attributes'] = attributeItems.length;
      entry['attributesCommitment'] = base64(attributeItems);
    }
    const items = frame === undefined ? [] : frame instanceof Uint8Array ? [this.#item(frame)] : frame;
    if (frame !== undefined) {
      entry['sizeBytes'] = items.reduce((sum, item) => sum + (item.state === 'kept' ? item.bytes.length : item.sizeBytes), 0);
      entry['segments'] = items.length;
      entry['commitment'] = base64(items);
    }
    const index = this.ledger.nextIndex;
    this.#waiting.push(
      new Promise((resolve, reject) => {
        this.ledger.append(
          { leaf: Buffer.from(JSON.stringify(entry)), attributes: attributeItems, frame: items },
          { durable: () => resolve(), failed: reject },
        );
      }),
    );
    return index;
  }

  /** A part record for `entry`. */
  part(bytes: Uint8Array, unit: number): ContentItem {
    const salt = new Uint8Array(16).fill(7);
    const at = this.ledger.appendPart(
      { connection, direction: 1, unit, salt: Buffer.from(salt), bytes: Buffer.from(bytes) },
      { durable: () => undefined },
    );
    return { state: 'part', hash: segmentHash(nodeCrypto, salt, bytes), sizeBytes: bytes.length, ...at };
  }

  /** A message with what all of them have. `text` is the frame, or its segments; none for an item of a batch. */
  message(
    direction: 'c2s' | 's2c',
    fields: Fields,
    text?: string | Uint8Array | ContentItem[],
    attributes: Fields = {},
    id = connection,
    server = 'fs',
  ): number {
    const seq = (this.#seqs.get(id) ?? 0) + 1;
    this.#seqs.set(id, seq);
    const taps = this.#tapSeqs.get(id) ?? [0, 0];
    this.#tapSeqs.set(id, taps);
    const way = direction === 'c2s' ? 0 : 1;
    const delivered: [number, number] = [...taps];
    if (text !== undefined) taps[way] += Array.isArray(text) ? text.length : 1;
    const kind = 'items' in fields ? 'batch' : 'message';
    const own = {
      connection: id,
      stream: 0,
      seq,
      tapSeq: taps[way],
      direction,
      transport: 'stdio',
      server,
      verdict: 'pass',
      origin: way === 0 ? 'client' : 'server',
    };
    return this.entry({ kind, ...own, delivered, ...fields }, attributes, typeof text === 'string' ? Buffer.from(text) : text);
  }

  /** Until all entries so far are durable. */
  async settled(): Promise<void> {
    while (this.#waiting.length > 0) await Promise.all(this.#waiting.splice(0));
  }

  async close(): Promise<void> {
    await this.settled();
    await this.ledger.close();
  }
}

function expectNone(error: Error): never {
  throw error;
}

export function open(writer: Writer, id: string, server: string, custody = 'same-user'): void {
  writer.entry(
    {
      kind: 'open',
      connection: id,
      transport: 'stdio',
      server,
      mode: 'commit',
      onUnrecordable: 'block',
      custody,
      tap: { uid: 1000, pid: 41, source: 'SO_PEERCRED' },
      process: { pid: 42 },
      labels: {},
    },
    { argv: ['npx', '-y', server], cwd: '/home/ada' },
  );
}

/** Names that try to do something to the terminal of who reads them. */
export const hostileTool = 'rm\u001b[2J\u202eexe.\u200b\u009b31m';

/** Fills a ledger; the indexes of entries that tests ask for. */
export async function fill(
  writer: Writer,
): Promise<Record<'call' | 'write' | 'failed' | 'hanging' | 'cancel' | 'batch' | 'long' | 'opaque', number>> {
  const json = JSON.stringify;
  writer.entry({
    kind: 'start',
    ledger: writer.ledger.id,
    origin: writer.ledger.origin,
    vkey: writer.ledger.key.vkey,
    recorder: { version: '0.1.0', uid: 1000, pid: 40 },
    bootId: 'b',
  });
  open(writer, connection, 'fs');
  writer.entry({ kind: 'principal', connection, source: 'observed', uid: 1000, pid: 39 }, { user: 'ada', executable: '/usr/bin/agent' });
  const request = (fields: Fields, params: unknown, attributes?: Fields): number => {
    const { method, id } = fields as { method: string; id: string };
    const { ledger } = writer;
    return writer.message(
      'c2s',
      { type: 'request', era: 'legacy', exchange: ledger.nextIndex, effect: 'read', effectSource: 'default', ...fields },
      json({ jsonrpc: '2.0', id: JSON.parse(id) as unknown, method, params }),
      attributes,
    );
  };
  const reply = (exchange: number, fields: Fields, body: Fields, attributes?: Fields): number => {
    writer.wait(6);
    const text = json({ jsonrpc: '2.0', id: JSON.parse(String(fields['id'])) as unknown, ...body });
    return writer.message('s2c', { type: 'result', outcome: 'ok', era: 'legacy', exchange, durationUs: 7000, ...fields }, text, attributes);
  };
  const clientInfo = { name: 'agent', version: '2.1.0' };
  const serverInfo = { name: 'secure-filesystem-server', version: '0.2.0' };
  const initialize = request(
    { id: '0', method: 'initialize', protocolVersion: '2025-11-25' },
    { protocolVersion: '2025-11-25', capabilities: {}, clientInfo },
    { clientInfo },
  );
  reply(
    initialize,
    { id: '0', method: 'initialize', protocolVersion: '2025-11-25' },
    { result: { protocolVersion: '2025-11-25', serverInfo } },
    { serverInfo },
  );
  writer.message(
    'c2s',
    { type: 'notification', method: 'notifications/initialized', era: 'legacy' },
    '{"method":"notifications/initialized","jsonrpc":"2.0"}',
  );
  writer.wait(1500);
  const tool = (id: string, target: string, effects: Fields, args: unknown): number =>
    request({ id, method: 'tools/call', target, effectSource: 'annotation', ...effects }, { name: target, arguments: args });
  const call = tool('1', 'read_file', { effect: 'read' }, { path: '/srv/rapport-é.txt' });
  reply(
    call,
    { id: '1', method: 'tools/call', target: 'read_file' },
    { result: { content: [{ type: 'text', text: 'zwölf\n"Boxkämpfer" \u202e' }] } },
  );
  const write = tool('"a"', 'write_file', { effect: 'write', destructive: true, sensitive: true }, { path: '/srv/x', content: 'secret' });
  const failed = reply(
    write,
    { id: '"a"', method: 'tools/call', target: 'write_file', outcome: 'toolError', durationUs: 1_234_000 },
    { result: { isError: true, content: [] } },
  );
  const hostile = tool('2', hostileTool, { effect: 'unknown', effectSource: 'default' }, {});
  reply(
    hostile,
    { id: '2', method: 'tools/call', target: hostileTool, type: 'error', outcome: 'error', code: -32602 },
    { error: { code: -32602, message: 'no' } },
  );
  const hanging = tool('3', 'move_file', { effect: 'write', destructive: true }, { from: 'a', to: 'b' });
  const cancelled = tool('4', 'search_files', { effect: 'read' }, { pattern: '*' });
  const cancel = writer.message(
    'c2s',
    { type: 'notification', method: 'notifications/cancelled', era: 'legacy', exchange: cancelled },
    '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}',
  );
  const items = ['{"jsonrpc":"2.0","id":5,"method":"ping"}', '{"jsonrpc":"2.0","method":"notifications/progress"}'];
  const text = `[${items.join(',')}]`;
  const batch = writer.message('c2s', { items: 2 }, text);
  const first: [number, number] = [1, 1 + items[0]!.length];
  const item = (fields: Fields, range: [number, number]): number =>
    writer.message('c2s', { era: 'legacy', batch, range, sizeBytes: range[1] - range[0], ...fields });
  item({ type: 'request', id: '5', method: 'ping', item: 0, exchange: writer.ledger.nextIndex, effect: 'read', effectSource: 'default' }, first);
  item({ type: 'notification', method: 'notifications/progress', item: 1 }, [first[1] + 1, text.length - 1]);
  const opaque = writer.message('s2c', { type: 'opaque', anomalies: ['not-json', 'invalid-utf8'] }, Uint8Array.of(0x68, 0x69, 0xff, 0x1b, 0x5b));
  const parts = [Buffer.from(`{"jsonrpc":"2.0","id":3,"result":{"text":"${'x'.repeat(40_000)}nee`), Buffer.from(`dle${'y'.repeat(40_000)}"}}`)];
  const long = writer.message(
    's2c',
    { type: 'result', id: '99', outcome: 'ok', era: 'legacy', anomalies: ['reply-to-nothing'], parts: 2 },
    parts.map((bytes, i) => writer.part(bytes, 50 + i)),
  );
  writer.entry({ kind: 'gap', connection, reason: 'disk full', lost: { c2s: 2, s2c: 1 } });
  open(writer, secondConnection, 'memory', 'separate-user');
  writer.message(
    'c2s',
    {
      type: 'request',
      id: '1',
      method: 'tools/list',
      era: 'modern',
      protocolVersion: '2026-07-28',
      exchange: writer.ledger.nextIndex,
      effect: 'read',
      effectSource: 'default',
    },
    '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    {},
    secondConnection,
    'memory',
  );
  writer.entry({ kind: 'close', connection, reason: 'server exited', exitCode: 3, frames: { c2s: 9, s2c: 8 }, delivered: [9, 5] });
  writer.entry({ kind: 'recovery', reason: 'torn-record', cutBytes: 12 });
  await writer.settled();
  return { call, write, failed, hanging, cancel, batch, long, opaque };
}
