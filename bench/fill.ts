/** Fills a ledger through a recorder of its own, and watches the recorder while it does. */
import { once } from 'node:events';
import { execFileSync, spawn } from 'node:child_process';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { socketPathOf } from '../src/wire/socket-path.ts';
import { cpuMs, memoryMB, root, type World } from './world.ts';

export interface Sample {
  entries: number;
  ms: number;
  cpuMs: number;
  residentMB: number;
  peakMB: number;
}

/** `ready` is called between the recorder's start and the load; `behind`, when the load has ended and the recorder still runs. */
export interface Around {
  ready?: (ledger: string) => Promise<void>;
  behind?: (pid: number) => Promise<void>;
}

export async function fill(
  world: World,
  mode: 'observe' | 'commit',
  entries: number,
  build = root,
  { ready, behind }: Around = {},
): Promise<{ ledger: string; samples: Sample[] }> {
  const ledger = world.newLedger();
  const program = join(resolve(build), 'bin', 'sworn.mjs');
  execFileSync(process.execPath, [program, 'recorder', 'start', '--ledger', ledger], {
    env: world.environment,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const pid = await world.recorderPid(ledger);
  await ready?.(ledger);
  const load = spawn(process.execPath, [join(import.meta.dirname, 'load.ts'), socketPathOf(ledger), mode, '8', String(entries)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const samples: Sample[] = [];
  for await (const line of createInterface(load.stdout)) {
    const memory = memoryMB(pid);
    samples.push({ ...(JSON.parse(line) as { entries: number; ms: number }), cpuMs: cpuMs(pid), residentMB: memory.now, peakMB: memory.peak });
  }
  if (load.exitCode === null) await once(load, 'exit');
  if (load.exitCode !== 0) throw new Error(`the load ended with ${load.exitCode}`);
  await behind?.(pid);
  await world.endRecorder(pid);
  return { ledger, samples };
}
