/** `sworn verify q3.tar`: a period's evidence, from the tar file or the folder that it was unpacked to. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { base64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { bundleFileBytes } from '../limits.ts';
import { verifyBundle, whole, type BundleSource, type BundleVerification } from '../verify/bundle.ts';
import { checkpointOf } from '../tlog/note.ts';
import { exitOfSeverity } from '../verify/finding.ts';
import { count, safeJson, size, visible, type Output } from './output.ts';
import { originAt } from './pins.ts';
import { readTar, type TarFile } from './tar.ts';
import { pinFileOf, trustOf, type Trust, type TrustOptions } from './trust-files.ts';
import { headlineOf, VerdictText } from './verdict.ts';
import { piecesOf } from './verify-files.ts';
import { controlText, notesOf, subjectOf } from './words.ts';

export interface VerifyBundleOptions extends TrustOptions {
  /** The tar file, or the folder. */
  bundle: string;
  json: boolean;
}

type VerifyOutput = Pick<Output, 'out' | 'err' | 'isTTY' | 'color'>;

/**
 * Whether a folder is an unpacked bundle. Where a ledger is, or was when it was pinned, it stays one: whoever can write there must not be able to have some
 * old evidence checked in its place.
 */
export function isBundleFolder(folder: string, options: TrustOptions): boolean {
  if (existsSync(join(folder, 'log')) || !existsSync(join(folder, 'manifest.json')) || !existsSync(join(folder, 'entries.ndjson'))) return false;
  try {
    return originAt(pinFileOf(options), resolve(folder)) === undefined;
  } catch {
    return true; // pins that cannot be read are reported where they count
  }
}

/** @returns the exit status, as of `verifyCommand` */
export async function verifyBundleCommand(options: VerifyBundleOptions, output: VerifyOutput): Promise<number> {
  const { bundle } = options;
  const source = statSync(bundle).isDirectory() ? folderSource(bundle) : tarSource(bundle);
  const trust = trustOf(options, await checkpointIn(source));
  const result = await verifyBundle({
    crypto: nodeCrypto,
    source,
    vkeys: trust.vkeys,
    ...(trust.known ? { known: trust.known } : {}),
    wanted: trust.wanted,
  });
  output.out(options.json ? `${safeJson(JSON.stringify(asJson(bundle, result)))}\n` : asText(bundle, result, trust, output));
  return result.exit;
}

async function checkpointIn(source: BundleSource): Promise<ReturnType<typeof checkpointOf>> {
  try {
    return checkpointOf(await whole(source, 'checkpoint', bundleFileBytes));
  } catch {
    return undefined; // the verifier meets the same error and reports it
  }
}

function tarSource(path: string): BundleSource {
  let files: Map<string, TarFile>;
  try {
    files = readTar(path);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // a result like any other: it cannot be concluded
    const names = (): never => {
      throw new Error(`not a tar file of ours: ${error.message}`, { cause: error });
    };
    return { names, sizeOf: names, pieces: names };
  }
  const piecesIn = ({ offset, sizeBytes }: TarFile): AsyncIterable<Uint8Array> => piecesOf(path, offset, offset + sizeBytes);
  return { names: () => [...files.keys()], sizeOf: (name) => files.get(name)!.sizeBytes, pieces: (name) => piecesIn(files.get(name)!) };
}

function folderSource(folder: string): BundleSource {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((item) => !item.isDirectory())
    .map((item) => join(item.parentPath, item.name).slice(join(folder, '/').length));
  const sizeOf = (name: string): number => statSync(join(folder, name)).size;
  return { names: () => names, sizeOf, pieces: (name) => piecesOf(join(folder, name), 0, sizeOf(name)) };
}

function headline(result: BundleVerification): string {
  const { exit, first, end, size: under, findings, firstTime, lastTime } = result;
  const worst = findings.find(({ severity }) => exitOfSeverity(severity) === exit)?.message ?? '';
  const period = firstTime === undefined ? '' : `, from ${firstTime.slice(0, 19)} to ${lastTime!.slice(0, 19)} UTC`;
  const holds = `entries ${first} to ${end! - 1} of ${under}${period}, are all there and as recorded`;
  return headlineOf(exit, holds, worst);
}

function asText(bundle: string, result: BundleVerification, trust: Trust, output: VerifyOutput): string {
  const { exit, origin, vkey, root, findings, findingsOmitted, checked, notChecked, context } = result;
  const text = new VerdictText(exit, headline(result), output);
  text.say('bundle', bundle);
  if (origin !== undefined) text.say('origin', origin);
  if (vkey !== undefined) text.say('key', `${vkey.slice((origin?.length ?? 0) + 1)}, ${trust.keySource ?? ''}`);
  if (root) text.say('checkpoint', `${result.size} entries, root ${base64(root)}`);
  if (result.since !== undefined || result.until !== undefined)
    text.say('asked for', `${result.since ?? 'the beginning'} to ${result.until ?? 'the end'}`);
  if (result.first !== undefined) {
    const blocked = result.blocked > 0 ? `, ${result.blocked} blocked` : '';
    text.say(
      'recorded',
      `${count(result.messages, 'message')}${blocked} on ${count(result.connections, 'connection')}, ${size(result.contentBytes)} of content`,
    );
  }
  if (result.custody !== undefined) text.say('custody', result.custody);
  const words: Output = { ...output, columns: Number.POSITIVE_INFINITY };
  text.section(
    'From outside of the period',
    context.map(({ index, entry }) => {
      const said = entry.kind === 'message' ? `${subjectOf(entry)} ${notesOf(words, entry)}`.trimEnd() : controlText(words, entry);
      return `  ${String(index).padStart(8)}  ${entry.time.slice(0, 19)}  ${visible(said)}`;
    }),
  );
  text.section('Findings', [
    ...findings.map(({ severity, message, path }) => `  ${severity.padEnd(9)} ${visible(message)}${path === undefined ? '' : ` [${visible(path)}]`}`),
    ...(findingsOmitted > 0 ? [`  and ${findingsOmitted} more`] : []),
  ]);
  return text.end(checked, notChecked);
}

function asJson(bundle: string, result: BundleVerification): object {
  const { root, ...rest } = result;
  return { headline: headline(result), bundle, ...rest, ...(root ? { root: base64(root) } : {}) };
}
