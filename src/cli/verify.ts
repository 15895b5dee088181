/** `sworn verify`: checks a ledger's directory, remembers its key and head, and says in one sentence what holds; the rest behind it. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { styleText } from 'node:util';
import { base64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { Custody } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { openNote, parseNote, parseVkey, type Vkey } from '../tlog/note.ts';
import type { Exit, Finding, Severity } from '../verify/finding.ts';
import { verifyLedger, type Verification } from '../verify/verifier.ts';
import { safeJson, visible, type Output } from './output.ts';
import { originAt, readPin, writePin, type Pin } from './pins.ts';
import { directorySource, strayFiles } from './verify-files.ts';

export interface VerifyCommandOptions {
  /** The ledger's directory. */
  ledger: string;
  /** A file with an earlier checkpoint: the ledger must continue from there. Nothing is pinned then. */
  known?: string;
  json: boolean;
  /** A C2SP tlog-policy file with the log's key. Nothing is pinned then. */
  policy?: string;
  /** Another ledger than before stands at this path, and that is meant: pin it. */
  newLedger?: boolean;
  /** Folder of `known` and of the ledgers' own key folders; default `~/.config/sworn`. */
  keysHome?: string;
}

type VerifyOutput = Pick<Output, 'out' | 'err' | 'isTTY' | 'color'>;

interface Trust {
  vkeys: Vkey[];
  known: Pick<Pin, 'size' | 'root'> | undefined;
  /** Where the key comes from, in words. */
  keySource: string | undefined;
  pin: Pin | undefined;
  /** The origin that was pinned at this path, when it is another one. */
  replaced: string | undefined;
  /** Bytes of the note of `--known`. */
  knownNote: Uint8Array | undefined;
  /** Why the policy cannot be met, when it cannot. */
  unmet: string | undefined;
}

interface Pinning {
  state: 'pinned-now' | 'pinned-before' | 'not-pinned';
  why?: string;
}

const custodyWords: Record<Custody, string> = {
  'same-user': "recorded under the agent's own user, who could rewrite what no kept checkpoint covers (custody: same-user)",
  'separate-user': "recorded under another user than the agent's (custody: separate-user)",
  remote: 'recorded on another host than the agent (custody: remote)',
  'in-process': "recorded inside the agent's own process, which could rewrite what no kept checkpoint covers (custody: in-process)",
};

/**
 * Verifies the ledger in a directory and prints the result.
 *
 * @returns the exit status: 0 holds, 1 tampered, 3 cannot conclude, 4 policy not met, 5 fork or rollback
 * @throws SwornError `no-ledger` when there is no such directory, `usage` for an option's file that is missing or wrong
 */
export async function verifyCommand(options: VerifyCommandOptions, output: VerifyOutput): Promise<number> {
  const { ledger } = options;
  if (!existsSync(ledger)) throw new SwornError('no-ledger', `there is no ledger at ${ledger}`);
  const keysHome = options.keysHome ?? join(homedir(), '.config', 'sworn');
  const pinFile = join(keysHome, 'known');
  const source = directorySource(ledger);
  const checkpoint = await readCheckpoint(source.checkpoint);
  const trust = trustOf(options, checkpoint, pinFile, keysHome);

  const showsProgress = output.isTTY && !options.json && process.stderr.isTTY;
  let shownAt = 0;
  const result = await verifyLedger({
    crypto: nodeCrypto,
    source,
    vkeys: trust.vkeys,
    ...(trust.known ? { known: trust.known } : {}),
    progress: (done, total) => {
      if (!showsProgress || Date.now() - shownAt < 200) return;
      shownAt = Date.now();
      output.err(`\r${grouped(done)} of ${grouped(total)} entries checked`);
    },
  });
  if (showsProgress && shownAt > 0) output.err('\r\x1b[K');

  judgeTrust(result, trust, options);
  const strays = strayFiles(ledger);
  if (strays.length > 0) result.notChecked.push(`files in payload/ that are no segments: ${strays.slice(0, 5).join(', ')}`);
  const pinning = pin(result, trust, options, pinFile);
  if (pinning.state === 'not-pinned' && pinning.why !== undefined) result.notChecked.push(`nothing was pinned: ${pinning.why}`);

  output.out(options.json ? `${safeJson(JSON.stringify(asJson(ledger, result, pinning)))}\n` : asText(ledger, result, trust, pinning, output));
  return result.exit;
}

