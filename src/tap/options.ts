/** The command line of `sworn run`, read by hand: the tap starts with every server and loads no parser. Clients strip the environment, so argv is all there is. */
import { basename, resolve } from 'node:path';
import { SwornError } from '../errors.ts';
import { serverNameBytes } from '../limits.ts';
import { choiceOf, globsOf, labelsOf, shortName } from '../wire/options.ts';
import { checkSocketPath, defaultLedger, ledgerPath, socketPathOf } from '../wire/socket-path.ts';

export interface RunOptions {
  /** Empty with `remote`. */
  command: string[];
  /** Instead of a command: what was said of a server behind HTTP, by option. Read where it is used (`bridge/command.ts`). */
  remote?: ReadonlyMap<string, readonly string[]>;
  ledger: string;
  socket: string;
  /** The socket was named: its recorder is somebody else's to start. */
  external: boolean;
  name: string;
  client?: string;
  labels: Record<string, string>;
  mode: 'commit' | 'observe';
  onUnrecordable: 'block' | 'pass';
  overrides: { sensitive: string[]; write: string[]; read: string[] };
  /** Absolute path of a policy file: the recorder's to read. */
  config?: string;
  printConfig: boolean;
  help: boolean;
}

const remoteOptions = ['--url', '--header', '--header-file', '--header-env', '--ca', '--connect-timeout', '--answer-timeout'];

/** Those with a value. */
export const valued = [
  '--ledger',
  '--socket',
  '--name',
  '--client',
  '--label',
  '--mode',
  '--on-unrecordable',
  '--sensitive',
  '--write',
  '--read',
  '--config',
  ...remoteOptions,
];

/** They are kept whole with the connection: a recorder that goes on with it must know them. */
const overrideBytes = 64 * 1024;

/** @throws SwornError `usage` */
export function readRunOptions(argv: readonly string[]): RunOptions {
  const given = new Map<string, string[]>();
  let command: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--') {
      command = argv.slice(i + 1);
      break;
    }
    if (!word.startsWith('-')) {
      command = argv.slice(i);
      break;
    }
    const equals = word.indexOf('=');
    const name = word.startsWith('--') && equals > 0 ? word.slice(0, equals) : word;
    if (name === '--print-config' || name === '--help' || name === '-h') given.set(name === '-h' ? '--help' : name, []);
    else if (valued.includes(name)) {
      const value = equals > 0 ? word.slice(equals + 1) : argv[++i];
      if (value === undefined || value === '--') throw usage(`${name} needs a value`);
      given.set(name, [...(given.get(name) ?? []), value]);
    } else throw new SwornError('usage', `unknown option ${name}; options of the server go behind \`--\``, { command: 'run', option: name });
  }
  const one = (name: string): string | undefined => given.get(name)?.at(-1);
  const globs = (name: string): string[] => globsOf(given.get(name));
  const help = given.has('--help');
  const remote = remoteOf(given);
  if (remote !== undefined && command.length > 0) throw usage('give a server command or --url, not both');
  if (remote === undefined && (command[0] ?? '') === '' && !help) throw usage('no server command: sworn run [options] -- <server command>');
  const ledger = ledgerPath(one('--ledger') ?? defaultLedger());
  const socket = one('--socket') === undefined ? socketPathOf(ledger) : resolve(one('--socket')!);
  checkSocketPath(socket);
  const client = one('--client');
  const overrides = { sensitive: globs('--sensitive'), write: globs('--write'), read: globs('--read') };
  if (JSON.stringify(overrides).length > overrideBytes) throw usage(`--sensitive, --write and --read have at most ${overrideBytes} bytes together`);
  return {
    command,
    ...(remote === undefined ? {} : { remote }),
    ledger,
    socket,
    external: given.has('--socket'),
    name:
      one('--name') === undefined
        ? nameOf(remote === undefined ? (command[0] ?? '') : (URL.parse(remote.get('--url')!.at(-1)!)?.hostname ?? ''))
        : shortName(one('--name')!, '--name', usage),
    ...(client === undefined ? {} : { client: shortName(client, '--client', usage) }),
    labels: labelsOf(given.get('--label') ?? [], usage),
    mode: choiceOf(one('--mode') ?? 'commit', '--mode', ['commit', 'observe'], usage),
    onUnrecordable: choiceOf(one('--on-unrecordable') ?? 'block', '--on-unrecordable', ['block', 'pass'], usage),
    overrides,
    ...(one('--config') === undefined ? {} : { config: resolve(one('--config')!) }),
    printConfig: given.has('--print-config'),
    help,
  };
}

/** What only a server behind HTTP has. */
function remoteOf(given: ReadonlyMap<string, readonly string[]>): RunOptions['remote'] {
  const remote = new Map([...given].filter(([name]) => remoteOptions.includes(name)));
  if (remote.size > 0 && !remote.has('--url')) throw usage(`${[...remote.keys()][0]} goes with --url`);
  return remote.size > 0 ? remote : undefined;
}

/** The base name of the command, or a host, as much of it as a name may have. */
export function nameOf(word: string): string {
  const name = basename(word).replace(/\.(exe|cmd|bat)$/i, '');
  let cut = Buffer.from(name).subarray(0, serverNameBytes).toString();
  while (Buffer.byteLength(cut) > serverNameBytes) cut = cut.slice(0, -1);
  return cut === '' ? 'server' : cut;
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'run' });
}
