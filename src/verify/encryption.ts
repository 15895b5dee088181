/** Encrypted payload segments (`spec/ledger.md`, "Encrypted segments"): what a verifier is handed to open them with. */

/** AES-256-CTR under a segment's key: the counter block is `nonce` (12 bytes) and a counter from zero. As many bytes as were given. */
export type Opener = (nonce: Uint8Array, bytes: Uint8Array) => Uint8Array;

/** The opener of the segment that names this key, or a text that says why there is none. It must not answer with another key's: `keyId` follows from the key. */
export type Openers = (segment: { ledger: string; first: number; keyId: string }) => Opener | string;

export const nonceBytes = 12;

/** For who has no keys. */
export const noOpeners: Openers = () => 'no key was given';
