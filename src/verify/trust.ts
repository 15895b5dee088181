/**
 * What a caller asks of a checkpoint beyond its log's signature: cosignatures of witnesses, their quorum, and how old it may be. The same for a ledger, a
 * proof and a bundle. It says what is so; whose keys the log's are is settled before.
 */
import type { Crypto } from '../bytes/crypto.ts';
import { fromBase64 } from '../bytes/bytes.ts';
import { readCosignatures, verifyCosignature } from '../tlog/cosignature.ts';
import type { Witnessed } from './anchors.ts';
import { parseNote } from '../tlog/note.ts';
import { judgeQuorum, type TrustPolicy } from '../tlog/policy.ts';
import type { Finding } from './finding.ts';

/** What is wanted. Without a policy nobody's cosignature is known, so none is looked at. */
export interface Wanted {
  policy?: TrustPolicy;
  maxAgeS?: number;
  /** The clock that ages are told by: POSIX seconds. */
  nowS: number;
}

export interface CosignedBy {
  /** The name in the trust file. */
  witness: string;
  /** The witness's newest cosignature on this checkpoint, by its own clock: POSIX seconds. */
  timeS: number;
}

export interface Judged {
  findings: Finding[];
  checked: string[];
  notChecked: string[];
  cosigned: CosignedBy[];
  quorum?: { name: string; met: boolean; have: number; need: number; operators: number } | undefined;
  /** Signature lines that were cosignatures of known witnesses. */
  cosignatureLines: number;
}

/** POSIX seconds of an entry's time, or `undefined`. */
export function secondsOf(time: string | undefined): number | undefined {
  const ms = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isNaN(ms) ? undefined : Math.floor(ms / 1000);
}

