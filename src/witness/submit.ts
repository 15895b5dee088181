/**
 * Submitting a checkpoint to a witness (C2SP tlog-witness). What comes back was verified against the witness's key; nothing else that it says is
 * believed, but for the size of a 409, from which the next try proves.
 */
import { lossyText, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { witnessAnswerBytes, witnessWaitMs } from '../limits.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { readCosignatures, type Cosignature, type Cosigner } from '../tlog/cosignature.ts';
import { parseNote, parseSignatureLines } from '../tlog/note.ts';
import { formatAddCheckpoint, parseSize, sizeType } from './request.ts';

export interface Submission {
  /** The witness's submission prefix: `http:` or `https:`. */
  url: string;
  cosigner: Cosigner;
  /** A signed note. */
  checkpoint: Uint8Array;
  /** The size that the witness is known to have cosigned last; 0 when that is not known: it answers with its own. */
  oldSize: number;
  /** The consistency proof between two sizes, 1 ≤ size1 < size2. Asked again when the witness is at another size. */
  proof: (sizes: { size1: number; size2: number }) => Uint8Array[] | Promise<Uint8Array[]>;
  /** For all tries together. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface Submitted {
  /** At least one, each by `cosigner` over this checkpoint. Their times are not judged. */
  cosignatures: Cosignature[];
  /** What the witness has cosigned now: the next submission's `oldSize`. */
  size: number;
}

/**
 * - `input`: not a checkpoint, a URL of another kind, or no proof could be made
 * - `timeout`, `unreachable`: try again later
 * - `refused`: any other answer than the protocol's good ones
 * - `answer`: an answer that does not keep to the protocol, or a cosignature that does not hold
 * - `ahead`: the witness has cosigned more of this log than we have: ours was cut or restored, or somebody else writes under its key
 * - `fork`: the witness has cosigned another tree of this size
 */
export interface SubmitProblem {
  problem: 'input' | 'timeout' | 'unreachable' | 'refused' | 'answer' | 'ahead' | 'fork';
  /** Untrusted text of the witness may be in it. */
  message: string;
  status?: number;
  /** What the witness says to have cosigned. */
  size?: number;
}

interface Answer {
  status: number;
  type: string;
  body: Uint8Array;
}

/** Somebody else may submit checkpoints of the same log meanwhile: then the size moves under us. */
const tries = 3;

/** Never rejects. */
export async function submitCheckpoint(crypto: Crypto, submission: Submission): Promise<Submitted | SubmitProblem> {
  const { checkpoint, cosigner, timeoutMs = witnessWaitMs, signal } = submission;
  const note = parseNote(checkpoint);
  const parsed = note && parseCheckpoint(note.text);
  if (!parsed) return problem('input', 'not a signed checkpoint');
  const url = endpoint(submission.url);
  if (url === undefined) return problem('input', `${submission.url} is no http or https URL`);
  const { size } = parsed;
  const ended = AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal ? [signal] : [])]);

  let oldSize = Math.min(submission.oldSize, size);
  for (let count = 1; ; count++) {
    let proof: Uint8Array[] = [];
    try {
      if (oldSize > 0 && oldSize < size) proof = await submission.proof({ size1: oldSize, size2: size });
    } catch (error) {
      return problem('input', `no proof from ${oldSize} to ${size}: ${(error as Error).message}`);
    }
    let answer: Answer | undefined;
    try {
      answer = await post(url, formatAddCheckpoint({ oldSize, proof, checkpoint }), ended);
    } catch (error) {
      if (ended.aborted) return problem('timeout', signal?.aborted ? 'the submission was given up' : `no answer within ${timeoutMs} ms`);
      return problem('unreachable', reasonOf(error));
    }
    if (!answer) return problem('answer', `the answer has more than ${witnessAnswerBytes} bytes`);
    const { status } = answer;
    if (status === 200) return accepted(crypto, note.text, answer, cosigner, size);
    if (status !== 409) return { ...problem('refused', `status ${status}: ${firstLine(answer.body)}`), status };

    const known = answer.type === sizeType ? sizeOf(answer.body) : undefined;
    if (known === undefined) {
      // A 409 without a size is the other one of the specification: same size, another root.
      if (oldSize === size) return { ...problem('fork', `the witness has cosigned another tree of ${size} entries`), status, size };
      return { ...problem('answer', `a 409 without a size: ${firstLine(answer.body)}`), status };
    }
    if (known > size) return { ...problem('ahead', `the witness has cosigned ${known} entries, of which we have ${size}`), status, size: known };
    if (known === oldSize) {
      if (known === size) return { ...problem('fork', `the witness has cosigned another tree of ${size} entries`), status, size };
      return { ...problem('answer', `a 409 that asks for the size ${known} that it was given`), status, size: known };
    }
    if (count === tries) return { ...problem('refused', `the witness is at another size at each try, now ${known}`), status, size: known };
    oldSize = known;
  }
}

function accepted(crypto: Crypto, text: string, { body }: Answer, cosigner: Cosigner, size: number): Submitted | SubmitProblem {
  const lines = parseSignatureLines(utf8Text(body) ?? '');
  if (!lines) return problem('answer', `not signature lines: ${firstLine(body)}`);
  const read = readCosignatures(crypto, text, lines, [cosigner]);
  if ('problem' in read) return problem('answer', read.message);
  if (read.cosignatures.length === 0) return problem('answer', `no cosignature by ${cosigner.name}`);
  return { cosignatures: read.cosignatures, size };
}

function endpoint(prefix: string): string | undefined {
  const url = URL.parse(prefix);
  if (!url || !['http:', 'https:'].includes(url.protocol)) return undefined;
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/add-checkpoint`;
  return url.href;
}

async function post(url: string, body: Uint8Array, signal: AbortSignal): Promise<Answer | undefined> {
  const response = await fetch(url, {
    method: 'POST',
    body: Buffer.from(body),
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    // the checkpoint is for the witness that we chose
    redirect: 'error',
    signal,
  });
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    const bytes = chunk as Uint8Array;
    sizeBytes += bytes.length;
    // leaving the loop ends the connection
    if (sizeBytes > witnessAnswerBytes) return undefined;
    chunks.push(bytes);
  }
  return { status: response.status, type: response.headers.get('content-type') ?? '', body: new Uint8Array(Buffer.concat(chunks)) };
}

function sizeOf(body: Uint8Array): number | undefined {
  const text = utf8Text(body);
  return text?.endsWith('\n') ? parseSize(text.slice(0, -1)) : undefined;
}

/** `fetch` hides the cause behind "fetch failed". */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message !== '' ? cause.message : message;
}

function firstLine(body: Uint8Array): string {
  return lossyText(body.subarray(0, 200)).split('\n')[0]!;
}

function problem(kind: SubmitProblem['problem'], message: string): SubmitProblem {
  return { problem: kind, message };
}
