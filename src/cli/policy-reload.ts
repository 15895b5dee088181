/** `sworn policy reload`: has the recorder read its file again. Which file it is was said when the recorder was started. */
import { resolve } from 'node:path';
import { errorKinds, SwornError } from '../errors.ts';
import { ask } from '../wire/ask.ts';
import { defaultLedger, ledgerPath, socketPathOf } from '../wire/socket-path.ts';
import { count, errorText, safeJson, visible, type Output } from './output.ts';

interface Options {
  file?: string;
  ledger?: string | string[];
  socket?: string;
  json?: boolean;
}

/** What the recorder says of it (`reload()` in `recorder/recorder.ts`). */
interface Answer {
  reloaded: boolean;
  problem?: string;
  digest?: string;
  rules?: number;
}

export async function reloadCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  if (options.file !== undefined) {
    throw new SwornError('usage', 'the recorder knows its file: it was named when the recorder was started', { command: 'policy' });
  }
  const given = typeof options.ledger === 'string' ? [options.ledger] : (options.ledger ?? []);
  if (given.length > 1) throw new SwornError('usage', 'a recorder writes one ledger', { command: 'policy' });
  const ledger = ledgerPath(given[0] ?? defaultLedger());
  const answer = (await ask(options.socket === undefined ? socketPathOf(ledger) : resolve(options.socket), 'reload')) as unknown as Answer;
  if (options.json === true) output.out(`${safeJson(JSON.stringify(answer))}\n`);
  else if (answer.problem === undefined) output.out(`${sentence(answer)}\n`);
  else output.err(errorText(`${answer.problem}; what was in force before stays so`, 'sworn policy check says what is wrong, place by place'));
  return answer.problem === undefined ? 0 : errorKinds['config-invalid'].exit;
}

function sentence({ reloaded, digest, rules }: Answer): string {
  if (digest === undefined) return reloaded ? 'there is no file any more: everything passes' : 'there is no file: everything passes';
  const name = `policy ${visible(digest.slice(0, 16))}…`;
  return reloaded ? `${name} is in force, ${count(rules ?? 0, 'rule')}` : `${name} is in force already: the file has not changed`;
}
