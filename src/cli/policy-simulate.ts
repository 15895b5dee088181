/** `sworn policy simulate`: what a policy file would have done to the recorded past, message by message, with the recorder's own judge. */
import { defaultConfigPath, loadConfig, type Config } from '../config/config.ts';
import type { BatchEntry, MessageEntry } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import { judgeBytes } from '../limits.ts';
import { globMatches } from '../mcp/glob.ts';
import { filled, type Piece } from '../policy/fill.ts';
import { compilePolicy, type CompiledPolicy } from '../policy/judge.ts';
import type { Missing, Remains } from '../policy/remains.ts';
import { Replay, type Recorded } from '../policy/replay.ts';
import { indexSince, readEntries, readEntriesBackwards, type Located } from '../readers/entries.ts';
import { whyDropped } from '../entry/dropped.ts';
import { openFrame, type Content } from '../readers/payload.ts';
import { filterOf, type Filter } from './filter.ts';
import { ledgerPaths } from './ledger-path.ts';
import { safeJson, visible, type Output } from './output.ts';
import { digits, Tally, tallyText, type LedgerTally } from './policy-tally.ts';

export interface SimulateOptions {
  /** The policy file; `file` is the same as a word. */
  policy?: string;
  file?: string;
  since?: string;
  until?: string;
  session?: string;
  server?: string;
  ledger?: string | string[];
  json?: boolean;
  failOn?: string;
}

/** @throws SwornError `usage`, `config-missing`, `config-invalid`, `no-ledger` */
export async function simulateCommand(options: SimulateOptions, output: Output): Promise<number> {
  if (options.failOn !== undefined && options.failOn !== 'block')
    throw new SwornError('usage', `--fail-on ${options.failOn} is not: block`, { command: 'policy' });
  if (options.policy !== undefined && options.file !== undefined)
    throw new SwornError('usage', 'the policy file is given twice: --policy and as a word', { command: 'policy' });
  const config = await loadConfig(options.policy ?? options.file ?? defaultConfigPath());
  const compiled = await compilePolicy(config.policy);
  const fromMs = performance.now();
  const tallies: LedgerTally[] = [];
  for (const ledger of ledgerPaths(options.ledger)) tallies.push(await simulate(ledger, compiled, options));
  const seconds = (performance.now() - fromMs) / 1000;
  const newlyBlocked = tallies.reduce((sum, { changes }) => sum + changes.newlyBlocked, 0);
  if (options.json) output.out(`${safeJson(JSON.stringify(resultOf(config, tallies, seconds)))}\n`);
  else {
    for (const tally of tallies) output.out(`${tallyText(output, tally, compiled.redact.length > 0)}\n`);
    const perS = callsPerS(tallies, seconds);
    output.out(`${visible(config.path)}: in ${seconds.toFixed(1)} s${perS === undefined ? '' : `, ${digits(perS)} calls/s (two messages a call)`}\n`);
  }
  return options.failOn === 'block' && newlyBlocked > 0 ? 1 : 0;
}

function resultOf(config: Config, ledgers: LedgerTally[], seconds: number): object {
  const perS = callsPerS(ledgers, seconds);
  return { file: config.path, digest: config.digest, seconds, ...(perS === undefined ? {} : { callsPerSecond: perS }), ledgers };
}

/** Of very few it says nothing. */
function callsPerS(ledgers: readonly LedgerTally[], seconds: number): number | undefined {
  const messages = ledgers.reduce((sum, tally) => sum + tally.messages, 0);
  return messages < 1_000 ? undefined : Math.round(messages / 2 / seconds);
}

