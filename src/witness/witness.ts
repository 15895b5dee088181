/**
 * A witness of logs (C2SP tlog-witness): it cosigns a checkpoint when a log's key signed it and it continues from the last one that it cosigned.
 *
 * Must stay true, whenever we die: of one log, all checkpoints with a cosignature of ours that anybody ever saw belong to one history. So requests about
 * one origin follow each other, and check, signature and record are one step: a cosignature is shown only when its checkpoint is on the disk. Who did not
 * get an answer that was recorded asks again with the size of the 409 and gets another cosignature of the same tree.
 */
import { equal } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { witnessWaiting } from '../limits.ts';
import { parseCheckpoint, type ParsedCheckpoint } from '../tlog/checkpoint.ts';
import { cosign } from '../tlog/cosignature.ts';
import { formatNote, openNote, parseNote, signatureLine, type NoteSignature, type Vkey } from '../tlog/note.ts';
import { verifyConsistency } from '../tlog/proof.ts';
import { emptyRoot } from '../tlog/tree.ts';
import type { WitnessKey } from './key.ts';
import { parseAddCheckpoint, sizeType, type AddCheckpoint } from './request.ts';
import { originHash, StoreError, type Cosigned, type EvidenceKind, type WitnessStore } from './store.ts';

export interface WitnessAnswer {
  status: number;
  type: string;
  body: string;
}

/** What whoever runs the witness should know. */
export interface WitnessEvent {
  kind: 'cosigned' | EvidenceKind | 'failed';
  /** Untrusted text may be in it. */
  message: string;
  /** Where the evidence lies. */
  path?: string;
}

export interface WitnessOptions {
  /** Their names are the origins; a log may have several keys. */
  logs: readonly Vkey[];
  key: WitnessKey;
  store: WitnessStore;
  onEvent?: (event: WitnessEvent) => void;
  /** It is not known what the disk holds: nothing will be cosigned any more, and the process should end. */
  onFatal?: (error: StoreError) => void;
  nowS?: () => number;
}

interface Submitted extends AddCheckpoint {
  parsed: ParsedCheckpoint;
  text: string;
  /** The log's lines; those of others are not ours to pass on. */
  lines: NoteSignature[];
  /** The whole request. */
  body: Uint8Array;
}

export class Witness {
  readonly #options: WitnessOptions;
  /** By origin: the end of its queue. */
  readonly #queues = new Map<string, { tail: Promise<unknown>; length: number }>();
  #fatal: StoreError | undefined;

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  /** The last cosigned checkpoint of the origin with this hex SHA-256. */
  latest(hash: string): Uint8Array | undefined {
    return this.#options.store.latest(hash)?.bytes;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#queues.values()].map(({ tail }) => tail));
  }

  /** One `add-checkpoint` request. Never rejects. */
  async addCheckpoint(body: Uint8Array): Promise<WitnessAnswer> {
    const submitted = this.#open(body);
    if ('status' in submitted) return submitted;
    const { origin } = submitted.parsed;
    const queue = this.#queues.get(origin) ?? { tail: Promise.resolve(), length: 0 };
    if (queue.length >= witnessWaiting) return refusal(503, 'too many requests about this log at once');
    this.#queues.set(origin, queue);
    queue.length++;
    const answer = queue.tail.then(() => this.#decide(submitted));
    queue.tail = answer.catch(() => undefined).finally(() => queue.length--);
    try {
      return await answer;
    } catch (error) {
      // the old checkpoint is still there (`replaceDurably`), or nothing more will be cosigned
      if (error instanceof StoreError) {
        this.#fatal = error;
        this.#options.onFatal?.(error);
      }
      this.#tell('failed', `${submitted.parsed.origin} at size ${submitted.parsed.size} was not cosigned: ${(error as Error).message}`);
      return refusal(500, 'the checkpoint could not be recorded, so it is not cosigned');
    }
  }

  /** What does not depend on what was cosigned before. */
  #open(body: Uint8Array): Submitted | WitnessAnswer {
    const request = parseAddCheckpoint(body);
    if (typeof request === 'string') return refusal(400, request);
    const note = parseNote(request.checkpoint);
    const parsed = note && parseCheckpoint(note.text);
    if (!parsed) return refusal(400, 'not a signed checkpoint');
    const vkeys = this.#options.logs.filter(({ name }) => name === parsed.origin);
    if (vkeys.length === 0) return refusal(404, 'this witness does not know the origin');
    const opened = openNote(nodeCrypto, request.checkpoint, vkeys);
    if ('problem' in opened || opened.verified.length === 0) return refusal(403, 'no signature by a key of this log holds');
    if (request.oldSize > parsed.size) return refusal(400, 'the old size is above the size of the checkpoint');
    const lines = note.signatures.filter(({ name, keyId }) => opened.verified.some((vkey) => vkey.name === name && equal(vkey.keyId, keyId)));
    return { ...request, parsed, text: opened.text, lines, body };
  }

