/** How a recorder is started in the background: alike by the tap and by `sworn recorder start`, so that it is the same process whoever started it. */
import { recorderYoungHeapMB } from '../limits.ts';

/** What a recorder may see of its starter's environment: no secrets, and nothing that changes how Node runs. */
const passedEnvironment = ['HOME', 'LANG', 'LC_ALL', 'LOGNAME', 'PATH', 'TZ', 'USER', 'SystemRoot'];

export function recorderEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(passedEnvironment.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
}

/** The words behind Node's own path. `program` is `bin/sworn.mjs`. */
export function recorderWords(program: string, ledger: string, config?: string): string[] {
  return [
    `--max-semi-space-size=${recorderYoungHeapMB}`,
    program,
    'recorder',
    'start',
    '--daemon',
    '--ledger',
    ledger,
    ...(config === undefined ? [] : ['--config', config]),
  ];
}