async function simulate(ledger: string, compiled: CompiledPolicy, options: SimulateOptions): Promise<LedgerTally> {
  const { session, server, since, until } = options;
  // the values are checked there; a connection is told by its id and server, whatever entry it is
  const times = filterOf(
    { ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }), ...(session === undefined ? {} : { session }) },
    'policy',
  );
  const inTime = filterOf({ ...(since === undefined ? {} : { since }), ...(until === undefined ? {} : { until }) }, 'policy');
  const tally = new Tally(ledger, compiled);
  let reports = true;
  const replay = new Replay(compiled, (judgement) => {
    if (reports) tally.add(judgement);
  });
  const range = await rangeOf(ledger, times);
  const servers = new Map<string, boolean>();
  const isWanted = (entry: Located['entry']): boolean => {
    if (entry.kind === 'unreadable' || !('connection' in entry) || entry.connection === undefined) return false;
    if (session !== undefined && !entry.connection.startsWith(session)) return false;
    if (server === undefined) return true;
    let fits = servers.get(entry.connection);
    if (fits === undefined && 'server' in entry) {
      fits = globMatches(server, entry.server);
      if (servers.size >= 100_000) servers.clear();
      servers.set(entry.connection, fits);
    }
    return fits === true;
  };
  for await (const located of readEntries(ledger, { from: range.start, content: true })) {
    const { entry, index } = located;
    if (!isWanted(entry)) continue;
    const isContext = index < range.from;
    if (isContext && !range.before.has((entry as MessageEntry).connection)) continue;
    const matches = inTime.matches(located);
    if (inTime.isOver(1)) break;
    // what came before counts for what it taught the recorder
    reports = matches && !isContext;
    replay.add(recordedOf(ledger, located));
  }
  replay.end();
  return tally.end();
}

/**
 * Where to begin: `from` is the first index of the time that is asked for; connections that began `before` it are followed from `start` on, since what was said
 * then counts.
 */
async function rangeOf(ledger: string, { sinceMs }: Filter): Promise<{ start: number; from: number; before: Set<string> }> {
  const before = new Set<string>();
  if (sinceMs === undefined) return { start: 0, from: 0, before };
  const from = await indexSince(ledger, sinceMs);
  const opened = new Set<string>();
  for await (const { entry } of readEntries(ledger, { from })) {
    if (entry.kind === 'open') opened.add(entry.connection);
    else if ((entry.kind === 'message' || entry.kind === 'batch') && !opened.has(entry.connection)) before.add(entry.connection);
  }
  let start = from;
  const missing = new Set(before);
  if (missing.size > 0) {
    for await (const { entry, index } of readEntriesBackwards(ledger, from)) {
      if (entry.kind === 'open' && missing.delete(entry.connection)) start = index;
      if (missing.size === 0) break;
    }
  }
  return { start, from, before };
}

export function recordedOf(ledger: string, { index, entry, content }: Located): Recorded {
  const recorded: Recorded = { index, entry: entry as Recorded['entry'], attributes: content?.attributes ?? {} };
  if (entry.kind === 'batch' || (entry.kind === 'message' && entry.batch === undefined)) recorded.remains = remainsOf(ledger, entry, content);
  return recorded;
}

/** What of a frame is still there, in one piece; a frame that is longer than a recorder judges is not read. */
function remainsOf(ledger: string, entry: MessageEntry | BatchEntry, content: Content | undefined): Remains {
  if (content === undefined || content.frame.length === 0) return { missing: [], why: 'unreadable' };
  const { frame } = content;
  const only = frame.length === 1 ? frame[0] : undefined;
  if (only?.state === 'kept') return { bytes: only.bytes, missing: [] };
  if (entry.sizeBytes > judgeBytes) return { missing: [], why: 'too long' };
  const missing: [number, number][] = [];
  const pieces: Piece[] = [];
  let why: Missing | undefined;
  let at = 0;
  let i = 0;
  for (const piece of openFrame(ledger, frame)) {
    const item = frame[i++]!;
    const sizeBytes = 'bytes' in piece ? piece.bytes.length : piece.sizeBytes;
    if ('bytes' in piece) pieces.push(piece);
    else {
      pieces.push({ missingBytes: sizeBytes });
      missing.push([at, at + sizeBytes]);
      if (item.state !== 'dropped') why = piece.missing === 'erased' ? 'erased' : 'unreadable';
      else why ??= whyDropped(entry);
    }
    at += sizeBytes;
  }
  if (why === undefined) return { bytes: Buffer.concat(pieces.map((piece) => ('bytes' in piece ? piece.bytes : Buffer.alloc(0)))), missing };
  return pieces.some((piece) => 'bytes' in piece) ? { bytes: filled(pieces), missing, why } : { missing: [], why };
}
