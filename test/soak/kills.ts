/**
 * Seeded SIGKILLs at random moments of live sessions: of the tap, the recorder, the server, and of pairs of them, in both modes. After each the guarantees
 * of DESIGN.md §3 are checked: what was delivered is recorded, nothing is recorded twice, a session whose tap and server live goes on with one answer to
 * each request, the ledger opens again, and `sworn verify` never says tampered.
 *
 *   npm run soak -- --kills 1000 --seed 7
 *
 * The seed repeats every choice; the moments are the machine's.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkLedger } from '../check-ledger.ts';
import {
  Client,
  connectionFaults,
  deliveryFaults,
  echoServer,
  isAlive,
  readLedger,
  readServerLog,
  until,
  World,
  type RecordedConnection,
} from '../support-processes.ts';

export type Mode = 'commit' | 'observe';
type Victim = 'tap' | 'recorder' | 'server';

export interface SoakOptions {
  kills: number;
  seed: number;
  /** Ledgers at a time; modes take turns. */
  worlds: number;
  /** Sessions at a time on each ledger. */
  sessions: number;
  /** Kills after which a ledger is checked as a whole, and a new one begun. */
  killsPerWorld: number;
  log(line: string): void;
}

export interface SoakResult {
  kills: Record<string, number>;
  total: number;
  sessions: number;
  messages: number;
  entries: number;
  /** Frames of mode `observe` that were delivered and are missing, after recorder and tap died together: allowed. */
  tailFrames: number;
  /** Sessions that were for a while without a recorder, because the machine was too slow to start one in time. */
  gaveUp: number;
  violations: string[];
}

/** mulberry32: small, and the same everywhere. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

const strikes: Victim[][] = [
  ['recorder'],
  ['recorder'],
  ['recorder'],
  ['tap'],
  ['tap'],
  ['server'],
  ['tap', 'recorder'],
  ['recorder', 'tap'],
  ['recorder', 'server'],
  ['server', 'recorder'],
  ['server', 'tap'],
  ['recorder', 'recorder'],
];

/** A client, its tap and its server; lives until one of the last two is killed, or to its orderly end. */
class Session {
  readonly name: string;
  readonly client: Client;
  readonly log: string;
  /** Set when the tap, or the server, is killed. */
  struck: Victim | undefined;
  /** The recorder died together with the tap, or so shortly before that the tap may not have sent again what it lacked. */
  mayLackTail = false;
  /** A recorder was killed, and no answer has yet shown that another one has taken over. */
  unsettled = false;
  readonly #random: () => number;
  readonly #traffic: Promise<void>;
  #stopping = false;

  constructor(world: World, name: string, mode: Mode, random: () => number) {
    this.name = name;
    this.#random = random;
    this.log = join(world.folder, `${name}.log`);
    this.client = new Client(
      world.sworn([
        ...['run', '--ledger', world.ledger, '--mode', mode, '--label', `session=${name}`, '--name', 'echo'],
        ...['--', process.execPath, echoServer, this.log],
      ]),
    );
    this.#traffic = this.#send();
  }

  get isOver(): boolean {
    return this.client.hasEnded;
  }

  get serverPid(): number | undefined {
    return readServerLog(this.log).pid;
  }

