/**
 * The parsed view of one frame (JSON-RPC 2.0 §4–6, MCP 2024-11-05 to 2026-07-28). Reading never throws: what is not a message is `opaque`, with
 * the anomaly that says why. The bytes themselves are not kept here and never changed.
 */
import { unitBytes } from '../limits.ts';
import { scanFrame, Scanner, type Scan, type Token } from './scan.ts';
import { concat } from '../bytes/bytes.ts';

export type MessageType = 'request' | 'notification' | 'result' | 'error' | 'opaque';
export type Era = 'legacy' | 'modern';
export type Outcome = 'ok' | 'error' | 'toolError';
export type Direction = 'c2s' | 's2c';
/** The anomalies of `spec/entry.md` that a frame alone can show, those that `Exchanges` adds, and what HTTP says of how a frame is to be read. */
export type Anomaly =
  | 'not-json'
  | 'not-jsonrpc'
  | 'invalid-utf8'
  | 'duplicate-key'
  | 'case-variant-key'
  | 'too-deep'
  | 'id-reused'
  | 'id-not-scalar'
  | 'reply-to-nothing'
  | 'nul-byte'
  | 'too-many-items'
  | 'other-charset';

export interface Target {
  kind: 'tool' | 'prompt' | 'resource';
  /** The full name or URI, up to 64 KiB. */
  value: string;
}

export interface Message {
  type: MessageType;
  /** The raw JSON token of the id, whole up to `limits.pairedIdBytes`. Absent when there is none or it is an object or array. */
  id?: string;
  /** Equal for ids that a JavaScript peer takes for the same; absent when the message cannot be paired (no id, null, not a scalar, too long). */
  idKey?: string;
  /** Of requests and notifications. */
  method?: string;
  target?: Target;
  /** Of requests and notifications. A reply has the era of the request that it answers (`spec/entry.md`). */
  era?: Era;
  /** Of `initialize` and modern requests. On results: what `result.protocolVersion` says, which means something only in answer to `initialize`. */
  protocolVersion?: string;
  /** Of results and errors. */
  outcome?: Outcome;
  /** Of errors: the JSON-RPC code, when it is a safe integer. */
  code?: number;
  resultType?: string;
  /** Of `notifications/cancelled`: the `idKey` of the request that it names. */
  cancels?: string;
  /** Fields above that hold only a beginning of what the message says. */
  cut?: ('id' | 'method' | 'target')[];
  anomalies: Anomaly[];
}

export interface Batch {
  type: 'batch';
  /** The items in order, with their range [start, end) in the frame's bytes. At most `limits.batchItems`, at least one. */
  items: { range: [number, number]; message: Message }[];
  /** Of the frame as a whole; items have their own. */
  anomalies: Anomaly[];
}

/**
 * The message in a whole frame, or the batch (a top-level array, JSON-RPC 2.0 §6, MCP 2025-03-26). An empty array and one of more than
 * `limits.batchItems` items are opaque.
 */
export function readMessage(frame: Uint8Array): Message | Batch {
  const scan = scanFrame(frame);
  return scan.reason === undefined && scan.top === 'array' ? batchOf(scan, frame) : messageOf(scan);
}

/**
 * Reads a frame that comes in chunks, in constant memory. The result is that of `readMessage` on the whole, with one exception: a batch longer than
 * `limits.unitBytes` is opaque with `too-many-items`, because its items would have to be kept to be read.
 */
export class MessageReader {
  readonly #scanner = new Scanner();
  #kept: Uint8Array[] | undefined = [];
  #sizeBytes = 0;

