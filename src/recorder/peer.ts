/**
 * Who is at the other end of a socket, from the kernel: uid and pid, then start time, executable and parents from /proc. What cannot be read is
 * named as unavailable, never guessed. A process's pid is only as good as its start time: both are kept.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Custody } from '../entry/entry.ts';
import type { Native } from './native.ts';

export interface Peer {
  uid?: number;
  pid?: number;
  /** Where uid and pid come from. */
  source: 'kernel' | 'ss' | 'unknown';
}

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

export function peerOf(socket: Socket, native: Native | { missing: string }): Peer {
  const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd;
  if (fd === undefined || fd < 0) return { source: 'unknown' };
  if ('peerOf' in native) {
    const peer = native.peerOf(fd);
    return peer ? { uid: peer.uid, pid: peer.pid, source: 'kernel' } : { source: 'unknown' };
  }
  return peerFromSs(fd);
}

/** Without the native part: `ss` lists both ends of a Unix socket. Slow (about 11 ms), and it sees the pids of others only as root. */
function peerFromSs(fd: number): Peer {
  try {
    const inode = /socket:\[(\d+)\]/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
    const listing = spawnSync('ss', ['-xpnH'], { encoding: 'utf8', timeout: 2000 }).stdout ?? '';
    const lines = listing.split('\n').map((line) => line.trim().split(/\s+/));
    const own = lines.find((columns) => columns[5] === inode);
    const other = lines.find((columns) => columns[5] === own?.[7]);
    const pid = Number(/pid=(\d+)/.exec(other?.slice(8).join(' ') ?? '')?.[1]);
    if (!Number.isInteger(pid)) return { source: 'unknown' };
    const uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
    return Number.isInteger(uid) ? { pid, uid, source: 'ss' } : { source: 'unknown' };
  } catch {
    return { source: 'unknown' };
  }
}

/** Root can rewrite everything of everybody, and whom nobody knows may be anybody: neither is kept from the ledger by its account. */
export function custodyOf({ uid }: Peer, ownUid: number | undefined): Custody {
  return uid === undefined || uid === 0 || uid === ownUid ? 'same-user' : 'separate-user';
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

/** Is `pid` one of `ancestors`, or below one? */
export function descendsFrom(pid: number, ancestors: ReadonlySet<number>): boolean {
  let at: number | undefined = pid;
  for (let steps = 0; at !== undefined && at > 1 && steps < 64; steps++) {
    if (ancestors.has(at)) return true;
    at = statOf(at)?.parent;
  }
  return false;
}

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
