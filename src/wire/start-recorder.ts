/** A recorder is started. Loaded when none listens, so that a tap that finds one does not carry it. */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { errorKinds } from '../errors.ts';
import { recorderEnvironment, recorderWords } from './recorder-command.ts';

/** Of what it says when it cannot start. */
const complaintLength = 4_096;

export interface RecorderStart {
  /** Absolute path of `bin/sworn.mjs`. */
  program: string;
  ledger: string;
  config?: string;
}

/** `failed`: why it ended, and what to do about it where that is known. `ended`: it does not run any more, whyever. */
export function startRecorder(
  { program, ledger, config }: RecorderStart,
  failed: (reason: string, hint: string | undefined) => void,
  ended: () => void,
): void {
  const recorder = spawn(process.execPath, recorderWords(program, ledger, config), {
    detached: true,
    // what it has to say when it cannot start: where in which file, for instance
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: '/',
    env: recorderEnvironment(),
  });
  recorder.unref();
  (recorder.stderr as Socket).unref();
  let complaint = '';
  recorder.stderr.on('data', (chunk: Buffer) => {
    if (complaint.length < complaintLength) complaint += chunk.toString();
  });
  recorder.stderr.on('error', () => undefined);
  if (recorder.pid === undefined) ended();
  recorder.on('error', (error) => failed(`the recorder cannot be started: ${error.message}`, undefined));
  recorder.on('exit', ended);
  recorder.on('close', (status) => {
    // 75: another recorder holds the lock, and will listen in a moment
    if (status === null || status === 0 || status === 75) return;
    const [, said, hint] = /^sworn: error: (.*)\nsworn: hint: (.*)$/m.exec(complaint) ?? [];
    // several may have one status
    const [kind, ...others] = Object.entries(errorKinds).filter(([, known]) => known.exit === status && known.exit > 2);
    const isKnown = kind !== undefined && others.length === 0;
    const how = `the recorder for ${ledger} ended with status ${status}${isKnown ? ` (${kind[0]})` : ''}`;
    failed(
      said === undefined ? `${how}; its log is ${ledger}/run/recorder.log` : `${how}: ${said}`,
      hint ?? (isKnown ? kind[1].hint.replace('{path}', 'the key') : undefined),
    );
  });
}
