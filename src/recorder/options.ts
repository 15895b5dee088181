/** What a recorder is started with. */
import type { StartEntry } from '../entry/entry.ts';

export interface RecorderOptions {
  ledger: string;
  keysHome: string;
  socket: string;
  /** Opens the socket to this group. */
  groupId?: number;
  /** Ends after this long without a connection; absent: never. */
  idleMs?: number;
  /** Taps may ask for no less than this. */
  modeFloor?: 'commit' | 'observe';
  /** The policy file that was named; absent: the default one, if it is there. */
  config?: string;
  /** A new ledger goes on from this checkpoint of another one, whose key was stolen. */
  continues?: NonNullable<StartEntry['continues']>;
  version: string;
  logFile?: string;
}
