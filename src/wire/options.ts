/** Values of options that a tap and a proxy have in common: what a connection is opened with (`hello`). `usage` makes the error of the command. */
import type { SwornError } from '../errors.ts';
import { labelBytes, labelsCount, serverNameBytes } from '../limits.ts';

type Usage = (message: string) => SwornError;

/** Globs, as often as they are given, with commas between them or not. */
export function globsOf(given: readonly string[] = []): string[] {
  return given
    .flatMap((value) => value.split(','))
    .map((glob) => glob.trim())
    .filter(Boolean);
}

export function choiceOf<T extends string>(value: string, name: string, allowed: readonly T[], usage: Usage): T {
  if (!(allowed as readonly string[]).includes(value)) throw usage(`${name} is ${allowed.join(' or ')}, not ${JSON.stringify(value)}`);
  return value as T;
}

export function shortName(value: string, name: string, usage: Usage): string {
  if (value === '' || Buffer.byteLength(value) > serverNameBytes) throw usage(`${name} has 1 to ${serverNameBytes} bytes`);
  return value;
}

export function labelsOf(given: readonly string[], usage: Usage): Record<string, string> {
  if (given.length > labelsCount) throw usage(`at most ${labelsCount} --label`);
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1 || Buffer.byteLength(pair) > labelBytes)
        throw usage(`--label is key=value of at most ${labelBytes} bytes, not ${JSON.stringify(pair)}`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}
