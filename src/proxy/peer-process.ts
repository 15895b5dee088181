/**
 * Which process of this machine is at the other end of a TCP connection (Linux). The kernel lists the sockets of all processes with their owners' uids
 * (`/proc/net/tcp`, proc(5)); which process holds one is told by its descriptors, which only its own account and root may read.
 *
 * What must stay true: of a socket that several processes hold nobody knows who wrote into it, so none of them is named. To look through all descriptors of the
 * machine takes as long for one socket as for a thousand: connections that come while it is looked are looked for together in the next round.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
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

interface Asked {
  ends: Ends;
  tell: (found: PeerProcess) => void;
}

let asked: Asked[] = [];
let isLooking = false;

export async function peerProcess(ends: Ends): Promise<PeerProcess> {
  if (process.platform !== 'linux') return { unavailable: 'platform' };
  return new Promise((tell) => {
    asked.push({ ends, tell });
    if (!isLooking) void look();
  });
}

/** Round after round until nobody asks; between two of them as long as one takes, for everything else. */
async function look(): Promise<void> {
  isLooking = true;
  // whoever asks in this turn too
  await nextTurn();
  while (asked.length > 0) {
    const round = asked;
    asked = [];
    const sinceMs = performance.now();
    await lookFor(round).catch(() => {
      for (const { tell } of round) tell({ unavailable: 'permission' });
    });
    if (asked.length > 0) await sleep(performance.now() - sinceMs);
  }
  isLooking = false;
}

async function lookFor(round: readonly Asked[]): Promise<void> {
  const tables: ReadonlyMap<string, Socket>[] = [];
  // the network namespace is that of this process
  for (const table of ['tcp', 'tcp6']) tables.push(socketsOf(await readFile(`/proc/self/net/${table}`, 'latin1').catch(() => '')));
  const sockets = round.map(({ ends }) => socketOf(ends, tables));
  const holders = await holdersOf(sockets.filter((socket) => socket !== undefined));
  for (const [at, { tell }] of round.entries()) {
    const socket = sockets[at];
    tell(socket === undefined ? { unavailable: 'gone' } : described(socket.uid, holders.get(socket.inode)!));
  }
}

function described(uid: number, { pids, unreadable }: Holders): PeerProcess {
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

interface Socket {
  uid: number;
  inode: string;
}

/** By both ends, as they stand in the table: `own other`. */
function socketsOf(text: string): Map<string, Socket> {
  const sockets = new Map<string, Socket>();
  for (const line of text.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/);
    const [uid, inode] = [Number(fields[7]), fields[9]];
    // a socket that its process has closed has no inode any more
    if (inode !== undefined && inode !== '0' && Number.isInteger(uid)) sockets.set(`${fields[1]} ${fields[2]}`, { uid, inode });
  }
  return sockets;
}

/** The peer's socket: its own end is our remote one. */
function socketOf({ remoteAddress, remotePort, localAddress, localPort }: Ends, tables: readonly ReadonlyMap<string, Socket>[]): Socket | undefined {
  const to = endsIn(localAddress, localPort);
  for (const own of endsIn(remoteAddress, remotePort)) {
    for (const other of to) {
      for (const table of tables) {
        const found = table.get(`${own} ${other}`);
        if (found !== undefined) return found;
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

/** By inode, the processes with each socket among their descriptors: those of the account that made it, and all others where none of these has it. */
async function holdersOf(sockets: readonly Socket[]): Promise<Map<string, Holders>> {
  const holders = new Map<string, Holders>(sockets.map(({ inode }) => [inode, { pids: [], unreadable: false }]));
  const makers = new Set(sockets.map(({ uid }) => uid));
  const own: Looked[] = [];
  const others: Looked[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const owner = statSync(`/proc/${pid}`, { throwIfNoEntry: false });
    if (owner !== undefined) (makers.has(owner.uid) ? own : others).push({ pid, uid: owner.uid });
  }
  const unreadable = await lookThrough(own, holders);
  for (const { uid, inode } of sockets) if (unreadable.has(uid)) holders.get(inode)!.unreadable = true;
  const open = new Map([...holders].filter(([, found]) => found.pids.length === 0 && !found.unreadable));
  if (open.size > 0) await lookThrough(others, open);
  return holders;
}

interface Looked {
  pid: string;
  uid: number;
}

/**
 * Looks in this thread, since /proc answers at once and handing each of thousands of questions to another one costs ten times as much (measured), and lets others
 * have a turn after each few milliseconds. Returns the accounts of which some process may not be looked at.
 */
async function lookThrough(processes: readonly Looked[], wanted: ReadonlyMap<string, Holders>): Promise<Set<number>> {
  const unreadable = new Set<number>();
  let sinceMs = performance.now();
  for (const { pid, uid } of processes) {
    const folder = `/proc/${pid}/fd`;
    const fds = descriptorsOf(folder);
    if (fds === undefined) unreadable.add(uid);
    const found = new Set<Holders>();
    for (const fd of fds ?? []) {
      const link = linkOf(`${folder}/${fd}`);
      const holders = link.startsWith('socket:[') ? wanted.get(link.slice(8, -1)) : undefined;
      // one process may have it twice
      if (holders !== undefined) found.add(holders);
      if (performance.now() - sinceMs < turnMs) continue;
      await nextTurn();
      sinceMs = performance.now();
    }
    for (const { pids } of found) pids.push(Number(pid));
  }
  return unreadable;
}

/** `undefined`: they may not be read. */
function descriptorsOf(folder: string): string[] | undefined {
  try {
    return readdirSync(folder);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? undefined : [];
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
