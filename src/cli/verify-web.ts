/** The tree of a ledger that a web server gives: its `log/` as static files (C2SP tlog-tiles). Content is not served so, and not checked. */
import { entryBytes, tileWidth } from '../limits.ts';
import { checkpointOf } from '../tlog/note.ts';
import { tilePath } from '../tlog/tile.ts';
import { hashBytes } from '../tlog/tree.ts';
import type { Source } from '../verify/source.ts';

const noteBytes = 1_000_000;
const bundleBytes = tileWidth * (2 + entryBytes);
const waitMs = 30_000;
/** Full tiles and bundles that are asked for before they are needed: one by one, each would cost a round trip. */
const aheadTiles = 8;

/** `address` is that of the `log/` folder, `http:` or `https:`. What is absent is a 404; anything else that is no 200 is thrown. */
export function webSource(address: string): Source {
  const base = new URL(address.endsWith('/') ? address : `${address}/`);
  /** Full tiles below this are there, if the checkpoint says the truth. */
  let fullTiles = 0;
  const asked = new Map<string, Promise<Uint8Array | undefined>>();

  const ask = (path: string, mostBytes: number): Promise<Uint8Array | undefined> => {
    const before = asked.get(path);
    if (before) return before;
    const answer = get(new URL(path, base), mostBytes);
    // met by whoever waits for it
    answer.catch(() => undefined);
    asked.set(path, answer);
    return answer;
  };
  const take = async (path: string, mostBytes: number): Promise<Uint8Array | undefined> => {
    const answer = ask(path, mostBytes);
    asked.delete(path);
    return answer;
  };
  const askAhead = (n: number): void => {
    for (let next = n; next < Math.min(n + aheadTiles, fullTiles); next++) {
      void ask(tilePath(0, next), tileWidth * hashBytes);
      void ask(tilePath('entries', next), bundleBytes);
    }
  };
  return {
    checkpoint: async () => {
      const bytes = await get(new URL('checkpoint', base), noteBytes);
      fullTiles = Math.floor((checkpointOf(bytes)?.size ?? 0) / tileWidth);
      return bytes;
    },
    tile: (level, n, width) => {
      if (level === 0 && width === tileWidth) askAhead(n);
      return take(tilePath(level, n, width), width * hashBytes);
    },
    bundle: (n, width) => take(tilePath('entries', n, width), bundleBytes),
  };
}

async function get(url: URL, mostBytes: number): Promise<Uint8Array | undefined> {
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(waitMs), headers: { 'user-agent': 'sworn verify' } });
  } catch (error) {
    // fetch says why only in the cause
    const { cause } = error as { cause?: { code?: unknown } };
    throw new Error(typeof cause?.code === 'string' ? cause.code : (error as Error).message, { cause: error });
  }
  if (response.status === 404 || response.status === 410) {
    await response.body?.cancel();
    return undefined;
  }
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the server answers ${response.status}`);
  }
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const piece of response.body ?? []) {
    sizeBytes += piece.length;
    if (sizeBytes > mostBytes) throw new Error(`more than ${mostBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
