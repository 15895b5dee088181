/**
 * The ledger that is attacked: made once for a file of tests by the built program, a recorder and taps in front of real MCP servers, each a process. Every
 * attack works on a copy, and asks `sworn verify` in the name of somebody: a stranger, the recorder's own account, one who has pinned it.
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { commands } from '../../src/cli/main.ts';
import { directorySource } from '../../src/cli/verify-files.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { isLong } from '../long.ts';
import { verifySame } from '../spread.ts';
import { Client, echoServer, until, World } from '../support-processes.ts';
import { Forger, stolenKey, type Leaf, type Signer } from './forger.ts';

/** In force in the first session alone: what a rule looks at is held, and would not be stored unit by unit. */
export const configuration = `policy: { rules: [ { name: no-wipe, deny: true, tool: wipe, reason: "nothing is wiped here" } ] }
redact: { keys: [password] }
`;

/** Entries that attacks are about, by index. */
export interface Places {
  principal: number;
  request: number;
  result: number;
  error: number;
  refused: number;
  redacted: number;
  batch: number;
  long: number;
  close: number;
}

export interface Base {
  /** Folder with `ledger` and `home`, as they are now. */
  now: string;
  /** As they were last week: after the first session. */
  lastWeek: string;
  leaves: Leaf[];
  size: number;
  lastWeekSize: number;
  at: Places;
  vkey: string;
  id: string;
  signer: Signer;
  remove: () => void;
}

/** `anchored` gives the configuration of the second session, for a ledger with this key. */
export async function makeBase(anchored?: (vkey: string) => Promise<string>): Promise<Base> {
  const world = new World('attacks');
  const folder = mkdtempSync(join(tmpdir(), 'sworn-base-'));
  try {
    mkdirSync(world.keysHome, { recursive: true });
    writeFileSync(join(world.keysHome, 'sworn.yaml'), configuration);
    await firstSession(world);
    const lastWeek = join(folder, 'last-week');
    copyOf(world, lastWeek);
    const id = readdirSync(world.keysHome).find((name) => /^[0-9a-f]{32}$/.test(name))!;
    const vkey = readFileSync(join(world.keysHome, id, 'vkey'), 'utf8').trim();
    writeFileSync(join(world.keysHome, 'sworn.yaml'), (await anchored?.(vkey)) ?? 'capture: { default: full }\n');
    await secondSession(world);
    const now = join(folder, 'now');
    copyOf(world, now);
    const forger = new Forger(join(now, 'ledger'));
    const leaves = forger.entries.map((_, index) => forger.leaf(index));
    const keys = join(now, 'home', '.config', 'sworn', id);
    return {
      now,
      lastWeek,
      leaves,
      size: leaves.length,
      lastWeekSize: new Forger(join(lastWeek, 'ledger')).entries.length,
      at: placesOf(leaves),
      vkey,
      id,
      signer: stolenKey(join(keys, 'key')),
      remove: () => rmSync(folder, { recursive: true, force: true }),
    };
  } finally {
    await world.end();
  }
}

