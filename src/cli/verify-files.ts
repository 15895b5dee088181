/** A ledger's directory as a `Source` for the verifier. Shares nothing with the code that writes it. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { tileWidth } from '../limits.ts';
import { tilePath } from '../tlog/tile.ts';
import type { SegmentName, Source } from '../verify/source.ts';

const pieceBytes = 1024 * 1024;

/** The bytes [from, end) of a file, or as far as it goes. */
export async function* piecesOf(path: string, from = 0, end = Number.POSITIVE_INFINITY): AsyncGenerator<Uint8Array> {
  const file = openSync(path, 'r');
  try {
    for (let at = from; at < end;) {
      const piece = new Uint8Array(Math.min(pieceBytes, end - at));
      const sizeBytes = readSync(file, piece, 0, piece.length, at);
      if (sizeBytes === 0) return;
      at += sizeBytes;
      yield piece.subarray(0, sizeBytes);
    }
  } finally {
    closeSync(file);
  }
}

function isAbsent(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

function namesIfThere(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

/** Reads synchronously: files are small or read in pieces of 1 MiB, and a verifier has nothing else to do meanwhile. Errors other than absence are thrown. */
export function directorySource(folder: string): Source {
  const log = join(folder, 'log');
  const payload = join(folder, 'payload');
  return {
    checkpoint: async () => readIfThere(join(log, 'checkpoint')),
    tile: async (level, n, width) => readIfThere(join(log, tilePath(level, n, width))),
    bundle: async (n, width) => readIfThere(join(log, tilePath('entries', n, width))),
    widths: async (level, n) => {
      const full = join(log, tilePath(level, n));
      const partials = `${full}.p`;
      // mostly absent: an error for each would cost more than to read the tile
      const widths = (existsSync(partials) ? namesIfThere(partials) : [])
        .filter((name) => /^[1-9][0-9]{0,2}$/.test(name) && Number(name) < tileWidth)
        .map(Number);
      if (existsSync(full)) widths.push(tileWidth);
      return widths;
    },
    segments: async () =>
      namesIfThere(payload)
        .filter((name) => /^[0-9]{16}$/.test(name))
        .sort()
        .map((name): SegmentName => ({ first: Number(name), path: `payload/${name}` })),
    segment: ({ path }, from = 0) => piecesOf(join(folder, path), from),
  };
}

/** The same ledger without its content. */
export function treeOf({ checkpoint, tile, bundle, widths }: Source): Source {
  return { checkpoint, tile, bundle, ...(widths ? { widths } : {}) };
}

/** Files below `payload/` that are not segments: nothing covers them, and nothing reads them. */
export function strayFiles(folder: string): string[] {
  try {
    return readdirSync(join(folder, 'payload'))
      .filter((name) => !/^[0-9]{16}$/.test(name))
      .map((name) => `payload/${name}`);
  } catch {
    return []; // the verifier has met the same error and reports it
  }
}
