/** `sworn serve`: the live dashboard of one or more ledgers, on this machine, for whoever started it. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';
import { Dashboard, inThread, isLoopback, type ApprovalsOptions } from '../dashboard/dashboard.ts';
import { readPage } from '../dashboard/page.ts';
import { leastSecretChars, makeSecret, readSecretLine } from '../dashboard/unlocking.ts';
import { readTokens } from '../dashboard/viewers.ts';
import { socketPathOf } from '../wire/socket-path.ts';
import { analysisOf, analysisOptions, notifyOf, webhookOf, type AnalysisFlags } from './analysis.ts';
import { checkedOf, commandsFor, type VerifyJson } from './evidence-state.ts';
import type { CommandHelp } from './help.ts';
import { ledgerPaths } from './ledger-path.ts';
import { visible, type Output } from './output.ts';
import { startRecorder } from './recorder.ts';
import type { VerifyTask } from './verify-worker.ts';

export const serveHelp: CommandHelp = {
  options: [
    {
      flags: '--bind <address>',
      description: 'where to listen; anything but loopback lets others in who have a token, unencrypted',
      default: '127.0.0.1',
    },
    { flags: '--port <n>', description: '0 takes a free one', default: '9090' },
    { flags: '--token-file <file>', description: 'tokens for programs, one a line: Authorization: Bearer <token>; only you may be able to read it' },
    { flags: '--no-approvals', description: 'nobody decides here about requests that wait for a person, and nobody is told of them' },
    {
      flags: '--approvals-secret-file <file>',
      description: 'the second secret, for deciding, in its first line; only you may be able to read it (default: one is made and printed)',
    },
    { flags: '--allow-host <host>', description: 'a further name, with or without port, in the Host header', repeat: true },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    { flags: '--policy <file>', description: "a trust file (C2SP tlog-policy), as for `sworn verify`: the log's key, witnesses and their quorum" },
    ...analysisOptions,
    { flags: '--unrecorded', description: 'show content although no recorder can record that it was opened: of a copy of a ledger' },
    { flags: '--json', description: 'the address as one JSON object' },
  ],
  example: 'sworn serve',
};

interface Options extends AnalysisFlags {
  bind: string;
  port: string;
  tokenFile?: string;
  approvals?: boolean;
  approvalsSecretFile?: string;
  allowHost?: string[];
  ledger?: string[];
  policy?: string;
  unrecorded?: boolean;
  json?: boolean;
}

/** Runs until it is asked to end. @throws SwornError `usage`, `no-ledger`, `permission`, `token-file`, `secret-file`, `dashboard-listen` */
export async function serveCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as unknown as Options;
  const port = wholeNumber(options.port);
  if (port === undefined || port > 65_535) throw usage(`--port is 0 to 65535, not ${options.port}`);
  const tokens = options.tokenFile === undefined ? [] : tokensOf(options.tokenFile);
  // of a copy of a ledger nothing waits
  const approvals = options.approvals === false || options.unrecorded ? undefined : await approvalsOf(options);
  const { identityOf } = await import('../readers/identity.ts');
  const paths = ledgerPaths(options.ledger);
  const ledgers = await Promise.all(paths.map(async (path) => ({ path, id: (await identityOf(path)).id })));
  for (const [i, { id, path }] of ledgers.entries()) {
    const twin = ledgers.findIndex((one) => one.id === id);
    if (twin !== i) throw usage(`${path} and ${ledgers[twin]!.path} hold the same ledger`);
  }
  const { catalogsOf } = await import('../dashboard/catalog-rows.ts');
  const rows = catalogsOf(ledgers, await analysisOf(options), await notifyOf(options));
  const task = options.policy === undefined ? {} : { policy: options.policy };
  const dashboard = new Dashboard({
    ledgers,
    rows: rows.rows,
    progressOf: rows.progressOf,
    follow: rows.follow,
    check: async (ledger, progress) =>
      checkedOf(await inThread<VerifyJson>(new Worker(program('verify-worker'), { workerData: { ledger, ...task } satisfies VerifyTask }), progress)),
    commands: commandsFor,
    socketOf: socketPathOf,
    startRecorder: async (path) => (await startRecorder(path, socketPathOf(path)))?.text.replace(/^sworn: error: /, '').split('\n')[0],
    isUnrecorded: options.unrecorded === true,
    page: readPage(packaged('ui/live.html', 'dist/ui/live.html')),
    openapi: fileOf(packaged('../spec/openapi.json', 'spec/openapi.json')),
    bind: options.bind,
    port,
    allowHosts: options.allowHost ?? [],
    tokens,
    ...(approvals === undefined ? {} : { approvals }),
    log: (line) => output.err(`sworn: note: ${visible(line)}\n`),
  });
  const ended = new Promise<void>((done) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => done());
  });
  const at = await dashboard.start();
  const address = (): string => `http://${options.bind.includes(':') ? `[${options.bind}]` : nameOf(options.bind)}:${at}/?token=${dashboard.issue()}`;
  if (!isLoopback(options.bind)) {
    output.err(
      `sworn: note: whoever reaches ${visible(options.bind)}:${at} can try tokens, and whoever is between reads along: nothing is encrypted. Better: ssh -L ${at}:127.0.0.1:${at} <this machine>\n`,
    );
  }
  if (options.json)
    output.out(
      `${JSON.stringify({ url: address(), port: at, ledgers, ...(approvals === undefined ? {} : { approvalsSecret: approvals.secret }) })}\n`,
    );
  else {
    output.out(`${ledgers.map(({ path }) => `dashboard of ${visible(path)}\n`).join('')}open ${address()}\n`);
    const more = process.stdin.isTTY ? '; Enter prints another' : '';
    output.out(`it lets one browser in, once${more}. Opening content is an entry of the ledger. Ctrl-C ends it.\n`);
    if (approvals !== undefined && options.approvalsSecretFile === undefined)
      output.out(`to approve or deny requests that wait, type there: ${approvals.secret}\n`);
  }
  const lines = process.stdin.isTTY && !options.json ? createInterface({ input: process.stdin }) : undefined;
  lines?.on('line', () => output.out(`open ${address()}\n`));
  await ended;
  lines?.close();
  await dashboard.end();
  rows.close();
  return 0;
}

