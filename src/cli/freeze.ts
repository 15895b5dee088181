/** `sworn freeze` and `sworn unfreeze`: the kill switch, over the recorder's socket. */
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';
import type { Freeze } from '../policy/freeze.ts';
import { ask } from '../wire/ask.ts';
import type { CommandHelp, OptionHelp } from './help.ts';
import { safeJson, visible, type Output } from './output.ts';
import { ensureRecorder, placeOf } from './keeping.ts';
import { freezeText } from './recorder.ts';

const places: readonly OptionHelp[] = [
  { flags: '--ledger <dir>', description: 'the ledger (default: ~/.local/state/sworn)' },
  { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
  { flags: '--json', description: 'the answer as one JSON object' },
];

export const freezeHelp: CommandHelp = {
  options: [
    { flags: '--server <glob>', description: 'only on these servers' },
    { flags: '--client <glob>', description: 'only for these clients' },
    { flags: '--principal <who>', description: 'only for this uid, or verified subject' },
    { flags: '--session <id>', description: 'only for this connection; the beginning of its id is enough' },
    { flags: '--all', description: 'every request; otherwise what is known to read goes on' },
    { flags: '--reason <text>', description: 'told to whoever is refused' },
    {
      flags: '--until <time>',
      description: 'for so long (90s, 30m, 12h, 7d), or up to this time (2026-11-22T08:00:00Z); otherwise until `sworn unfreeze`',
    },
    ...places,
  ],
  example: 'sworn freeze --server db --reason "code freeze" --until 12h',
};

export const unfreezeHelp: CommandHelp = {
  options: [{ flags: '--all', description: 'take every freeze back' }, ...places],
  example: 'sworn unfreeze --all',
};

interface Options {
  id?: string;
  server?: string;
  client?: string;
  principal?: string;
  session?: string;
  all?: boolean;
  reason?: string;
  until?: string;
  ledger?: string;
  socket?: string;
  json?: boolean;
}

/** In force before this returns; if no recorder runs, one is started, and the next ones go on with it. */
export async function freezeCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  const { socket } = placeOf(options);
  const status = await ensureRecorder(options, output);
  if (status !== undefined) return status;
  const { server, client, principal, session, all, reason } = options;
  const untilMs = options.until === undefined ? undefined : untilOf(options.until, Date.now());
  const answer = (await ask(socket, 'freeze', { server, client, principal, session, all, reason, untilMs })) as { frozen: number; freezes: Freeze[] };
  const made = answer.freezes.find(({ id }) => id === answer.frozen);
  output.out(
    options.json
      ? `${safeJson(JSON.stringify(answer))}\n`
      : `frozen, entry ${made === undefined ? answer.frozen : freezeText(made)}\nsworn unfreeze ${answer.frozen} takes it back\n`,
  );
  return 0;
}

export async function unfreezeCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  const { socket } = placeOf(options);
  const freeze = options.id === undefined ? undefined : wholeNumber(options.id);
  if (options.id !== undefined && freeze === undefined) throw usage(`${options.id} is not the number of a freeze`, 'unfreeze');
  if (freeze === undefined && options.all !== true) {
    const { freezes } = (await ask(socket, 'status')) as { freezes?: Freeze[] };
    if (freezes === undefined || freezes.length === 0) {
      output.out(options.json ? '{"unfrozen":[]}\n' : 'nothing is frozen\n');
      return 0;
    }
    throw usage(`which one? ${freezes.map(freezeText).join('; ')}: sworn unfreeze <number>, or --all`, 'unfreeze');
  }
  const answer = (await ask(socket, 'unfreeze', { freeze })) as { unfrozen: number[] };
  if (options.json) output.out(`${safeJson(JSON.stringify(answer))}\n`);
  else output.out(answer.unfrozen.length === 0 ? 'nothing was frozen\n' : `no longer frozen: ${visible(answer.unfrozen.join(', '))}\n`);
  return 0;
}

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** @throws SwornError `usage` */
function untilOf(text: string, nowMs: number): number {
  const span = /^(\d{1,6})([smhd])$/.exec(text);
  const ms = span === null ? Date.parse(text) : nowMs + Number(span[1]) * unitMs[span[2] as keyof typeof unitMs];
  if (!Number.isFinite(ms) || ms <= nowMs) throw usage(`--until ${text} is no time to come`, 'freeze');
  return ms;
}

function usage(message: string, command: string): SwornError {
  return new SwornError('usage', message, { command });
}
