/**
 * HTTP headers on their way through the proxy, over Node's `rawHeaders` (name, value, name, value …: order, case and duplicates as they came): which of
 * them go on, and what of them may be recorded.
 */
import { headBytes, recordedHeaderChars, recordedHeaders } from '../limits.ts';
import { isArgumentHeader } from '../mcp/headers.ts';
import { isOwnCredential } from './credentials.ts';

/** RFC 9110 §7.6.1: they are about one connection, not about the message. `proxy-connection` never was a standard, and is sent all the same. */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** What a request to an upstream is given or spared. Without rules everything goes on that is not about one connection. */
export interface HeaderRules {
  /** The client's `Authorization` and `DPoP` are for this upstream. */
  authorization: boolean;
  /** Cookies of a browser are never for an MCP server. */
  cookies: boolean;
  /** Names in any case; a header that is set is removed first. */
  remove: readonly string[];
  set: readonly (readonly [name: string, value: string])[];
}

/** The rules where nothing may be set; what a client says in its place does not go on either. */
export function withoutSet(rules: Readonly<HeaderRules>): HeaderRules {
  return { ...rules, set: [], remove: [...rules.remove, ...rules.set.map(([name]) => name)] };
}

/** The headers that go on, as Node takes them for a request or a response; `without`: others that do not, in small letters. */
export function forwarded(rawHeaders: readonly string[], rules?: Readonly<HeaderRules>, without: readonly string[] = []): string[] {
  const result: string[] = [];
  for (const i of placesOf(rawHeaders, rules, without)) result.push(rawHeaders[i]!, rawHeaders[i + 1]!);
  for (const [name, value] of rules?.set ?? []) result.push(name, value);
  return result;
}

/** Where the names of those stand that go on. Of the values, only those of `Connection`, `Authorization` and our own keys matter for it. */
export function placesOf(rawHeaders: readonly string[], rules: Readonly<HeaderRules> | undefined, without: readonly string[]): number[] {
  const dropped = new Set(without);
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === 'connection') for (const name of rawHeaders[i + 1]!.split(',')) dropped.add(name.trim().toLowerCase());
  }
  if (rules !== undefined) {
    if (!rules.authorization) dropped.add('authorization').add('dpop');
    if (!rules.cookies) dropped.add('cookie').add('cookie2');
    for (const name of rules.remove) dropped.add(name.toLowerCase());
    for (const [name] of rules.set) dropped.add(name.toLowerCase());
  }
  const places: number[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    const plain = name.toLowerCase();
    if (hopByHop.has(plain) || dropped.has(plain)) continue;
    // a key to us is for nobody behind us
    if (!(rules !== undefined && isOwnCredential(name, rawHeaders[i + 1]!))) places.push(i);
  }
  return places;
}

