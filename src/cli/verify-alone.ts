/**
 * `node verify.mjs`: the verifier as one file that needs nothing but Node, for whoever would rather read and keep one file than install a package. It is
 * `sworn verify` with another way of reading its arguments; nothing that writes a ledger is in it.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread } from 'node:worker_threads';
import { SwornError } from '../errors.ts';
import { version } from '../version.ts';
import { errorText, sayDefect, terminalOutput } from './output.ts';
import { isAddress, workersOf } from './verify.ts';
import { verifyAny, type VerifyAnyOptions } from './verify-any.ts';
import { serveRanges } from './verify-threads.ts';

const help = `Usage: node verify.mjs [options] <what>

Checks a ledger's directory, the address of a served log/, a .tlog-proof, or a bundle of evidence (.tar, or the folder it was unpacked to).

Options:
  --policy <file>   a trust file (C2SP tlog-policy): the log's key, witnesses and their quorum; nothing is pinned
  --known <file>    a checkpoint that was kept elsewhere: what is checked must fit it; nothing is pinned
  --max-age <time>  how old (90s, 30m, 1h, 7d) the newest cosignature may be; without witnesses the newest entry
  --new-ledger      another ledger than before stands at this path, and that is meant
  --no-payloads     the tree alone: content is not read
  --workers <n>     threads for a large ledger (default: one a core, at most 16)
  --json            the result as one JSON object
  --source          print the program as it runs: verify.mjs holds it compressed
  --version         print the version
  -h, --help        print help

Exit status: 0 holds, 1 tampered, 2 usage, 3 cannot conclude, 4 consistent but the policy is not met, 5 fork or rollback.

Example:
  node verify.mjs --policy trust.policy 12.tlog-proof
`;

async function main(argv: string[]): Promise<number> {
  const output = terminalOutput();
  try {
    const options = optionsOf(argv);
    if (typeof options === 'string') {
      output.out(options);
      return 0;
    }
    return await verifyAny(options, output);
  } catch (error) {
    // not thrown on: Node would end with 1, which says tampered
    if (!(error instanceof SwornError)) return sayDefect(error, output);
    output.err(errorText(error.message, error.code === 'unreadable' ? error.hint : 'see: node verify.mjs --help'));
    return error.exit;
  }
}

function optionsOf(argv: string[]): VerifyAnyOptions | string {
  let parsed;
  try {
    parsed = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        policy: { type: 'string' },
        known: { type: 'string' },
        'max-age': { type: 'string' },
        'new-ledger': { type: 'boolean' },
        'no-payloads': { type: 'boolean' },
        workers: { type: 'string' },
        json: { type: 'boolean' },
        version: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new SwornError('usage', (error as Error).message);
  }
  const { values, positionals } = parsed;
  if (values.help) return help;
  if (values.version) return `${version}\n`;
  if (positionals.length !== 1) throw new SwornError('usage', positionals.length === 0 ? 'nothing to check is given' : 'give one thing to check');
  return {
    what: isAddress(positionals[0]!) ? positionals[0]! : resolve(positionals[0]!),
    json: values.json === true,
    ...(values.policy === undefined ? {} : { policy: values.policy }),
    ...(values.known === undefined ? {} : { known: values.known }),
    ...(values['max-age'] === undefined ? {} : { maxAge: values['max-age'] }),
    newLedger: values['new-ledger'] === true,
    payloads: values['no-payloads'] !== true,
    ...workersOf(values.workers),
    // this very file, wherever it was put
    threadProgram: new URL(import.meta.url),
  };
}

// its threads run the same file
if (isMainThread) void main(process.argv.slice(2)).then((exit) => (process.exitCode = exit));
else serveRanges();
