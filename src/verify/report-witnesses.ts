/** Cosignatures on a report's checkpoint, by the keys of witnesses that its maker knew. */
import type { Crypto } from '../bytes/crypto.ts';
import { parseCosignature, parseCosigner, readCosignatures } from '../tlog/cosignature.ts';
import { parseNote } from '../tlog/note.ts';
import type { FindingCode } from './finding.ts';

export interface ReportWitness {
  name: string;
  /** POSIX seconds, by the witness's own clock; of its newest cosignature. */
  timeS: number;
  /** By a key that stands in the report; otherwise nothing is known of it but what it says. */
  isVerified: boolean;
}

/** `keys`: verifier keys of witnesses. Whose they are is another question. */
export function readWitnesses(
  crypto: Crypto,
  keys: readonly string[],
  note: Uint8Array,
  origin: string,
): { witnesses: ReportWitness[]; problems: { code: FindingCode; message: string }[] } {
  const problems: { code: FindingCode; message: string }[] = [];
  const cosigners = keys.flatMap((text) => {
    const cosigner = parseCosigner(crypto, text);
    if (!cosigner) problems.push({ code: 'witness', message: 'the key of a witness in the report was changed: it does not have its id' });
    return cosigner ?? [];
  });
  const { text, signatures } = parseNote(note)!;
  const read = readCosignatures(crypto, text, signatures, cosigners);
  if ('problem' in read) return { witnesses: [], problems: [...problems, { code: 'cosignature', message: read.message }] };
  const newest = new Map<string, ReportWitness>();
  for (const { cosigner, timeS } of read.cosignatures)
    newest.set(cosigner.name, { name: cosigner.name, timeS: Math.max(timeS, newest.get(cosigner.name)?.timeS ?? 0), isVerified: true });
  for (const { name, signature } of read.unknown) {
    const timeS = name === origin ? undefined : parseCosignature(signature)?.timeS;
    if (timeS !== undefined && !newest.has(name)) newest.set(name, { name, timeS, isVerified: false });
  }
  return { witnesses: [...newest.values()], problems };
}