/** What `Content-Type` says of the text's encoding, where that is not UTF-8 or a part of it; all such headers count, whichever a server takes. */
export function otherCharset(rawHeaders: readonly string[]): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.length !== 12 || rawHeaders[i]!.toLowerCase() !== 'content-type') continue;
    for (const [, name] of rawHeaders[i + 1]!.matchAll(/charset\*?\s*=\s*["']?([^\s;,"']*)/gi))
      if (!/^(?:utf-?8|us-ascii|ascii|)$/i.test(name!)) return name!.slice(0, 32);
  }
  return undefined;
}

/** What stands in the record in place of a credential. */
const credential = '[credential]';
/** Their names say what kind of credential follows, and nothing of it. */
const schemes = /^(?:basic|bearer|dpop|digest|negotiate|ntlm|hoba|mutual|oauth|gnap|token|apikey|api-key|scram-sha-(?:1|256)|aws4-hmac-sha256)(?= )/i;
/** Names of headers, and of parameters in addresses, that hold credentials; one that only looks so loses no more than its value in the record. */
const credentialName =
  /token|secret|passw|passphrase|passcode|pwd|cookie|session|credential|signature|assertion|bearer|jwt|saml|csrf|xsrf|otp\b|key|auth(?!or\b|ors\b|ority\b)|(?:^|[-_.])(?:dpop|sig|sid|pass|code)(?:$|[-_.])/i;
/** They have such a word in their name, and no credential in their value: they say what is asked for, or how it is to be asked. */
const harmlessNames: ReadonlySet<string> = new Set([
  'www-authenticate',
  'proxy-authenticate',
  'idempotency-key',
  'sec-websocket-key',
  'surrogate-key',
  'dpop-nonce',
]);

/** What MCP 2026-07-28 says of the message. */
const claims: ReadonlySet<string> = new Set(['mcp-method', 'mcp-name', 'mcp-protocol-version']);

/**
 * What may be recorded of headers: all of them in their order, credentials as a mark that keeps the scheme. What MCP says of the message stays as it came:
 * the record holds it against the message, and rules on arguments look at `Mcp-Param-*` (`mcp/headers.ts`).
 * At most `recordedHeaders`, and a last one `…` that counts the others: of too many, or too long ones, what MCP says of the message stands first, so that nobody hides it behind
 * others; values of at most `recordedHeaderChars`, cut with `…`, but for those: HTTP's own bound
 * on a head is theirs.
 */
export function recorded(given: readonly string[]): [name: string, value: string][] {
  const rawHeaders = mayBeCut(given) ? claimsFirst(given) : given;
  const result: [string, string][] = [];
  const count = rawHeaders.length / 2;
  for (let i = 0; i < count && result.length < recordedHeaders; i++) {
    const name = rawHeaders[2 * i]!;
    const kind = kindOf(name);
    const value = recordedValue(kind, rawHeaders[2 * i + 1]!);
    result.push([short(name), kind === 'claim' && !isArgumentHeader(name) ? value : short(value)]);
  }
  if (count > recordedHeaders) result.push(['…', `${count - recordedHeaders} more`]);
  return result;
}

/** Whether not all of them may be told, or not in the order in which they came. As JSON a character has at most 6 bytes. */
export function mayBeCut(rawHeaders: readonly string[]): boolean {
  if (rawHeaders.length > 2 * recordedHeaders) return true;
  let chars = 0;
  for (const text of rawHeaders) chars += text.length;
  return chars > headBytes / 12;
}

function claimsFirst(rawHeaders: readonly string[]): string[] {
  const first: string[] = [];
  const others: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) (claims.has(rawHeaders[i]!.toLowerCase()) ? first : others).push(rawHeaders[i]!, rawHeaders[i + 1]!);
  return [...first, ...others];
}

type NameKind = 'credential' | 'claim' | 'harmless' | 'other';

/** Names come again with every request; what strangers make up must not fill the memory. */
const kinds = new Map<string, NameKind>();
const kindsMost = 1_024;

function kindOf(name: string): NameKind {
  const known = kinds.get(name);
  if (known !== undefined) return known;
  const plain = name.toLowerCase();
  const isHarmless = harmlessNames.has(plain);
  const kind =
    !isHarmless && credentialName.test(plain)
      ? 'credential'
      : claims.has(plain) || isArgumentHeader(plain)
        ? 'claim'
        : isHarmless
          ? 'harmless'
          : 'other';
  if (kinds.size < kindsMost && name.length <= 64) kinds.set(name, kind);
  return kind;
}

function recordedValue(kind: NameKind, value: string): string {
  if (kind === 'credential') return markOf(value);
  if (kind === 'claim') return value;
  // a scheme has a blank behind it
  if (kind === 'other' && value.includes(' ') && schemes.test(value)) return markOf(value);
  return withoutSecrets(value);
}

function markOf(value: string): string {
  const scheme = schemes.exec(value)?.[0];
  return scheme === undefined ? credential : `${scheme} ${credential}`;
}

function short(text: string): string {
  return text.length <= recordedHeaderChars ? text : `${text.slice(0, recordedHeaderChars)}…`;
}

/** An address, or a text with addresses in it, without their user, password, and parameters that look like credentials. */
export function withoutSecrets(text: string): string {
  // nothing that looks like a parameter or an address
  if (!text.includes('=') && !text.includes('@')) return text;
  return text
    .replace(/(:\/\/)[^/?#\s@"'<>]+@/g, `$1${credential}@`)
    .replace(/([?&;#])([^=&;#?\s"'<>]{1,128})=([^&;#\s"'<>]+)/g, (all, before: string, name: string) =>
      credentialName.test(nameOf(name)) ? `${before}${name}=${credential}` : all,
    );
}

function nameOf(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
