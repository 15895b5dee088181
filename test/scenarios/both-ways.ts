/**
 * One conversation over stdio and over HTTP: the same frames of a client, the same answers of a server, and what each got and what was recorded in a form that can be
 * compared. What stdio and HTTP say differently about the same message (transport, streams, heads) is left out; nothing else is.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SseCutter } from '../../src/frames/sse.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { decideAt, waitingAt } from './approving.ts';
import { ProxyProgram, bodyOf, serving, written } from './proxy-program.ts';
import { Stage, type Puppet, type Tap } from './stage.ts';

/** How the server answers over HTTP: with one body, or with events. */
export const ways = ['stdio', 'http body', 'http events'] as const;
export type Way = (typeof ways)[number];

export interface Script {
  /** The configuration of the recorder. */
  config: object;
  /** Words for `run` and `proxy`. */
  options?: string[];
  /** What the server says when it has got a frame: by itself first, then its answer. Without a word of it, it answers each request with nothing in particular. */
  answers?: (frame: string) => Said | undefined;
  /** What happens, frame by frame. */
  talk: (side: Side) => Promise<void>;
  stage?: Stage;
}

interface Said {
  own?: string[];
  answer?: string;
  /** The answer comes with that of a later frame. */
  isHeld?: boolean;
  /** To what was held. */
  late?: string;
}

export interface Side {
  readonly stage: Stage;
  /** The client says it, and all that comes of it has come. */
  say(frame: string | Buffer): Promise<void>;
  /** The client says it. */
  begin(frame: string): void;
  /** Waits until so many requests wait for a person, and decides over the oldest of them. */
  decide(decision: 'approved' | 'denied' | 'none', waiting?: number): Promise<void>;
  /** Waits until the client or the server has a frame with this text. */
  until(who: 'client' | 'server', text: string): Promise<void>;
}

export interface Outcome {
  server: string[];
  client: string[];
  recorded: Record<string, unknown>[];
}

const fields = [
  ...['direction', 'type', 'id', 'method', 'target', 'era', 'effect', 'effectSource', 'sensitive', 'destructive', 'origin', 'outcome', 'code'],
  ...['verdict', 'rule', 'reason', 'shadow', 'problem', 'capture', 'redacted', 'anomalies', 'truncated', 'item', 'sizeBytes', 'segments'],
  ...['payload', 'payloadBase64', 'redactions', 'payloadRedactedBytes', 'payloadUncapturedBytes', 'lost'],
  ...['decision', 'how', 'selfApproved'],
];

/** Indexes differ where HTTP has an entry without a message. */
const plain = (text: string): string => text.replaceAll(/(\\?"index\\?":)\d+/g, '$10');

interface Json {
  [name: string]: unknown;
}

const itemsOf = (frame: string): Json[] => {
  try {
    return [JSON.parse(frame) as Json].flat().filter((one) => typeof one === 'object' && one !== null);
  } catch {
    return [];
  }
};

/** Every request is answered. */
function usual(frame: string): Said | undefined {
  const requests = itemsOf(frame).filter(({ id, method }) => id !== undefined && method !== undefined);
  const replies = requests.map(({ id }) => ({ jsonrpc: '2.0', id, result: { content: [] } }));
  if (replies.length === 0) return undefined;
  return { answer: JSON.stringify(frame.trimStart().startsWith('[') ? replies : replies[0]) };
}

const marker = (n: number): string => JSON.stringify({ jsonrpc: '2.0', id: `sync ${n}`, method: 'sync' });
const isMarker = (text: string): boolean => text.includes('"sync ');

export async function converse(way: Way, script: Script): Promise<Outcome> {
  const stage = script.stage ?? new Stage();
  const config = written(stage, 'sworn.yaml', script.config);
  const got = { server: [] as string[], client: [] as string[] };
  const answers = (frame: string): Said | undefined => (isMarker(frame) ? undefined : script.answers?.(frame)) ?? usual(frame);
  const until = async (who: 'client' | 'server', text: string): Promise<void> => {
    while (!got[who].some((one) => one.includes(text))) await sleep(5);
  };
  const words = ['--config', config, '--name', 'db', ...(script.options ?? [])];
  const end =
    way === 'stdio' ? await overStdio(stage, words, script, got, answers, until) : await overHttp(way, stage, words, script, got, answers, until);
  await end();
  const { stdout } = await stage.command('log', '--json', '--payload', '--ledger', stage.ledger);
  const all = stdout
    .split('\n')
    .filter(Boolean)
    .map((one) => JSON.parse(one) as Json);
  const recorded = all
    .filter(
      ({ kind, type, method }) =>
        (kind === 'message' && type !== 'http' && method !== 'sync') || kind === 'batch' || kind === 'gap' || kind === 'approval',
    )
    // what we say ourselves is as long as the index in it
    .map((entry) => (entry['origin'] === 'sworn' ? { ...entry, sizeBytes: undefined } : entry))
    .map((entry) => Object.fromEntries(['kind', ...fields].filter((name) => entry[name] !== undefined).map((name) => [name, entry[name]])));
  const others = (frames: string[]): string[] => frames.filter((one) => !isMarker(one)).map(plain);
  // what is refused of a batch is a line for each item on stdio, and one document over HTTP
  const told = got.client.flatMap((one) => (one.startsWith('[') ? itemsOf(one).map((item) => JSON.stringify(item)) : [one]));
  return {
    server: others(got.server),
    client: others(told),
    recorded: JSON.parse(plain(JSON.stringify(recorded))) as Json[],
  };
}

