/** Who could rewrite the record, in words for people: the same in every headline. */
import type { Custody } from './entry.ts';

/** What each custody means, and the one step that improves it. */
export const custodyTexts: Record<Custody, { says: string; improve?: string }> = {
  'same-user': {
    says: 'the recorder runs as the agent’s own user, so an agent with a shell could rewrite what no witness and no kept checkpoint covers',
    improve: 'better: sudo -u <another account> sworn recorder start --foreground --ledger <dir> --socket <path> --group <group>',
  },
  'separate-user': { says: 'the recorder runs under an account of its own: the agent’s user can neither read nor alter the record' },
  remote: { says: 'the recorder runs on another host: nobody here can alter the record' },
  'in-process': {
    says: 'the recorder runs inside the recorded program, which could write anything',
    improve: 'better: sworn run -- <server command>',
  },
};

/** Both in one line. */
export function custodyMeans(custody: Custody): string {
  const { says, improve } = custodyTexts[custody];
  return improve === undefined ? says : `${says}; ${improve}`;
}
