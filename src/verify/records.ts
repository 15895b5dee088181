/**
 * The records of the payload, in step with the leaves of the log: the record of one index after the other, and what lies between them that should not. Parts of frames are
 * kept, as hashes, until the entry comes that they belong to.
 */
import { segmentHash } from '../entry/commitment.ts';
import type { Case } from './case.ts';
import type { Openers } from './encryption.ts';
import { PayloadReader, type EntryRecord, type Header, type PartRecord, type Trouble } from './payload.ts';
import type { SegmentName } from './source.ts';
import type { StoredPart } from './spread.ts';

export class Records {
  /** By the place where they stand. */
  readonly parts = new Map<string, StoredPart>();
  /** Encrypted segments that could not be opened, and why. */
  readonly unopened = new Map<string, string>();
  /** The source has a payload to give. */
  isAsked = false;
  /** Index that the next record should have. */
  next = 0;
  /** The last record is incomplete. */
  isTorn = false;
  /** First entry that was to be pruned and is still there. */
  leftOver: number | undefined;
  readonly #case: Case;
  readonly #openers: Openers;
  /** First entry that is not pruned. */
  readonly #first: number;
  #reader: PayloadReader | undefined;
  #record: EntryRecord | undefined;
  #hasEnded = true;
  /** It ended because the source could not read on. */
  #isUnreadable = false;
  #headerSince = false;
  #troubleSince = false;
  #firstOfSegment: Header | undefined;
  /** Index of the last entry without a record, so that a run of them is reported once. */
  #lastRunMissing = Number.NaN;
  /** The segment that begins in the place of pruned records. */
  #prunedSegment: number | undefined;

  constructor(known: Case, openers: Openers, first: number) {
    this.#case = known;
    this.#openers = openers;
    this.#first = first;
  }

  /** Whoever reads; `undefined` where there is no payload. */
  get reader(): PayloadReader | undefined {
    return this.#reader;
  }

  /** Nothing is left to be read. */
  get isOver(): boolean {
    return this.#hasEnded && this.#record === undefined;
  }

  async names(): Promise<SegmentName[] | undefined> {
    const { segments, segment } = this.#case.source;
    if (!segments || !segment) return undefined;
    this.isAsked = true;
    const names = await this.#case.reading('payload', () => segments.call(this.#case.source));
    this.#isUnreadable = names === undefined;
    return names;
  }

  open(names: SegmentName[], from?: { offset: number; index: number }): PayloadReader;
  open(names: SegmentName[] | undefined): void;
  open(names: SegmentName[] | undefined, from?: { offset: number; index: number }): PayloadReader | undefined {
    if (names === undefined) return undefined;
    this.#reader = new PayloadReader(this.#case.source, names, from, this.#case.crypto, this.#openers);
    this.#hasEnded = false;
    return this.#reader;
  }