/** `2026-11-20 23:45:01 UTC`. */
export function utcText(timeS: number): string {
  // beyond what a date can say
  if (timeS > 8.64e12) return `${timeS} seconds after 1970`;
  return `${new Date(timeS * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

/**
 * Cosignatures, quorum and age of the checkpoint in `note`. `newestEntryTime`: of the newest entry that is known to be under it, which tells its age where
 * no witness does. Never throws.
 */
export function judgeCheckpoint(crypto: Crypto, wanted: Wanted, note: Uint8Array | undefined, newestEntryTime: string | undefined): Judged {
  const judged: Judged = { findings: [], checked: [], notChecked: [], cosigned: [], cosignatureLines: 0 };
  if (wanted.policy) judgeWitnesses(crypto, wanted.policy, note, judged);
  if (wanted.maxAgeS !== undefined) judgeAge(wanted, secondsOf(newestEntryTime), judged);
  return judged;
}

function judgeWitnesses(crypto: Crypto, policy: TrustPolicy, bytes: Uint8Array | undefined, judged: Judged): void {
  const path = 'log/checkpoint';
  for (const { line, message } of policy.warnings) {
    judged.findings.push({ code: 'trust-file', severity: 'warning', message: `line ${line} of the trust file: ${message}` });
  }
  // what is no note is reported by whoever reads the checkpoint
  const note = bytes && parseNote(bytes);
  const cosigners = policy.witnesses.flatMap(({ cosigner }) => cosigner ?? []);
  const read = note ? readCosignatures(crypto, note.text, note.signatures, cosigners) : { cosignatures: [] };
  if ('problem' in read) {
    judged.findings.push({ code: 'cosignature', severity: 'tampered', message: read.message, path });
    return;
  }
  judged.cosignatureLines = read.cosignatures.length;
  const quorum = judgeQuorum(
    policy,
    read.cosignatures.map(({ cosigner }) => cosigner),
  );
  for (const { name, cosigner } of quorum.witnesses) {
    const times = read.cosignatures.filter((one) => one.cosigner === cosigner).map(({ timeS }) => timeS);
    judged.cosigned.push({ witness: name, timeS: Math.max(...times) });
  }
  const names = judged.cosigned.map(({ witness, timeS }) => `${witness} (${utcText(timeS)})`).join(', ');
  if (judged.cosigned.length > 0) {
    const looks = quorum.operators === 1 ? 'one operator' : `${quorum.operators} operators`;
    judged.checked.push(`cosignatures of witnesses: ${names}; they look like ${looks}`);
    judged.notChecked.push('what witnesses do not see: they vouch that history was not rewritten, not that it is true');
  }
  if (policy.quorum === undefined) return;
  judged.quorum = { name: policy.quorum, met: quorum.met, have: quorum.have, need: quorum.need, operators: quorum.operators };
  const count = `${quorum.have} of ${quorum.need}`;
  if (quorum.met) judged.checked.push(`the quorum ${policy.quorum} (${count})`);
  else {
    const message = `the quorum ${policy.quorum} is not met: ${count}, ${names === '' ? 'no witness of the trust file has cosigned' : names}`;
    judged.findings.push({ code: 'quorum', severity: 'policy', message, path });
  }
}

/**
 * The most of a ledger that a quorum of known witnesses has seen, as its own `anchor` entries say: everything below existed by then, and what stands behind
 * the last of these entries came later. `undefined` where no quorum has seen anything.
 */
export function judgeAnchors(crypto: Crypto, policy: TrustPolicy, origin: string, witnessed: readonly Witnessed[]): Judged {
  const judged: Judged = { findings: [], checked: [], notChecked: [], cosigned: [], cosignatureLines: 0 };
  const cosigners = policy.witnesses.flatMap(({ cosigner }) => cosigner ?? []);
  const bySize = new Map<string, Witnessed[]>();
  for (const one of witnessed) {
    const key = `${one.size} ${one.root}`;
    bySize.set(key, [...(bySize.get(key) ?? []), one]);
  }
  for (const seen of [...bySize.values()].toReversed()) {
    const { size, root } = seen[0]!;
    const text = `${origin}\n${size}\n${root}\n`;
    const held = seen.flatMap((one) => {
      const cosigner = cosigners.find(({ name }) => name === one.name);
      const bytes = fromBase64(one.signature);
      if (!cosigner || !bytes || bytes.length <= 4) return [];
      const cosignature = verifyCosignature(crypto, cosigner, text, { name: one.name, keyId: bytes.subarray(0, 4), signature: bytes.subarray(4) });
      if (cosignature === undefined) {
        const message = `entry ${one.index}: what it says to be a cosignature by ${one.name} does not hold`;
        judged.findings.push({ code: 'anchor', severity: 'tampered', message, index: one.index });
        return [];
      }
      return [{ ...one, cosigner, timeS: cosignature.timeS }];
    });
    const quorum = judgeQuorum(
      policy,
      held.map(({ cosigner }) => cosigner),
    );
    if (held.length === 0 || (policy.quorum !== undefined && !quorum.met)) continue;
    const first = Math.min(...held.map(({ timeS }) => timeS));
    const behind = Math.max(...held.map(({ index }) => index));
    const names = [...new Set(held.map(({ name }) => name))].join(', ');
    judged.checked.push(
      `entries below ${size} were seen by ${names}, at ${utcText(first)} at the earliest; those behind entry ${behind} came after that`,
    );
    return judged;
  }
  return judged;
}

function judgeAge({ policy, maxAgeS, nowS }: Wanted, entryS: number | undefined, judged: Judged): void {
  const path = 'log/checkpoint';
  const asked = `at most ${ageText(maxAgeS!)}`;
  const hasWitnesses = policy !== undefined && policy.witnesses.length > 0;
  // A recorder's own clock is its own word; a witness's is somebody else's.
  const newestS = hasWitnesses ? (judged.cosigned.length > 0 ? Math.max(...judged.cosigned.map(({ timeS }) => timeS)) : undefined) : entryS;
  const what = hasWitnesses ? 'the newest cosignature' : 'the newest entry';
  if (newestS === undefined) {
    judged.findings.push({ code: 'stale', severity: 'policy', message: `how old the checkpoint is cannot be told (${asked} was asked for)`, path });
    return;
  }
  const ageS = Math.max(0, nowS - newestS);
  if (ageS > maxAgeS!) {
    judged.findings.push({ code: 'stale', severity: 'policy', message: `${what} is ${ageText(ageS)} old; ${asked} was asked for`, path });
  } else judged.checked.push(`the age of the checkpoint: ${what} is ${ageText(ageS)} old, ${asked} was asked for`);
}

/** `45 s`, `12 m`, `3 h 10 m`, `2 d 4 h`. */
export function ageText(seconds: number): string {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} m` : `${minutes} m ${Math.floor(seconds % 60)} s`;
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}
