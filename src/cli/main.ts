/**
 * The command line: finds the command, loads it alone, declares its options, and turns what is thrown into one error and one hint on stderr.
 * `run` and `recorder start --foreground` never come here (`bin/sworn.mjs` starts their programs); this knows them for their help.
 */
import { Command, CommanderError, Option } from 'commander';
import { SwornError } from '../errors.ts';
import { version } from '../version.ts';
import type { CommandHelp, OptionHelp } from './help.ts';
import { errorText, sayDefect, terminalOutput, type Output } from './output.ts';

type Values = Record<string, unknown>;

/** A command's options are what its own help declares, so a command may narrow their type. */
type Start = (values: Values, output: Output) => Promise<number>;

interface Loaded {
  readonly help: CommandHelp;
  readonly start: Start;
}

interface CommandEntry {
  readonly name: string;
  /** Where commander's own line would mislead. */
  readonly usage?: string;
  /** Positional words as commander writes them; their values join the options under these names. */
  readonly words?: readonly { readonly name: string; readonly flags: string; readonly description: string; readonly choices?: readonly string[] }[];
  readonly summary: string;
  readonly load: () => Promise<Loaded>;
}

const verifyHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the same as [what]' },
    { flags: '--known <file>', description: 'a checkpoint that was kept elsewhere: the ledger must continue from it; nothing is pinned' },
    { flags: '--policy <file>', description: "a trust file (C2SP tlog-policy): the log's key, witnesses and their quorum; nothing is pinned" },
    { flags: '--max-age <time>', description: 'how old (90s, 30m, 1h, 7d) the newest cosignature may be; without witnesses the newest entry' },
    { flags: '--no-payloads', description: 'the tree alone: content is not read' },
    { flags: '--workers <n>', description: 'threads for a large ledger (default: one a core, at most 16)' },
    { flags: '--json', description: 'the result as one JSON object' },
    { flags: '--new-ledger', description: 'another ledger than before stands at this path, and that is meant' },
  ],
  example: 'sworn verify',
};

