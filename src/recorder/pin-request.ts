/** What `sworn tools accept` asks for, from a stranger's JSON. */
import type { PolicyEntry, Transport } from '../entry/entry.ts';
import type { ErrorCode } from '../errors.ts';
import { reasonBytes } from '../limits.ts';
import type { Pins } from '../policy/pins.ts';

export type Accepted = Required<Pick<PolicyEntry, 'server' | 'transport' | 'tool' | 'definition'>> &
  Pick<PolicyEntry, 'previous' | 'also' | 'reason'>;

/**
 * One definition by its digest, so that nothing is accepted that came after what was looked at. `also`: beside those that are accepted already, otherwise in their
 * place. One that is accepted already is accepted again: what came since is dismissed.
 */
export function readAccept(
  { server, transport, tool, definition, also, reason }: Record<string, unknown>,
  pins: Pins,
): Accepted | { code: ErrorCode; problem: string } {
  if (typeof server !== 'string' || typeof tool !== 'string' || (transport !== 'stdio' && transport !== 'http'))
    return { code: 'usage', problem: 'a tool is named by server, transport (stdio or http) and tool' };
  if (typeof definition !== 'string' || !/^[0-9a-f]{64}$/.test(definition)) return { code: 'usage', problem: 'definition is a SHA-256 in hex' };
  if (reason !== undefined && (typeof reason !== 'string' || reason === '' || Buffer.byteLength(reason) > reasonBytes))
    return { code: 'usage', problem: `reason is a text of 1 to ${reasonBytes} bytes` };
  const place: { server: string; transport: Transport } = { server, transport };
  const pinned = pins.of(place, tool);
  if (pinned === undefined) return { code: 'not-found', problem: `${server} has not listed ${JSON.stringify(tool)}` };
  const { accepted, drifts } = pinned;
  if (![...accepted, ...drifts].some((one) => one.definition === definition))
    return {
      code: 'not-found',
      problem: `${server} has not listed ${JSON.stringify(tool)} with this definition, or it changed again: sworn tools diff`,
    };
  const previous = accepted.at(-1)?.definition;
  return {
    ...place,
    tool,
    definition,
    ...(previous === undefined || previous === definition ? {} : { previous }),
    ...(also === true ? { also } : {}),
    ...(reason === undefined ? {} : { reason }),
  };
}
