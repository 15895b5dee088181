/**
 * `sworn find`: where a value passed. Searches what is stored, and the stretches of which only a checkable hash is. Never prints what stands around the value, nor
 * the value itself.
 */
import { readFileSync } from 'node:fs';
import { equal } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { segmentHash } from '../entry/commitment.ts';
import type { Entry } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import { configHome, keysFolder, readFindKey } from '../ledger/keys.ts';
import { batchItems, unitBytes } from '../limits.ts';
import { readMessage } from '../mcp/message.ts';
import { firstIndexOf, indexSince, readEntries, readEntryAt, type Located } from '../readers/entries.ts';
import { useKeysHome } from '../readers/keys.ts';
import { openFrame, readPayload } from '../readers/payload.ts';
import { checkableSalt } from '../recorder/store.ts';
import { PublishedLog } from '../readers/published.ts';
import { filterOf, timeHelp } from './filter.ts';
import type { CommandHelp } from './help.ts';
import { ledgerPaths } from './ledger-path.ts';
import { count, safeJson, visible, type Output } from './output.ts';

export interface FindOptions {
  value?: string;
  valueFile?: string;
  ledger?: string | string[];
  /** Folder of the ledgers' key folders. */
  keys?: string;
  session?: string;
  since?: string;
  until?: string;
  json?: boolean;
}

export const findHelp: CommandHelp = {
  options: [
    {
      flags: '--value <text>',
      description: 'what to look for; other users of this machine can see it in the list of processes, and it stays in the history of the shell',
    },
    { flags: '--value-file <file>', description: 'a file that holds it, without the line end; /dev/stdin too' },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    {
      flags: '--keys <dir>',
      description: 'where the keys of the ledgers are (default: ~/.config/sworn); without them redacted content is not searched',
    },
    { flags: '--session <id>', description: 'only this connection; the beginning of its id is enough' },
    ...timeHelp,
    { flags: '--json', description: 'one JSON object a line, the last one a summary' },
  ],
  example: 'sworn find --value-file leaked-key.txt',
};

/** Of the value, in bytes. A longer one is looked for by a part of it. */
const valueBytes = 64 * 1024;

interface Hit {
  ledger: string;
  index: number;
  time: string;
  session?: string;
  direction?: 'c2s' | 's2c';
  method?: string;
  target?: string;
  /** `content`; `attribute argv`; `field target`; `redacted, checkable`. */
  where: string;
}

interface Searched {
  entries: number;
  hits: number;
  hitEntries: number;
  /** Stretches that were redacted or not captured: only a hash is there. */
  redacted: number;
  /** Of them those that are as long as the value, whose hashes were compared. */
  compared: number;
  erased: number;
  unreadable: number;
  /** Ledgers without a find key. */
  keysMissing: string[];
}

/** @throws SwornError `usage`, `no-ledger`, `ledger-key-missing` for a damaged key */
export async function findCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as FindOptions;
  const needles = formsOf(valueOf(options));
  const searched: Searched = { entries: 0, hits: 0, hitEntries: 0, redacted: 0, compared: 0, erased: 0, unreadable: 0, keysMissing: [] };
  const ledgers = ledgerPaths(options.ledger);
  if (options.keys !== undefined) useKeysHome(options.keys);
  for (const ledger of ledgers) {
    const findKey = await findKeyOf(ledger, options.keys ?? configHome());
    if (findKey === undefined) searched.keysMissing.push(ledger);
    for await (const located of entriesOf(ledger, options)) {
      const hits = search(ledger, located, needles, findKey, searched);
      searched.entries++;
      if (hits.length > 0) searched.hitEntries++;
      searched.hits += hits.length;
      for (const hit of hits) output.out(options.json ? `${safeJson(JSON.stringify({ kind: 'hit', ...hit }))}\n` : hitText(hit, ledgers.length > 1));
      if (hits.length > 0) await output.drained?.();
      if (output.closed === true) return 0;
    }
  }
  output.out(options.json ? `${safeJson(JSON.stringify({ kind: 'summary', ...searched }))}\n` : `${summaryText(searched)}\n`);
  return searched.hits > 0 ? 0 : 1;
}

function valueOf({ value, valueFile }: FindOptions): Buffer {
  if ((value === undefined) === (valueFile === undefined))
    throw new SwornError('usage', 'give what to look for with --value or --value-file', { command: 'find' });
  let bytes: Buffer;
  if (value !== undefined) bytes = Buffer.from(value);
  else {
    try {
      const file = readFileSync(valueFile!);
      const end = file.at(-1) === 0x0a ? (file.at(-2) === 0x0d ? -2 : -1) : file.length;
      bytes = file.subarray(0, end);
    } catch (error) {
      throw new SwornError('usage', `cannot read ${valueFile}: ${(error as Error).message}`, { command: 'find' });
    }
  }
  if (bytes.length === 0) throw new SwornError('usage', 'the value is empty', { command: 'find' });
  if (bytes.length > valueBytes)
    throw new SwornError('usage', `the value has more than ${valueBytes.toLocaleString('en')} bytes: give a part of it`, { command: 'find' });
  return bytes;
}

