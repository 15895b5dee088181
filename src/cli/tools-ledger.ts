/** Pinned tools as a ledger tells them, without asking its recorder. */
import { SwornError } from '../errors.ts';
import { globMatches } from '../mcp/glob.ts';
import { Pins, type PinnedTool, type PinPlace } from '../policy/pins.ts';
import { readEntries, readEntryAt } from '../readers/entries.ts';

/** A tool, and when its entries were written. */
export interface KnownTool extends PinPlace {
  tool: string;
  pinned: PinnedTool;
}

/** @throws SwornError as `readEntries` */
export async function readPins(ledger: string): Promise<Pins> {
  const pins = new Pins();
  for await (const { index, entry } of readEntries(ledger)) if (entry.kind === 'policy') pins.apply(entry, index);
  return pins;
}

/** By server, then by name. `tool` and `server`: globs. */
export function choose(pins: Pins, { tool, server }: { tool?: string | undefined; server?: string | undefined }): KnownTool[] {
  const chosen = [...pins.all()].filter(
    (one) => (server === undefined || globMatches(server, one.server)) && (tool === undefined || one.tool === tool || globMatches(tool, one.tool)),
  );
  const rank = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return chosen.sort((a, b) => rank(a.server, b.server) || rank(a.transport, b.transport) || rank(a.tool, b.tool));
}

/** @throws SwornError `not-found` where nothing fits */
export function chooseSome(pins: Pins, which: { tool?: string | undefined; server?: string | undefined }): KnownTool[] {
  const chosen = choose(pins, which);
  if (chosen.length > 0 || (which.tool === undefined && which.server === undefined)) return chosen;
  const where = which.server === undefined ? '' : ` of ${which.server}`;
  throw new SwornError('not-found', `no tool ${which.tool ?? ''}${where} was listed while tools were pinned`.replaceAll('  ', ' '));
}

/** The definition that an entry holds; `undefined` where it was erased, or never stored. */
export async function definedAt(ledger: string, index: number): Promise<unknown> {
  return (await readEntryAt(ledger, index))?.content?.attributes['defined'];
}

/** What has to be looked at: the newest definition that waits, and the one that is accepted. */
export function newest({ drifts, accepted }: PinnedTool): { waits?: PinnedTool['drifts'][number]; trusted?: PinnedTool['accepted'][number] } {
  const waits = drifts.at(-1);
  const trusted = accepted.at(-1);
  return { ...(waits === undefined ? {} : { waits }), ...(trusted === undefined ? {} : { trusted }) };
}
