/** `--definition`: the calls that were made while a tool was defined in one way, as its server had listed it last. */
import { SwornError } from '../errors.ts';
import { isDigest } from '../analysis/filter.ts';
import { looseJson, textOf } from '../analysis/frame-text.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { analysedBytes } from '../limits.ts';
import { definitionDigest, definitionsOf } from '../mcp/definition.ts';
import { readEntries, readEntryAt, type Located } from '../readers/entries.ts';
import { payloadOf } from '../readers/opened.ts';
import type { Filter } from './filter.ts';

/**
 * The filter, and of what it lets pass the calls under a definition. Reads all lists of tools of the ledger first: no entry of a call says how the tool was defined.
 * @throws SwornError `usage` for what no digest begins with
 */
export async function underDefinition(filter: Filter, ledger: string, digest: string, command: string): Promise<Filter> {
  if (!isDigest(digest)) throw new SwornError('usage', `--definition ${digest} is not the beginning of a digest (hex digits)`, { command });
  const listings = await listingsOf(ledger);
  const isUnder = ({ index, entry }: Located): boolean => {
    if (entry.kind !== 'message' || entry.method !== 'tools/call' || entry.target === undefined) return false;
    const began = entry.call ?? entry.exchange ?? index;
    const listed = listings.get(keyOf(entry.server, entry.target))?.findLast((one) => one.index < began);
    return listed?.digest.startsWith(digest) === true;
  };
  return { ...filter, matches: (located) => filter.matches(located) && isUnder(located) };
}

interface Listed {
  index: number;
  digest: string;
}

/** By server and tool: the lists that named it with another digest than the one before. */
async function listingsOf(ledger: string): Promise<ReadonlyMap<string, readonly Listed[]>> {
  const all = new Map<string, Listed[]>();
  for await (const { index, entry } of readEntries(ledger)) {
    if (entry.kind !== 'message' || entry.method !== 'tools/list' || entry.type !== 'result' || entry.direction !== 's2c') continue;
    if (entry.repeats !== undefined) continue;
    const located = await readEntryAt(ledger, index);
    const payload = located === undefined ? undefined : await payloadOf(ledger, located, analysedBytes);
    if (payload === undefined) continue;
    const message = looseJson(textOf(payload)) as { result?: unknown } | undefined;
    for (const { name, value } of definitionsOf(message?.result)?.definitions ?? []) {
      const key = keyOf(entry.server, name);
      const listed = all.get(key) ?? [];
      const digest = definitionDigest(nodeCrypto, value);
      if (listed.at(-1)?.digest !== digest) listed.push({ index, digest });
      all.set(key, listed);
    }
  }
  return all;
}

function keyOf(server: string, tool: string): string {
  return `${server}\0${tool}`;
}
