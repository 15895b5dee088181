/**
 * How a server defines its tools, and the one digest by which two definitions are told apart: for pins, and for rows of analyses. The whole definition counts,
 * `_meta` and icons too, since clients act on those as well; what does not count is how its JSON is written: order of members, spacing, escapes, `1.0` for `1`.
 */
import { hex, utf8, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';

export interface Definition {
  name: string;
  /** As it stands in the list. */
  value: Readonly<Record<string, unknown>>;
}

/** One page of a list of tools. */
export interface DefinitionPage {
  definitions: Definition[];
  /** The cursor to the next page; absent on the last one. */
  next?: string;
}

/** The page in a whole frame, a reply to `tools/list` (or `server/discover`, where a server lists tools there): nothing for one without a list. Never throws. */
export function readDefinitions(frame: Uint8Array): DefinitionPage | undefined {
  const text = utf8Text(frame);
  if (text === undefined) return undefined;
  try {
    return definitionsOf((JSON.parse(text) as { result?: unknown } | null)?.result);
  } catch {
    return undefined;
  }
}

/** The same of a result that was read already. What is no definition (no object, or without a name) is left out. */
export function definitionsOf(result: unknown): DefinitionPage | undefined {
  if (!isObject(result) || !Array.isArray(result['tools'])) return undefined;
  const definitions = (result['tools'] as unknown[]).flatMap((value) =>
    isObject(value) && typeof value['name'] === 'string' ? [{ name: value['name'], value }] : [],
  );
  const next = result['nextCursor'];
  return typeof next === 'string' ? { definitions, next } : { definitions };
}

/** SHA-256 in hex over `canonicalJson`. */
export function definitionDigest(crypto: Pick<Crypto, 'sha256'>, definition: unknown): string {
  return hex(crypto.sha256(utf8(canonicalJson(definition))));
}

/**
 * JSON without blanks, members in the order of their names (UTF-16 units), texts and numbers as `JSON.stringify` writes them. Equal for what `JSON.parse` makes
 * equal: integers beyond 2^53 may be. For values that `JSON.parse` gave, nested as deep as `limits.jsonDepth`.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  // beyond every double, which is not null
  if (typeof value === 'number' && !Number.isFinite(value)) return value > 0 ? '1e999' : '-1e999';
  if (!isObject(value)) return JSON.stringify(value) ?? 'null';
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`).join(',')}}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
