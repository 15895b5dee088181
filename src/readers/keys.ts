/** Keys of encrypted segments for whoever reads: of each ledger from its folder of keys, asked for when the first segment needs one. */
import { configHome, keysFolder } from '../ledger/keys.ts';
import { SegmentKeys } from '../ledger/segment-keys.ts';
import { encryptionOf, type Encrypted, type SegmentHeader } from '../ledger/segment.ts';
import { unopened } from './unopened.ts';

const ledgers = new Map<string, SegmentKeys>();
let keysHome: string | undefined;

/** Where all folders of keys are, unless it is the default place. */
export function useKeysHome(folder: string): void {
  keysHome = folder;
  ledgers.clear();
}

/** How the records of a segment are stored; without a key why is in `unopened`. `path`: to say of what. */
export function encryptionAt(path: string, header: SegmentHeader): Encrypted {
  return encryptionOf(header, (firstIndex, keyId) => {
    const folder = keysFolder(keysHome ?? configHome(), header.ledgerId);
    const keys = ledgers.get(folder) ?? new SegmentKeys(folder);
    ledgers.set(folder, keys);
    const key = keys.open(firstIndex, keyId);
    if (!('problem' in key)) return key;
    unopened.set(path, key.problem);
    return undefined;
  });
}
