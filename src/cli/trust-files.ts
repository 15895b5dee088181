/** Where `verify` takes its trust from: `--policy`, `--known`, what was pinned on this machine, the recorder's own public key. */
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import type { ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { checkpointOf, openNote, parseVkey, type Vkey } from '../tlog/note.ts';
import { parseTrustPolicy, type TrustPolicy } from '../tlog/policy.ts';
import type { Finding } from '../verify/finding.ts';
import type { Wanted } from '../verify/trust.ts';
import { originAt, readPin, type Pin } from './pins.ts';

export interface TrustOptions {
  /** A file with an earlier checkpoint. Nothing is pinned then. */
  known?: string;
  /** A trust file (C2SP tlog-policy). Nothing is pinned then. */
  policy?: string;
  /** `1h`: the newest cosignature, or without witnesses the newest entry, must not be older. */
  maxAge?: string;
  /** Another ledger than before stands at this place, and that is meant. */
  newLedger?: boolean;
  /** Folder of `known` and of the ledgers' own key folders; default `~/.config/sworn`. */
  keysHome?: string;
  /** The clock: POSIX seconds. */
  nowS?: number;
}

export interface Trust {
  vkeys: Vkey[];
  known: Pick<Pin, 'size' | 'root'> | undefined;
  /** Where the key comes from, in words. */
  keySource: string | undefined;
  pin: Pin | undefined;
  /** The origin that was pinned at this place, when it is another one. */
  replaced: string | undefined;
  /** Bytes of the note of `--known`. */
  knownNote: Uint8Array | undefined;
  wanted: Wanted;
}

export function keysHomeOf({ keysHome }: TrustOptions): string {
  return keysHome ?? join(homedir(), '.config', 'sworn');
}

export function pinFileOf(options: TrustOptions): string {
  return join(keysHomeOf(options), 'known');
}

/**
 * What to hold `checkpoint` against. `place`: where a ledger stands, to notice another one in its place; absent for what may lie anywhere.
 *
 * @throws SwornError `usage` for an option's file that is missing or wrong, and for a pin that cannot be read
 */
export function trustOf(options: TrustOptions, checkpoint: ParsedCheckpoint | undefined, place?: string): Trust {
  const wanted: Wanted = { nowS: options.nowS ?? Math.floor(Date.now() / 1000) };
  const trust: Trust = { vkeys: [], known: undefined, keySource: undefined, pin: undefined, replaced: undefined, knownNote: undefined, wanted };
  if (options.maxAge !== undefined) wanted.maxAgeS = secondsOfAge(options.maxAge);
  if (options.policy !== undefined) {
    wanted.policy = readPolicy(options.policy);
    trust.vkeys = wanted.policy.logs.flatMap(({ vkey }) => vkey ?? []);
    trust.keySource = `the trust file ${options.policy}`;
    if (wanted.policy.logs.length > 0 && trust.vkeys.length === 0)
      throw new SwornError('usage', `no log of ${options.policy} has an Ed25519 key, which is all that is checked here`, { command: 'verify' });
  }
  if (options.known !== undefined) {
    const bytes = readOptionFile(options.known, '--known');
    const known = checkpointOf(bytes);
    if (!known) throw new SwornError('usage', `${options.known} is not a checkpoint`, { command: 'verify' });
    if (checkpoint && known.origin !== checkpoint.origin) {
      throw new SwornError('usage', `${options.known} is a checkpoint of ${known.origin}, this is ${checkpoint.origin}`, { command: 'verify' });
    }
    trust.known = known;
    trust.knownNote = bytes;
  }
  if (trust.vkeys.length > 0 || !checkpoint) return trust;
  // with a checkpoint of their own choice the ledger's word is enough for the key, as long as that key signed both
  if (options.known !== undefined && place !== undefined) return trust;
  usePinned(trust, options, checkpoint, place);
  return trust;
}

function usePinned(trust: Trust, options: TrustOptions, checkpoint: ParsedCheckpoint, place: string | undefined): void {
  const pinFile = pinFileOf(options);
  const isAsked = options.policy !== undefined || options.known !== undefined;
  try {
    trust.pin = readPin(pinFile, checkpoint.origin);
    const before = place === undefined ? undefined : originAt(pinFile, place);
    if (!isAsked && before !== checkpoint.origin && !options.newLedger) trust.replaced = before;
  } catch (error) {
    if (error instanceof SwornError) throw error;
    return; // cannot be read: said when it cannot be written either
  }
  if (trust.pin) {
    const vkey = parseVkey(nodeCrypto, trust.pin.vkey);
    if (!vkey) throw new SwornError('usage', `the key of ${checkpoint.origin} in ${pinFile} cannot be read`, { command: 'verify' });
    trust.vkeys = [vkey];
    trust.known ??= trust.pin;
    trust.keySource = `pinned in ${pinFile}`;
    return;
  }
  // The recorder of this account keeps its public key outside the ledger: better than the ledger's word about itself.
  const id = /^sworn\.invalid\/([0-9a-f]{32})$/.exec(checkpoint.origin)?.[1];
  const ownFile = id === undefined ? undefined : join(keysHomeOf(options), id, 'vkey');
  if (ownFile === undefined || !existsSync(ownFile)) return;
  try {
    // the newest first
    const vkeys = readFileSync(ownFile, 'utf8')
      .trim()
      .split('\n')
      .flatMap((line) => parseVkey(nodeCrypto, line) ?? []);
    if (vkeys.length > 0) {
      trust.vkeys = vkeys;
      trust.keySource = `the recorder's own, ${ownFile}`;
    }
  } catch {
    // not ours to read: the ledger's own word then, reported as such
  }
}

export function readOptionFile(path: string, option: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new SwornError('usage', `${option} ${path} cannot be read: ${(error as Error).message}`, { command: 'verify' });
  }
}

function readPolicy(path: string): TrustPolicy {
  const policy = parseTrustPolicy(nodeCrypto, readOptionFile(path, '--policy'));
  if (!('problem' in policy)) return policy;
  throw new SwornError('usage', `${path}${policy.line > 0 ? `:${policy.line}` : ''}: ${policy.message}`, { command: 'verify' });
}

function secondsOfAge(text: string): number {
  const match = /^([0-9]{1,9})(s|m|h|d)$/.exec(text);
  if (!match) throw new SwornError('usage', `--max-age ${text} is no age: give 90s, 30m, 1h or 7d`, { command: 'verify' });
  return Number(match[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[match[2] as 's' | 'm' | 'h' | 'd'];
}

/** Whose key signed the checkpoint of `--known`, judged by the keys that what is checked follows from. */
export function judgeKnownNote(trust: Trust, path: string | undefined, vkeyTexts: readonly string[]): { finding?: Finding; holds: boolean } {
  const vkeys = vkeyTexts.flatMap((text) => parseVkey(nodeCrypto, text) ?? []);
  if (!trust.knownNote || vkeys.length === 0) return { holds: false };
  const opened = openNote(nodeCrypto, trust.knownNote, vkeys);
  if (!('problem' in opened) && opened.verified.length > 0) return { holds: true };
  const message = `${path} is not signed by the key that signed this`;
  return { finding: { code: 'key-changed', severity: 'tampered', message, path: 'log/checkpoint' }, holds: false };
}
