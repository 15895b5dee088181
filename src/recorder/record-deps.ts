/** What the life of a frame (`record.ts`) needs of the recorder around it: each step is handed this, and takes of it what is its own. */
import type { OpenEntry, PrincipalEntry } from '../entry/entry.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Freeze } from '../policy/freeze.ts';
import type { Approvals } from './approvals.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { Limits } from './limiting.ts';
import type { Pinner } from './pins.ts';
import type { Attributes } from './seal.ts';
import type { Searcher } from './searcher.ts';
import type { NamedPrincipal } from './speaker.ts';
import type { Storms } from './storms.ts';

export interface RecordDeps {
  ledger: Ledger;
  clock: Clock;
  /** `open` and `principal` of a connection, built when its first frame can be recorded. */
  openingOf(connection: Connection): { open: OpenEntry; openAttributes: Attributes; principal: PrincipalEntry; principalAttributes: Attributes };
  /** Absent where nothing comes from a proxy. */
  http?: {
    /** The `principal` entry of somebody whom it named. */
    principalOf(principal: NamedPrincipal, connection: Connection): { entry: PrincipalEntry; attributes: Attributes };
    /** What stands for the id of an MCP session, which is a secret: equal for equal ones in this ledger. */
    linkOf(session: string): string;
  };
  /** Freezes in force. */
  readonly freezes: readonly Freeze[];
  /** Absent where nobody could have set any. */
  limits?: { held: Limits; storms: Storms };
  /** The secret of checkable redaction, outside of the ledger. */
  findKey(): Buffer;
  /** Definitions of tools that are trusted. */
  pinner?: Pick<Pinner, 'consider'>;
  /** Requests that wait for a person; without it nobody can be asked. */
  readonly approvals?: Approvals;
  /** Looks through long frames. */
  searcher: Pick<Searcher, 'search'>;
}