async function readCheckpoint(read: () => Promise<Uint8Array | undefined>): Promise<ParsedCheckpoint | undefined> {
  try {
    const bytes = await read();
    const note = bytes && parseNote(bytes);
    return note && parseCheckpoint(note.text);
  } catch {
    return undefined; // the verifier meets the same error and reports it
  }
}

// Trust

function trustOf(options: VerifyCommandOptions, checkpoint: ParsedCheckpoint | undefined, pinFile: string, keysHome: string): Trust {
  const trust: Trust = {
    vkeys: [],
    known: undefined,
    keySource: undefined,
    pin: undefined,
    replaced: undefined,
    knownNote: undefined,
    unmet: undefined,
  };
  if (options.policy !== undefined) {
    const policy = parsePolicy(options.policy);
    trust.vkeys = policy.vkeys;
    trust.unmet = policy.unmet;
    trust.keySource = `the policy ${options.policy}`;
  }
  if (options.known !== undefined) {
    const bytes = readOptionFile(options.known, '--known');
    const note = parseNote(bytes);
    const known = note && parseCheckpoint(note.text);
    if (!known) throw new SwornError('usage', `${options.known} is not a checkpoint`, { command: 'verify' });
    if (checkpoint && known.origin !== checkpoint.origin) {
      throw new SwornError('usage', `${options.known} is a checkpoint of ${known.origin}, this ledger is ${checkpoint.origin}`, {
        command: 'verify',
      });
    }
    trust.known = known;
    trust.knownNote = bytes;
  }
  if (options.policy !== undefined || options.known !== undefined || !checkpoint) return trust;

  try {
    trust.pin = readPin(pinFile, checkpoint.origin);
    const before = originAt(pinFile, resolve(options.ledger));
    if (before !== checkpoint.origin && !options.newLedger) trust.replaced = before;
  } catch (error) {
    if (error instanceof SwornError) throw error;
    return trust; // cannot be read: said when it cannot be written either
  }
  if (trust.pin) {
    const vkey = parseVkey(nodeCrypto, trust.pin.vkey);
    if (!vkey) throw new SwornError('usage', `the key of ${checkpoint.origin} in ${pinFile} cannot be read`, { command: 'verify' });
    trust.vkeys = [vkey];
    trust.known = trust.pin;
    trust.keySource = `pinned in ${pinFile}`;
    return trust;
  }
  // The recorder of this account keeps its public key outside the ledger: better than the ledger's word about itself.
  const id = /^sworn\.invalid\/([0-9a-f]{32})$/.exec(checkpoint.origin)?.[1];
  const ownFile = id === undefined ? undefined : join(keysHome, id, 'vkey');
  if (ownFile !== undefined && existsSync(ownFile)) {
    try {
      const vkey = parseVkey(nodeCrypto, readFileSync(ownFile, 'utf8').trim());
      if (vkey) {
        trust.vkeys = [vkey];
        trust.keySource = `the recorder's own, ${ownFile}`;
      }
    } catch {
      // not ours to read: the ledger's own word then, reported as such
    }
  }
  return trust;
}

function readOptionFile(path: string, option: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new SwornError('usage', `${option} ${path} cannot be read: ${(error as Error).message}`, { command: 'verify' });
  }
}

