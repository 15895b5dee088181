/** Who is at the other end of a socket, from the kernel: uid and pid. Who it is that the kernel does not tell is unknown, never guessed. */
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
