/** The checkpoint, and whose signature it has: that of a key which is known, of one that follows from such a key, or of one that the ledger names itself. */
import { hex } from '../bytes/bytes.ts';
import { EntryProblem, readEntry } from '../entry/read.ts';
import type { ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { checkpointOf, openNote, parseVkey, type Vkey } from '../tlog/note.ts';
import { decodeBundle, tileWidthAt } from '../tlog/tile.ts';
import type { Case } from './case.ts';
import type { Keys } from './keys.ts';
import type { LogFiles } from './log-files.ts';

/** What the caller knows. */
interface Wanted {
  vkeys?: readonly Vkey[];
  origin?: string;
}

export class Signed {
  checkpoint: ParsedCheckpoint | undefined;
  /** Whose signature it is, and that it holds. */
  vkey: Vkey | undefined;
  holds = false;
  /** The key is the one that the ledger names itself. */
  isKeyNamed = false;
  /** Signatures by others. */
  unknown = 0;
  readonly #case: Case;
  readonly #files: LogFiles;
  readonly #keys: Keys;
  readonly #wanted: Wanted;
  readonly #statedKey: string | undefined;
  /** A checkpoint that none of the known keys signed. */
  #unsettled: Uint8Array | undefined;

  /** `statedKey`: of a pruned ledger, as its entry says it. */
  constructor(known: Case, files: LogFiles, keys: Keys, wanted: Wanted, statedKey?: string) {
    this.#case = known;
    this.#files = files;
    this.#keys = keys;
    this.#wanted = wanted;
    this.#statedKey = statedKey;
  }

  /** Whether the caller knew a key. */
  get isPinned(): boolean {
    return (this.#wanted.vkeys?.length ?? 0) > 0;
  }

  async open(): Promise<void> {
    const path = 'log/checkpoint';
    const bytes = await this.#case.reading(path, () => this.#case.source.checkpoint());
    if (bytes === undefined) {
      this.#case.say('missing', 'checkpoint-missing', 'there is no checkpoint: nothing is signed', { path });
      return;
    }
    const checkpoint = checkpointOf(bytes);
    if (!checkpoint) {
      this.#case.say('missing', 'checkpoint-unreadable', 'the checkpoint is not a signed note over origin, size and root', { path });
      return;
    }
    this.checkpoint = checkpoint;
    this.#case.size = checkpoint.size;
    if (this.#wanted.origin !== undefined && checkpoint.origin !== this.#wanted.origin) {
      this.#case.say('tampered', 'origin', `the checkpoint is of ${checkpoint.origin}, not of ${this.#wanted.origin}`, { path });
    }
    const id = /^sworn\.invalid\/([0-9a-f]{32})$/.exec(checkpoint.origin)?.[1];
    this.#case.ledgerId = id;
    if (checkpoint.size === 0) this.#case.say('missing', 'checkpoint-missing', 'the checkpoint covers no entry', { path });

    let vkeys = this.#wanted.vkeys ?? [];
    if (!this.isPinned) {
      const named = await this.#namedKey(checkpoint);
      if (named === undefined) {
        this.#case.say('missing', 'key-unknown', 'no key is known for this ledger, and its first entries name none', { path });
        return;
      }
      vkeys = [named];
      this.isKeyNamed = true;
    }
    const opened = openNote(this.#case.crypto, bytes, vkeys);
    if ('problem' in opened) {
      this.#case.say('tampered', 'signature', opened.message, { path });
      return;
    }
    this.unknown = opened.unknown.length;
    this.#keys.trust(vkeys);
    this.vkey = opened.verified.find((vkey) => vkey.name === checkpoint.origin);
    if (this.vkey) this.holds = true;
    // entries may say which key came behind the one that is known
    else this.#unsettled = bytes;
  }

  /** The checkpoint is signed by a key that follows from those that are known, or by none. */
  settle(): void {
    const path = 'log/checkpoint';
    const bytes = this.#unsettled;
    if (bytes === undefined) return;
    const opened = openNote(this.#case.crypto, bytes, this.#keys.vouched());
    const { origin } = this.checkpoint!;
    this.vkey = 'problem' in opened ? undefined : opened.verified.find((vkey) => vkey.name === origin);
    if ('problem' in opened) this.#case.say('tampered', 'signature', opened.message, { path });
    else if (this.vkey) {
      this.holds = true;
      this.unknown = opened.unknown.length;
    } else {
      const other = opened.unknown.find((signature) => signature.name === origin);
      if (other && this.isPinned) {
        this.#case.say('tampered', 'key-changed', `the checkpoint is signed by another key (${hex(other.keyId)}) than the one that is known`, {
          path,
        });
      } else {
        this.#case.say('tampered', 'signature', 'the checkpoint has no signature by the key of its origin', { path });
      }
    }
  }

  /** The key that the ledger's first `start` entry names: believed only when nothing better is known, and said to be so. */
  async #namedKey(checkpoint: ParsedCheckpoint): Promise<Vkey | undefined> {
    if (this.#statedKey !== undefined) return parseVkey(this.#case.crypto, this.#statedKey);
    const width = tileWidthAt(checkpoint.size, 0, 0);
    const files = width === 0 ? [] : await this.#files.files('entries', 0, width);
    for (const file of files) {
      for (const leaf of decodeBundle(file.bytes) ?? []) {
        const entry = readEntry(leaf);
        if (entry instanceof EntryProblem || entry.kind !== 'start') continue;
        const vkey = parseVkey(this.#case.crypto, entry.vkey);
        if (vkey) return vkey;
      }
    }
    return undefined;
  }
}
