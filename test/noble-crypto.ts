/** The `Crypto` of pages beside that of `src/crypto-node.ts`: tests run under both. */
import type { Crypto } from '../src/bytes/crypto.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import { pageCrypto } from '../ui/crypto.ts';

export { pageCrypto as nobleCrypto };

/** For `describe.each`. */
export const cryptos: [string, Crypto][] = [
  ['node', nodeCrypto],
  ['noble', pageCrypto],
];
