/**
 * Which keys of a ledger follow from those that the verifier trusts: each new key is endorsed by the one before it (`spec/entry.md`, kind `key`). What the
 * entries say is collected in one pass, and judged in the end, when all of it is known.
 */
import { hex } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { isEndorsed } from '../entry/endorsement.ts';
import type { KeyEntry, PruneEntry, StartEntry } from '../entry/entry.ts';
import { formatVkey, parseVkey, type Vkey } from '../tlog/note.ts';
import type { Findings } from './finding.ts';

export class Keys {
  readonly #crypto: Crypto;
  readonly #findings: Findings;
  #trusted: readonly Vkey[] = [];
  /** First entry that names a key as the one that signs. */
  readonly #named = new Map<string, number>();
  /** Endorsements that hold, by the endorsing key. */
  readonly #next = new Map<string, { vkey: string; index: number }>();

  constructor(crypto: Crypto, findings: Findings) {
    this.#crypto = crypto;
    this.#findings = findings;
  }

  trust(vkeys: readonly Vkey[]): void {
    this.#trusted = vkeys;
  }

  start(index: number, { vkey }: StartEntry): void {
    if (!this.#named.has(vkey)) this.#named.set(vkey, index);
  }

  /** What pruned entries said of keys. */
  restate({ vkey, keys }: PruneEntry): void {
    if (!this.#named.has(vkey)) this.#named.set(vkey, 0);
    for (const { index, ...change } of keys) this.take(index, { act: 'rotate', ...change });
  }

  take(index: number, entry: Pick<KeyEntry, 'act' | 'vkey' | 'previous' | 'endorsement'>): void {
    if (!this.#named.has(entry.vkey)) this.#named.set(entry.vkey, index);
    if (entry.act !== 'rotate') return;
    const { previous, vkey, endorsement } = entry;
    const by = previous === undefined ? undefined : parseVkey(this.#crypto, previous);
    const next = parseVkey(this.#crypto, vkey);
    if (
      !by ||
      !next ||
      next.name !== by.name ||
      endorsement === undefined ||
      !isEndorsed(this.#crypto, by, { previous: previous!, vkey, endorsement })
    ) {
      this.#findings.add('tampered', 'key', `entry ${index} names a new key that the one before it has not endorsed`, { index });
      return;
    }
    this.#next.set(previous!, { vkey, index });
    const ids = `${hex(by.keyId)} to ${hex(next.keyId)}`;
    this.#findings.add('note', 'key', `entry ${index}: the ledger's key changed from ${ids}, and the one before endorses it`, { index });
  }

  /** The trusted keys and all that follow from them: those whose signature counts. */
  vouched(): Vkey[] {
    const texts = new Set(this.#trusted.map((vkey) => formatVkey(this.#crypto, vkey.name, vkey.publicKey)));
    for (const text of texts) {
      const next = this.#next.get(text);
      // a set that is iterated takes what is added meanwhile
      if (next !== undefined) texts.add(next.vkey);
    }
    return [...texts].map((text) => parseVkey(this.#crypto, text)!);
  }

  /** Every key that entries name belongs to those that the verifier trusts: before them, or behind them. */
  finish(): void {
    if (this.#trusted.length === 0) return;
    const connected = new Set(this.vouched().map((vkey) => formatVkey(this.#crypto, vkey.name, vkey.publicKey)));
    for (let size = 0; size !== connected.size;) {
      size = connected.size;
      for (const [previous, { vkey }] of this.#next) if (connected.has(vkey)) connected.add(previous);
    }
    for (const [text, index] of this.#named) {
      if (!connected.has(text)) this.#findings.add('tampered', 'start', `entry ${index} names another key than the one that signed`, { index });
    }
  }
}
