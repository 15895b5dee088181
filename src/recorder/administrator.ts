/**
 * Who may change what a recorder does, and in which words everybody else is refused.
 *
 * What must stay true: no descendant of a tapped client may, so that an agent cannot end or soften its own record through the tools that it was given.
 */
import { descendsFrom, parentsOf } from '../processes.ts';
import type { Connection } from './connection.ts';
import type { Peer } from './peer.ts';

/** Who asks for something that only an administrator may. */
export interface Administrator {
  by: { uid: number; pid: number };
  selfAdministered?: true;
}

/** What may be asked, each with the words of a refusal, whose object is the recorder. */
const acts = {
  stop: 'stop',
  freeze: 'freeze',
  unfreeze: 'unfreeze',
  reload: 'reload the policy of',
  erase: 'erase in the ledger of',
  prune: 'prune the ledger of',
  hold: 'change holds of',
  release: 'change holds of',
  rotate: 'change the key of',
  retire: 'change the key of',
  opened: 'record openings in the ledger of',
  acknowledge: 'acknowledge findings in the ledger of',
  accept: 'accept tools in the ledger of',
} as const;
export type Act = keyof typeof acts;

export function isAct(what: string): what is Act {
  return Object.hasOwn(acts, what);
}

export interface Parties {
  connections: readonly Connection[];
  closed: Iterable<Connection>;
  /** Of the tap; `undefined` when none has come back since this recorder started. */
  uidOf(connection: Connection): number | undefined;
  /** The socket is open to a group. */
  isShared: boolean;
}

/** Who may change what this recorder does; a text says why this peer may not. */
export function administratorOf(peer: Peer, act: Act, parties: Parties): Administrator | string {
  const own = process.getuid?.();
  if (peer.uid === undefined || (peer.uid !== 0 && peer.uid !== own))
    return `uid ${peer.uid ?? 'unknown'} may not ${acts[act]} the recorder of uid ${own}`;
  if (peer.pid === undefined || !isApart(peer.uid, peer.pid, parties))
    return `process ${peer.pid ?? 'unknown'} belongs to a tapped client and may not ${acts[act]} the recorder`;
  // a socket that no group shares is open to one account only: its agents and its administrator are the same
  const everyone = [...parties.connections, ...parties.closed];
  const selfAdministered = !parties.isShared || everyone.some(({ opened }) => opened.custody === 'same-user');
  return { by: { uid: peer.uid, pid: peer.pid }, ...(selfAdministered ? { selfAdministered: true } : {}) };
}

/**
 * An agent that runs under the same account must not be able to end its own record through the tools that it was given. Where no tap has that account
 * there is nobody to be kept apart from, and what taps of others name keeps no administrator out.
 */
export function isApart(uid: number, pid: number, { connections, uidOf }: Parties): boolean {
  // of one that no tap has come back to, since this recorder started, nobody can say
  if (connections.every((connection) => (uidOf(connection) ?? uid) !== uid)) return true;
  const tapped = new Set<number>();
  for (const connection of connections) {
    const { opened } = connection;
    if (connection.transport === 'http') {
      // servers over stdio are its children; clients are those that it sees on this machine
      if (opened.tapPid !== undefined) tapped.add(opened.tapPid);
      for (const client of connection.clientPids()) tapped.add(client);
      continue;
    }
    if (opened.serverPid !== undefined) tapped.add(opened.serverPid);
    if (opened.tapPid !== undefined) for (const parent of parentsOf(opened.tapPid).slice(0, 1)) tapped.add(parent.pid);
  }
  return !descendsFrom(pid, tapped);
}
