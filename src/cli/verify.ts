/** `sworn verify`: checks a ledger's directory, remembers its key and head, and says in one sentence what holds; the rest behind it. */
import { lstatSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { wholeNumber } from '../bytes/typed.ts';
import { base64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { Custody, Entry } from '../entry/entry.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { SwornError } from '../errors.ts';
import { tileWidth } from '../limits.ts';
import type { ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { checkpointOf } from '../tlog/note.ts';
import { decodeBundle, tileWidthAt } from '../tlog/tile.ts';
import type { Source } from '../verify/source.ts';
import { addFindings, exitOfSeverity } from '../verify/finding.ts';
import { judgeAnchors, judgeCheckpoint, type Judged } from '../verify/trust.ts';
import { VerdictText } from './verdict.ts';
import { verifyLedger, type Verification } from '../verify/verifier.ts';
import { duration, safeJson, visible, type Output } from './output.ts';
import { KeyFolders } from './openers.ts';
import { originAt, writePin } from './pins.ts';
import { judgeKnownNote, keysHomeOf, pinFileOf, trustOf, type Trust, type TrustOptions } from './trust-files.ts';
import { directorySource, strayFiles, treeOf } from './verify-files.ts';
import { threads } from './verify-threads.ts';
import { webSource } from './verify-web.ts';

export interface VerifyCommandOptions extends TrustOptions {
  /** The ledger's directory, or the `http:` or `https:` address of its `log/`. */
  ledger: string;
  json: boolean;
  /** False: the tree alone, content is not read. */
  payloads?: boolean;
  /** Threads; 1 is none. By default one for each core, and at most 16. */
  workers?: number;
  /** The module that a thread runs, where it is not beside this one. */
  threadProgram?: URL;
  /** Told how far it is. */
  progress?: (done: number, total: number) => void;
}

export type VerifyOutput = Pick<Output, 'out' | 'err' | 'isTTY' | 'color'>;

/** What was found, with what witnesses say. */
type Verified = Verification & Pick<Judged, 'cosigned' | 'quorum'>;

interface Pinning {
  state: 'pinned-now' | 'pinned-before' | 'not-pinned';
  why?: string;
}

export const custodyWords: Record<Custody, string> = {
  'same-user': "recorded under the agent's own user, who could rewrite what no kept checkpoint covers (custody: same-user)",
  'separate-user': "recorded under another user than the agent's (custody: separate-user)",
  remote: 'recorded on another host than the agent (custody: remote)',
  'in-process': "recorded inside the agent's own process, which could rewrite what no kept checkpoint covers (custody: in-process)",
};
export const noCustodyWords = 'no connection is recorded (custody unknown)';

/**
 * Verifies the ledger in a directory, or the tree of one that a web server gives, and prints the result.
 *
 * @returns the exit status: 0 holds, 1 tampered, 3 cannot conclude, 4 policy not met, 5 fork or rollback
 * @throws SwornError `no-ledger` when nothing of a ledger is there, `usage` for an option's file that is missing or wrong; the system's error for a directory
 *   that is closed to us
 */
export async function verifyCommand(options: VerifyCommandOptions, output: VerifyOutput): Promise<number> {
  const { ledger } = options;
  const isWeb = isAddress(ledger);
  const all = once(isWeb ? webSource(ledger) : directorySource(ledger));
  // an address that gives no answer may have one
  const isThere = isWeb
    ? await all.checkpoint().catch(() => true)
    : ['log', 'payload'].some((name) => lstatSync(join(ledger, name), { throwIfNoEntry: false }));
  if (!isThere)
    throw new SwornError('no-ledger', `there is no ledger in ${ledger}${isWeb ? ': it serves no checkpoint, as the log/ of one does' : ''}`);
  const source = options.payloads === false ? treeOf(all) : all;
  // the verifier meets an error again and reports it
  const note = await source.checkpoint().catch(() => undefined);
  const checkpoint = checkpointOf(note);
  const trust = trustOf(options, checkpoint, placeOf(ledger));

  const showsProgress = output.isTTY && !options.json && process.stderr.isTTY;
  const startedAt = performance.now();
  let shownAt = 0;
  const keys = new KeyFolders(keysHomeOf(options));
  const spread = isWeb ? undefined : threads(ledger, options.workers, options.threadProgram, keys);
  const verification = await verifyLedger({
    crypto: nodeCrypto,
    source,
    vkeys: trust.vkeys,
    openers: keys.openers,
    ...(trust.known ? { known: trust.known } : {}),
    ...(spread ? { spread } : {}),
    progress: (done, total) => {
      options.progress?.(done, total);
      if (!showsProgress || Date.now() - shownAt < 200) return;
      shownAt = Date.now();
      output.err(`\r${progressText(done, total, performance.now() - startedAt)}\x1b[K`);
    },
  });
  if (showsProgress && shownAt > 0) output.err('\r\x1b[K');

  const judged = judgeCheckpoint(nodeCrypto, trust.wanted, note, await newestEntryTime(source, checkpoint));
  const result: Verified = { ...verification, cosigned: judged.cosigned, quorum: judged.quorum };
  result.checked.push(...judged.checked);
  if (judged.cosigned.length > 0) result.notChecked = withWitnesses(result.notChecked, judged);
  result.notChecked.push(...judged.notChecked);
  judgeTrust(result, trust, options);
  addFindings(result, judged.findings);
  if (trust.wanted.policy && result.origin !== undefined) {
    const seen = judgeAnchors(nodeCrypto, trust.wanted.policy, result.origin, result.witnessed);
    result.checked.push(...seen.checked);
    addFindings(result, seen.findings);
  }
  if (options.payloads === false && !isWeb) {
    result.notChecked = result.notChecked.map((line) => (line.startsWith('the content: ') ? 'the content: left out (--no-payloads)' : line));
  }
  const strays = isWeb || options.payloads === false ? [] : strayFiles(ledger);
  if (strays.length > 0) result.notChecked.push(`files in payload/ that are no segments: ${strays.slice(0, 5).join(', ')}`);
  const pinning = pin(result, trust, options);
  if (pinning.state === 'not-pinned' && pinning.why !== undefined) result.notChecked.push(`nothing was pinned: ${pinning.why}`);

  output.out(options.json ? `${safeJson(JSON.stringify(asJson(ledger, result, pinning)))}\n` : asText(ledger, result, trust, pinning, output));
  return result.exit;
}

/** @throws SwornError `usage` unless it is 1 to 64 */
export function workersOf(text: string | undefined): { workers?: number } {
  if (text === undefined) return {};
  const workers = wholeNumber(text);
  if (workers === undefined || workers < 1 || workers > 64) throw new SwornError('usage', `--workers is 1 to 64, not ${text}`);
  return { workers };
}

/** What is not checked, of which the verifier could not know that these lines are known witnesses'. */
function withWitnesses(notChecked: string[], { cosignatureLines }: Judged): string[] {
  return notChecked.flatMap((line) => {
    if (line.startsWith('no witness:')) return [];
    const unknown = /^([0-9]+)( signature\(s\) on the checkpoint by keys that are not known)$/.exec(line);
    if (!unknown) return [line];
    const left = Number(unknown[1]) - cosignatureLines;
    return left > 0 ? [`${left}${unknown[2]}`] : [];
  });
}

export function isAddress(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

function placeOf(ledger: string): string {
  return isAddress(ledger) ? ledger : resolve(ledger);
}

/** The same source, whose checkpoint is read once: a recorder may publish another one meanwhile, and all questions are about one. */
function once(source: Source): Source {
  let checkpoint: Promise<Uint8Array | undefined> | undefined;
  return { ...source, checkpoint: () => (checkpoint ??= source.checkpoint()) };
}

/** The time of the last entry under the checkpoint, which the verifier has held against the root. */
async function newestEntryTime(source: Source, checkpoint: ParsedCheckpoint | undefined): Promise<string | undefined> {
  if (!checkpoint || checkpoint.size === 0) return undefined;
  const n = Math.floor((checkpoint.size - 1) / tileWidth);
  const width = tileWidthAt(checkpoint.size, 0, n);
  try {
    const bundle = (await source.bundle(n, width)) ?? (await source.bundle(n, tileWidth));
    const leaf = bundle && decodeBundle(bundle)?.[width - 1];
    const entry: Entry | EntryProblem | undefined = leaf && readEntry(leaf);
    return entry === undefined || entry instanceof EntryProblem ? undefined : entry.time;
  } catch {
    return undefined; // a finding of the verifier already
  }
}

/** What only the caller of the verifier knows: whose key signed the known checkpoint, and what stood at this place before. */
function judgeTrust(result: Verified, trust: Trust, options: VerifyCommandOptions): void {
  const { finding, holds } = judgeKnownNote(trust, options.known, result.vkey === undefined ? [] : result.vkeys);
  if (finding) addFindings(result, [finding]);
  if (holds && !result.pinned) {
    result.pinned = true;
    trust.keySource = `signed ${options.known} too`;
    result.notChecked = result.notChecked.filter((line) => !line.startsWith('the key was taken from the ledger itself'));
  }
  if (trust.replaced !== undefined) {
    const message = `this path held the ledger ${trust.replaced}, which is not there any more; if a new one was begun on purpose: sworn verify --new-ledger`;
    addFindings(result, [{ code: 'origin', severity: 'rollback', message, path: 'log/checkpoint' }]);
  }
}

function pin(result: Verified, trust: Trust, options: VerifyCommandOptions): Pinning {
  const pinFile = pinFileOf(options);
  if (options.policy !== undefined) return { state: 'not-pinned', why: 'a policy was given' };
  if (options.known !== undefined) return { state: 'not-pinned', why: 'a known checkpoint was given' };
  const state = trust.pin ? 'pinned-before' : 'pinned-now';
  const { origin, vkey, size, root } = result;
  if (result.exit !== 0 || origin === undefined || vkey === undefined || root === undefined)
    return trust.pin ? { state } : { state: 'not-pinned', why: 'it does not hold' };
  if (/\s/.test(origin)) return { state: 'not-pinned', why: 'the origin has white space in it' };
  const place = placeOf(options.ledger);
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

export function grouped(value: number): string {
  return String(value).replace(/\B(?=([0-9]{3})+$)/g, ',');
}

/** How far it is, how fast, and how long it will take if it goes on so. */
export function progressText(done: number, total: number, tookMs: number): string {
  const far = `${grouped(done)} of ${grouped(total)} entries`;
  const perMs = done / tookMs;
  // the first second says little
  if (done === 0 || done >= total || tookMs < 1_000) return far;
  return `${far}, ${grouped(Math.round(perMs) * 1_000)}/s, ${duration(Math.ceil((total - done) / perMs / 1_000) * 1_000_000)} left`;
}

/** The sentence that stands first: what holds, and in whose custody it was recorded. */
function headline(result: Verified): string {
  const custody = result.custody === undefined ? noCustodyWords : custodyWords[result.custody];
  const unsigned = result.size === 0 && result.laterRecords > 0 ? ` under the checkpoint, ${grouped(result.laterRecords)} not yet signed` : '';
  const records = `${grouped(result.size)} ${result.size === 1 ? 'record' : 'records'}${unsigned}`;
  const worst = result.findings.find((finding) => exitOfSeverity(finding.severity) === result.exit);
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

function asText(ledger: string, result: Verified, trust: Trust, pinning: Pinning, output: VerifyOutput): string {
  const text = new VerdictText(result.exit, headline(result), output);
  text.say('ledger', ledger);
  if (result.origin !== undefined) text.say('origin', result.origin);
  if (result.vkey !== undefined) {
    const from = pinning.state === 'pinned-now' ? `pinned now${trust.keySource ? ` (${trust.keySource})` : ''}` : (trust.keySource ?? 'not pinned');
    text.say('key', `${result.vkey.slice((result.origin?.length ?? 0) + 1)}, ${from}`);
  }
  if (result.root) text.say('checkpoint', `${grouped(result.size)} entries, root ${base64(result.root)}`);
  text.say(
    'recorded',
    `${grouped(result.messages)} messages on ${grouped(result.connections)} connections, ${grouped(result.openConnections)} without a close`,
  );
  if (result.laterRecords > 0) text.say('later', `${grouped(result.laterRecords)} later records not yet signed`);
  if (result.custody === 'same-user' || result.custody === 'in-process') {
    text.say('custody', 'to improve it, keep a copy of log/checkpoint where the agent cannot write, and check it with: sworn verify --known <copy>');
  }
  text.section('Findings', [
    ...result.findings.map(({ severity, message, index, path }) => {
      const where = [index === undefined ? '' : `index ${index}`, path ?? ''].filter((part) => part !== '').join(', ');
      return `  ${severity.padEnd(9)} ${visible(message)}${where === '' ? '' : ` [${visible(where)}]`}`;
    }),
    ...(result.findingsOmitted > 0 ? [`  and ${grouped(result.findingsOmitted)} more`] : []),
  ]);
  return text.end(result.checked, result.notChecked);
}

function asJson(ledger: string, result: Verified, pinning: Pinning): object {
  const { root, ...rest } = result;
  return { headline: headline(result), ledger, ...rest, root: root && base64(root), pinning };
}
