/** What one key of a ledger says of the next one (`spec/entry.md`, kind `key`): whoever knows the one can follow to the other. */
import { fromBase64, utf8 } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import type { Vkey } from '../tlog/note.ts';

/** The bytes that the previous key signs. No checkpoint begins so: its first line would be an origin with a blank. */
export function endorsementMessage({ origin, previous, vkey }: { origin: string; previous: string; vkey: string }): Uint8Array {
  return utf8(`sworn key endorsement v1\n${origin}\n${previous}\n${vkey}\n`);
}

/** Whether `by`, which is `previous`, has endorsed `vkey` as the next key of its ledger. */
export function isEndorsed(crypto: Crypto, by: Vkey, entry: { previous: string; vkey: string; endorsement: string }): boolean {
  const signature = fromBase64(entry.endorsement);
  return (
    signature?.length === 64 &&
    crypto.verifyEd25519(by.publicKey, endorsementMessage({ origin: by.name, previous: entry.previous, vkey: entry.vkey }), signature)
  );
}