  async #send(): Promise<void> {
    const random = this.#random;
    const params = (): Record<string, unknown> => {
      const size = random();
      const sizeBytes =
        size < 0.002 ? 1_200_000 + random() * 1_300_000 : size < 0.012 ? 100_000 + random() * 200_000 : size < 0.15 ? random() * 10_000 : 20;
      const reply = random();
      return {
        tag: `${this.name}-${this.client.sent.length}-${Math.floor(random() * 1e9)}`,
        pad: 'x'.repeat(sizeBytes),
        replyBytes: Math.floor(reply < 0.003 ? 1_100_000 + random() * 2_000_000 : reply < 0.1 ? random() * 20_000 : 10),
        ...(random() < 0.1 ? { tick: true } : {}),
      };
    };
    while (!this.#stopping && !this.isOver) {
      const burst = 1 + Math.floor(random() * 10);
      for (let i = 0; i < burst && this.client.outstanding < 64 && !this.isOver; i++) {
        if (random() < 0.03) this.client.batch(Array.from({ length: 2 + Math.floor(random() * 3) }, params));
        else this.client.request(params());
      }
      await sleep(5 + random() * 50);
    }
  }

  /** One more request gets its answer: the session goes on. */
  async goesOn(): Promise<void> {
    const id = this.client.request({ tag: `${this.name}-on-${this.client.sent.length}` });
    await until(`an answer in ${this.name} after a kill`, () => this.client.answered(id) || this.struck !== undefined || this.isOver, 60_000);
  }

  /** Ends in order: everything that was asked is answered, exactly once. */
  async finish(): Promise<string[]> {
    this.#stopping = true;
    await this.#traffic;
    await this.client.settled(60_000);
    this.client.child.stdin.end();
    await until(`the tap of ${this.name} to end`, () => this.isOver, 60_000);
    const { code, signal } = await this.client.ended;
    const faults: string[] = [];
    if (code !== 0) faults.push(`${this.name}: the tap ended with ${code ?? signal}: ${this.client.stderr.slice(0, 300)}`);
    for (let id = 1; id <= this.client.asked; id++) {
      const count = this.client.answers.get(id) ?? 0;
      if (count !== 1) faults.push(`${this.name}: request ${id} got ${count} answers`);
    }
    return faults;
  }

  /** Waits until nothing of it runs. */
  async gone(): Promise<void> {
    this.#stopping = true;
    await this.#traffic;
    await until(`the tap of ${this.name} to end after the ${this.struck} was killed`, () => this.isOver, 60_000);
    const pid = this.serverPid;
    if (pid !== undefined) await until(`the server of ${this.name} to end`, () => !isAlive(pid), 60_000);
  }

  check(connections: RecordedConnection[], mode: Mode): { faults: string[]; tailFrames: number; messages: number } {
    const log = readServerLog(this.log);
    const own = connections.filter((connection) => connection.labels['session'] === this.name);
    const faults = own.flatMap((connection) => connectionFaults(this.name, connection));
    if (own.length > 1) faults.push(`${this.name}: ${own.length} connections are recorded`);
    const delivered = { toServer: log.received, toClient: this.client.received, byClient: this.client.sent, byServer: log.sent };
    const tail = mode === 'observe' && this.mayLackTail;
    faults.push(...deliveryFaults(this.name, own[0], delivered, tail, this.client.gaveUp));
    const missing = (arrived: string[], direction: 'c2s' | 's2c'): number => Math.max(0, arrived.length - (own[0]?.frames[direction].length ?? 0));
    if (this.client.stderr !== '' && !this.client.gaveUp)
      faults.push(`${this.name}: stderr says ${JSON.stringify(this.client.stderr.slice(0, 300))}`);
    return {
      faults,
      tailFrames: missing(log.received, 'c2s') + missing(this.client.received, 's2c'),
      messages: log.received.length + this.client.received.length,
    };
  }
}

