/**
 * Which process of this machine is at the other end of a TCP connection (Linux). The kernel lists the sockets of all processes with their owners' uids
 * (`/proc/net/tcp`, proc(5)); which process holds one is told by its descriptors, which only its own account and root may read.
 *
 * What must stay true: of a socket that several processes hold nobody knows who wrote into it, so none of them is named.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { processOf } from '../processes.ts';
import type { Principal } from '../wire/principal.ts';
import { plainAddress } from './address.ts';

export interface Ends {
  remoteAddress: string;
  remotePort: number;
  localAddress: string;
  localPort: number;
}

/** How long others wait for this thread at most. */
const turnMs = 3;

type PeerProcess = Pick<Principal['observed'], 'uid' | 'pid' | 'startTime' | 'executable' | 'unavailable'>;

/** A peer with the machine's own address is a process of it; in another network namespace it has none of them. */
export function isLocal({ remoteAddress, localAddress }: Pick<Ends, 'remoteAddress' | 'localAddress'>): boolean {
  const remote = plainAddress(remoteAddress);
  return remote !== undefined && (remote === '::1' || remote.startsWith('127.') || remote === plainAddress(localAddress));
}

export async function peerProcess(ends: Ends): Promise<PeerProcess> {
  if (process.platform !== 'linux') return { unavailable: 'platform' };
  const socket = await socketOf(ends);
  if (socket === undefined) return { unavailable: 'gone' };
  const { uid, inode } = socket;
  const { pids, unreadable } = await holdersOf(inode, uid);
  if (pids.length === 0) return { uid, unavailable: unreadable ? 'permission' : 'gone' };
  if (pids.length > 1) return { uid, unavailable: 'several' };
  const { pid, startTime, executable, unavailable } = processOf(pids[0]!);
  return {
    uid,
    pid,
    ...(startTime === undefined ? {} : { startTime }),
    ...(executable === undefined ? {} : { executable }),
    ...(unavailable === undefined ? {} : { unavailable }),
  };
}

/** The peer's socket: its own end is our remote one. */
async function socketOf({ remoteAddress, remotePort, localAddress, localPort }: Ends): Promise<{ uid: number; inode: string } | undefined> {
  const from = endsIn(remoteAddress, remotePort);
  const to = endsIn(localAddress, localPort);
  for (const table of ['tcp', 'tcp6']) {
    // the network namespace is that of this process
    const text = await readFile(`/proc/self/net/${table}`, 'latin1').catch(() => '');
    for (const own of from) {
      for (const other of to) {
        const at = text.indexOf(`: ${own} ${other} `);
        if (at < 0) continue;
        const fields = text
          .slice(at + 2, text.indexOf('\n', at))
          .trim()
          .split(/\s+/);
        const [uid, inode] = [Number(fields[6]), fields[8]!];
        // a socket that its process has closed has no inode any more
        return inode === '0' || !Number.isInteger(uid) ? undefined : { uid, inode };
      }
    }
  }
  return undefined;
}

/** As the kernel prints it: words of 32 bits in the machine's own order. IPv4 also as an IPv6 socket shows it. */
function endsIn(address: string, port: number): string[] {
  const plain = plainAddress(address)?.split('%', 1)[0];
  if (plain === undefined) return [];
  const portHex = port.toString(16).toUpperCase().padStart(4, '0');
  const words = plain.includes(':') ? wordsOf(plain) : [plain.split('.').map(Number)];
  const text = words.map((word) => (endianness() === 'LE' ? word.toReversed() : word).map(hexByte).join('')).join('');
  const mapped = endianness() === 'LE' ? '0000000000000000FFFF0000' : '00000000000000000000FFFF';
  return words.length === 4 ? [`${text}:${portHex}`] : [`${text}:${portHex}`, `${mapped}${text}:${portHex}`];
}

const hexByte = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0');

function wordsOf(address: string): number[][] {
  const [head, tail] = address.split('::', 2) as [string, string?];
  const groups = (text: string | undefined): number[] =>
    text === undefined || text === '' ? [] : text.split(':').map((one) => Number.parseInt(one, 16));
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
  return [0, 2, 4, 6].map((i) => [all[i]! >> 8, all[i]! & 255, all[i + 1]! >> 8, all[i + 1]! & 255]);
}

interface Holders {
  pids: number[];
  /** One of the account that may have it could not be looked at. */
  unreadable: boolean;
}

/** The processes with this socket among their descriptors: those of the account that made it, and all others where none of these has it. */
async function holdersOf(inode: string, uid: number): Promise<Holders> {
  const own: string[] = [];
  const others: string[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const owner = statSync(`/proc/${name}`, { throwIfNoEntry: false });
    if (owner !== undefined) (owner.uid === uid ? own : others).push(name);
  }
  const found = await holdersAmong(own, inode);
  return found.pids.length > 0 || found.unreadable ? found : { ...(await holdersAmong(others, inode)), unreadable: false };
}

/**
 * Looks in this thread, since /proc answers at once and handing each of thousands of questions to another one costs ten times as much (measured), and lets others
 * have a turn after each few milliseconds.
 */
async function holdersAmong(pids: readonly string[], inode: string): Promise<Holders> {
  const wanted = `socket:[${inode}]`;
  const found: Holders = { pids: [], unreadable: false };
  let sinceMs = performance.now();
  for (const pid of pids) {
    const held = holds(pid, wanted);
    if (held === undefined) found.unreadable = true;
    else if (held) found.pids.push(Number(pid));
    if (performance.now() - sinceMs < turnMs) continue;
    await nextTurn();
    sinceMs = performance.now();
  }
  return found;
}

/** `undefined`: its descriptors may not be read. */
function holds(pid: string, wanted: string): boolean | undefined {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === wanted);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? undefined : false;
  }
}

/** Empty for one that was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