  /** The record of this index when it is next and was read already, as it mostly is: to wait for it costs more than to look. */
  inMemory(index: number): EntryRecord | undefined {
    if (this.#hasEnded || this.#record !== undefined || this.#firstOfSegment !== undefined) return undefined;
    for (;;) {
      const event = this.#reader!.take();
      if (event?.kind === 'pruned') {
        this.#prunedSegment = event.segment.first;
        continue;
      }
      if (event?.kind === 'part') {
        this.#part(event);
        continue;
      }
      if (event?.kind !== 'entry') return undefined;
      this.next = event.index + 1;
      if (event.index !== index) {
        this.#record = event;
        return undefined;
      }
      this.#headerSince = false;
      this.#troubleSince = false;
      return event;
    }
  }

  /** The record of this index, or `undefined`. Reports what lies between, and leaves a later record for later. */
  async at(index: number): Promise<EntryRecord | undefined> {
    if (!this.isAsked) return undefined;
    for (;;) {
      this.#record ??= await this.read();
      const record = this.#record;
      if (record !== undefined && record.index < this.#first) {
        this.leftOver = Math.min(record.index, this.leftOver ?? record.index);
        for (const item of record.segments) if (item.kind === 'part') this.parts.delete(`${item.file}:${item.offset}`);
        this.#record = undefined;
        continue;
      }
      if (record === undefined || record.index > index) {
        this.#recordMissing(index, record);
        return undefined;
      }
      this.#record = undefined;
      if (record.index === index) {
        this.#headerSince = false;
        this.#troubleSince = false;
        return record;
      }
      this.#case.say('tampered', 'record', `the payload has the record of entry ${record.index} where that of ${index} belongs`, {
        index,
        path: record.segment.path,
      });
      this.#troubleSince = true;
    }
  }

  #recordMissing(index: number, next: EntryRecord | undefined): void {
    const isSigned = index < this.#case.size;
    if (!isSigned && next === undefined) return;
    const isSameRun = this.#lastRunMissing === index - 1;
    this.#lastRunMissing = index;
    if (isSameRun) return;
    const path = next?.segment.path ?? 'payload';
    if (next === undefined) {
      const why = this.#isUnreadable ? 'could not be read' : 'was cut off, lost or removed';
      this.#case.say('missing', 'record-missing', `the payload ends before entry ${index}: the content from there on ${why}`, { index, path });
    } else if (this.#headerSince) {
      this.#case.say(
        'missing',
        'segment-missing',
        `the content of entries ${index} to ${next.index - 1} is missing: a payload segment is not there, or was cut`,
        { index, path },
      );
    } else if (!this.#troubleSince) {
      this.#case.say('tampered', 'record-missing', `the records of entries ${index} to ${next.index - 1} were taken out of the payload`, {
        index,
        path,
      });
    }
  }

  async read(): Promise<EntryRecord | undefined> {
    while (!this.#hasEnded) {
      const event = this.#reader!.take() ?? (await this.#fill());
      if (event === undefined) continue;
      if (event.kind === 'part') {
        this.#part(event);
      } else if (event.kind === 'pruned') {
        this.#prunedSegment = event.segment.first;
      } else if (event.kind === 'header') {
        this.#header(event);
      } else if (event.kind === 'trouble') {
        this.#trouble(event);
      } else {
        const header = this.#firstOfSegment;
        this.#firstOfSegment = undefined;
        if (header && event.index !== header.first && !this.#troubleSince && this.#prunedSegment !== header.first) {
          this.#case.say('tampered', 'segment', `${event.segment.path} begins with entry ${event.index}, not with ${header.first}`, {
            index: event.index,
            path: event.segment.path,
          });
        }
        this.next = event.index + 1;
        return event;
      }
    }
    return undefined;
  }

  /** Entries that were written behind everything that was read. */
  async readLater(take: (index: number, leaf: Uint8Array) => void): Promise<void> {
    const names = await this.names();
    const last = names?.findLastIndex((name) => name.first < this.next) ?? -1;
    if (names === undefined || last < 0) return;
    const { source, crypto } = this.#case;
    const reader = new PayloadReader(source, names.slice(last), undefined, crypto, this.#openers);
    for (;;) {
      const event = reader.take() ?? (await this.#case.reading('payload', () => reader.fill()));
      if (event === false || event === undefined) return;
      if (event === true || event.kind !== 'entry' || event.index < this.next) continue;
      this.next = event.index + 1;
      take(event.index, event.leaf);
    }
  }

  async #fill(): Promise<Header | Trouble | undefined> {
    const filled = await this.#case.reading('payload', () => this.#reader!.fill());
    this.#isUnreadable = filled === undefined;
    if (!filled) this.#hasEnded = true;
    return typeof filled === 'object' ? filled : undefined;
  }

  /** Also of a segment whose header was read by whoever checked the range before. */
  noteUnopened({ segment: { path } }: EntryRecord | PartRecord): void {
    if (!this.unopened.has(path)) this.unopened.set(path, 'its key is not here');
  }

  #part(part: PartRecord): void {
    if (part.unopened) this.noteUnopened(part);
    this.parts.set(`${part.segment.first}:${part.offset}`, {
      hash: part.erased || part.unopened ? undefined : segmentHash(this.#case.crypto, part.salt, part.bytes),
      ...(part.unopened && !part.erased ? { unopened: true } : {}),
      sizeBytes: part.sizeBytes,
      connection: part.connection,
      direction: part.direction,
      unit: part.unit,
    });
  }

  #header(header: Header): void {
    const { path } = header.segment;
    this.#headerSince = true;
    this.#firstOfSegment = header;
    if (header.unopened !== undefined) this.unopened.set(path, header.unopened);
    if (header.first !== header.segment.first)
      this.#case.say('tampered', 'segment', `${path} says of itself that it begins with entry ${header.first}`, { path });
    this.#case.ledgerId ??= header.ledger;
    if (header.ledger !== this.#case.ledgerId) {
      this.#case.say('tampered', 'segment', `${path} belongs to another ledger (${header.ledger})`, { index: this.next, path });
    }
  }

  #trouble({ what, segment, offset, resumed, lastSegment, abandoned }: Trouble): void {
    const { path } = segment;
    const index = this.next;
    if (resumed === undefined && lastSegment && !abandoned) {
      const isWhole = what !== 'incomplete';
      if (index >= this.#case.size) {
        // As a crash leaves it, unless the record is whole and its checksum right: then it was written so.
        if (what === 'body') this.#case.say('tampered', 'record', `${path} ends with a record that is not of the format`, { index, path });
        else {
          this.isTorn = true;
          this.#case.say('note', 'torn-tail', `${path} ends inside a record at byte ${offset}: it was being written, or a crash cut it off`, {
            index,
            path,
          });
        }
      } else if (isWhole) {
        this.#case.say('tampered', 'record', `the record of entry ${index} at byte ${offset} of ${path} is damaged, though it is signed`, {
          index,
          path,
        });
      } else {
        this.#case.say('missing', 'record', `${path} ends inside the record of entry ${index} at byte ${offset}, though it is signed`, {
          index,
          path,
        });
      }
    } else {
      const where = offset === 0 && what !== 'crc' ? 'its header' : `the record at byte ${offset}, before the end of entry ${index},`;
      this.#case.say(
        'tampered',
        'record',
        `${path} was altered: ${where} is damaged${resumed === undefined ? '' : ', and whole records follow it'}`,
        {
          index,
          path,
        },
      );
    }
    this.#troubleSince = true;
    if (what === 'header') this.#headerSince = true;
  }
}