  /** The chunk may be reused by the caller afterwards. */
  push(chunk: Uint8Array): void {
    this.#scanner.push(chunk);
    this.#sizeBytes += chunk.length;
    if (this.#kept === undefined) return;
    if (this.#scanner.maybeArray && this.#sizeBytes <= unitBytes) this.#kept.push(chunk.slice());
    else this.#kept = undefined;
  }

  /** Call once, after the last chunk. */
  end(): Message | Batch {
    const scan = this.#scanner.end();
    if (scan.reason !== undefined || scan.top !== 'array') return messageOf(scan);
    if (this.#kept === undefined) return opaque(scan, 'too-many-items');
    return batchOf(scan, joined(this.#kept));
  }
}

function joined(chunks: Uint8Array[]): Uint8Array {
  let whole: Uint8Array[] = chunks;
  // a call takes only so many arguments
  while (whole.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i < whole.length; i += 1024) next.push(concat(...whole.slice(i, i + 1024)));
    whole = next;
  }
  return whole[0] ?? new Uint8Array(0);
}

function batchOf(scan: Scan, frame: Uint8Array): Message | Batch {
  if (scan.tooManyItems) return opaque(scan, 'too-many-items');
  if (scan.items.length === 0) return opaque(scan, 'not-jsonrpc');
  const items: Batch['items'] = [];
  for (let i = 0; i < scan.items.length; i += 2) {
    const start = scan.items[i]!;
    let end = scan.items[i + 1]!;
    while (isSpace(frame[end - 1]!)) end--;
    // an item that is an array again is no message (JSON-RPC 2.0 §6 has no nested batches)
    items.push({ range: [start, end], message: messageOf(scanFrame(frame.subarray(start, end))) });
  }
  return { type: 'batch', items, anomalies: anomaliesOf(scan) };
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function anomaliesOf(scan: Scan): Anomaly[] {
  const anomalies: Anomaly[] = [];
  if (scan.reason !== undefined) anomalies.push(scan.reason);
  if (scan.invalidUtf8) anomalies.push('invalid-utf8');
  if (scan.duplicateKey) anomalies.push('duplicate-key');
  if (scan.caseVariantKey) anomalies.push('case-variant-key');
  if (scan.nulByte) anomalies.push('nul-byte');
  return anomalies;
}

function opaque(scan: Scan, why?: Anomaly): Message {
  const anomalies = anomaliesOf(scan);
  if (why !== undefined) anomalies.unshift(why);
  return { type: 'opaque', anomalies };
}

function messageOf(scan: Scan): Message {
  if (scan.reason !== undefined) return opaque(scan);
  if (scan.top !== 'object') return opaque(scan, 'not-jsonrpc');
  const { id, method, result, error } = scan.facts;
  const anomalies = anomaliesOf(scan);
  let message: Message;
  if (method?.kind === 'string') {
    message = { type: id === undefined ? 'notification' : 'request', anomalies };
    readCall(scan, message, method);
  } else if (error !== undefined && (error.kind !== 'null' || result === undefined)) {
    // an error may lack its id when the request's could not be read (MCP 2025-11-25, JSONRPCErrorResponse)
    message = { type: 'error', outcome: 'error', anomalies };
    const code = scan.facts.code;
    const number = code?.kind === 'number' && !code.cut ? Number(code.text) : Number.NaN;
    if (Number.isSafeInteger(number)) message.code = number + 0;
  } else if (result !== undefined && id !== undefined) {
    message = { type: 'result', outcome: scan.facts.isError?.kind === 'true' ? 'toolError' : 'ok', anomalies };
    if (scan.facts.resultType?.kind === 'string') message.resultType = scan.facts.resultType.value;
    if (scan.facts.resultProtocolVersion?.kind === 'string') message.protocolVersion = scan.facts.resultProtocolVersion.value;
  } else {
    message = { type: 'opaque', anomalies };
  }
  readId(message, id);
  // peers differ in what they make of these, so they keep their type and are marked
  const isMixed = (method?.kind === 'string' && (result !== undefined || error !== undefined)) || (result !== undefined && error !== undefined);
  if (message.type === 'opaque' || isMixed || scan.facts.jsonrpc?.kind !== 'string' || scan.facts.jsonrpc.value !== '2.0')
    anomalies.unshift('not-jsonrpc');
  return message;
}

function readCall(scan: Scan, message: Message, method: Token): void {
  const { name, uri, requestId, protocolVersion, metaProtocolVersion } = scan.facts;
  message.method = method.value;
  if (method.cut) (message.cut ??= []).push('method');
  const nul = method.value.includes('\0') || (name?.value.includes('\0') ?? false) || (uri?.value.includes('\0') ?? false);
  if (nul) mark(message, 'nul-byte');
  const target = targetOf(method.value, name, uri);
  if (target !== undefined) {
    message.target = { kind: target.kind, value: target.token.value };
    if (target.token.cut) (message.cut ??= []).push('target');
  }
  message.era = metaProtocolVersion?.kind === 'string' ? 'modern' : 'legacy';
  if (metaProtocolVersion?.kind === 'string') message.protocolVersion = metaProtocolVersion.value;
  else if (method.value === 'initialize' && protocolVersion?.kind === 'string') message.protocolVersion = protocolVersion.value;
  if (method.value === 'notifications/cancelled' && requestId !== undefined) {
    const key = idKeyOf(requestId);
    if (key !== undefined) message.cancels = key;
  }
}

function targetOf(method: string, name: Token | undefined, uri: Token | undefined): { kind: Target['kind']; token: Token } | undefined {
  switch (method) {
    case 'tools/call':
      return name?.kind === 'string' ? { kind: 'tool', token: name } : undefined;
    case 'prompts/get':
      return name?.kind === 'string' ? { kind: 'prompt', token: name } : undefined;
    case 'resources/read':
    case 'resources/subscribe':
    case 'resources/unsubscribe':
    case 'notifications/resources/updated':
      return uri?.kind === 'string' ? { kind: 'resource', token: uri } : undefined;
    default:
      return undefined;
  }
}

function readId(message: Message, id: Token | undefined): void {
  if (id === undefined) return;
  if (id.kind === 'object' || id.kind === 'array' || id.kind === 'true' || id.kind === 'false') mark(message, 'id-not-scalar');
  if (id.text !== '') message.id = id.text;
  if (id.cut) (message.cut ??= []).push('id');
  if (id.value.includes('\0')) mark(message, 'nul-byte');
  const key = idKeyOf(id);
  if (key !== undefined) message.idKey = key;
}

function mark(message: Message, anomaly: Anomaly): void {
  if (!message.anomalies.includes(anomaly)) message.anomalies.push(anomaly);
}

/**
 * The typed key of an id: numbers by their value up to 2^53 - 1 (`1`, `1.0`, `1e0` are one), beyond it by their token, because there two
 * readers may round differently; strings by their decoded text. A number and a string never have the same key.
 */
function idKeyOf(id: Token): string | undefined {
  if (id.cut) return undefined;
  if (id.kind === 'string') return `s${id.value}`;
  if (id.kind !== 'number') return undefined;
  const number = Number(id.text);
  // adding 0 makes -0 a 0
  return Math.abs(number) <= Number.MAX_SAFE_INTEGER ? `n${number + 0}` : `r${id.text}`;
}
