/**
 * Asks an authority for a timestamp (RFC 3161 §2.4, §3.4). The token is kept as it came; `openssl ts -verify` checks it, with the authority's certificate, which
 * is nothing that we could know.
 */
import { createHash, randomBytes } from 'node:crypto';
import { timestampBytes } from '../limits.ts';

/** SEQUENCE { SHA-256, NULL } */
const sha256Algorithm = Buffer.from('300d06096086480165030402010500', 'hex');
const version1 = Buffer.from('020101', 'hex');
const certificateWanted = Buffer.from('0101ff', 'hex');

/** `TimeStampReq` in DER over the SHA-256 of `content`. */
export function timestampQuery(content: Uint8Array, nonce: Uint8Array): Buffer {
  const digest = createHash('sha256').update(content).digest();
  // A positive INTEGER: DER allows the leading zero only before a byte with its high bit set.
  const integer = tagged(0x02, Buffer.concat([Buffer.of(0, nonce[0]! | 0x80), nonce.subarray(1, 8)]));
  return tagged(0x30, Buffer.concat([version1, tagged(0x30, Buffer.concat([sha256Algorithm, tagged(0x04, digest)])), integer, certificateWanted]));
}

function tagged(tag: number, content: Uint8Array): Buffer {
  if (content.length > 127) throw new RangeError('longer than this is never asked');
  return Buffer.concat([Buffer.of(tag, content.length), content]);
}

/** The `PKIStatus` of a `TimeStampResp`: 0 granted, 1 granted with changes; `undefined` for what is none. */
export function timestampStatus(response: Uint8Array): number | undefined {
  const outer = inside(response, 0x30);
  const info = outer && inside(outer, 0x30);
  const status = info && inside(info, 0x02);
  return status?.length === 1 ? status[0] : undefined;
}

/** The content of the first element, if it has this tag and is whole. */
function inside(bytes: Uint8Array, tag: number): Uint8Array | undefined {
  if (bytes[0] !== tag || bytes.length < 2) return undefined;
  let length = bytes[1]!;
  let at = 2;
  if (length >= 0x80) {
    const count = length & 0x7f;
    if (count === 0 || count > 3 || bytes.length < 2 + count) return undefined;
    length = 0;
    for (; at < 2 + count; at++) length = length * 256 + bytes[at]!;
  }
  return at + length <= bytes.length ? bytes.subarray(at, at + length) : undefined;
}

/**
 * The authority's whole answer (`TimeStampResp`, DER).
 * @throws Error when none comes in time, or it grants nothing
 */
export async function requestTimestamp(url: string, content: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
  const response = await fetch(url, {
    method: 'POST',
    body: timestampQuery(content, randomBytes(8)),
    headers: { 'Content-Type': 'application/timestamp-query' },
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  });
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += (chunk as Uint8Array).length;
    // leaving the loop ends the connection
    if (sizeBytes > timestampBytes) throw new Error(`an answer of more than ${timestampBytes} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  if (!response.ok) throw new Error(`status ${response.status}`);
  const answer = Buffer.concat(chunks);
  const status = timestampStatus(answer);
  if (status !== 0 && status !== 1) throw new Error(status === undefined ? 'no answer of RFC 3161' : `refused (PKIStatus ${status})`);
  return answer;
}
