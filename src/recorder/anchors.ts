/**
 * Keeps checkpoints elsewhere, where whoever can rewrite the ledger cannot reach them: witnesses cosign them (C2SP tlog-witness), authorities sign their time
 * (RFC 3161), and copies go to a file, a command or a URL. Off the way of every message.
 *
 * What must stay true: nothing here holds up what is recorded or signed; a checkpoint waits for witnesses once, for `limits.witnessWaitMs` at most; what they
 * sign is verified before it is kept; an `anchor` entry stands behind everything that its checkpoint covers.
 * If we die in here: the older checkpoint is public, with all its signatures, and the next recorder submits its own.
 */
import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { base64 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { AnchorSettings } from '../config/config.ts';
import type { AnchorEntry } from '../entry/entry.ts';
import { copyWaitMs, witnessWaitMs } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import { parseCheckpoint } from '../tlog/checkpoint.ts';
import { parseCosigner, withSignatures, type Cosigner } from '../tlog/cosignature.ts';
import { parseNote, type NoteSignature } from '../tlog/note.ts';
import { submitCheckpoint } from '../witness/submit.ts';
import type { Attributes } from './seal.ts';
import { requestTimestamp } from './timestamp.ts';

/** What an anchor entry says beside what every entry says. */
export type Anchored = Omit<AnchorEntry, 'v' | 'kind' | 'time' | 'monotonicUs'>;

export interface AnchorDeps {
  append(anchored: Anchored, attributes: Attributes): void;
  consistency(sizes: { size1: number; size2: number }): Uint8Array[];
  log(line: string): void;
}

interface Witness {
  cosigner: Cosigner;
  url: string;
  /** What it has cosigned last, as far as we know. */
  size: number;
  /** Of the last try; said once. */
  problem: string | undefined;
  lastS: number | undefined;
  /** The contradiction that an entry says already. */
  said: string | undefined;
}

/** What `sworn recorder status` shows of one of them. */
export interface AnchorStatus {
  kind: 'witness' | 'timestamp' | 'file' | 'command' | 'url';
  name: string;
  size?: number;
  /** POSIX seconds of its last signature. */
  signedAtS?: number;
  problem?: string;
}

interface Copy {
  kind: Exclude<AnchorStatus['kind'], 'witness'>;
  name: string;
  send(note: Uint8Array, checkpoint: { size: number; root: Uint8Array }): Promise<void>;
  problem: string | undefined;
  size: number;
}

export class Anchors {
  readonly #deps: AnchorDeps;
  #witnesses: Witness[] = [];
  #copies: Copy[] = [];
  readonly #underWay = new Set<Promise<void>>();

  constructor(deps: AnchorDeps) {
    this.#deps = deps;
  }

  /** In force from the next checkpoint on. What is known of a witness that stays is kept. */
  configure(settings: AnchorSettings | undefined): void {
    const { witnesses = [], files = [], commands = [], urls = [], timestamps = [] } = settings ?? {};
    const before = this.#witnesses;
    this.#witnesses = witnesses.flatMap(({ key, url }) => {
      const cosigner = parseCosigner(nodeCrypto, key);
      if (cosigner === undefined) return [];
      const known = before.find((one) => one.url === url && one.cosigner.name === cosigner.name);
      return [{ size: 0, problem: undefined, lastS: undefined, said: undefined, ...known, cosigner, url }];
    });
    this.#copies = [
      ...files.map((path) => this.#copy('file', path, (note) => appendTo(path, note))),
      ...commands.map((words) => this.#copy('command', words[0]!, (note) => pipeTo(words, note))),
      ...urls.map((url) => this.#copy('url', url, (note) => postTo(url, note))),
      ...timestamps.map((url) =>
        this.#copy('timestamp', url, async (note, { size, root }) => {
          const token = await requestTimestamp(url, note, copyWaitMs);
          this.#deps.append(
            { source: 'timestamp', name: bounded(url, 256), size, root: base64(root) },
            { token: base64(token), checkpoint: Buffer.from(note).toString() },
          );
        }),
      ),
    ];
  }

  #copy(kind: Copy['kind'], name: string, send: Copy['send']): Copy {
    return { kind, name, send, problem: undefined, size: 0 };
  }

  /** The note with the cosignatures of all who answered in time. Never rejects. */
  async cosign(note: Uint8Array): Promise<Uint8Array> {
    const checkpoint = parseCheckpoint(parseNote(note)!.text)!;
    const lines = (await Promise.all(this.#witnesses.map((witness) => this.#ask(witness, note, checkpoint)))).flat();
    const cosigned = withSignatures(note, lines) ?? note;
    for (const copy of this.#copies) this.#send(copy, cosigned, checkpoint);
    return cosigned;
  }

  async #ask(witness: Witness, note: Uint8Array, { size, root }: { size: number; root: Uint8Array }): Promise<NoteSignature[]> {
    const { cosigner, url } = witness;
    const answer = await submitCheckpoint(nodeCrypto, {
      url,
      cosigner,
      checkpoint: note,
      oldSize: witness.size,
      proof: (sizes) => this.#deps.consistency(sizes),
      timeoutMs: witnessWaitMs,
    });
    const about = { source: 'witness' as const, name: bounded(cosigner.name, 256), size, root: base64(root) };
    if ('problem' in answer) {
      if (answer.size !== undefined && answer.problem !== 'fork') witness.size = Math.min(answer.size, size);
      this.#says(witness, `witness ${cosigner.name}`, answer.message);
      // A contradiction is for those who read the record, not for a log file alone. A proof that our own tree gives and that does not hold is one: the
      // witness stands on another tree (tlog-witness, 422).
      const contradiction = answer.status === 422 ? 'fork' : answer.problem;
      if ((contradiction === 'ahead' || contradiction === 'fork') && witness.said !== contradiction) {
        witness.said = contradiction;
        this.#deps.append({ ...about, problem: contradiction }, { message: bounded(answer.message, 1024) });
      }
      return [];
    }
    this.#says(witness, `witness ${cosigner.name}`, undefined);
    witness.said = undefined;
    witness.size = answer.size;
    for (const { signature, timeS } of answer.cosignatures) {
      witness.lastS = timeS;
      this.#deps.append({ ...about, signature: base64(lineBytes(signature)), signedAtS: timeS }, {});
    }
    return answer.cosignatures.map(({ signature }) => signature);
  }

  #send(copy: Copy, note: Uint8Array, checkpoint: { size: number; root: Uint8Array }): void {
    const sent = copy
      .send(note, checkpoint)
      .then(
        () => {
          copy.size = checkpoint.size;
          this.#says(copy, `${copy.kind} ${copy.name}`, undefined);
        },
        (error: Error) => this.#says(copy, `${copy.kind} ${copy.name}`, error.message),
      )
      .finally(() => this.#underWay.delete(sent));
    this.#underWay.add(sent);
  }

  /** A line in the log when it begins, and when it is over. */
  #says(one: { problem: string | undefined }, name: string, problem: string | undefined): void {
    if (one.problem === problem) return;
    one.problem = problem;
    this.#deps.log(problem === undefined ? `${name}: has the checkpoints again` : `${name}: ${bounded(problem, 256)}`);
  }

  /** Once what is under way has been sent, or given up. */
  async idle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** So many entries some witness has seen, as far as we know; nothing where none is configured. */
  get witnessedSize(): number | undefined {
    return this.#witnesses.length === 0 ? undefined : Math.max(...this.#witnesses.map(({ size }) => size));
  }

  status(): AnchorStatus[] {
    return [
      ...this.#witnesses.map(({ cosigner, size, lastS, problem }): AnchorStatus => ({
        kind: 'witness',
        name: cosigner.name,
        size,
        ...(lastS === undefined ? {} : { signedAtS: lastS }),
        ...(problem === undefined ? {} : { problem }),
      })),
      ...this.#copies.map(({ kind, name, size, problem }): AnchorStatus => ({ kind, name, size, ...(problem === undefined ? {} : { problem }) })),
    ];
  }
}

