/** `sworn bundle`: a period's evidence in one tar file, for somebody who has neither the ledger nor us (`spec/evidence.md`). */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { base64, equal, hex, utf8 } from '../bytes/bytes.ts';
import { wholeNumber } from '../bytes/typed.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import { SwornError } from '../errors.ts';
import { bundleSampleCount } from '../limits.ts';
import { indexSince, readEntries } from '../readers/entries.ts';
import type { StoredRecord } from '../readers/record.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { parseNote } from '../tlog/note.ts';
import { contentCounts } from '../verify/content.ts';
import type { Manifest } from '../verify/bundle.ts';
import { drawSample, leftOf, rightOf } from '../verify/range.ts';
import { version } from '../version.ts';
import { PublishedLog } from '../readers/published.ts';
import { contentHolds } from '../readers/record.ts';
import { openableBytes, SegmentWriter } from './evidence.ts';
import { checkReplaceable, toStdout } from './evidence-file.ts';
import { timeHelp, timeOf } from './filter.ts';
import type { CommandHelp } from './help.ts';
import { oneLedgerPath } from './ledger-path.ts';
import { count, safeJson, size, visible, type Output } from './output.ts';
import { makeProof } from './prove.ts';
import { TarWriter } from './tar.ts';
import { readOptionFile } from './trust-files.ts';

export interface BundleCommandOptions {
  ledger?: string | string[];
  since?: string;
  until?: string;
  output?: string;
  known?: string;
  withhold?: boolean;
  sample?: string;
  seed?: string;
  json?: boolean;
}

export const bundleHelp: CommandHelp = {
  options: [
    ...timeHelp,
    { flags: '-o, --output <file>', description: 'the tar file to write', default: 'evidence.tar' },
    { flags: '--withhold', description: 'leave the content out: entries and hashes only' },
    { flags: '--known <file>', description: 'a checkpoint from the beginning of the period: the proof that the ledger continues from it goes in' },
    { flags: '--sample <count>', description: 'entries drawn at random, each with a proof of its own', default: '20' },
    { flags: '--seed <text>', description: 'draws the sample; best named by whoever checks (default: the root of the checkpoint)' },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn)', repeat: true },
    { flags: '--json', description: 'what was written, as one JSON object' },
  ],
  example: 'sworn bundle --since 90d -o q3.tar && sworn verify q3.tar',
};

/** A payload segment of a bundle is ended at this size. */
const bundleSegmentBytes = 8 * 1024 * 1024;
/** Entries in a row beyond the period after which no further one is looked for: a clock may have been set in between. */
const outsideMost = 10_000;

export async function bundleCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as BundleCommandOptions;
  const ledger = oneLedgerPath(options.ledger, 'bundle');
  const path = options.output ?? 'evidence.tar';
  // a tar file says how long each of its files is before it, and that is known behind it
  if (path === toStdout) throw new SwornError('usage', 'a bundle is written to a file, and not to stdout: give -o FILE', { command: 'bundle' });
  checkReplaceable(path);
  const log = new PublishedLog(ledger);
  const nowMs = Date.now();
  const sinceMs = options.since === undefined ? undefined : timeOf(options.since, 'since', 'bundle', nowMs);
  const untilMs = options.until === undefined ? undefined : timeOf(options.until, 'until', 'bundle', nowMs);
  const wanted = wholeNumber(options.sample ?? '20');
  if (wanted === undefined || wanted > bundleSampleCount)
    throw new SwornError('usage', `--sample ${options.sample} is no count from 0 to ${bundleSampleCount}`, { command: 'bundle' });
  const { first, end } = await periodOf(log, sinceMs, untilMs);
  const start = options.known === undefined ? undefined : startOf(log, options.known);
  const timeText = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : new Date(ms).toISOString());
  const since = timeText(sinceMs);
  const until = timeText(untilMs);
  const seed = options.seed ?? base64(log.checkpoint.root);
  const manifest: Manifest = {
    sworn: 1,
    origin: log.checkpoint.origin,
    size: log.size,
    first,
    end,
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    left: leftOf(first).map(({ level, index }) => base64(log.subtree(level, index))),
    right: rightOf(end, log.size).map(({ level, index }) => base64(log.subtree(level, index))),
    ...(start === undefined ? {} : { start: start.fields }),
    isWithheld: options.withhold === true,
    sample: { seed, indexes: drawSample(nodeCrypto, seed, first, end, wanted) },
    files: {},
  };

  let writer: Writer | undefined;
  try {
    writer = new Writer(path, manifest);
    const sizeBytes = await write(writer, log, manifest, start?.note);
    say(output, options.json === true, path, sizeBytes, log, manifest, writer);
    return 0;
  } catch (error) {
    writer?.abandon();
    if (error instanceof SwornError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new SwornError('output', `${path} cannot be written: ${message}`);
  }
}