/** C2SP tlog-policy: `log <vkey> [url]` lines are used; witnesses are not checked by this version, so a quorum of them is not met. */
function parsePolicy(path: string): { vkeys: Vkey[]; unmet: string | undefined } {
  const text = new TextDecoder().decode(readOptionFile(path, '--policy'));
  const vkeys: Vkey[] = [];
  let quorum: string | undefined;
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '' || line.startsWith('#')) continue;
    const wrong = (what: string) => new SwornError('usage', `${path}:${i + 1}: ${what}`, { command: 'verify' });
    const [keyword, value, ...rest] = line.split(/[ \t]+/);
    if (keyword === 'log') {
      const vkey = value === undefined ? undefined : parseVkey(nodeCrypto, value);
      if (!vkey || rest.length > 1) throw wrong('`log` wants an Ed25519 verifier key and perhaps a URL');
      vkeys.push(vkey);
    } else if (keyword === 'quorum') {
      if (value === undefined || rest.length > 0 || quorum !== undefined) throw wrong('exactly one `quorum` line with one name');
      quorum = value;
    } else if (keyword !== 'witness' && keyword !== 'group') {
      throw wrong(`\`${keyword}\` is not a line of a policy`);
    }
  }
  if (vkeys.length === 0) throw new SwornError('usage', `${path} names no log`, { command: 'verify' });
  if (quorum === undefined) throw new SwornError('usage', `${path} has no quorum line (\`quorum none\` asks for no witness)`, { command: 'verify' });
  return {
    vkeys,
    unmet: quorum === 'none' ? undefined : `the policy asks for the quorum ${quorum}; this version does not check cosignatures of witnesses`,
  };
}

/** What only the caller of the verifier knows: whose key signed the known checkpoint, and what the policy asks for. */
function judgeTrust(result: Verification, trust: Trust, options: VerifyCommandOptions): void {
  const add = (finding: Finding, exit: Exit) => {
    result.findings.push(finding);
    const order: Exit[] = [1, 5, 3, 4, 2, 0];
    if (order.indexOf(exit) < order.indexOf(result.exit)) result.exit = exit;
  };
  const vkey = result.vkey === undefined ? undefined : parseVkey(nodeCrypto, result.vkey);
  if (trust.knownNote && vkey) {
    const opened = openNote(nodeCrypto, trust.knownNote, [vkey]);
    if ('problem' in opened || opened.verified.length === 0) {
      add(
        { code: 'key-changed', severity: 'tampered', message: `${options.known} is not signed by the key of this ledger`, path: 'log/checkpoint' },
        1,
      );
    } else if (!result.pinned) {
      result.pinned = true;
      trust.keySource = `signed ${options.known} too`;
      result.notChecked = result.notChecked.filter((line) => !line.startsWith('the key was taken from the ledger itself'));
    }
  }
  if (trust.replaced !== undefined) {
    const message = `this path held the ledger ${trust.replaced}, which is not there any more; if a new one was begun on purpose: sworn verify --new-ledger`;
    add({ code: 'origin', severity: 'rollback', message, path: 'log/checkpoint' }, 5);
  }
  if (trust.unmet !== undefined) add({ code: 'quorum', severity: 'policy', message: trust.unmet }, 4);
}

function pin(result: Verification, trust: Trust, options: VerifyCommandOptions, pinFile: string): Pinning {
  if (options.policy !== undefined) return { state: 'not-pinned', why: 'a policy was given' };
  if (options.known !== undefined) return { state: 'not-pinned', why: 'a known checkpoint was given' };
  const state = trust.pin ? 'pinned-before' : 'pinned-now';
  const { origin, vkey, size, root } = result;
  if (result.exit !== 0 || origin === undefined || vkey === undefined || root === undefined)
    return trust.pin ? { state } : { state: 'not-pinned', why: 'it does not hold' };
  if (/\s/.test(origin)) return { state: 'not-pinned', why: 'the origin has white space in it' };
  const place = resolve(options.ledger);
  try {
    if (trust.pin?.size === size && originAt(pinFile, place) === origin) return { state };
    writePin(pinFile, { origin, vkey, size, root }, place);
    return { state };
  } catch (error) {
    const why = `${pinFile} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'error'})`;
    return trust.pin ? { state, why } : { state: 'not-pinned', why };
  }
}

// Text

function grouped(value: number): string {
  return String(value).replace(/\B(?=([0-9]{3})+$)/g, ',');
}

