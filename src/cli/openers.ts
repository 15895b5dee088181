/** Keys of encrypted segments for the verifier, out of the folders of keys. */
import { openBytes } from '../ledger/cipher.ts';
import { SegmentKeys } from '../ledger/segment-keys.ts';
import { join } from 'node:path';
import type { Openers } from '../verify/encryption.ts';

/** What a thread needs to open what another one has opened: the wrapping keys of a ledger, so that whoever has them is asked once. */
export interface OpenedKeys {
  keysHome: string;
  ledger: string;
  secrets: ReadonlyMap<string, Uint8Array>;
}

export class KeyFolders {
  readonly #keysHome: string;
  readonly #ledgers = new Map<string, SegmentKeys>();

  /** `keysHome`: where each ledger's folder is. */
  constructor(keysHome: string, opened?: OpenedKeys) {
    this.#keysHome = keysHome;
    if (opened) this.#of(opened.ledger).take(opened.secrets);
  }

  #of(ledger: string): SegmentKeys {
    const keys = this.#ledgers.get(ledger) ?? new SegmentKeys(join(this.#keysHome, ledger));
    this.#ledgers.set(ledger, keys);
    return keys;
  }

  get openers(): Openers {
    return ({ ledger, first, keyId }) => {
      const key = this.#of(ledger).open(first, keyId);
      return 'problem' in key ? key.problem : (nonce, bytes) => openBytes(key.secret, nonce, bytes);
    };
  }

  /** All wrapping keys of a ledger, asked for now. */
  async opened(ledger: string): Promise<OpenedKeys> {
    const keys = this.#of(ledger);
    // what cannot be opened is said by whoever needs it
    await keys.openAll().catch(() => undefined);
    return { keysHome: this.#keysHome, ledger, secrets: keys.secrets };
  }
}