/** As base64 stands on the line of a note: key id, then signature. */
function lineBytes({ keyId, signature }: NoteSignature): Uint8Array {
  return Buffer.concat([keyId, signature]);
}

/** One note behind the other, each followed by an empty line. */
async function appendTo(path: string, note: Uint8Array): Promise<void> {
  const file = await open(path, 'a', 0o644);
  try {
    await file.write(Buffer.concat([note, Buffer.from('\n')]));
    await file.datasync();
  } finally {
    await file.close();
  }
}

/** The note on its standard input; its output is nobody's. */
async function pipeTo([program, ...words]: readonly string[], note: Uint8Array): Promise<void> {
  await new Promise<void>((done, fail) => {
    const child = spawn(program!, words, { stdio: ['pipe', 'ignore', 'ignore'], timeout: copyWaitMs, killSignal: 'SIGKILL' });
    child.once('error', fail);
    child.once('exit', (status, signal) => (status === 0 ? done() : fail(new Error(`ended with ${signal ?? `status ${status}`}`))));
    child.stdin.on('error', () => undefined);
    child.stdin.end(note);
  });
}

async function postTo(url: string, note: Uint8Array): Promise<void> {
  const { ok, status, body } = await fetch(url, {
    method: 'POST',
    body: Buffer.from(note),
    headers: { 'Content-Type': 'text/plain; charset=utf-8' },
    redirect: 'error',
    signal: AbortSignal.timeout(copyWaitMs),
  });
  await body?.cancel();
  if (!ok) throw new Error(`status ${status}`);
}
