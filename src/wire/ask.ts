/** Asks a recorder one question over its socket, or tells it to do something: `sworn recorder status` and `stop`, `freeze`, `policy reload`. */
import { connect } from 'node:net';
import { SwornError, type ErrorCode } from '../errors.ts';
import { encodeJson, readJson, WireReader, wireType } from './wire.ts';

export type Question =
  | 'status'
  | 'stop'
  | 'reload'
  | 'freeze'
  | 'unfreeze'
  | 'erase'
  | 'prune'
  | 'hold'
  | 'release'
  | 'rotate'
  | 'retire'
  | 'opened'
  | 'acknowledge'
  | 'accept'
  | 'approvals'
  | 'decide';

/**
 * The recorder's answer. `more`: what the question is about. `signal`: nobody wants to know any more.
 * @throws SwornError `no-recorder` when nobody listens, `permission` or whatever the recorder answers, `wire-corrupt`
 */
export function ask(
  socketPath: string,
  what: Question,
  more: Readonly<Record<string, unknown>> = {},
  timeoutMs = 10_000,
  signal?: AbortSignal,
): Promise<Record<string, unknown>> {
  return new Promise((resolvePromise, reject) => {
    const socket = connect(socketPath);
    const reader = new WireReader();
    const fail = (error: SwornError): void => {
      socket.destroy();
      reject(error);
    };
    const abandon = (): void => fail(new SwornError('no-recorder', `the recorder at ${socketPath} is not asked any more`));
    if (signal?.aborted) abandon();
    signal?.addEventListener('abort', abandon);
    socket.setTimeout(timeoutMs, () =>
      fail(new SwornError('recorder-unreachable', `the recorder at ${socketPath} did not answer within ${timeoutMs / 1000} s`)),
    );
    socket.on('connect', () => socket.write(encodeJson(wireType.ask, { ...more, what })));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES') fail(new SwornError('permission', `the recorder's socket ${socketPath} is closed to this account`));
      else fail(new SwornError('no-recorder', `no recorder listens at ${socketPath}`));
    });
    socket.on('close', () => signal?.removeEventListener('abort', abandon));
    socket.on('close', () => reject(new SwornError('no-recorder', `the recorder at ${socketPath} went away`)));
    socket.on('data', (chunk) => {
      const whole = reader.push(chunk, (type, body) => {
        const value = readJson(body);
        if (value === undefined) fail(new SwornError('wire-corrupt', `the answer of ${socketPath} cannot be read`));
        else if (type === wireType.reply) {
          socket.destroy();
          resolvePromise(value);
        } else if (type === wireType.error) fail(new SwornError(codeOf(value['code']), String(value['message'])));
      });
      if (!whole) fail(new SwornError('wire-corrupt', `the answer of ${socketPath} cannot be read`));
    });
  });
}

const known: readonly ErrorCode[] = ['permission', 'usage', 'not-found', 'unrecordable', 'ledger-corrupt', 'encryption-key'];

/** What a recorder calls a refusal; of another version it may say what we do not know. */
function codeOf(code: unknown): ErrorCode {
  return known.find((one) => one === code) ?? 'recorder-refused';
}
