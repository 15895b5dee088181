/** The help of `sworn run`. The tap (`src/tap/`) reads these options by itself: it starts with every MCP server and loads no argument parser. */
import { SwornError } from '../errors.ts';
import type { CommandHelp, OptionHelp } from './help.ts';

/** What is said of a connection, by a tap or a proxy. */
export const connectionOptions: readonly OptionHelp[] = [
  { flags: '--client <name>', description: "the client's name in the record" },
  { flags: '--label <key=value>', description: 'a label of the connection; may be given several times' },
  { flags: '--ledger <dir>', description: 'where to record (default: ~/.local/state/sworn)' },
  { flags: '--socket <path>', description: 'where the recorder listens, when it runs under its own account' },
  { flags: '--mode <mode>', description: 'commit: nothing is delivered before it is on disk; observe: nothing waits (default: commit)' },
  { flags: '--on-unrecordable <what>', description: 'block or pass what cannot be recorded (default: block)' },
];

/** What tools do, whatever servers say. */
export const effectOptions: readonly OptionHelp[] = [
  { flags: '--sensitive <tools>', description: "tools whose calls are marked sensitive: 'get_pay*,get_ssn'" },
  { flags: '--write <tools>', description: 'tools that write, whatever the server says' },
  { flags: '--read <tools>', description: 'tools that only read, whatever the server says' },
];

export const runHelp: CommandHelp = {
  options: [
    { flags: '--name <name>', description: "the server's name in the record (default: base name of the command)" },
    ...connectionOptions,
    {
      flags: '--config <file>',
      description: 'the policy file of the recorder that is started (default: ~/.config/sworn/sworn.yaml, if it is there)',
    },
    ...effectOptions,
    {
      flags: '--url <endpoint>',
      description: 'instead of a command: a server behind HTTP, of any MCP version, for instance http://127.0.0.1:3001/mcp',
    },
    { flags: '--header <header>', description: "with --url: 'Name: value'; others on this machine can read it here; may be given several times" },
    { flags: '--header-file <file>', description: 'with --url: headers, one a line' },
    { flags: '--header-env <header>', description: 'with --url: Name=VARIABLE, from the environment' },
    { flags: '--ca <file>', description: 'with --url: certificates to trust instead of the usual ones (PEM)' },
    { flags: '--connect-timeout <seconds>', description: 'with --url: how long a connection may take (default: 30)' },
    { flags: '--answer-timeout <seconds>', description: 'with --url: how long the first byte of an answer may take (default: 600)' },
    { flags: '--print-config', description: 'print what to paste into MCP clients instead of starting the server' },
  ],
  example: 'sworn run --name fs -- npx -y @modelcontextprotocol/server-filesystem .',
};

/** Reached only by `sworn help run` with more words: the tap handles every other `run`. */
export function runUsage(): Promise<number> {
  throw new SwornError('usage', 'no server command after `--`', { command: 'run' });
}
