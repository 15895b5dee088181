/** What programs may import from the package: the formats, and how they are checked. Everything else is private. */
export { errorKinds, SwornError, type ErrorCode, type ErrorKind } from './errors.ts';
export type { Crypto, Hasher } from './bytes/crypto.ts';
export { nodeCrypto } from './crypto-node.ts';
export type * from './entry/entry.ts';
export { version } from './version.ts';
