/**
 * Which keys sign the checkpoints, and the entries that say so. A new key is endorsed by the one before, so that whoever pinned that one can follow; the older ones
 * sign beside it until they are retired.
 *
 * If we die between the new key and its entry: it signs already, beside the older ones, which loses nothing; the next recorder writes the entry.
 */
import { base64 } from '../bytes/bytes.ts';
import { endorsementMessage } from '../entry/endorsement.ts';
import type { KeyEntry } from '../entry/entry.ts';
import { SwornError } from '../errors.ts';
import type { KeyHolder, LedgerKey, OneKey } from '../ledger/keys.ts';
import type { Ledger } from '../ledger/ledger.ts';

/** What a key entry says beside what every entry says. */
export type KeyChange = Omit<KeyEntry, 'v' | 'kind' | 'time' | 'monotonicUs'>;

export interface KeyDeps {
  ledger: Pick<Ledger, 'key' | 'addKey' | 'retireKeys' | 'publish'>;
  /** False when it could not be stored. */
  append(change: KeyChange): Promise<boolean>;
  log(line: string): void;
}

export class KeyChanges {
  readonly #deps: KeyDeps;
  /** The newest key that the ledger names. */
  #announced: string;
  #changing: Promise<unknown> = Promise.resolve();

  /** `announced`: as the ledger's entries say; absent in a new one, whose first entry names its only key. */
  constructor(deps: KeyDeps, announced: string | undefined) {
    this.#deps = deps;
    this.#announced = announced ?? deps.ledger.key.vkey;
  }

  get announced(): string {
    return this.#announced;
  }

  /** What an earlier recorder did not come to say. Never rejects. */
  async catchUp(): Promise<void> {
    await this.#inTurn(() => this.#announce({})).catch((error: Error) => this.#deps.log(`the new key is not announced: ${error.message}`));
  }

  /** @throws (rejects) SwornError `unrecordable`, and what signing and the disk throw */
  async rotate(holder: KeyHolder | undefined, administrator: Pick<KeyEntry, 'by' | 'selfAdministered'>): Promise<LedgerKey> {
    return this.#inTurn(async () => {
      await this.#announce({});
      const key = await this.#deps.ledger.addKey(holder);
      await this.#announce(administrator);
      this.#deps.log(`key ${key.fingerprint} signs, beside ${key.older.length} older`);
      return key;
    });
  }

  /** @throws (rejects) as `rotate` */
  async retire(administrator: Pick<KeyEntry, 'by' | 'selfAdministered'>): Promise<LedgerKey> {
    return this.#inTurn(async () => {
      await this.#announce({});
      const { key } = this.#deps.ledger;
      if (key.older.length === 0) return key;
      if (!(await this.#deps.append({ act: 'retire', vkey: key.vkey, ...administrator })))
        throw new SwornError('unrecordable', 'it could not be recorded, and the older keys still sign');
      // whoever knows only the newest key finds its signature on the public checkpoint, and the endorsements below it
      await this.#deps.ledger.publish();
      const alone = await this.#deps.ledger.retireKeys();
      this.#deps.log(`key ${alone.fingerprint} signs alone`);
      return alone;
    });
  }

  /** Each new key is endorsed by the one that is known before it. */
  async #announce(administrator: Pick<KeyEntry, 'by' | 'selfAdministered'>): Promise<void> {
    const { key } = this.#deps.ledger;
    const oldestFirst: OneKey[] = [...key.older.toReversed(), key];
    for (let at = oldestFirst.findIndex(({ vkey }) => vkey === this.#announced); at >= 0 && at + 1 < oldestFirst.length; at++) {
      const previous = oldestFirst[at]!;
      const next = oldestFirst[at + 1]!;
      const endorsement = await previous.sign(endorsementMessage({ origin: next.name, previous: previous.vkey, vkey: next.vkey }));
      const change: KeyChange = { act: 'rotate', vkey: next.vkey, previous: previous.vkey, endorsement: base64(endorsement), holder: next.holder };
      if (!(await this.#deps.append({ ...change, ...administrator })))
        throw new SwornError('unrecordable', 'the new key signs, and no entry says so yet; it is said when the ledger can be written');
      this.#announced = next.vkey;
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#changing.then(work);
    this.#changing = done.catch(() => undefined);
    return done;
  }
}
