/** What programs may import from the package: the formats, and how they are checked. Everything else is private. */
export { errorKinds, SwornError, type ErrorCode, type ErrorKind } from './errors.ts';
export type { Crypto, Hasher } from './bytes/crypto.ts';
export { nodeCrypto } from './crypto-node.ts';
export type * from './entry/entry.ts';
export { EntryProblem, readEntry } from './entry/read.ts';
export type { Exit, Finding, FindingCode, Severity } from './verify/finding.ts';
export type { Source } from './verify/source.ts';
export { verifyLedger, type Verification, type VerifyOptions } from './verify/verifier.ts';
export { version } from './version.ts';
