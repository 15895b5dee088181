/** `sworn witness`: cosigns the checkpoints of other ledgers over HTTP (`spec/witness.md`), until it is stopped. */
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { formatVkey, parseVkey, vkeyParts, type Vkey } from '../tlog/note.ts';
import { defaultWitnessFolder, holdFolder, witnessKey, type WitnessKey } from '../witness/key.ts';
import { witnessServer } from '../witness/server.ts';
import { WitnessStore, type StoreError } from '../witness/store.ts';
import { Witness, type WitnessEvent } from '../witness/witness.ts';
import type { CommandHelp } from './help.ts';
import { count, safeJson, visible, type Output } from './output.ts';

export const witnessHelp: CommandHelp = {
  options: [
    {
      flags: '--log <vkey>',
      description: "verifier keys of logs to cosign, one a line (a ledger's are in the file `vkey` beside its key); may be given several times",
      repeat: true,
    },
    { flags: '--logs <file>', description: 'more of them, one a line, or the `log` lines of a trust file' },
    { flags: '--listen <address>', description: 'where to listen (default: 127.0.0.1:7700)' },
    { flags: '--dir <dir>', description: 'its key and what it has cosigned; never put an older copy back (default: ~/.local/state/sworn-witness)' },
    { flags: '--name <name>', description: "the key's name, a URL without scheme; chosen once, at the first start" },
    { flags: '--json', description: 'what it prints at its start as one JSON object' },
  ],
  example: 'sworn witness --log "$(cat ~/.config/sworn/*/vkey)"',
};

interface Options {
  listen?: string;
  log?: string[];
  logs?: string;
  dir?: string;
  name?: string;
  json?: boolean;
}

export async function witnessCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  const { host, port } = addressOf(options.listen ?? '127.0.0.1:7700');
  const logs = logsOf(options);
  const folder = resolve(options.dir ?? defaultWitnessFolder());
  const lock = await holdFolder(folder);
  try {
    const key = await witnessKey(folder, options.name);
    const store = await WitnessStore.open(folder, key.cosigner);
    let fail: (error: StoreError) => void = () => undefined;
    const failed = new Promise<StoreError>((done) => (fail = done));
    const witness = new Witness({ logs, key, store, onEvent: (event) => tell(event, output), onFatal: fail });
    const server = witnessServer(witness, key.vkey);
    const stopped = signalled();
    const url = await listen(server, host, port);
    output.out(options.json ? started(key, url, logs, folder, store) : startText(key, url, logs, folder, store));
    const error = await Promise.race([stopped, failed]);
    await close(server, witness);
    if (error) throw new SwornError('sync-failed', error.message, {}, { cause: error });
    return 0;
  } finally {
    lock.release();
  }
}

/** What is on the way is finished: it may be recorded, and then its answer should reach who asked. */
async function close(server: Server, witness: Witness): Promise<void> {
  const closed = new Promise((done) => server.close(done));
  server.closeIdleConnections();
  await witness.idle();
  const late = setTimeout(() => server.closeAllConnections(), 1_000);
  await closed;
  clearTimeout(late);
}

function signalled(): Promise<undefined> {
  return new Promise((done) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => done(undefined));
  });
}

/** @throws SwornError `listen-failed` */
function listen(server: Server, host: string, port: number): Promise<string> {
  return new Promise((done, fail) => {
    const where = `${host.includes(':') ? `[${host}]` : host}:`;
    server.once('error', (error) => fail(new SwornError('listen-failed', `cannot listen at ${where}${port}: ${error.message}`)));
    server.listen(port, host, () => done(`http://${where}${(server.address() as AddressInfo).port}`));
  });
}

/** @throws SwornError `usage` */
function addressOf(text: string): { host: string; port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]/\s]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) throw usage(`--listen ${text} is not HOST:PORT`);
  return { host: (match[1] ?? match[2])!, port };
}

/** @throws SwornError `usage` */
function logsOf({ log = [], logs }: Options): Vkey[] {
  // a ledger whose key was rotated has several, and `cat` of several ledgers gives those of all
  const found = log.flatMap((lines) => lines.split('\n').flatMap((line) => (line.trim() === '' ? [] : logOf(line.trim(), '--log'))));
  if (logs !== undefined) {
    let lines: string[];
    try {
      lines = readFileSync(logs, 'utf8').split('\n');
    } catch (error) {
      throw usage(`--logs ${logs} cannot be read: ${(error as Error).message}`);
    }
    for (const [i, line] of lines.entries()) {
      const [first, second] = line.trim().split(/[ \t]+/) as [string, string?];
      if (first === '' || first.startsWith('#') || ['witness', 'group', 'quorum'].includes(first)) continue;
      found.push(logOf(first === 'log' ? (second ?? '') : first, `${logs}:${i + 1}`));
    }
  }
  if (found.length === 0) throw usage('a witness cosigns only logs that it knows: --log <vkey>');
  return [...new Map(found.map((vkey) => [formatVkey(nodeCrypto, vkey.name, vkey.publicKey), vkey])).values()];
}

function logOf(text: string, where: string): Vkey {
  const vkey = parseVkey(nodeCrypto, text);
  if (vkey) return vkey;
  const type = vkeyParts(text)?.type;
  throw usage(
    `${where}: ${type === 4 ? 'this is the key of a witness, not of a log' : `\`${text}\` is not an Ed25519 verifier key of a log (name+id+key)`}`,
  );
}

function started({ cosigner, vkey }: WitnessKey, url: string, logs: Vkey[], folder: string, { evidenceCount: evidence }: WitnessStore): string {
  return `${safeJson(JSON.stringify({ name: cosigner.name, vkey, url, logs: [...new Set(logs.map(({ name }) => name))], dir: folder, evidence }))}\n`;
}

function startText({ cosigner, vkey }: WitnessKey, url: string, logs: Vkey[], folder: string, { evidenceCount }: WitnessStore): string {
  const origins = [...new Set(logs.map(({ name }) => name))];
  const rows: [string, string][] = [
    ['witness', cosigner.name],
    ['key', vkey],
    ['listens', url],
    ['kept in', folder],
    ['cosigns', count(origins.length, 'log')],
    ...origins.map((origin): [string, string] => ['', origin]),
    ...(evidenceCount === 0 ? [] : [['refused', `${count(evidenceCount, 'checkpoint')}, kept in ${join(folder, 'evidence')}`] as [string, string]]),
  ];
  const head = rows.map(([name, text]) => `${name.padEnd(7)}  ${visible(text)}\n`).join('');
  return `${head}
Whoever asks for its word in a trust file (C2SP tlog-policy) writes, with one operator's witnesses in an \`any\` group:
  witness w1 ${visible(vkey)} ${url}
  quorum w1
`;
}

/** Each cosignature is one line; a log that contradicts itself is more. */
function tell({ kind, message, path }: WitnessEvent, output: Output): void {
  const where = path === undefined ? '' : `; kept at ${visible(path)}`;
  const time = new Date().toISOString().slice(0, 19);
  if (kind === 'equivocation' || kind === 'impossible') {
    output.err(`sworn: ALARM: ${time}Z ${visible(message)}: this log has no single history any more${where}\n`);
  } else output.err(`sworn: witness: ${time}Z ${kind} ${visible(message)}${where}\n`);
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'witness' });
}
