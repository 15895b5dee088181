/** A file of pins where it lies, as `sworn tools` reads and writes it. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { SwornError } from '../errors.ts';
import { pinFileBytes } from '../limits.ts';
import { parsePins, pinFileText, type PinFile } from '../policy/pin-file.ts';
import type { Output } from './output.ts';

/** @throws SwornError `pin-file` */
export function readPinFile(path: string): PinFile['servers'] {
  let text: string;
  try {
    if (statSync(path).size > pinFileBytes) throw new Error(`it is longer than ${pinFileBytes.toLocaleString('en')} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new SwornError('pin-file', `cannot read ${path}: ${(error as Error).message}`, {}, { cause: error });
  }
  const servers = parsePins(text);
  if (typeof servers === 'string') throw new SwornError('pin-file', `${path} ${servers}`);
  return servers;
}

/** @throws SwornError `output` */
export function writePinFile(file: string, servers: PinFile['servers'], output: Output): void {
  const text = pinFileText(servers);
  if (file === '-') {
    output.out(text);
    return;
  }
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new SwornError('output', `cannot write ${file}: ${(error as Error).message}`, {}, { cause: error });
  }
}
