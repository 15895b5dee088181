/** What a recorder says of itself: all of it to whoever administers it, and to others that it lives and how it does. */
import type { Ledger } from '../ledger/ledger.ts';
import type { Freeze } from '../policy/freeze.ts';
import type { Pins } from '../policy/pins.ts';
import type { Limiter } from '../policy/limits.ts';
import type { AnchorStatus } from './anchors.ts';
import type { Connection } from './connection.ts';
import type { Loaded } from './control.ts';
import type { Eraser } from './erase.ts';
import type { Hold } from './hold.ts';
import type { RecorderOptions } from './options.ts';
import type { Pruner } from './prune.ts';

interface ConnectionStatus {
  connection: string;
  server: string;
  client?: string;
  custody: string;
  mode: string;
  attached: boolean;
  pending: number;
  entries: number;
}

export type Status = Record<string, unknown> & { connections: ConnectionStatus[] };

export interface Shown {
  options: RecorderOptions;
  ledger: Ledger;
  policy: Loaded;
  freezes: readonly Freeze[];
  holds: readonly Hold[];
  erasing: Eraser['status'];
  pruned: Pruner['status'];
  pins: Pins;
  anchors: AnchorStatus[];
  limits: Limiter;
  /** Connections and buckets whose refused requests are being counted. */
  storms: number;
  connections: readonly Connection[];
  uptimeMs: number;
  entriesAtStart: number;
  lock: string;
  /** Native parts that are not there. */
  missing: string[];
}

/** What `sworn recorder status` shows. */
export function statusOf({
  options,
  ledger,
  policy,
  freezes,
  holds,
  erasing,
  pruned,
  pins,
  anchors,
  limits,
  storms,
  connections,
  uptimeMs,
  entriesAtStart,
  lock,
  missing,
}: Shown): Status {
  const open = connections.filter((connection) => !connection.isClosed);
  const custodies = open.map(({ opened }) => opened.custody);
  const { rules, redact, canBlock } = policy.compiled;
  return {
    version: options.version,
    pid: process.pid,
    uid: process.getuid?.(),
    custody: custodies.length === 0 ? null : custodies.includes('same-user') ? 'same-user' : custodies[0],
    uptimeS: Math.round(uptimeMs / 100) / 10,
    socket: options.socket,
    ledger: options.ledger,
    ledgerId: ledger.id,
    keyFingerprint: ledger.key.fingerprint,
    entries: ledger.size,
    entriesSinceStart: ledger.size - entriesAtStart,
    signedSize: ledger.signedSize,
    publishedSize: ledger.publishedSize,
    encryption: ledger.segmentKeys.wrappingId === undefined ? null : { key: ledger.segmentKeys.wrappingId },
    policy: policy.digest === undefined ? null : { path: policy.path, digest: policy.digest, rules: rules.length, redact: redact.length, canBlock },
    freezes,
    holds,
    erasing,
    pruned,
    pins: pinsStatus(policy, pins),
    anchors,
    limits: limits.limits.length === 0 ? null : limitsStatus(limits, storms),
    recordable: ledger.recordable,
    queueBytes: ledger.pendingBytes,
    lastSyncMs: Math.round(ledger.syncMs.last * 1000) / 1000,
    medianCommitMs: Math.round(ledger.syncMs.median * 1000) / 1000,
    connections: open.map((connection) => ({
      connection: connection.id,
      server: connection.opened.server,
      ...(connection.opened.client === undefined ? {} : { client: connection.opened.client }),
      custody: connection.opened.custody,
      mode: connection.opened.mode,
      attached: connection.socket !== undefined,
      pending: connection.exchanges.size,
      entries: connection.seq,
    })),
    lock,
    missing,
    logFile: options.logFile ?? null,
    memoryBytes: process.memoryUsage.rss(),
  };
}

/** `waiting`: tools with a definition that nobody has accepted, and that no file of pins has. */
function pinsStatus({ compiled }: Loaded, pins: Pins): Record<string, unknown> | null {
  const settings = compiled.policy.tools;
  if (settings === undefined) return null;
  let tools = 0;
  let waiting = 0;
  for (const one of pins.all()) {
    tools++;
    if (pins.problem(one, one.tool, settings.file) !== undefined) waiting++;
  }
  return { mode: settings.mode, tools, waiting, ...(settings.path === undefined ? {} : { path: settings.path }) };
}

function limitsStatus(limiter: Limiter, storms: number): Record<string, unknown> {
  const { limits, size, running, crowded, hits } = limiter;
  return { count: limits.length, buckets: size, running, crowded, storms, refused: Object.fromEntries(hits) };
}

/** What tells of whom is recorded, and where. */
const forAdministrators = ['ledger', 'logFile', 'policy', 'freezes', 'holds', 'erasing', 'pruned', 'pins', 'anchors', 'limits'];

/** Whoever may connect learns that the recorder lives and how it does, not what is recorded of whom, and where. */
export function statusForOthers({ connections, ...status }: Status): Record<string, unknown> {
  for (const name of forAdministrators) delete status[name];
  const unnamed = connections.map(({ custody, mode, attached, pending, entries }) => ({ server: '', custody, mode, attached, pending, entries }));
  return { ...status, connections: unnamed };
}
