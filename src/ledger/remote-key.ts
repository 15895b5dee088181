/**
 * What is done with a key that somebody else holds: a command (a KMS, another account, a card), or an ssh-agent. It is asked about once a second at most, and off
 * the way of every message; while it does not answer, entries are recorded and not signed.
 */
import { spawn, spawnSync } from 'node:child_process';
import { connect } from 'node:net';
import { keyWaitMs } from '../limits.ts';

const signatureBytes = 64;

/** The message on its standard input; the signature comes in base64 on its standard output. */
export function signWithCommand(words: readonly string[], message: Uint8Array): Promise<Uint8Array> {
  return askCommand(words, message, signatureBytes);
}

/**
 * What a command answers: `input` on its standard input, the answer in base64 on its standard output; `answerBytes` is about the longest that can be meant.
 * @throws (rejects) Error
 */
export async function askCommand([program, ...words]: readonly string[], input: Uint8Array, answerBytes: number): Promise<Buffer> {
  const output = await new Promise<string>((done, fail) => {
    const child = spawn(program!, words, { stdio: ['pipe', 'pipe', 'ignore'] });
    let text = '';
    // what it has started may hold its output open for as long as it likes: that is not waited for
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      child.stdin.destroy();
      child.stdout.destroy();
      fail(new Error(`${program} gave no answer within ${keyWaitMs} ms`));
    }, keyWaitMs);
    const over = (settle: () => void): void => {
      clearTimeout(late);
      settle();
    };
    child.stdout.on('data', (chunk: Buffer) => {
      // whatever it prints beyond an answer is not kept
      if (text.length < 4 * answerBytes) text += chunk.toString('latin1');
    });
    child.once('error', (error) => over(() => fail(error)));
    child.once('close', (status, signal) => over(() => (status === 0 ? done(text) : fail(noAnswer(program!, status, signal)))));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
  });
  return Buffer.from(output.trim(), 'base64');
}

/** As `askCommand`, while everything else waits: at a start, and for commands that read. @throws Error */
export function askCommandNow([program, ...words]: readonly string[], input: Uint8Array, answerBytes: number): Buffer {
  const { stdout, status, signal, error } = spawnSync(program!, words, {
    input,
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: keyWaitMs,
    killSignal: 'SIGKILL',
    maxBuffer: 8 * answerBytes,
  });
  // one that does not read its input all the same may answer
  if (error !== undefined && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  if (status !== 0) throw noAnswer(program!, status, signal);
  return Buffer.from(stdout.toString('latin1').trim(), 'base64');
}

function noAnswer(program: string, status: number | null, signal: NodeJS.Signals | null): Error {
  return new Error(`${program} ended with ${signal ?? `status ${status}`} and gave no answer`);
}

const signRequest = 13;
const signResponse = 14;
const algorithm = 'ssh-ed25519';

function lengthFirst(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** `SSH_AGENTC_SIGN_REQUEST` (draft-ietf-sshm-ssh-agent §3.6) for an Ed25519 key, which signs the message as it is (RFC 8709 §6). */
export async function signWithAgent(socketPath: string, publicKey: Uint8Array, message: Uint8Array): Promise<Uint8Array> {
  const blob = Buffer.concat([lengthFirst(Buffer.from(algorithm)), lengthFirst(publicKey)]);
  const request = lengthFirst(Buffer.concat([Buffer.of(signRequest), lengthFirst(blob), lengthFirst(message), Buffer.alloc(4)]));
  const answer = await new Promise<Buffer>((done, fail) => {
    const socket = connect(socketPath);
    let bytes = Buffer.alloc(0);
    socket.setTimeout(keyWaitMs, () => socket.destroy(new Error(`no answer within ${keyWaitMs} ms`)));
    socket.once('error', (error) => fail(new Error(`the ssh-agent at ${socketPath}: ${error.message}`)));
    socket.once('close', () => fail(new Error(`the ssh-agent at ${socketPath} hung up`)));
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.length < 4 || bytes.length < 4 + Math.min(bytes.readUInt32BE(0), 1024)) return;
      done(bytes.subarray(4));
      socket.destroy();
    });
    socket.write(request);
  });
  if (answer[0] !== signResponse) throw new Error(`the ssh-agent at ${socketPath} does not sign: it may not have the key, or be locked`);
  return answer.subarray(-signatureBytes);
}
