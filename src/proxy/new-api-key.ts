/** `sworn proxy --new-api-key NAME --config FILE`: makes a key, prints it once, and keeps its hash. */
import { parseArgs } from 'node:util';
import { argumentProblem } from '../bytes/typed.ts';
import { loadConfig } from '../config/config.ts';
import { SwornError } from '../errors.ts';
import { newApiKey } from './api-keys.ts';

export const newKeyFlag = '--new-api-key';

/** @throws SwornError `usage`, those of the configuration, and those of `newApiKey` */
export async function newApiKeyCommand(argv: readonly string[]): Promise<number> {
  const { name, config } = wordsOf(argv);
  if (name === undefined || config === undefined) throw usage(`whose key, and of which proxy? sworn proxy ${newKeyFlag} ci --config sworn.yaml`);
  const { auth } = await loadConfig(config);
  if (auth.apiKeys === undefined) throw usage(`${config} names no file for keys: write auth: { apiKeys: /absolute/path }`);
  const key = await newApiKey(auth.apiKeys, name);
  // the key alone goes where a script reads it
  process.stdout.write(`${key}\n`);
  process.stderr.write(`sworn: the key of ${name} is shown this once; ${auth.apiKeys} has its hash. To take it back, delete its line\n`);
  return 0;
}

function wordsOf(argv: readonly string[]): { name?: string; config?: string } {
  const options = { 'new-api-key': { type: 'string' }, config: { type: 'string' } } as const;
  try {
    const { values } = parseArgs({ args: [...argv], allowPositionals: false, options });
    return {
      ...(values['new-api-key'] === undefined ? {} : { name: values['new-api-key'] }),
      ...(values.config === undefined ? {} : { config: values.config }),
    };
  } catch (error) {
    throw usage(argumentProblem(error, options));
  }
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'proxy' });
}