/** A name that a browser can open. */
function nameOf(bind: string): string {
  return bind === '0.0.0.0' ? '127.0.0.1' : bind;
}

/** @throws SwornError `token-file` */
function tokensOf(path: string): string[] {
  const tokens = readTokens(privateText(path, 'token-file', 'token file'));
  if (typeof tokens === 'string') throw new SwornError('token-file', `the token file ${path} cannot be used: ${tokens}`);
  return tokens;
}

/** @throws (rejects) SwornError `secret-file`, `config-missing`, `config-invalid` */
async function approvalsOf(options: Options): Promise<ApprovalsOptions> {
  const webhook = await webhookOf(options);
  const more = webhook === undefined ? {} : { webhook };
  if (webhook !== undefined) secretOf(webhook.secret);
  const path = options.approvalsSecretFile;
  return { secret: path === undefined ? makeSecret() : secretOf(path), ...more };
}

/** @throws SwornError `secret-file` */
function secretOf(path: string): string {
  const secret = readSecretLine(privateText(path, 'secret-file', 'secret file'));
  if (secret === undefined)
    throw new SwornError('secret-file', `the secret file ${path} cannot be used: its first line has fewer than ${leastSecretChars} characters`);
  return secret;
}

/** @throws SwornError when it cannot be read, or others can read it */
function privateText(path: string, code: 'token-file' | 'secret-file', name: string): string {
  try {
    const { mode, uid } = statSync(path);
    if ((mode & 0o077) !== 0 || (uid !== process.getuid?.() && uid !== 0)) throw new Error('others than you may read or change it');
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SwornError(code, `the ${name} ${path} cannot be used: ${(error as Error).message}`, {}, { cause: error });
  }
}

/** A file of the build: chunks lie one folder deeper than programs; or of a checkout that runs from its sources. */
function packaged(inDist: string, inRoot: string): string {
  const places = [inDist, `../${inDist}`, `../../${inRoot}`].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  return places.find(existsSync) ?? places[0]!;
}

function program(name: string): URL {
  for (const path of [`${name}.mjs`, `../${name}.mjs`]) {
    const url = new URL(path, import.meta.url);
    if (existsSync(fileURLToPath(url))) return url;
  }
  return new URL(`${name}.ts`, import.meta.url);
}

function fileOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'serve' });
}
