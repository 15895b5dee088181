/**
 * What the system says of processes on this machine (Linux, proc(5)). What cannot be read is named as unavailable, never guessed. A process's pid is only as good as its
 * start time: both are kept.
 */
import { readFileSync, readlinkSync } from 'node:fs';

export interface Process {
  pid: number;
  /** Clock ticks since boot, as the kernel counts them (proc(5), stat field 22). */
  startTime?: string;
  executable?: string;
  /** As set by the process itself: not to be believed, good for recognising. */
  commandLine?: string;
  cwd?: string;
  unavailable?: 'permission' | 'gone';
}

/** What /proc says of a process. Only its start time is readable across accounts. */
export function processOf(pid: number): Process {
  const found: Process = { pid };
  try {
    const startTime = statOf(pid)?.startTime;
    if (startTime === undefined) return { pid, unavailable: 'gone' };
    found.startTime = startTime;
    found.executable = readlinkSync(`/proc/${pid}/exe`);
    found.cwd = readlinkSync(`/proc/${pid}/cwd`);
    found.commandLine = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, 1024);
  } catch {
    found.unavailable = 'permission';
  }
  return found;
}

const depth = 16;

/** The parents of a process, nearest first, without pid 1. Command lines often hold secrets: only the nearest parent's is kept. */
export function parentsOf(pid: number): Process[] {
  const parents: Process[] = [];
  for (let at = statOf(pid)?.parent; at !== undefined && at > 1 && parents.length < depth; at = statOf(at)?.parent) parents.push(processOf(at));
  for (const parent of parents.slice(1)) delete parent.commandLine;
  return parents;
}

/** When a process started, in clock ticks since boot (proc(5)); `undefined` where /proc is not there or the process is gone. */
export function startTimeOf(pid: number): string | undefined {
  return statOf(pid)?.startTime;
}

/** Was `pid` started by `parent`, which still lives? `undefined` when nobody can say: it is gone, or there is no /proc. */
export function isChildOf(pid: number, parent: number): boolean | undefined {
  const stat = statOf(pid);
  return stat && stat.parent === parent;
}

/** Is `pid` one of `ancestors`, or below one, however deep: whoever nests processes gets away from nobody. Beyond a depth that no honest process has it is taken for one. */
export function descendsFrom(pid: number, ancestors: ReadonlySet<number>): boolean {
  let at: number | undefined = pid;
  for (let steps = 0; at !== undefined && at > 1; steps++) {
    if (ancestors.has(at) || steps >= ancestorsMost) return true;
    at = statOf(at)?.parent;
  }
  return false;
}

const ancestorsMost = 1_024;

function statOf(pid: number): { parent: number; startTime: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // the second field is the name in parentheses, which may hold spaces and parentheses itself
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(fields[1]), startTime: fields[19]! };
  } catch {
    return undefined;
  }
}
