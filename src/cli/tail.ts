/** `sworn tail`: follows one or several ledgers while they are written. */
import { readEntries, readEntriesBackwards, sizeOf } from '../readers/entries.ts';
import { filterHelp, filterOf, type FilterOptions } from './filter.ts';
import { ledgerPaths } from './ledger-path.ts';
import { limitOf, matching, writerOf, type Row } from './log.ts';
import type { CommandHelp } from './help.ts';
import type { Output } from './output.ts';
import { SwornError } from '../errors.ts';

export interface TailOptions extends Omit<FilterOptions, 'since' | 'until'> {
  ledger?: string | string[];
  lines?: string | number;
  json?: boolean;
  payload?: boolean;
}

export const tailHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    ...filterHelp,
    { flags: '--lines <n>', description: 'begin with the newest n', default: '10' },
    { flags: '--json', description: 'one JSON object a line' },
    { flags: '--payload', description: 'add the recorded content' },
  ],
  example: 'sworn tail --server fs',
};

/** Ends with status 0 when `signal` aborts (default: on SIGINT and SIGTERM), or when nobody reads its output any more. */
export async function tailCommand(options: TailOptions, output: Output, signal?: AbortSignal): Promise<number> {
  const ledgers = ledgerPaths(options.ledger);
  const lines = limitOf(options.lines ?? 10, 'lines', 'tail') ?? 10;
  if (options.outcome === 'unanswered' || options.outcome === 'cancelled') {
    throw new SwornError('usage', `what is ${options.outcome} is known only afterwards: sworn log --outcome ${options.outcome}`, { command: 'tail' });
  }
  const filters = ledgers.map(() => ({ last: filterOf(options, 'tail'), next: filterOf(options, 'tail') }));
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  const signals = ['SIGINT', 'SIGTERM'] as const;
  if (signal === undefined) for (const name of signals) process.on(name, onSignal);
  else if (signal.aborted) stop.abort();
  else signal.addEventListener('abort', onSignal, { once: true });
  try {
    const { show, note } = await writerOf(options, output, ledgers);
    const followed = await Promise.all(
      ledgers.map(async (ledger, i) => {
        const size = await sizeOf(ledger);
        const last: Row[] = [];
        if (lines > 0) {
          for await (const row of matching(ledger, readEntriesBackwards(ledger, size), filters[i]!.last, -1)) if (last.push(row) === lines) break;
        }
        return { ledger, size, last: last.reverse() };
      }),
    );
    for (const { last } of followed) for (const row of last) await show(row);
    // rows of several ledgers come in the order in which they are seen; each is written whole
    await Promise.all(
      followed.map(async ({ ledger, size }, i) => {
        const entries = readEntries(ledger, { from: size, content: options.payload === true || options.text !== undefined, follow: stop.signal });
        for await (const row of matching(ledger, entries, filters[i]!.next, 1, note)) if (!(await show(row))) stop.abort();
      }),
    );
    return 0;
  } finally {
    stop.abort();
    if (signal === undefined) for (const name of signals) process.off(name, onSignal);
    else signal.removeEventListener('abort', onSignal);
  }
}