/** One ledger, its sessions, and the kills that fall on them. */
async function runWorld(number: number, mode: Mode, options: SoakOptions, result: SoakResult, take: () => boolean): Promise<void> {
  const random = generator(options.seed * 1_000_003 + number);
  const world = new World(`soak-${number}`);
  mkdirSync(world.home);
  const live: Session[] = [];
  const over: Session[] = [];
  let sessions = 0;
  const violation = (text: string): void => {
    result.violations.push(`world ${number} (${mode}): ${text}`);
    options.log(`VIOLATION in world ${number} (${mode}): ${text}`);
  };
  /** Recorders killed since one was heard: one that is just starting is worth a kill, but on a slow machine the taps must not give up. */
  let unheard = 0;
  const strike = (victim: Victim, session: Session): boolean => {
    if (victim === 'recorder' && unheard >= 2) return false;
    const pid = victim === 'tap' ? session.client.child.pid : victim === 'server' ? session.serverPid : world.recorderPid();
    if (pid === undefined || (victim === 'tap' && session.isOver)) return false;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      return false;
    }
    result.kills[victim] = (result.kills[victim] ?? 0) + 1;
    result.total++;
    if (victim === 'recorder') {
      unheard++;
      for (const one of live) one.unsettled = true;
    } else {
      if (session.unsettled) session.mayLackTail = true;
      session.struck ??= victim;
    }
    return true;
  };
  /** In mode `observe` an answer alone does not show that another recorder has everything: it must have this tap attached, and answer behind that. */
  const settle = async (session: Session): Promise<void> => {
    await until(`a recorder for ${session.name}`, async () => {
      if (session.struck !== undefined || session.isOver) return true;
      const attached = (await world.connections())?.filter((connection) => connection.attached);
      return attached !== undefined && attached.length >= live.length;
    });
    unheard = 0;
    await session.goesOn();
    session.unsettled = false;
  };
  try {
    let killsHere = 0;
    while (killsHere < options.killsPerWorld && take()) {
      while (live.length < options.sessions) {
        live.push(new Session(world, `w${number}s${++sessions}`, mode, generator(options.seed + number * 7919 + sessions)));
        result.sessions++;
      }
      await sleep(random() * random() * 400);
      if ((await world.status()) !== undefined) unheard = 0;
      const victims = strikes[Math.floor(random() * strikes.length)]!;
      const session = live[Math.floor(random() * live.length)]!;
      for (const [i, victim] of victims.entries()) {
        if (i > 0) await sleep(random() * random() * 60);
        if (strike(victim, session)) killsHere++;
      }
      // the recorder may die right behind a tap whose last words it has not read: then both are gone before a resend
      if (victims.includes('recorder') && session.struck !== undefined) session.mayLackTail = true;
      if (session.struck !== undefined) {
        await session.gone();
        live.splice(live.indexOf(session), 1);
        over.push(session);
      }
      if (victims.includes('recorder') && random() < 0.7) for (const one of [...live]) await settle(one);
    }
    for (const session of live) {
      for (const fault of await session.finish()) violation(fault);
      over.push(session);
    }
  } catch (error) {
    violation((error as Error).message);
  }
  try {
    await world.endRecorder();
    const { entries, connections } = readLedger(world.ledger);
    result.entries += entries.length;
    for (const session of over) {
      const { faults, tailFrames, messages } = session.check([...connections.values()], mode);
      result.tailFrames += tailFrames;
      result.messages += messages;
      if (session.client.gaveUp) result.gaveUp++;
      for (const fault of faults) violation(fault);
    }
    checkLedger(world.ledger, world.keysHome);
    // each recorder may have died before it signed anything: then nothing is proven, and nothing tampered with
    const asLeft = await world.finish(['verify', world.ledger]);
    const isUnsigned = asLeft.status === 3 && asLeft.stdout.includes('the checkpoint covers no entry');
    if (asLeft.status !== 0 && !isUnsigned) violation(`sworn verify exits ${asLeft.status}: ${asLeft.stdout.slice(-1500)}${asLeft.stderr}`);
    const started = await world.finish(['recorder', 'start', '--ledger', world.ledger]);
    if (started.status !== 0) violation(`the last recorder does not start: ${started.stderr}`);
    await world.endRecorder();
    const verified = await world.finish(['verify', world.ledger]);
    if (verified.status !== 0) violation(`sworn verify exits ${verified.status}: ${verified.stdout.slice(-1500)}${verified.stderr}`);
  } catch (error) {
    violation((error as Error).message);
  }
  if (result.violations.some((text) => text.startsWith(`world ${number} `)) && process.env['SWORN_KEEP'] !== undefined)
    options.log(`kept: ${world.folder}`);
  else await world.end();
}

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const result: SoakResult = { kills: {}, total: 0, sessions: 0, messages: 0, entries: 0, tailFrames: 0, gaveUp: 0, violations: [] };
  let worlds = 0;
  const from = performance.now();
  const take = (): boolean => result.total < options.kills;
  await Promise.all(
    Array.from({ length: options.worlds }, async () => {
      while (take()) {
        const number = ++worlds;
        await runWorld(number, number % 2 === 1 ? 'commit' : 'observe', options, result, take);
        const seconds = ((performance.now() - from) / 1000).toFixed(0);
        options.log(
          `${seconds} s: ${result.total} kills, ${result.sessions} sessions, ${result.messages} messages, ${result.violations.length} violations`,
        );
      }
    }),
  );
  return result;
}

if (import.meta.main) {
  const option = (name: string, otherwise: number): number => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? otherwise : Number(process.argv[at + 1]);
  };
  const seed = option('seed', Math.floor(Math.random() * 1e9));
  const kills = option('kills', 1000);
  console.log(`soak: seed ${seed}, ${kills} kills`);
  const result = await soak({
    kills,
    seed,
    worlds: option('worlds', 3),
    sessions: option('sessions', 3),
    killsPerWorld: option('kills-per-world', 50),
    log: (line) => console.log(line),
  });
  const { violations, ...counts } = result;
  console.log(`soak: seed ${seed}: ${JSON.stringify(counts)}`);
  console.log(violations.length === 0 ? 'soak: every guarantee held' : `soak: ${violations.length} violations\n${violations.join('\n')}`);
  process.exitCode = violations.length === 0 ? 0 : 1;
}
