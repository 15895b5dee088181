/**
 * What all benchmarks share: a home of their own in a temporary folder, recorders that are ended by their pid, and what /proc says of a process.
 * Everything runs on the Node that runs the benchmark.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../src/wire/ask.ts';
import { socketPathOf } from '../src/wire/socket-path.ts';

export const root = resolve(import.meta.dirname, '..');
export const echoServer = [process.execPath, join(import.meta.dirname, 'echo-server.mjs')];
/** Clock ticks of /proc: 100 a second on every Linux that Node runs on. */
const tickMs = 10;

export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'sworn-bench-'));
  readonly home = join(this.folder, 'home');
  readonly environment = { HOME: this.home, PATH: process.env['PATH'] ?? '' };
  readonly #recorders = new Set<number>();
  readonly #children = new Set<ChildProcess>();
  #ledgers = 0;

  constructor() {
    mkdirSync(this.home);
  }

  newLedger(): string {
    return join(this.folder, `ledger-${++this.#ledgers}`);
  }

  start(command: readonly string[], environment: NodeJS.ProcessEnv = this.environment, stderr: 'inherit' | 'pipe' = 'inherit'): ChildProcess {
    const child = spawn(command[0]!, command.slice(1), { stdio: ['pipe', 'pipe', stderr], env: environment, cwd: this.folder });
    child.on('error', () => undefined);
    child.stdin!.on('error', () => undefined);
    this.#children.add(child);
    child.on('exit', () => this.#children.delete(child));
    return child;
  }

  /** The pid of the recorder of a ledger; it is ended with this world at the latest. */
  async recorderPid(ledger: string): Promise<number> {
    const { pid } = await ask(socketPathOf(ledger), 'status');
    this.#recorders.add(pid as number);
    return pid as number;
  }

  async endRecorder(pid: number): Promise<void> {
    this.#recorders.delete(pid);
    try {
      process.kill(pid, 'SIGTERM');
      for (let i = 0; i < 500; i++) {
        process.kill(pid, 0);
        await sleep(10);
      }
      process.kill(pid, 'SIGKILL');
    } catch {
      // ESRCH: it is gone
    }
  }

  /** Ends a child by closing its input, and waits for it. */
  async end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once('exit', done));
    child.stdin!.end();
    const kill = setTimeout(() => child.kill('SIGKILL'), 15_000);
    await gone;
    clearTimeout(kill);
  }

  async clean(): Promise<void> {
    await Promise.all([...this.#children].map((child) => this.end(child)));
    for (const pid of this.#recorders) await this.endRecorder(pid);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs `work` in a world of its own and leaves nothing behind, also when it is interrupted. */
export async function inWorld<T>(work: (world: World) => Promise<T>): Promise<T> {
  const world = new World();
  const interrupted = (): void => void world.clean().finally(() => process.exit(130));
  process.once('SIGINT', interrupted);
  process.once('SIGTERM', interrupted);
  try {
    return await work(world);
  } finally {
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
    await world.clean();
  }
}

/** What the kernel says of a process's memory, in MB. */
function statusMB(pid: number, ...names: string[]): number[] {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    return names.map((name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1000);
  } catch {
    return names.map(() => Number.NaN);
  }
}

/** Resident memory of a process now, and at most so far, in MB. */
export function memoryMB(pid: number): { now: number; peak: number } {
  const [now, peak] = statusMB(pid, 'VmRSS', 'VmHWM') as [number, number];
  return { now, peak };
}

/** Memory that a process shares with no other, in MB: anonymous pages, also those that were swapped out. */
export function privateMB(pid: number): number {
  const [here, swapped] = statusMB(pid, 'RssAnon', 'VmSwap') as [number, number];
  return here + swapped;
}

/** CPU time of a process with all its threads, in ms. */
export function cpuMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * tickMs;
  } catch {
    return Number.NaN;
  }
}