/**
 * How a value may stand in a message: as it is (a number's token too), as JSON writes it, with or without escapes for what is not ASCII and for `/`, and as
 * JSON within a string of JSON.
 */
function formsOf(value: Buffer): Buffer[] {
  const text = value.toString();
  const forms = new Map([[value.toString('latin1'), value]]);
  // bytes that are no text have no other form
  if (Buffer.from(text).equals(value)) {
    const json = jsonForm(text);
    const variants = [json, asciiForm(json, (hex) => hex), asciiForm(json, (hex) => hex.toUpperCase())];
    for (const form of variants.flatMap((one) => [one, one.replaceAll('/', '\\/')]).flatMap((one) => [one, jsonForm(one)])) {
      const bytes = Buffer.from(form);
      forms.set(bytes.toString('latin1'), bytes);
    }
  }
  return [...forms.values()];
}

function jsonForm(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function asciiForm(json: string, digits: (hex: string) => string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${digits(unit.charCodeAt(0).toString(16).padStart(4, '0'))}`);
}

/** `undefined` when there is none, or it is closed to us. */
async function findKeyOf(ledger: string, keysHome: string): Promise<Buffer | undefined> {
  const first = await readEntryAt(ledger, 0, false);
  // of a ledger whose beginning is pruned something is published
  const id =
    first === undefined && firstIndexOf(ledger) > 0 ? new PublishedLog(ledger).ledgerId : first?.entry.kind === 'start' && first.entry.ledger;
  if (typeof id !== 'string') return undefined;
  try {
    return readFindKey(keysFolder(keysHome, id));
  } catch (error) {
    if (error instanceof SwornError) throw error;
    return undefined;
  }
}

async function* entriesOf(ledger: string, { session, since, until }: FindOptions): AsyncGenerator<Located & { entry: Entry }> {
  const given = {
    ...(session === undefined ? {} : { session }),
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
  };
  const filter = filterOf(given, 'find');
  const from = filter.sinceMs === undefined ? 0 : await indexSince(ledger, filter.sinceMs);
  for await (const located of readEntries(ledger, { from, content: true })) {
    if (located.entry.kind !== 'unreadable' && filter.matches(located)) yield { ...located, entry: located.entry };
    if (filter.isOver(1)) return;
  }
}

function search(
  ledger: string,
  located: Located & { entry: Entry },
  needles: readonly Buffer[],
  findKey: Buffer | undefined,
  searched: Searched,
): Hit[] {
  const { index, entry, content } = located;
  const hits: Hit[] = [];
  const add = (where: string, more: Partial<Hit> = {}): void => void hits.push({ ...hitOf(ledger, index, entry), ...more, where });
  for (const [field, text] of fieldsOf(entry)) if (has(Buffer.from(JSON.stringify(text)), needles)) add(`field ${field}`);
  if (content === undefined) {
    if (entry.kind === 'message' || entry.kind === 'batch' || entry.attributes !== undefined) searched.unreadable++;
    return hits;
  }
  for (const [name, value] of Object.entries(content.attributes))
    if (has(Buffer.from(JSON.stringify({ [name]: value })), needles)) add(`attribute ${name}`);
  searched.erased += content.erasedAttributes;

  const found = searchFrame(ledger, located, needles, searched);
  if (found !== undefined) add('content', itemAt(ledger, located, found));
  let at = 0;
  for (const [segment, item] of content.frame.entries()) {
    const sizeBytes = item.state === 'kept' ? item.bytes.length : item.sizeBytes;
    if (item.state === 'dropped') {
      searched.redacted++;
      for (const needle of needles) {
        if (findKey === undefined || needle.length !== item.sizeBytes) continue;
        searched.compared++;
        if (equal(segmentHash(nodeCrypto, checkableSalt(findKey, index, segment), needle), item.hash)) {
          add('redacted, checkable', itemAt(ledger, located, at));
          break;
        }
      }
    }
    at += sizeBytes;
  }
  return hits;
}

/** Where in a frame the value begins, in bytes; across the borders of segments too. */
function searchFrame(ledger: string, { content }: Located, needles: readonly Buffer[], searched: Searched): number | undefined {
  const frame = content!.frame;
  const overlap = Math.max(...needles.map(({ length }) => length)) - 1;
  let before: Buffer = Buffer.alloc(0);
  let at = 0;
  let found: number | undefined;
  let i = 0;
  for (const piece of openFrame(ledger, frame)) {
    const item = frame[i++]!;
    if ('bytes' in piece) {
      const bytes =
        before.length === 0 ? Buffer.from(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.length) : Buffer.concat([before, piece.bytes]);
      if (found === undefined) {
        for (const needle of needles) {
          const place = bytes.indexOf(needle);
          if (place >= 0) found = Math.min(found ?? Number.POSITIVE_INFINITY, at - before.length + place);
        }
      }
      before = overlap === 0 ? Buffer.alloc(0) : bytes.subarray(-overlap);
      at += piece.bytes.length;
    } else {
      before = Buffer.alloc(0);
      at += piece.sizeBytes;
      if (piece.missing === 'lost') searched.unreadable++;
      else if (item.state !== 'dropped') searched.erased++;
    }
  }
  return found;
}

function has(bytes: Buffer, needles: readonly Buffer[]): boolean {
  return needles.some((needle) => bytes.includes(needle));
}

/** Texts of an entry that somebody else chose. */
function fieldsOf(entry: Entry): [string, unknown][] {
  const fields: Record<string, unknown> =
    entry.kind === 'message'
      ? { id: entry.id, method: entry.method, target: entry.target }
      : entry.kind === 'open'
        ? { server: entry.server, client: entry.client, labels: entry.labels }
        : {};
  return Object.entries(fields).filter(([, value]) => value !== undefined);
}

function hitOf(ledger: string, index: number, entry: Entry): Omit<Hit, 'where'> {
  const session = 'connection' in entry ? entry.connection : undefined;
  const isMessage = entry.kind === 'message';
  return {
    ledger,
    index,
    time: entry.time,
    ...(session === undefined ? {} : { session }),
    ...(isMessage || entry.kind === 'batch' ? { direction: entry.direction } : {}),
    ...(isMessage && entry.method !== undefined ? { method: entry.method } : isMessage ? { method: entry.type } : { method: entry.kind }),
    ...(isMessage && entry.target !== undefined ? { target: entry.target } : {}),
  };
}

/** Of a batch: which of its items stands at an offset of its frame. The items' entries follow it. */
function itemAt(ledger: string, { index, entry, content }: Located, offset: number): Partial<Hit> {
  if (entry.kind !== 'batch' || entry.sizeBytes > unitBytes || entry.items > batchItems) return {};
  const payload = readPayload(ledger, content!.frame, unitBytes);
  if (payload.erasedBytes + payload.lostBytes > 0) return {};
  const batch = readMessage(payload.bytes);
  if (batch.type !== 'batch') return {};
  const item = batch.items.findIndex(({ range }) => range[0] <= offset && offset < range[1]);
  const message = batch.items[item]?.message;
  if (message === undefined) return {};
  const target = message.target?.kind === 'resource' ? undefined : message.target?.value;
  return { index: index + 1 + item, method: message.method ?? message.type, ...(target === undefined ? {} : { target }) };
}

function hitText({ ledger, index, time, session, direction, method, target, where }: Hit, withLedger: boolean): string {
  const what = `${method ?? ''}${target === undefined ? '' : ` ${target}`}`;
  const fields = [String(index).padStart(8), time, (session ?? '').slice(0, 8).padEnd(8), (direction ?? '').padEnd(3), visible(what), visible(where)];
  return `${fields.join('  ')}${withLedger ? `  ${visible(ledger)}` : ''}\n`;
}

function summaryText(searched: Searched): string {
  const { entries, hits, hitEntries, redacted, compared, erased, unreadable, keysMissing } = searched;
  const lines = [
    `${hits === 0 ? 'not found' : `found ${count(hits, 'time')} in ${count(hitEntries, 'entry', 'entries')}`}; ${count(entries, 'entry', 'entries')} searched`,
  ];
  const gaps: string[] = [];
  if (redacted > 0) {
    const how = keysMissing.length > 0 && compared === 0 ? 'none compared' : `${compared} as long as the value and compared`;
    gaps.push(
      `${count(redacted, 'stretch that was never stored', 'stretches that were never stored')} (${how}; only the whole of one that is checkable can be found)`,
    );
  }
  if (erased > 0) gaps.push(count(erased, 'erased piece'));
  if (unreadable > 0) gaps.push(count(unreadable, 'unreadable piece'));
  if (gaps.length > 0) lines.push(`could not be searched: ${gaps.join(', ')}`);
  if (redacted > 0)
    for (const ledger of keysMissing) lines.push(`no find key of ${visible(ledger)}: its redacted content was not searched (see --keys)`);
  return lines.join('\n');
}
