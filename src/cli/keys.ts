/** `sworn keys`: which keys sign a ledger's checkpoints, and their change. */
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { fingerprintOf } from '../ledger/keys.ts';
import { readEntries } from '../readers/entries.ts';
import { parseVkey } from '../tlog/note.ts';
import { ask } from '../wire/ask.ts';
import type { CommandHelp } from './help.ts';
import { ensureRecorder, placeOf, type PlaceOptions } from './keeping.ts';
import { safeJson, visible, type Output } from './output.ts';

export const keysHelp: CommandHelp = {
  options: [
    { flags: '--public-key <base64>', description: 'rotate: of a key that somebody else holds (32 bytes, Ed25519)' },
    {
      flags: '--command <json>',
      description: 'rotate: what signs with it: a list of words; the message comes on stdin, the signature goes to stdout in base64',
    },
    { flags: '--ssh-agent <socket>', description: 'rotate: the ssh-agent that has it' },
    { flags: '--ledger <dir>', description: 'the ledger (default: ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'the answer as one JSON object' },
  ],
  example: 'sworn keys show',
};

interface Options extends PlaceOptions {
  action?: string;
  publicKey?: string;
  command?: string;
  sshAgent?: string;
  json?: boolean;
}

interface KeyShown {
  vkey: string;
  /** First 16 hex digits of the SHA-256 of the public key. */
  fingerprint: string;
  /** The entry that names it first, and its time. */
  index: number;
  time: string;
  holder?: string;
}

/** @throws SwornError `usage`, `no-ledger`, or whatever the recorder answers */
export async function keysCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  switch (options.action ?? 'show') {
    case 'rotate':
    case 'retire':
      return change(options.action as 'rotate' | 'retire', options, output);
    default:
      return show(options, output);
  }
}

async function change(what: 'rotate' | 'retire', options: Options, output: Output): Promise<number> {
  const more = what === 'rotate' ? holderOf(options) : {};
  const status = await ensureRecorder(options, output);
  if (status !== undefined) return status;
  // whoever holds a key takes its time
  const answer = (await ask(placeOf(options).socket, what, more, 30_000)) as { vkey: string; fingerprint: string; older: string[] };
  if (options.json) {
    output.out(`${safeJson(JSON.stringify(answer))}\n`);
    return 0;
  }
  const { vkey, fingerprint, older } = answer;
  output.out(`key          ${visible(vkey)}\nfingerprint  ${spoken(fingerprint)}\n`);
  for (const other of older) output.out(`beside it    ${visible(other)}\n`);
  output.out(
    older.length === 0
      ? 'it signs alone\n'
      : 'all of them sign; the older ones endorse the new one in the ledger.\nGive the new key to your witnesses and into trust files, then: sworn keys retire\n',
  );
  return 0;
}

function holderOf({ publicKey, command, sshAgent }: Options): Record<string, unknown> {
  if (publicKey === undefined && command === undefined && sshAgent === undefined) return {};
  if (publicKey === undefined || (command === undefined) === (sshAgent === undefined))
    throw usage('a key that somebody else holds: --public-key, and either --command or --ssh-agent');
  if (sshAgent !== undefined) return { publicKey, agent: sshAgent };
  try {
    return { publicKey, command: JSON.parse(command!) as unknown };
  } catch {
    throw usage(`--command is a JSON list of words, such as '["kms-sign", "key-1"]'`);
  }
}

async function show(options: Options, output: Output): Promise<number> {
  const { ledger } = placeOf(options);
  const keys: KeyShown[] = [];
  let origin: string | undefined;
  let retiredAt: string | undefined;
  for await (const { index, entry } of readEntries(ledger)) {
    if (entry.kind === 'start') origin ??= entry.origin;
    if (entry.kind !== 'start' && entry.kind !== 'key') continue;
    if (entry.kind === 'key') retiredAt = entry.act === 'retire' ? entry.time : undefined;
    const parsed = parseVkey(nodeCrypto, entry.vkey);
    if (parsed === undefined || keys.some(({ vkey }) => vkey === entry.vkey)) continue;
    keys.push({
      vkey: entry.vkey,
      fingerprint: fingerprintOf(parsed.publicKey),
      index,
      time: entry.time,
      ...(entry.kind === 'key' && entry.holder !== undefined ? { holder: entry.holder } : {}),
    });
  }
  const newest = keys.at(-1);
  if (newest === undefined) throw new SwornError('no-ledger', `the ledger ${ledger} has no entry that names its key yet`);
  if (options.json) {
    output.out(`${safeJson(JSON.stringify({ origin, keys, ...(retiredAt === undefined ? {} : { retiredAt }) }))}\n`);
    return 0;
  }
  const rows: [string, string][] = [
    ['origin', visible(origin ?? '?')],
    ['key', visible(newest.vkey)],
    ['fingerprint', `${spoken(newest.fingerprint)}   compare it by phone with whoever verifies`],
    ['since', `entry ${newest.index}, ${newest.time.slice(0, 19).replace('T', ' ')} UTC`],
    ['held by', visible(newest.holder === 'file' || newest.holder === undefined ? "the recorder's own file" : newest.holder)],
    ...keys
      .slice(0, -1)
      .toReversed()
      .map(({ vkey, fingerprint, index }): [string, string] => [
        retiredAt === undefined ? 'beside it' : 'before it',
        `${visible(vkey)}, ${spoken(fingerprint)}, from entry ${index}`,
      ]),
    ...(retiredAt === undefined ? [] : [['retired', `the older ones, ${retiredAt.slice(0, 19).replace('T', ' ')} UTC`] as [string, string]]),
  ];
  output.out(rows.map(([name, text]) => `${name.padEnd(11)}  ${text}\n`).join(''));
  return 0;
}

/** In groups of four, as one reads it aloud. */
function spoken(fingerprint: string): string {
  return fingerprint.replace(/(.{4})(?=.)/g, '$1 ');
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'keys' });
}
