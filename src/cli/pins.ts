/**
 * What `verify` has pinned on this machine: `~/.config/sworn/known`, one line for each origin: origin, verifier key, size, root in base64, with spaces between;
 * and one line for each place where a ledger was found: `at`, the absolute path in base64, the origin. So a ledger that was replaced as a whole is noticed too.
 * Lines that cannot be read are kept as they are and never believed.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { base64, fromBase64, utf8 } from '../bytes/bytes.ts';
import { SwornError } from '../errors.ts';

export interface Pin {
  origin: string;
  vkey: string;
  size: number;
  /** 32 bytes. */
  root: Uint8Array;
}

function parsePin(line: string): Pin | undefined {
  const [origin, vkey, decimal, encoded, ...rest] = line.split(' ');
  if (!origin || !vkey || !decimal || !encoded || rest.length > 0 || !/^(0|[1-9][0-9]{0,15})$/.test(decimal)) return undefined;
  const root = fromBase64(encoded);
  const size = Number(decimal);
  return root?.length === 32 && Number.isSafeInteger(size) ? { origin, vkey, size, root } : undefined;
}

function lines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * The pin of an origin, or `undefined`.
 *
 * @throws SwornError `usage` when there is a line for the origin that cannot be read: to go on as if there were none would forget what was known
 */
export function readPin(path: string, origin: string): Pin | undefined {
  for (const line of lines(path)) {
    if (line.split(' ')[0] !== origin) continue;
    const pin = parsePin(line);
    if (!pin)
      throw new SwornError('usage', `the line of ${origin} in ${path} cannot be read; mend it, or remove it to trust the ledger anew`, {
        command: 'verify',
      });
    return pin;
  }
  return undefined;
}

/** The origin of the ledger that was pinned at this absolute path. Errors of the file system are thrown. */
export function originAt(path: string, place: string): string | undefined {
  const start = placeStart(place);
  return lines(path)
    .find((line) => line.startsWith(start))
    ?.slice(start.length);
}

function placeStart(place: string): string {
  return `at ${base64(utf8(place))} `;
}

/** Replaces the lines of the origin and of the place, or adds them: a temporary file, 0600, renamed over the old one. Errors of the file system are thrown. */
export function writePin(path: string, pin: Pin, place: string): void {
  const start = placeStart(place);
  const line = `${pin.origin} ${pin.vkey} ${pin.size} ${base64(pin.root)}\n${start}${pin.origin}`;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const others = lines(path).filter((other) => other.split(' ')[0] !== pin.origin && !other.startsWith(start));
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${[...others, line].join('\n')}\n`, { mode: 0o600 });
    chmodSync(temporary, 0o600);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
