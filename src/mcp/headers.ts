/**
 * What MCP 2026-07-28 says in HTTP headers beside the message (Streamable HTTP, standard headers): which headers there are, where in a message their value
 * comes from, and how a value is written. The message is the truth; headers are what somebody claims of it.
 */
import { base64, fromBase64, utf8, utf8Text } from '../bytes/bytes.ts';

/** Where `Mcp-Name` comes from, by method: a parameter of the request. */
export const nameParameters: ReadonlyMap<string, 'name' | 'uri' | 'taskId'> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** In front of the name that a tool's schema gives to one of its arguments (`x-mcp-header`). */
export const argumentHeader = 'Mcp-Param-';

/** The header's value is one of a tool's arguments: rules on arguments look at it. */
export function isArgumentHeader(name: string): boolean {
  return name.slice(0, argumentHeader.length).toLowerCase() === 'mcp-param-';
}

/** The text that a value stands for: `=?base64?…?=` (markers in small letters) is the base64 of UTF-8; what is no such encoding after all is its own text. */
export function headerText(value: string): string {
  const inner = /^=\?base64\?([A-Za-z0-9+/=]*)\?=$/.exec(value)?.[1];
  const bytes = inner === undefined ? undefined : fromBase64(inner);
  return (bytes === undefined ? undefined : utf8Text(bytes)) ?? value;
}

/** A text as a header's value: as it is where every reader will find it so, else encoded. */
export function headerValue(text: string): string {
  const isPlain = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !(text.startsWith('=?base64?') && text.endsWith('?='));
  return isPlain ? text : `=?base64?${base64(utf8(text))}?=`;
}

/** An argument of a tool that goes into a header too. */
export interface ArgumentHeader {
  /** The member names that lead to it from `arguments`. */
  path: readonly string[];
  /** With `Mcp-Param-` in front. */
  header: string;
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const types: ReadonlySet<unknown> = new Set(['string', 'integer', 'boolean']);
/** Of one schema: deeper or more of them nobody means. */
const maxDepth = 16;
const maxCount = 64;

/**
 * The arguments that a tool's `inputSchema` wants in headers: strings, integers and booleans that chains of `properties` lead to. Nothing where one of
 * them breaks a rule: a client must not use such a tool, and what its server makes of a call is its own affair.
 */
export function argumentHeaders(inputSchema: unknown): ArgumentHeader[] {
  const found: ArgumentHeader[] = [];
  const names = new Set<string>();
  const visit = (schema: unknown, path: readonly string[]): boolean => {
    if (typeof schema !== 'object' || schema === null || path.length > maxDepth) return true;
    const { 'x-mcp-header': name, type, properties } = schema as Record<string, unknown>;
    if (name !== undefined) {
      if (typeof name !== 'string' || !token.test(name) || !types.has(type) || path.length === 0) return false;
      if (names.has(name.toLowerCase()) || found.length === maxCount) return false;
      names.add(name.toLowerCase());
      found.push({ path, header: `${argumentHeader}${name}` });
    }
    if (typeof properties !== 'object' || properties === null) return true;
    return Object.entries(properties).every(([key, child]) => visit(child, [...path, key]));
  };
  return visit(inputSchema, []) ? found : [];
}

/** The value of such a header for a call's `arguments`, or `undefined` where it has none. */
export function argumentValue({ path }: ArgumentHeader, args: unknown): string | undefined {
  let value = args;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  if (typeof value === 'string') return headerValue(value);
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  return undefined;
}
