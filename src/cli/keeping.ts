/** What `sworn erase` and `sworn hold` share: the recorder behind a ledger, holds as the ledger tells them, and who is behind its connections. */
import { resolve } from 'node:path';
import { SwornError } from '../errors.ts';
import { checkLedger, readEntries, type Located } from '../readers/entries.ts';
import { applyHold, Parties, type Hold } from '../recorder/hold.ts';
import { defaultLedger, ledgerPath, socketPathOf } from '../wire/socket-path.ts';
import type { Output } from './output.ts';
import { listens, startRecorder } from './recorder.ts';

export interface PlaceOptions {
  ledger?: string;
  socket?: string;
}

export function placeOf({ ledger, socket }: PlaceOptions): { ledger: string; socket: string } {
  const path = ledgerPath(ledger ?? defaultLedger());
  return { ledger: path, socket: socket === undefined ? socketPathOf(path) : resolve(socket) };
}

/**
 * Starts a recorder where none runs; its exit status when it would not start. Only where a ledger is: a mistyped folder must not become one, with a freeze or a hold on nothing.
 * @throws (rejects) SwornError `no-ledger`, `permission`, `recorder-unreachable`
 */
export async function ensureRecorder(options: PlaceOptions, output: Output): Promise<number | undefined> {
  const { ledger, socket } = placeOf(options);
  if (options.socket !== undefined || (await listens(socket))) return undefined;
  checkLedger(ledger);
  const refusal = await startRecorder(ledger, socket);
  if (refusal !== undefined) output.err(refusal.text);
  return refusal?.status;
}

/** Holds in force, and who is behind entries. */
export class Keeping {
  readonly parties = new Parties();
  holds: Hold[] = [];

  /** Takes what an entry says; with its content where `needsContent` asks for it. */
  take({ index, entry, content }: Located): void {
    const attributes = content?.attributes ?? {};
    if (entry.kind === 'policy') this.holds = applyHold(this.holds, entry, index, attributes);
    else if (entry.kind !== 'unreadable') this.parties.take(entry, index, attributes);
  }
}

/** @throws SwornError as `readEntries` */
export async function readHolds(ledger: string): Promise<Hold[]> {
  const keeping = new Keeping();
  // with content: what a hold is about may be in an attribute
  for await (const located of readEntries(ledger, { content: true })) if (located.entry.kind === 'policy') keeping.take(located);
  return keeping.holds;
}

const unitsMs: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/**
 * A span (`90d`) before `nowMs`, or a time.
 * @throws SwornError `usage`
 */
export function pastTime(text: string, flag: string, command: string, nowMs = Date.now()): number {
  const span = /^(\d{1,6})([smhdw])$/.exec(text);
  const ms = span !== null ? nowMs - Number(span[1]) * unitsMs[span[2]!]! : /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new SwornError('usage', `--${flag} ${text} is no time: give 90d, 12h or 30m, or 2026-11-20, or 2026-11-20T23:45:00Z`, { command });
  return ms;
}
