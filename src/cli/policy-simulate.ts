/** `sworn policy simulate`: what a policy file would have done to the recorded past, message by message, with the recorder's own judge. */
import { defaultConfigPath, loadConfig, type Config } from '../config/config.ts';
import { SwornError } from '../errors.ts';
import { compilePolicy, type CompiledPolicy } from '../policy/judge.ts';
import { ledgerPaths } from './ledger-path.ts';
import { safeJson, visible, type Output } from './output.ts';
import { replayPast, type PastOptions } from './policy-past.ts';
import { digits, Tally, tallyText, type LedgerTally } from './policy-tally.ts';

export interface SimulateOptions extends PastOptions {
  /** The policy file; `file` is the same as a word. */
  policy?: string;
  file?: string;
  ledger?: string | string[];
  json?: boolean;
  failOn?: string;
}

/** @throws SwornError `usage`, `config-missing`, `config-invalid`, `no-ledger` */
export async function simulateCommand(options: SimulateOptions, output: Output): Promise<number> {
  if (options.failOn !== undefined && options.failOn !== 'block')
    throw new SwornError('usage', `--fail-on ${options.failOn} is not: block`, { command: 'policy' });
  if (options.policy !== undefined && options.file !== undefined)
    throw new SwornError('usage', 'the policy file is given twice: --policy and as a word', { command: 'policy' });
  const config = await loadConfig(options.policy ?? options.file ?? defaultConfigPath());
  const compiled = await compilePolicy(config.policy);
  const fromMs = performance.now();
  const tallies: LedgerTally[] = [];
  for (const ledger of ledgerPaths(options.ledger)) tallies.push(await simulate(ledger, compiled, options));
  const seconds = (performance.now() - fromMs) / 1000;
  const newlyBlocked = tallies.reduce((sum, { changes }) => sum + changes.newlyBlocked, 0);
  if (options.json) output.out(`${safeJson(JSON.stringify(resultOf(config, tallies, seconds)))}\n`);
  else {
    for (const tally of tallies) output.out(`${tallyText(output, tally, compiled.redact.length > 0)}\n`);
    const perS = callsPerS(tallies, seconds);
    output.out(`${visible(config.path)}: in ${seconds.toFixed(1)} s${perS === undefined ? '' : `, ${digits(perS)} calls/s (two messages a call)`}\n`);
  }
  return options.failOn === 'block' && newlyBlocked > 0 ? 1 : 0;
}

function resultOf(config: Config, ledgers: LedgerTally[], seconds: number): object {
  const perS = callsPerS(ledgers, seconds);
  return { file: config.path, digest: config.digest, seconds, ...(perS === undefined ? {} : { callsPerSecond: perS }), ledgers };
}

/** Of very few it says nothing. */
function callsPerS(ledgers: readonly LedgerTally[], seconds: number): number | undefined {
  const messages = ledgers.reduce((sum, tally) => sum + tally.messages, 0);
  return messages < 1_000 ? undefined : Math.round(messages / 2 / seconds);
}

async function simulate(ledger: string, compiled: CompiledPolicy, options: SimulateOptions): Promise<LedgerTally> {
  const tally = new Tally(ledger, compiled);
  await replayPast(ledger, compiled, options, (judgement) => tally.add(judgement));
  return tally.end();
}