/** The sentence that stands first: what holds, and in whose custody it was recorded. */
function headline(result: Verification): string {
  const custody = result.custody === undefined ? 'no connection is recorded (custody unknown)' : custodyWords[result.custody];
  const unsigned = result.size === 0 && result.laterRecords > 0 ? ` under the checkpoint, ${grouped(result.laterRecords)} not yet signed` : '';
  const records = `${grouped(result.size)} ${result.size === 1 ? 'record' : 'records'}${unsigned}`;
  const worst = result.findings.find((finding) => exitOf(finding.severity) === result.exit);
  const holds = result.holdsThrough > 0 ? `; the first ${grouped(result.holdsThrough)} hold` : '';
  switch (result.exit) {
    case 0: {
      const lost = result.lostFrames + result.missingUnits;
      const erased = result.droppedSegments > 0 ? `, ${grouped(result.droppedSegments)} segments of content not kept` : '';
      return `${records}, ${lost > 0 ? `none altered, but ${grouped(lost)} frames were not recorded` : 'unbroken'}${erased}, ${custody}.`;
    }
    case 1:
      return `TAMPERED: ${result.firstBad === undefined ? (worst?.message ?? 'the ledger does not hold') : `entry ${grouped(result.firstBad)} is the first that does not hold`}${holds}; ${records}, ${custody}.`;
    case 5:
      return `ROLLED BACK OR FORKED: ${worst?.message ?? 'not what was known before'}; ${records}, ${custody}.`;
    case 4:
      return `${records}, unbroken, but the policy is not met: ${worst?.message ?? ''}; ${custody}.`;
    default:
      return `CANNOT CONCLUDE: ${worst?.message ?? 'something is missing'}${holds}; ${records}, ${custody}.`;
  }
}

function exitOf(severity: Severity): Exit {
  return severity === 'tampered' ? 1 : severity === 'rollback' ? 5 : severity === 'missing' ? 3 : severity === 'policy' ? 4 : 0;
}

function asText(ledger: string, result: Verification, trust: Trust, pinning: Pinning, output: VerifyOutput): string {
  const paint = (style: 'green' | 'red' | 'yellow', text: string) => (output.color ? styleText(style, text, { validateStream: false }) : text);
  const first = visible(headline(result));
  const lines = [paint(result.exit === 0 ? 'green' : result.exit === 1 || result.exit === 5 ? 'red' : 'yellow', first), ''];
  const say = (name: string, value: string) => lines.push(`${name.padEnd(12)}${visible(value)}`);
  say('ledger', ledger);
  if (result.origin !== undefined) say('origin', result.origin);
  if (result.vkey !== undefined) {
    const from = pinning.state === 'pinned-now' ? `pinned now${trust.keySource ? ` (${trust.keySource})` : ''}` : (trust.keySource ?? 'not pinned');
    say('key', `${result.vkey.slice((result.origin?.length ?? 0) + 1)}, ${from}`);
  }
  if (result.root) say('checkpoint', `${grouped(result.size)} entries, root ${base64(result.root)}`);
  say(
    'recorded',
    `${grouped(result.messages)} messages on ${grouped(result.connections)} connections, ${grouped(result.openConnections)} without a close`,
  );
  if (result.laterRecords > 0) say('later', `${grouped(result.laterRecords)} later records not yet signed`);
  if (result.custody === 'same-user' || result.custody === 'in-process') {
    say('custody', 'to improve it, keep a copy of log/checkpoint where the agent cannot write, and check it with: sworn verify --known <copy>');
  }
  if (result.findings.length > 0) {
    lines.push('', 'Findings');
    for (const { severity, message, index, path } of result.findings) {
      const where = [index === undefined ? '' : `index ${index}`, path ?? ''].filter((part) => part !== '').join(', ');
      lines.push(`  ${severity.padEnd(9)} ${visible(message)}${where === '' ? '' : ` [${visible(where)}]`}`);
    }
    if (result.findingsOmitted > 0) lines.push(`  and ${grouped(result.findingsOmitted)} more`);
  }
  lines.push('', 'Checked', ...(result.checked.length > 0 ? result.checked : ['nothing']).map((line) => `  ${visible(line)}`));
  lines.push('', 'Not checked', ...result.notChecked.map((line) => `  ${visible(line)}`), '');
  return lines.join('\n');
}

function asJson(ledger: string, result: Verification, pinning: Pinning): object {
  const { root, ...rest } = result;
  return { headline: headline(result), ledger, ...rest, root: root && base64(root), pinning };
}