export const commands: readonly CommandEntry[] = [
  {
    name: 'run',
    usage: '[options] -- <server command>',
    words: [{ name: 'command', flags: '[command...]', description: 'the server command and its arguments, behind `--`' }],
    summary: 'start an MCP server with its traffic recorded',
    load: async () => {
      const { runHelp, runUsage } = await import('./run.ts');
      return { help: runHelp, start: runUsage };
    },
  },
  {
    name: 'proxy',
    usage: '[options]',
    summary: 'stand in front of MCP servers over HTTP, with their traffic recorded',
    load: async () => {
      const { proxyHelp, proxyUsage } = await import('./proxy.ts');
      return { help: proxyHelp, start: proxyUsage };
    },
  },
  {
    name: 'recorder',
    words: [{ name: 'action', flags: '[action]', description: 'what to do', choices: ['start', 'status', 'stop'] }],
    summary: 'start, look at or stop the recorder of a ledger',
    load: async () => {
      const { recorderCommand, recorderHelp } = await import('./recorder.ts');
      return { help: recorderHelp, start: recorderCommand };
    },
  },
  {
    name: 'sessions',
    summary: 'what each agent did, one line a session',
    load: async () => {
      const { sessionsCommand, sessionsHelp } = await import('./sessions.ts');
      return { help: sessionsHelp, start: sessionsCommand };
    },
  },
  {
    name: 'log',
    summary: 'what was said, message by message',
    load: async () => {
      const { logCommand, logHelp } = await import('./log.ts');
      return { help: logHelp, start: logCommand };
    },
  },
  {
    name: 'show',
    words: [{ name: 'index', flags: '<index>', description: 'position of the entry in the ledger, as `sworn log` shows it' }],
    summary: 'one entry, with everything that is known about it',
    load: async () => {
      const { showCommand, showHelp } = await import('./show.ts');
      return { help: showHelp, start: showCommand };
    },
  },
  {
    name: 'tail',
    summary: 'new entries as they come',
    load: async () => {
      const { tailCommand, tailHelp } = await import('./tail.ts');
      return { help: tailHelp, start: tailCommand };
    },
  },
  {
    name: 'find',
    summary: 'where a value passed',
    load: async () => {
      const { findCommand, findHelp } = await import('./find.ts');
      return { help: findHelp, start: findCommand };
    },
  },
  {
    name: 'verify',
    words: [
      {
        name: 'what',
        flags: '[what]',
        description:
          "a ledger's directory (default: $SWORN_LEDGER or ~/.local/state/sworn), a .tlog-proof, a bundle of evidence, a report, or the address of a served log/",
      },
    ],
    summary: 'check that a ledger, or evidence from one, is whole and unchanged',
    load: async () => {
      const [{ verifyAny }, { workersOf }, { oneLedgerPath }] = await Promise.all([
        import('./verify-any.ts'),
        import('./verify.ts'),
        import('./ledger-path.ts'),
      ]);
      return {
        help: verifyHelp,
        start: ({ what, ledger, known, policy, maxAge, newLedger, json, payloads, workers }, output) => {
          const asked = (what ?? ledger) as string | undefined;
          return verifyAny(
            {
              // an address is no path
              what: asked !== undefined && /^https?:/i.test(asked) ? asked : oneLedgerPath(asked, 'verify'),
              isLedger: what === undefined && (asked === undefined || !/^https?:/i.test(asked)),
              json: json === true,
              reports: async (options, to) => (await import('./verify-report.ts')).verifyReportCommand(options, to),
              ...(known === undefined ? {} : { known: known as string }),
              ...(policy === undefined ? {} : { policy: policy as string }),
              ...(maxAge === undefined ? {} : { maxAge: maxAge as string }),
              ...(newLedger === true ? { newLedger: true } : {}),
              ...(payloads === false ? { payloads: false } : {}),
              ...workersOf(workers as string | undefined),
            },
            output,
          );
        },
      };
    },
  },
  {
    name: 'prove',
    words: [{ name: 'index', flags: '<index>', description: 'position of the entry in the ledger, as `sworn log` shows it' }],
    summary: 'one entry as a file that anyone can check without the ledger',
    load: async () => {
      const { proveCommand, proveHelp } = await import('./prove.ts');
      return { help: proveHelp, start: proveCommand };
    },
  },
  {
    name: 'bundle',
    summary: "a period's evidence in one file, for an auditor",
    load: async () => {
      const { bundleCommand, bundleHelp } = await import('./bundle.ts');
      return { help: bundleHelp, start: bundleCommand };
    },
  },
  {
    name: 'report',
    summary: 'what the agent did as one page that opens anywhere and checks itself',
    load: async () => {
      const { reportCommand, reportHelp } = await import('./report.ts');
      return { help: reportHelp, start: reportCommand };
    },
  },
  {
    name: 'findings',
    words: [
      { name: 'action', flags: '[action]', description: 'what to do (default: list)', choices: ['list', 'ack'] },
      { name: 'id', flags: '[id]', description: 'of `ack`: the finding, or the beginning of its id' },
    ],
    summary: 'what somebody should look at, and acknowledging it',
    load: async () => {
      const { findingsCommand, findingsHelp } = await import('./findings.ts');
      return { help: findingsHelp, start: findingsCommand };
    },
  },
  {
    name: 'catalog',
    words: [{ name: 'action', flags: '[action]', description: 'what to do (default: status)', choices: ['status', 'rebuild'] }],
    summary: 'the rows that dashboard and findings stand on',
    load: async () => {
      const { catalogCommand, catalogHelp } = await import('./catalog.ts');
      return { help: catalogHelp, start: catalogCommand };
    },
  },
  {
    name: 'policy',
    words: [
      { name: 'action', flags: '[action]', description: 'what to do (default: check)', choices: ['check', 'test', 'simulate', 'suggest', 'reload'] },
      { name: 'file', flags: '[file]', description: 'the policy file (default: ~/.config/sworn/sworn.yaml); of `test` the file of cases' },
    ],
    summary: 'check a policy file, test it with cases, try it on the recorded past, draft one from that, or put it in force',
    load: async () => {
      const { policyCommand, policyHelp } = await import('./policy.ts');
      return { help: policyHelp, start: policyCommand };
    },
  },
  {
    name: 'approvals',
    words: [
      { name: 'action', flags: '[action]', description: 'what to do (default: list)', choices: ['list', 'approve', 'deny', 'watch'] },
      { name: 'ids', flags: '[ids...]', description: 'of `approve` and `deny`: what waits, by the number that `list` shows' },
    ],
    summary: 'see what waits for a person, and approve or deny it',
    load: async () => {
      const { approvalsCommand, approvalsHelp } = await import('./approvals.ts');
      return { help: approvalsHelp, start: approvalsCommand };
    },
  },
  {
    name: 'tools',
    usage: '[list|diff|accept|check] [options] [tool]',
    words: [
      { name: 'action', flags: '[action]', description: 'what to do (default: list)', choices: ['list', 'diff', 'accept', 'check'] },
      { name: 'words', flags: '[words...]', description: 'of `diff` and `accept` the tool, or a glob; of `check` the server command, behind `--`' },
    ],
    summary: 'see how tools are defined, what changed, and accept it',
    load: async () => {
      const { toolsCommand, toolsHelp } = await import('./tools.ts');
      return { help: toolsHelp, start: toolsCommand };
    },
  },
  {
    name: 'freeze',
    summary: 'refuse writes, or everything, from the next message on',
    load: async () => {
      const { freezeCommand, freezeHelp } = await import('./freeze.ts');
      return { help: freezeHelp, start: freezeCommand };
    },
  },
  {
    name: 'unfreeze',
    words: [{ name: 'id', flags: '[id]', description: 'the number that `sworn freeze` gave' }],
    summary: 'take a freeze back',
    load: async () => {
      const { unfreezeCommand, unfreezeHelp } = await import('./freeze.ts');
      return { help: unfreezeHelp, start: unfreezeCommand };
    },
  },
  {
    name: 'erase',
    summary: 'erase content by entry, field, session, subject or age, and leave the proof',
    load: async () => {
      const { eraseCommand, eraseHelp } = await import('./erase.ts');
      return { help: eraseHelp, start: eraseCommand };
    },
  },
  {
    name: 'keys',
    words: [{ name: 'action', flags: '[action]', description: 'what to do', choices: ['show', 'rotate', 'retire'] }],
    summary: "show or change the keys that sign a ledger's checkpoints",
    load: async () => {
      const { keysCommand, keysHelp } = await import('./keys.ts');
      return { help: keysHelp, start: keysCommand };
    },
  },
  {
    name: 'hold',
    words: [
      { name: 'action', flags: '[action]', description: 'what to do (default: list)', choices: ['add', 'list', 'release'] },
      { name: 'id', flags: '[id]', description: 'of `release`: the number that `sworn hold add` gave' },
    ],
    summary: 'keep content from being erased, or take that back',
    load: async () => {
      const { holdCommand, holdHelp } = await import('./hold.ts');
      return { help: holdHelp, start: holdCommand };
    },
  },
  {
    name: 'serve',
    summary: 'look at it in a browser, live',
    load: async () => {
      const { serveCommand, serveHelp } = await import('./serve.ts');
      return { help: serveHelp, start: serveCommand };
    },
  },
  {
    name: 'witness',
    summary: "cosign other ledgers' checkpoints, so that none can be rewritten unnoticed",
    load: async () => {
      const { witnessCommand, witnessHelp } = await import('./witness.ts');
      return { help: witnessHelp, start: witnessCommand };
    },
  },
  {
    name: 'demo',
    summary: 'watch an agent being recorded, and a changed byte being found',
    load: async () => {
      const { demoCommand, demoHelp } = await import('../demo/demo.ts');
      return { help: demoHelp, start: demoCommand };
    },
  },
];

