/** Who asks, as limits count it: the same for what they let through and for what they sum up. */
import type { Asker } from '../policy/limits.ts';
import type { Head } from '../wire/wire.ts';
import type { Connection } from './connection.ts';

/** Over HTTP a session is an MCP session, or whoever asks outside of one. */
export function askerOf(connection: Connection, next: number, head?: Head): Asker {
  const { party } = connection.judge;
  if (connection.transport !== 'http') return { party, session: connection.id };
  const session = connection.session ?? (head?.session === undefined ? undefined : next);
  return { party, session: `${connection.id} ${session ?? `who ${connection.who ?? ''}`}` };
}
