/** `sworn policy`: `check` says what is wrong in a policy file, place by place, before a recorder reads it; `test`, `simulate` and `suggest` have files of their own. */
import { defaultConfigPath, readConfig, type Config, type ConfigProblem } from '../config/config.ts';
import { SwornError } from '../errors.ts';
import { timeHelp } from './filter.ts';
import type { CommandHelp } from './help.ts';
import { hasErrors, problemText } from './policy-problems.ts';
import { count, safeJson, visible, type Output } from './output.ts';

export const policyHelp: CommandHelp = {
  options: [
    { flags: '--json', description: 'the result as one JSON object' },
    { flags: '--policy <file>', description: 'simulate: the policy file, the same as [file]' },
    {
      flags: '--ledger <dir>',
      description: 'simulate, suggest, reload: the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); but for reload several times',
      repeat: true,
    },
    { flags: '--socket <path>', description: 'reload: where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--session <id>', description: 'simulate, suggest: only this connection; the beginning of its id is enough' },
    { flags: '--server <glob>', description: 'simulate, suggest: only servers of this name' },
    ...timeHelp.map(({ flags, description }) => ({ flags, description: `simulate, suggest: ${description}` })),
    { flags: '-o, --output <file>', description: 'suggest: where the draft goes (default: standard output); nothing is overwritten' },
    { flags: '--cases <file>', description: 'suggest: cases for `sworn policy test` go there' },
    { flags: '--per <what>', description: 'suggest: whom rules tell apart: client, principal, or server for neither (default: client,principal)' },
    { flags: '--ask <what>', description: 'suggest: a person decides calls that are destructive, or all that are not known to read (write)' },
    { flags: '--fail-on <what>', description: 'simulate: `block` ends with status 1 when anything would be newly blocked' },
  ],
  example: 'sworn policy simulate --policy sworn.yaml --since 30d',
};

interface PolicyOptions {
  action?: string;
  file?: string;
  json?: boolean;
}

/** Options that only `simulate` has. */
const simulateOptions = ['policy', 'failOn'];
/** Options of those that look at the past, and of `suggest`. */
const pastOptions = ['ledger', 'session', 'server', 'since', 'until'];
const suggestOptions = ['output', 'cases', 'per', 'ask'];

/** Digits of the digest that people are shown; `--json` has all 64. */
const digestDigits = 16;

export async function policyCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as PolicyOptions;
  if (options.action !== 'suggest') refuse(values, suggestOptions, 'suggest');
  if (options.action === 'simulate') return (await import('./policy-simulate.ts')).simulateCommand(values, output);
  if (options.action === 'reload') return (await import('./policy-reload.ts')).reloadCommand(values, output);
  refuse(values, simulateOptions, 'simulate');
  if (options.action === 'suggest') return (await import('./policy-suggest.ts')).suggestCommand(values, output);
  refuse(values, pastOptions, 'simulate');
  if (options.action === 'test') return (await import('./policy-test.ts')).policyTestCommand(options, output);
  const file = options.file ?? defaultConfigPath();
  const { config, problems } = await readConfig(file);
  if (options.json === true) output.out(`${safeJson(JSON.stringify(result(file, config, problems)))}\n`);
  else output.out(`${problems.map((problem) => problemText(output, file, problem)).join('')}${closingLine(file, config, problems)}\n`);
  return config === undefined ? hasErrors : 0;
}

function refuse(values: Record<string, unknown>, names: readonly string[], action: string): void {
  for (const name of names) {
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (values[name] !== undefined) throw new SwornError('usage', `--${flag} belongs to \`sworn policy ${action}\``, { command: 'policy' });
  }
}

function closingLine(file: string, config: Config | undefined, problems: readonly ConfigProblem[]): string {
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  const warnings = problems.length - errors;
  const parts: string[] = [];
  if (errors > 0) parts.push(count(errors, 'error'));
  if (warnings > 0) parts.push(count(warnings, 'warning'));
  if (parts.length === 0) parts.push('no problems');
  if (config !== undefined) {
    const { policy, capture, redact } = config.policy;
    const shadows = policy.rules.filter(({ enforce }) => !enforce).length;
    parts.push(
      `${count(policy.rules.length, 'rule')}${shadows === 0 ? '' : ` (${shadows} of them ${shadows === 1 ? 'a shadow rule' : 'shadow rules'})`}`,
    );
    parts.push(count(redact.length, 'redact rule'));
    if (capture.rules.length > 0) parts.push(count(capture.rules.length, 'capture rule'));
    parts.push(`digest ${config.digest.slice(0, digestDigits)}…`);
  }
  return `${visible(file)}: ${parts.join(', ')}`;
}

function result(file: string, config: Config | undefined, problems: readonly ConfigProblem[]): object {
  return {
    file,
    valid: config !== undefined,
    problems,
    ...(config === undefined
      ? {}
      : {
          digest: config.digest,
          rules: config.policy.policy.rules.length,
          shadowRules: config.policy.policy.rules.filter(({ enforce }) => !enforce).length,
          redactRules: config.policy.redact.length,
          captureRules: config.policy.capture.rules.length,
        }),
  };
}
