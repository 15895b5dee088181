/** `sworn hold`: what must not be erased, whoever asks. */
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';
import type { Hold } from '../recorder/hold.ts';
import { ask } from '../wire/ask.ts';
import type { CommandHelp } from './help.ts';
import { ensureRecorder, pastTime, placeOf, readHolds, type PlaceOptions } from './keeping.ts';
import { holdText } from './recorder.ts';
import { safeJson, type Output } from './output.ts';

export const holdHelp: CommandHelp = {
  options: [
    { flags: '--session <id>', description: 'add: this connection; the beginning of its id is enough' },
    { flags: '--server <glob>', description: 'add: connections to these servers' },
    {
      flags: '--subject <who>',
      description: 'add: connections of this account name, uid=<n>, label (k=v) or value of a label; over HTTP, what this verified subject sent',
    },
    { flags: '--since <time>', description: 'add: entries from this time on: 90d, 12h or 30m ago, or 2026-11-20, or 2026-11-20T23:45:00Z' },
    { flags: '--until <time>', description: 'add: entries up to this time; otherwise those to come too' },
    { flags: '--all', description: 'add: everything, if nothing else is named' },
    { flags: '--reason <text>', description: 'add: told to whoever is refused' },
    { flags: '--ledger <dir>', description: 'the ledger (default: ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'the answer as one JSON object' },
  ],
  example: 'sworn hold add --session 5f0c19 --reason "litigation"',
};

interface Options extends PlaceOptions {
  action?: string;
  id?: string;
  session?: string;
  server?: string;
  subject?: string;
  since?: string;
  until?: string;
  all?: boolean;
  reason?: string;
  json?: boolean;
}

/** @throws SwornError `usage`, `no-ledger`, `not-found`, or whatever the recorder answers */
export async function holdCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  const { ledger, socket } = placeOf(options);
  switch (options.action ?? 'list') {
    case 'add':
      return add(options, socket, output);
    case 'release': {
      const hold = wholeNumber(options.id ?? '');
      if (hold === undefined) throw usage('which one? sworn hold release <number>; `sworn hold list` shows them');
      const status = await ensureRecorder(options, output);
      if (status !== undefined) return status;
      const answer = await ask(socket, 'release', { hold });
      output.out(options.json ? `${safeJson(JSON.stringify(answer))}\n` : `released: ${hold}\n`);
      return 0;
    }
    default: {
      const holds = await readHolds(ledger);
      if (options.json) output.out(`${safeJson(JSON.stringify({ holds }))}\n`);
      else output.out(holds.length === 0 ? 'nothing is held\n' : holds.map((hold) => `${holdText(hold)}\n`).join(''));
      return 0;
    }
  }
}

async function add(options: Options, socket: string, output: Output): Promise<number> {
  const { session, server, subject, reason, since, until, all } = options;
  if ([session, server, subject, since, until].every((value) => value === undefined) && all !== true)
    throw usage('what is to be held? --session, --server, --subject, --since, --until, or --all');
  const status = await ensureRecorder(options, output);
  if (status !== undefined) return status;
  const answer = (await ask(socket, 'hold', {
    ...{ session, server, subject, reason },
    sinceMs: since === undefined ? undefined : pastTime(since, 'since', 'hold'),
    untilMs: until === undefined ? undefined : pastTime(until, 'until', 'hold'),
  })) as { held: number; holds: Hold[] };
  const made = answer.holds.find(({ id }) => id === answer.held);
  output.out(
    options.json
      ? `${safeJson(JSON.stringify(answer))}\n`
      : `held, entry ${made === undefined ? answer.held : holdText(made)}\nsworn hold release ${answer.held} takes it back\n`,
  );
  return 0;
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'hold' });
}
