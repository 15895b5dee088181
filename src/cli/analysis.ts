/** How rows are made of entries, from flags and the configuration: of every command that shows findings or effects. */
import { existsSync } from 'node:fs';
import type { AnalysisOptions } from '../analysis/options.ts';
import type { Config } from '../config/config.ts';
import type { OptionHelp } from './help.ts';
import { effectOptions } from './run.ts';

export const analysisOptions: readonly OptionHelp[] = [
  {
    flags: '--config <file>',
    description:
      'what findings are wanted, what names a thing, and what tools do: `findings`, `entities` and `servers` of this file (default: ~/.config/sworn/sworn.yaml, where it is there)',
  },
  ...effectOptions,
];

export interface AnalysisFlags {
  config?: string;
  sensitive?: string;
  write?: string;
  read?: string;
}

/** @throws (rejects) SwornError `config-missing`, `config-invalid` */
export async function analysisOf({ config, sensitive, write, read }: AnalysisFlags): Promise<Omit<AnalysisOptions, 'crypto'>> {
  const { defaultConfigPath, loadConfig } = await import('../config/config.ts');
  const path = config ?? defaultConfigPath();
  const { findings, entities, policy } = config === undefined && !existsSync(path) ? {} : ((await loadConfig(path)) as Partial<Config>);
  return {
    ...(sensitive === undefined ? {} : { sensitive: [sensitive] }),
    ...(write === undefined ? {} : { write: [write] }),
    ...(read === undefined ? {} : { read: [read] }),
    ...(findings === undefined || findings.ignore.length === 0 ? {} : { ignore: findings.ignore }),
    ...(findings === undefined || Object.keys(findings.rules).length === 0 ? {} : { rules: findings.rules }),
    ...(entities === undefined || Object.keys(entities).length === 0 ? {} : { entities }),
    ...(policy === undefined || Object.keys(policy.servers).length === 0 ? {} : { servers: policy.servers }),
  };
}
