/** How rows are made of entries, from flags and the configuration: of every command that shows findings or effects. */
import { existsSync } from 'node:fs';
import type { AnalysisOptions } from '../analysis/options.ts';
import type { Config, NotifySettings, WebhookSettings } from '../config/config.ts';
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

/** Who is told of new findings. @throws (rejects) SwornError `config-missing`, `config-invalid` */
export async function notifyOf(flags: AnalysisFlags): Promise<NotifySettings[]> {
  return (await fileOf(flags))?.findings.notify ?? [];
}

/** Who is told of requests that wait for a person. @throws (rejects) SwornError `config-missing`, `config-invalid` */
export async function webhookOf(flags: AnalysisFlags): Promise<WebhookSettings | undefined> {
  return (await fileOf(flags))?.webhook;
}

/** The file that was named, or the usual one where it is there. */
async function fileOf({ config }: AnalysisFlags): Promise<Config | undefined> {
  const { defaultConfigPath, loadConfig } = await import('../config/config.ts');
  const path = config ?? defaultConfigPath();
  return config === undefined && !existsSync(path) ? undefined : loadConfig(path);
}

/** @throws (rejects) SwornError `config-missing`, `config-invalid` */
export async function analysisOf(flags: AnalysisFlags): Promise<Omit<AnalysisOptions, 'crypto'>> {
  const { sensitive, write, read } = flags;
  const file = await fileOf(flags);
  const { findings, entities, policy } = file ?? {};
  const witnesses = file?.anchors.witnesses.length ?? 0;
  // who configures witnesses expects them, also before the first one has answered
  const rules = witnesses === 0 ? findings?.rules : { ...findings?.rules, unwitnessed: { witnesses, ...findings?.rules['unwitnessed'] } };
  return {
    ...(sensitive === undefined ? {} : { sensitive: [sensitive] }),
    ...(write === undefined ? {} : { write: [write] }),
    ...(read === undefined ? {} : { read: [read] }),
    ...(findings === undefined || findings.ignore.length === 0 ? {} : { ignore: findings.ignore }),
    ...(rules === undefined || Object.keys(rules).length === 0 ? {} : { rules }),
    ...(entities === undefined || Object.keys(entities).length === 0 ? {} : { entities }),
    ...(policy === undefined || Object.keys(policy.servers).length === 0 ? {} : { servers: policy.servers }),
  };
}