/** A tar file whose manifest counts what is in it. */
class Writer {
  readonly #tar: TarWriter;
  readonly #manifest: Manifest;
  readonly #path: string;
  readonly #aside: string;
  contentBytes = 0;
  /** Entries whose content could not be read, or is not what the entry says. */
  lacking = 0;
  #hash = createHash('sha256');
  #sizeBytes = 0;

  constructor(path: string, manifest: Manifest) {
    this.#path = path;
    // a bundle that is there already stays until the new one is whole
    this.#aside = `${path}.${process.pid}.tmp`;
    this.#manifest = manifest;
    this.#tar = new TarWriter(this.#aside);
  }

  begin(name: string): void {
    this.#tar.begin(name);
    this.#hash = createHash('sha256');
    this.#sizeBytes = 0;
  }

  write(bytes: Uint8Array): void {
    this.#tar.write(bytes);
    this.#hash.update(bytes);
    this.#sizeBytes += bytes.length;
  }

  end(name: string): void {
    this.#tar.end();
    this.#manifest.files[name] = { sizeBytes: this.#sizeBytes, sha256: hex(this.#hash.digest()) };
  }

  add(name: string, bytes: Uint8Array): void {
    this.begin(name);
    this.write(bytes);
    this.end(name);
  }

  close(): number {
    this.#tar.add('manifest.json', utf8(`${JSON.stringify(this.#manifest, undefined, 1)}\n`));
    const sizeBytes = this.#tar.close();
    renameSync(this.#aside, this.#path);
    return sizeBytes;
  }

  /** Half a bundle is none. */
  abandon(): void {
    try {
      this.#tar.abandon();
    } catch {
      // closed already
    }
    rmSync(this.#aside, { force: true });
  }
}

/** The entries from the first one of the period up to its last one; those of another time between them are in it too. */
export async function periodOf(log: PublishedLog, sinceMs: number | undefined, untilMs: number | undefined): Promise<{ first: number; end: number }> {
  const timeAt = (index: number): number => {
    const entry = readEntry(log.leaf(index));
    return entry instanceof EntryProblem ? Number.NaN : Date.parse(entry.time);
  };
  let first = Math.max(log.first, sinceMs === undefined ? 0 : await indexSince(log.ledger, sinceMs));
  while (sinceMs !== undefined && first < log.size && !(timeAt(first) >= sinceMs)) first++;
  let end = log.size;
  if (untilMs !== undefined) {
    end = first;
    for (let index = first; index < log.size && index - end < outsideMost; index++) if (timeAt(index) < untilMs) end = index + 1;
  }
  if (end <= first) throw new SwornError('not-found', `no entry of ${log.ledger} that is published lies in this period`);
  return { first, end };
}

function startOf(log: PublishedLog, path: string): { note: Uint8Array; fields: NonNullable<Manifest['start']> } {
  const note = readOptionFile(path, '--known');
  const parsed = parseNote(note);
  const known = parsed && parseCheckpoint(parsed.text);
  if (!known) throw new SwornError('usage', `${path} is not a checkpoint`, { command: 'bundle' });
  const { origin, size: under } = log.checkpoint;
  if (known.origin !== origin)
    throw new SwornError('usage', `${path} is a checkpoint of ${known.origin}, this ledger is ${origin}`, { command: 'bundle' });
  if (known.size < 1 || known.size > under)
    throw new SwornError('usage', `${path} covers ${count(known.size, 'entry', 'entries')}, the published checkpoint ${under}`, {
      command: 'bundle',
    });
  return { note, fields: { size: known.size, root: base64(known.root), proof: log.consistency(known.size).map(base64) } };
}

async function write(writer: Writer, log: PublishedLog, manifest: Manifest, start: Uint8Array | undefined): Promise<number> {
  const { first, end, isWithheld, sample } = manifest;
  writer.add('README.txt', utf8(readme(log, manifest)));
  writer.add('checkpoint', log.note);
  if (start) writer.add('start.checkpoint', start);
  writer.begin('entries.ndjson');
  const newline = utf8('\n');
  for (let index = first; index < end; index++) {
    const leaf = log.leaf(index);
    // a line of its own: what has a line end in it is no entry
    if (leaf.includes(10)) throw new SwornError('ledger-corrupt', `entry ${index} of ${log.ledger} is no entry`);
    writer.write(leaf);
    writer.write(newline);
  }
  writer.end('entries.ndjson');
  if (!isWithheld) await writeContent(writer, log, first, end);
  for (const index of contextOf(log, first, end)) addProof(writer, `context/${index}`, log, index, isWithheld);
  for (const index of sample.indexes) addProof(writer, `sample/${index}`, log, index, isWithheld);
  const alone = [join(import.meta.dirname, 'verify.mjs'), join(import.meta.dirname, '..', '..', 'dist', 'verify.mjs')].find((path) =>
    existsSync(path),
  );
  if (alone !== undefined) writer.add('verify.mjs', readFileSync(alone));
  return writer.close();
}

function addProof(writer: Writer, name: string, log: PublishedLog, index: number, isWithheld: boolean): void {
  const { bytes, sidecar } = makeProof(log, index, isWithheld);
  writer.add(`${name}.tlog-proof`, bytes);
  if (sidecar === undefined) return;
  writer.begin(`${name}.payload`);
  sidecar((piece) => writer.write(piece));
  writer.end(`${name}.payload`);
}

/** The records of the period with their content, in segments of their own. */
async function writeContent(writer: Writer, log: PublishedLog, first: number, end: number): Promise<void> {
  let segment: { writer: SegmentWriter; name: string } | undefined;
  const close = (): void => {
    if (segment) writer.end(segment.name);
    segment = undefined;
  };
  for await (const { index, leaf, content, entry } of readEntries(log.ledger, { from: first, to: end, content: true })) {
    const record: StoredRecord | undefined = content && { leaf, attributes: content.attributeItems, frame: content.frame };
    const counts = entry.kind === 'unreadable' ? undefined : contentCounts(entry);
    if (!record || !equal(leaf, log.leaf(index)) || !contentHolds(record)) {
      if (counts === undefined || counts.attributes + counts.segments > 0) writer.lacking++;
      continue;
    }
    // without content there is nothing to say twice
    if (record.attributes.length + record.frame.length === 0) continue;
    if (segment && segment.writer.sizeBytes >= bundleSegmentBytes) close();
    if (!segment) {
      const name = `payload/${String(index).padStart(16, '0')}`;
      writer.begin(name);
      segment = { name, writer: new SegmentWriter(log.ledger, log.ledgerId, index, (piece) => writer.write(piece)) };
    }
    segment.writer.add(index, record);
    writer.contentBytes += openableBytes(record);
  }
  close();
}

/**
 * Entries from outside of the period that belong to it: what policy was in force at its start, the opening of connections that were open then, who was
 * behind them, and erasures and prunings after it, which explain what is missing.
 */
function contextOf(log: PublishedLog, first: number, end: number): number[] {
  const found: number[] = [];
  const open = new Set<string>();
  const opened = new Set<string>();
  for (let index = first; index < end; index++) {
    const entry = readEntry(log.leaf(index));
    if (entry instanceof EntryProblem) continue;
    if (entry.kind === 'open') opened.add(entry.connection);
    else if ('connection' in entry && entry.connection !== undefined && !opened.has(entry.connection)) open.add(entry.connection);
  }
  const principals = new Set(open);
  const unfrozen = new Set<number>();
  let isAllUnfrozen = false;
  let hasPolicy = false;
  const isOf = (leaf: Uint8Array, kind: string): boolean => Buffer.from(leaf.buffer, leaf.byteOffset, leaf.length).includes(`"kind":"${kind}"`);
  for (let index = first - 1; index >= log.first; index--) {
    const leaf = log.leaf(index);
    if (!isOf(leaf, 'policy') && !(open.size + principals.size > 0 && (isOf(leaf, 'open') || isOf(leaf, 'principal')))) continue;
    const entry = readEntry(leaf);
    if (entry instanceof EntryProblem) continue;
    if (entry.kind === 'open' && open.delete(entry.connection)) found.push(index);
    else if (entry.kind === 'principal' && principals.delete(entry.connection)) found.push(index);
    else if (entry.kind !== 'policy') continue;
    else if (entry.act === 'load' && !hasPolicy) {
      hasPolicy = true;
      found.push(index);
    } else if (entry.act === 'unfreeze') {
      if (entry.freeze === undefined) isAllUnfrozen = true;
      else unfrozen.add(entry.freeze);
    } else if (entry.act === 'freeze' && !isAllUnfrozen && !unfrozen.has(index)) found.push(index);
  }
  for (let index = end; index < log.size; index++) if (isOf(log.leaf(index), 'erasure') || isOf(log.leaf(index), 'prune')) found.push(index);
  return found.sort((a, b) => a - b);
}

function readme(log: PublishedLog, { first, end, since, until, isWithheld, sample, start }: Manifest): string {
  const { origin, size: under, root } = log.checkpoint;
  return `Evidence from an audit trail of MCP traffic (sworn ${version})

Ledger      ${origin}
Checkpoint  ${under} entries, root ${base64(root)}
Period      ${since ?? 'the beginning'} to ${until ?? 'the end'}: entries ${first} to ${end - 1}, all of them
Content     ${isWithheld ? 'withheld: hashes only' : 'included, but for what was erased or never stored'}
${start === undefined ? '' : `Continues   the checkpoint of ${start.size} entries in start.checkpoint\n`}
HOW TO CHECK IT

  sworn verify --policy trust.policy <this tar file>
  node verify.mjs --policy trust.policy <this tar file, or the folder it was unpacked to>

The trust file names the log's key, in lines like these, and the witnesses whose cosignatures you ask for:

  log <verifier key>
  quorum none

Do not take the key from this bundle, nor verify.mjs if you doubt who gave it to you: whoever could forge one could forge the other. Ask for the key when
recording begins, and build the verifier from its source, or take it from where you trust it. The statuses are: 0 holds, 1 tampered, 2 usage, 3 cannot
conclude, 4 consistent but the policy is not met, 5 fork or rollback.

WHAT IS IN IT

  checkpoint          the signed head of the ledger (C2SP tlog-checkpoint), with cosignatures of witnesses if there are any
  entries.ndjson      the entries of the period, one a line, as they were recorded; the first is entry ${first}
  manifest.json       the hashes that lead from these entries to the signed root, and a list of all files
  payload/            the content of the entries with its salts: bytes of messages, longer attributes
  context/            proofs of entries from outside of the period: policy in force at its start, who was behind connections, erasures after it
  sample/             ${count(sample.indexes.length, 'entry', 'entries')} drawn with the seed ${sample.seed}, each a proof of its own (C2SP tlog-proof)
  start.checkpoint    a checkpoint from the beginning of the period, if one was given
  verify.mjs          the verifier, one file for Node 22 or newer

Give a seed of your own (sworn bundle --seed) when you ask for a bundle: then nobody could know which entries would be drawn.

WHAT IT CANNOT SHOW

  That a message which never reached the recorder was sent, or that entries were true when they were made.
  That times are right: they are those of the recorder's own clock.
  Without witnesses, or a checkpoint that you kept: that whoever holds the log's key did not write another history.
  What lies outside of the period, except that it was not changed since start.checkpoint, if that is here.
`;
}

function say(output: Output, isJson: boolean, path: string, sizeBytes: number, log: PublishedLog, manifest: Manifest, writer: Writer): void {
  const { first, end, sample, isWithheld, files, origin } = manifest;
  const context = Object.keys(files).filter((name) => /^context\/.*\.tlog-proof$/.test(name)).length;
  if (isJson) {
    const fields = {
      bundle: path,
      sizeBytes,
      origin,
      vkey: log.vkey,
      size: log.size,
      first,
      end,
      contentBytes: writer.contentBytes,
      lackingContent: writer.lacking,
      context,
      sample,
      isWithheld,
    };
    output.out(`${safeJson(JSON.stringify(fields))}\n`);
    return;
  }
  const content = isWithheld ? 'without content' : `with ${size(writer.contentBytes)} of content`;
  const lines = [`${path}, ${size(sizeBytes)}: entries ${first} to ${end - 1} of ${log.size}, ${content}`];
  lines.push(
    `${count(sample.indexes.length, 'entry', 'entries')} drawn at random and ${context} from outside of the period with proofs of their own`,
  );
  if (writer.lacking > 0)
    lines.push(`the content of ${count(writer.lacking, 'entry', 'entries')} could not be read, or is not what the entry says: see \`sworn verify\``);
  if (!isWithheld) lines.push('It holds what was said, in clear: hand it on as you would the ledger itself.');
  lines.push('', 'Check it with', `  sworn verify ${path}`);
  if (log.vkey !== undefined) lines.push('', "Elsewhere that needs the log's key, in a trust file (--policy)", `  log ${log.vkey}`, '  quorum none');
  output.out(`${lines.map(visible).join('\n')}\n`);
}