/** As whoever may, once so many wait. */
async function decide(stage: Stage, decision: 'approved' | 'denied' | 'none', waiting = 1): Promise<void> {
  const socket = socketPathOf(stage.ledger);
  const [oldest] = await waitingAt(socket, waiting);
  if (decision !== 'none') await decideAt(socket, oldest!, decision);
}

type Got = { server: string[]; client: string[] };
type Until = Side['until'];

/** What is started has a parent of its own, so that this process is no tapped client and may administrate. */
const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];

async function overStdio(
  stage: Stage,
  words: string[],
  script: Script,
  got: Got,
  answers: (frame: string) => Said | undefined,
  until: Until,
): Promise<() => Promise<void>> {
  const { tap, server }: { tap: Tap; server: Puppet } = await stage.puppet({ options: words, before: apart });
  let [fromClient, fromServer] = ['', ''];
  server.socket.on('data', (chunk: Buffer) => {
    const lines = (fromClient + chunk.toString('latin1')).split('\n');
    fromClient = lines.pop()!;
    for (const latin of lines) {
      const frame = Buffer.from(latin, 'latin1').toString();
      got.server.push(frame);
      const { own = [], answer, isHeld, late } = answers(frame) ?? {};
      const said = [...own, ...(late === undefined ? [] : [late]), ...(answer === undefined || isHeld === true ? [] : [answer])];
      if (said.length > 0) void server.write(said.map((one) => `${one}\n`).join(''));
    }
  });
  tap.process.stdout!.on('data', (chunk: Buffer) => {
    const lines = (fromServer + chunk.toString('latin1')).split('\n');
    fromServer = lines.pop()!;
    got.client.push(...lines.map((latin) => Buffer.from(latin, 'latin1').toString()));
  });
  let count = 0;
  const sync = async (): Promise<void> => {
    const n = ++count;
    await tap.write(`${marker(n)}\n`);
    await until('client', `"sync ${n}"`);
  };
  const write = (frame: string | Buffer): Promise<void> => tap.write(Buffer.concat([Buffer.from(frame), Buffer.from('\n')]));
  await sync();
  await script.talk({
    stage,
    until,
    decide: (...what) => decide(stage, ...what),
    begin: (frame) => void write(frame),
    say: async (frame) => {
      await write(frame);
      await sync();
    },
  });
  return async () => {
    await tap.close();
  };
}

async function overHttp(
  way: Way,
  stage: Stage,
  words: string[],
  script: Script,
  got: Got,
  answers: (frame: string) => Said | undefined,
  until: Until,
): Promise<() => Promise<void>> {
  let release: (late: string) => void = () => undefined;
  const event = (data: string): string => `data: ${data}\n\n`;
  const { port } = await serving((request, response) => {
    void (async () => {
      const frame = await bodyOf(request);
      got.server.push(frame);
      const { own = [], answer, isHeld = false, late } = answers(frame) ?? {};
      if (late !== undefined) release(late);
      if (answer === undefined && own.length === 0) {
        response.writeHead(202).end();
        return;
      }
      if (way === 'http body' && own.length === 0) {
        response.writeHead(200, { 'Content-Type': 'application/json' }).end(answer);
        return;
      }
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (const one of own) response.write(event(one));
      const last = isHeld ? await new Promise<string>((done) => (release = done)) : answer;
      response.end(last === undefined ? '' : event(last));
    })();
  });
  const proxy = await ProxyProgram.start(stage, '--upstream', `http://127.0.0.1:${port}/mcp`, ...words);
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'Mcp-Session-Id': 'one' };
  const post = async (frame: string | Buffer): Promise<void> => {
    const response = await fetch(proxy.at(), { method: 'POST', headers, body: frame });
    if (response.headers.get('content-type')?.startsWith('text/event-stream') !== true) {
      const text = await response.text();
      // what is no JSON-RPC is about HTTP
      if (text !== '' && response.headers.get('content-type') === 'application/json') got.client.push(text);
      return;
    }
    const cutter = new SseCutter();
    for await (const chunk of response.body! as unknown as AsyncIterable<Uint8Array>)
      for (const { data } of cutter.push(chunk)) if (data !== undefined) got.client.push(Buffer.from(data).toString());
  };
  const open: Promise<void>[] = [];
  let count = 0;
  await post(marker(++count));
  await script.talk({
    stage,
    until,
    decide: (...what) => decide(stage, ...what),
    begin: (frame) => void open.push(post(frame)),
    say: async (frame) => {
      await post(frame);
      await post(marker(++count));
    },
  });
  await Promise.all(open);
  return async () => {
    await proxy.end();
  };
}

/** Where the ledger of a stage is, for a disk of its own. */
export function movedTo(stage: Stage, folder: string): string {
  const ledger = join(folder, 'ledger');
  Object.defineProperty(stage, 'ledger', { value: ledger });
  return ledger;
}