export async function firstSession(world: World): Promise<void> {
  const server = join(import.meta.dirname, '..', 'servers', 'both-eras.ts');
  const client = new Client(world.sworn(['run', '--ledger', world.ledger, '--name', 'tools', '--', process.execPath, server]));
  let id = 0;
  const ask = async (method: string, params: unknown): Promise<void> => {
    client.write({ jsonrpc: '2.0', id: ++id, method, params });
    await until(`the answer to ${method}`, () => client.answered(id) || client.hasEnded);
  };
  await ask('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'agent', version: '1' } });
  client.write({ jsonrpc: '2.0', method: 'notifications/initialized' });
  await ask('tools/list', {});
  await ask('tools/call', { name: 'look', arguments: { at: 'the ledger' } });
  await ask('tools/call', { name: 'put', arguments: { at: 'there', password: 'correct horse' } });
  await ask('tools/call', { name: 'fail', arguments: {} });
  await ask('no/such/method', {});
  await ask('tools/call', { name: 'wipe', arguments: {} });
  await end(world, client);
}

async function secondSession(world: World): Promise<void> {
  const words = ['run', '--ledger', world.ledger, '--name', 'echo', '--', process.execPath, echoServer];
  const clients = ['a', 'b'].map((name) => new Client(world.sworn([...words, join(world.folder, name)])));
  const [first, second] = clients as [Client, Client];
  for (let i = 0; i < 40; i++) first.request({ tag: i });
  first.batch([{ tag: 'x' }, { tag: 'y' }]);
  for (let i = 0; i < 70; i++) second.request({ tag: i });
  await Promise.all(clients.map((client) => client.settled()));
  first.request({ tag: 'long', pad: 'z'.repeat(2 << 20) });
  await first.settled();
  for (let i = 0; i < 20; i++) second.request({ tag: 'last', replyBytes: 40 + i });
  await second.settled();
  first.child.stdin.end();
  await first.ended;
  await end(world, second);
}

async function end(world: World, client: Client): Promise<void> {
  client.child.stdin.end();
  await client.ended;
  await world.endRecorder();
}

function copyOf(world: World, to: string): void {
  cpSync(world.ledger, join(to, 'ledger'), { recursive: true });
  cpSync(world.home, join(to, 'home'), { recursive: true });
}

function placesOf(leaves: Leaf[]): Places {
  const where = (wanted: Leaf): number => leaves.findIndex((leaf) => Object.entries(wanted).every(([name, value]) => leaf[name] === value));
  const request = where({ type: 'request', target: 'look' });
  const redacted = leaves.findIndex((leaf) => leaf['redacted'] !== undefined);
  const places = {
    principal: where({ kind: 'principal' }),
    request,
    result: where({ type: 'result', exchange: request }),
    error: where({ type: 'error', origin: 'server' }),
    refused: where({ verdict: 'block' }),
    redacted,
    batch: where({ kind: 'batch' }),
    long: leaves.findIndex((leaf) => leaf['parts'] >= 3),
    close: where({ kind: 'close' }),
  };
  for (const [name, index] of Object.entries(places)) if (index < 0) throw new Error(`the base has no ${name}`);
  return places;
}

export interface Verified {
  exit: number;
  firstBad: number | undefined;
  holdsThrough: number;
  codes: string[];
  headline: string;
  findings: { code: string; severity: string; message: string; index?: number; path?: string }[];
  notChecked: string[];
}

export interface Asking {
  /** `stranger`: knows nothing. `owner`: the recorder's account. `pinned`: has verified it before. */
  as?: 'stranger' | 'owner' | 'pinned';
  known?: string;
  policy?: string;
  maxAge?: string;
}

/** A copy of the base, and whoever asks about it. */
export class Copy {
  readonly base: Base;
  readonly folder = mkdtempSync(join(tmpdir(), 'sworn-attack-'));
  readonly ledger = join(this.folder, 'ledger');
  readonly home = join(this.folder, 'home');

  constructor(base: Base, { from = base.now } = {}) {
    this.base = base;
    cpSync(from, this.folder, { recursive: true });
  }

  path(...names: string[]): string {
    return join(this.ledger, ...names);
  }

  get keys(): string {
    return join(this.home, '.config', 'sworn', this.base.id);
  }

  forger(): Forger {
    return new Forger(this.ledger);
  }

  /** A text in a file of its own. */
  kept(name: string, text: string | Uint8Array): string {
    writeFileSync(join(this.folder, name), text);
    return join(this.folder, name);
  }

  /** `sworn verify` as its command line starts it, of this copy. */
  async verify({ as = 'owner', ...options }: Asking = {}): Promise<Verified> {
    const home = as === 'stranger' ? join(this.folder, 'stranger') : this.home;
    rmSync(join(home, '.config', 'sworn', 'known'), { force: true });
    if (as === 'pinned') {
      const { size, vkey, now } = this.base;
      const [origin, , root] = readFileSync(join(now, 'ledger', 'log', 'checkpoint'), 'utf8').split('\n') as [string, string, string];
      writeFileSync(
        join(home, '.config', 'sworn', 'known'),
        `${origin} ${vkey} ${size} ${root}\nat ${Buffer.from(this.ledger).toString('base64')} ${origin}\n`,
      );
    }
    return verifyAt(this.ledger, home, options);
  }

  /** The processes of this copy: its own home, its own recorder. Ended by the caller. */
  world(): World {
    const world = new World('attack', { ledger: () => this.ledger });
    world.env['HOME'] = this.home;
    return world;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const verifyProgram = commands.find(({ name }) => name === 'verify')!.load();

/** One number of threads for each state that an attack leaves, all of them in long runs: how ranges are shared has tests of its own. */
const threads = isLong ? [1, 2, 3] : [2];

/** `isWritten`: meanwhile, by others: two readings of it need not say the same. */
export async function verifyAt(
  ledger: string,
  home: string,
  { isWritten = false, ...options }: Omit<Asking, 'as'> & { isWritten?: boolean } = {},
): Promise<Verified> {
  const before = process.env['HOME'];
  process.env['HOME'] = home;
  try {
    let text = '';
    const output = { out: (part: string) => void (text += part), err: () => undefined, isTTY: false, color: false, columns: Infinity };
    const exit = await (await verifyProgram).start({ what: ledger, json: true, ...options }, output);
    const result = JSON.parse(text) as Verified;
    if (exit !== result.exit) throw new Error(`it ends with ${exit} and says ${result.exit}`);
    // in ranges as in one pass, whatever was done to it
    if (existsSync(ledger) && !isWritten) await verifySame({ crypto: nodeCrypto, source: directorySource(ledger) }, threads);
    return { ...result, firstBad: result.firstBad, codes: [...new Set(result.findings.map(({ code }) => code))] };
  } finally {
    process.env['HOME'] = before;
  }
}

/** What an attack left must be told like this, in these words of the exit status, finding and place. */
export function summary({ exit, firstBad, codes }: Verified): { exit: number; firstBad: number | undefined; codes: string[] } {
  return { exit, firstBad, codes: codes.filter((code) => !['never-stored', 'reply-to-nothing', 'ahead', 'no-close'].includes(code)) };
}