/** `argv` is what follows `sworn`. */
export async function main(argv: string[]): Promise<number> {
  const output = terminalOutput();
  const asked = argv[0] === 'help' ? argv[1] : argv[0];
  try {
    let status = 0;
    const program = await programFor(asked, output, (value) => (status = value));
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: 'user' });
    return status;
  } catch (error) {
    return report(error, asked, output);
  }
}

async function programFor(asked: string | undefined, output: Output, finish: (status: number) => void): Promise<Command> {
  const program = new Command('sworn')
    .description('The audit trail that an MCP agent cannot rewrite.')
    .usage('<command> [options]')
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .version(version, '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .addHelpText('after', '\nExample:\n  sworn run --name fs -- npx -y @modelcontextprotocol/server-filesystem .\n');
  quiet(program);
  for (const entry of commands) {
    const command = program.command(entry.name).description(entry.summary).helpOption('-h, --help', 'print help');
    quiet(command);
    if (entry.usage) command.usage(entry.usage);
    for (const word of entry.words ?? []) {
      const argument = command.createArgument(word.flags, word.description);
      command.addArgument(word.choices ? argument.choices([...word.choices]) : argument);
    }
    if (entry.name !== asked) continue;
    const { help, start } = await entry.load();
    for (const spec of help.options) command.addOption(optionOf(spec));
    command.addHelpText('after', `\nExample:\n  ${help.example}\n`);
    command.action(async (...values: unknown[]) => {
      const words: Values = {};
      for (const [i, word] of (entry.words ?? []).entries()) if (values[i] !== undefined) words[word.name] = values[i];
      finish(await start({ ...command.opts(), ...words }, output));
      const { unopened } = await import('../readers/unopened.ts');
      const [first] = unopened.values();
      if (first !== undefined) output.err(`sworn: note: the content of ${unopened.size} encrypted segment(s) could not be opened: ${first}\n`);
    });
  }
  return program;
}

/** Errors are thrown, not printed: `report` prints them all alike. */
function quiet(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => {} });
}

function optionOf(spec: OptionHelp): Option {
  const option = new Option(spec.flags, spec.description);
  if (spec.default !== undefined) option.default(spec.default);
  if (spec.repeat) option.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
  return option;
}

/** Says what went wrong and what to do next; the exit status. */
function report(error: unknown, asked: string | undefined, output: Output): number {
  const known = commands.some((command) => command.name === asked);
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0; // help and version
    const [message, suggestion] = error.message.replace(/^error: /, '').split('\n') as [string, string?];
    const guess = suggestion?.replace(/^\((.*)\)$/, '$1').replace(/^Did you mean (one of )?(.*)\?$/, 'did you mean $1$2?');
    output.err(errorText(message, guess ?? (known ? `see \`sworn ${asked} --help\`` : 'see `sworn --help`')));
    return 2;
  }
  if (error instanceof SwornError) {
    const hint = error.code === 'usage' && known && error.details['command'] === undefined ? `see \`sworn ${asked} --help\`` : error.hint;
    output.err(errorText(error.message, hint));
    return error.exit;
  }
  return sayDefect(error, output);
}