  /** The step that no other request about this origin may come into. */
  async #decide(submitted: Submitted): Promise<WitnessAnswer> {
    const { parsed, oldSize, proof, text } = submitted;
    const { store, key } = this.#options;
    if (this.#fatal) return refusal(500, 'this witness has failed');
    const before = store.latest(originHash(parsed.origin));
    const knownSize = before?.checkpoint.size ?? 0;

    if (before && knownSize === parsed.size && !equal(before.checkpoint.root, parsed.root)) {
      await this.#keepEvidence('equivocation', submitted, `signed two trees of ${parsed.size} entries`);
      // Where the sizes agree too, resending cannot help: so not as a size.
      return oldSize === knownSize ? refusal(409, 'another tree of this size was cosigned') : conflict(knownSize);
    }
    if (parsed.size === 0 && !equal(parsed.root, emptyRoot(nodeCrypto))) {
      await this.#keepEvidence('impossible', submitted, 'signed a root that the empty tree does not have');
      return refusal(422, 'the empty tree has another root');
    }
    if (oldSize !== knownSize) return conflict(knownSize);
    // From the empty tree there is nothing to prove, and every proof would say nothing.
    const holds =
      oldSize === 0
        ? proof.length === 0
        : verifyConsistency(nodeCrypto, { size1: oldSize, size2: parsed.size, root1: before!.checkpoint.root, root2: parsed.root, proof });
    if (!holds) {
      // Anybody can send a log's own checkpoint with a wrong proof: kept, but it says nothing of the log by itself.
      if (oldSize > 0)
        await this.#keepEvidence('unproven', submitted, `was sent with a proof that does not hold, from ${oldSize} to ${parsed.size} entries`);
      return refusal(422, 'the consistency proof does not hold');
    }

    const line = cosign(text, key.signer, (this.#options.nowS ?? nowS)());
    // The same once more changes nothing that must be remembered.
    if (before?.text !== text) {
      const cosigned: Cosigned = { bytes: formatNote({ text, signatures: [...submitted.lines, line] }), text, checkpoint: parsed };
      await store.keep(cosigned);
      this.#tell('cosigned', `${parsed.origin} at size ${parsed.size}`);
    }
    return { status: 200, type: 'text/plain; charset=utf-8', body: signatureLine(line) };
  }

  async #keepEvidence(kind: EvidenceKind, { parsed, body }: Submitted, what: string): Promise<void> {
    const message = `${parsed.origin} ${what}`;
    try {
      const kept = await this.#options.store.keepEvidence(kind, parsed, body);
      // whoever sends the same again must not fill a log with it
      if (kept === 'full') this.#tell(kind, `${message}; there is so much evidence already that this is not kept`);
      else if (kept !== 'known') this.#tell(kind, message, kept.path);
    } catch (error) {
      this.#tell(kind, `${message}; the evidence could not be kept: ${(error as Error).message}`);
      if (error instanceof StoreError) throw error;
    }
  }

  #tell(kind: WitnessEvent['kind'], message: string, path?: string): void {
    this.#options.onEvent?.({ kind, message, ...(path === undefined ? {} : { path }) });
  }
}

function nowS(): number {
  return Math.floor(Date.now() / 1000);
}

function refusal(status: number, message: string): WitnessAnswer {
  return { status, type: 'text/plain; charset=utf-8', body: `${message}\n` };
}

function conflict(size: number): WitnessAnswer {
  return { status: 409, type: sizeType, body: `${size}\n` };
}
