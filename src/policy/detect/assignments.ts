/**
 * Values that are secret because of their name: `password: x`, `"client_secret": "x"`, `API_KEY=x`, `--token x`, `<password>x</password>`,
 * `Authorization: Bearer x`, and the password in `scheme://user:x@host`.
 */
import { named, type Family, type Named } from './names.ts';
import { setOf, type Scan } from './scan.ts';
import { isIdentifier, isPath, isPlaceholder, isProse } from './values.ts';

export const assignmentRules: readonly string[] = [
  'azure-storage-key',
  'azure-sas',
  'datadog-key',
  'twilio-token',
  'cloudflare-key',
  'url-password',
  'authorization',
  'password',
  'generic-secret',
  'generic-token',
];

/** Longest value without quotes, and in quotes, in UTF-16 units. What is longer is cut there. */
const longestBare = 512;
const longestQuoted = 8192;
/** Longest name (with its prefixes) that is read before `=` or `:`. */
const longestName = 48;
/** Longest name and password in an address. */
const longestUserinfo = 512;

const beforeSign = setOf(' :?!');
const quotesAndSlash = setOf('"\'`\\');
const moreSigns = setOf('=>');
const blanks = setOf(' \t');
const literalPrefixes = setOf('brfuBRFU@$');
const twoQuotes = setOf('"\'');
const quotes = setOf('"\'`');
const escaped = setOf('nrt"\'\\');
const closing = setOf(')]}.,:>');
const quotesOrSlash = setOf('"\'\\');
const innerName = setOf('-. ');
const signs = setOf('=:');
const tokenSigns = setOf('-.~+/=:|');
const tokenEnds = setOf('.:|');
const userinfoEnds = setOf('/?#"\'<>`\\,;)');

/** Without quotes a longer value, refused, is not searched for assignments of its own: else rows of names and signs would be read again and again. */
const longestJudgedTwice = 48;
/** Shortest value of each kind, in UTF-16 units. */
const shortest = { password: 4, pass: 6, secret: 6, token: 6, 'weak-token': 16, signature: 40 } as const;

interface Value {
  start: number;
  end: number;
  quoted: boolean;
}

/** Which rule names a value, by the vendor that its key names and by its shape. */
const vendors: readonly { rule: string; name: RegExp; value: RegExp }[] = [
  { rule: 'aws-secret-key', name: /aws|secretaccesskey|secretkey/, value: /^[A-Za-z0-9+/]{40}$/ },
  { rule: 'azure-storage-key', name: /accountkey|sharedaccesskey|storagekey/, value: /^[A-Za-z0-9+/]{43,86}={1,2}$/ },
  { rule: 'datadog-key', name: /dd(?:api|app|application)key$|datadog/, value: /^(?:[0-9a-f]{32}|[0-9a-f]{40})$/ },
  { rule: 'twilio-token', name: /twilio/, value: /^[0-9a-f]{32}$/ },
  { rule: 'cloudflare-key', name: /cloudflare|cfapi(?:key|token)$|xauthkey/, value: /^(?:[\w-]{40}|[0-9a-f]{37})$/ },
];

/** At a `:`, `=` or `>` that may stand between a name and its value. */
export function assignment(scan: Scan, sign: number): void {
  const { units } = scan;
  if (sign < scan.assignedTo) return;
  let at = sign - 1;
  if (at < 2) return;
  // `:=`, `?:`, `!:` and blanks before the sign
  for (let skipped = 0; skipped < 4 && at > 2 && beforeSign[units[at]!] === 1; skipped++) at--;
  // `config["password"] =`
  if (units[at] === 93) at--;
  let quotedName = false;
  for (let skipped = 0; skipped < 4 && at > 2 && quotesAndSlash[units[at]!] === 1; skipped++) {
    at--;
    quotedName = true;
  }
  // `"Password ":`, `"user[password]":`, `"user['password']":`
  if (quotedName) {
    while (at > 2 && sign - at < 8 && units[at] === 32) at--;
    if (units[at] === 93) at--;
    for (let skipped = 0; skipped < 2 && at > 2 && quotes[units[at]!] === 1; skipped++) at--;
  }
  while (scan.isDigit(at) && sign - at < 8) at--;
  if (at < 2 || !mayEndName(units, at)) return;
  const name = nameBefore(scan, at);
  const family = name.family;
  if (family === undefined) return;
  const mark = units[sign]!;
  if (mark === 62) {
    const value = elementValue(scan, sign, at, name.name.length);
    if (value !== undefined && family !== 'authorization') judge(scan, name.name, family, value, true);
    return;
  }
  const value = valueAfter(scan, sign);
  if (value === undefined) return;
  if (family === 'authorization') credentials(scan, value);
  else judge(scan, name.name, family, value, quotedName || mark === 61);
}

const between = /["']?,?\s{0,4}/y;

/** At the first letter of a word after `--`: an option and its value as the next word or the next text of a list. */
export function option(scan: Scan, start: number): void {
  const { text, units } = scan;
  let end = start;
  while (end < start + longestName && (scan.isWord(end) || units[end] === 45)) end++;
  if (!mayEndName(units, end - 1)) return;
  const { name, family } = named(text.slice(start, end));
  if (family === undefined || family === 'authorization') return;
  between.lastIndex = end;
  const value = between.test(text) && between.lastIndex > end ? readValue(scan, between.lastIndex) : undefined;
  if (value === undefined || units[value.start] === 45) return;
  const shown = text.slice(value.start, value.end);
  // a lone word continues a sentence, `id=…` names where the value is
  if (value.quoted || (/[^a-z]/.test(shown) && !/^[a-z]+=/.test(shown))) judge(scan, name, family, value, true);
}

/** The names end in password, passwd, pwd, passphrase, passcode, pass, secret, key, token, authorization or sig: three letters rule nearly everything else out. */
function mayEndName(units: Uint8Array, at: number): boolean {
  const a = units[at - 2]! | 32;
  const b = units[at - 1]! | 32;
  switch (units[at]! | 32) {
    case 100: // ord, swd, pwd
      return (b === 114 && a === 111) || (b === 119 && (a === 115 || a === 112));
    case 101: // ase, ode
      return (b === 115 && a === 97) || (b === 100 && a === 111);
    case 103: // sig
      return b === 105 && a === 115;
    case 110: // ken, a…z…ion
      return (b === 101 && a === 107) || (b === 111 && a === 105 && (units[at - 5]! | 32) === 122 && (units[at - 12]! | 32) === 97);
    case 115: // ass
      return b === 115 && a === 97;
    case 116: // ret, ort
      return (b === 101 && a === 114) || (b === 114 && a === 111);
    case 121: // key
      return b === 101 && a === 107;
    default:
      return false;
  }
}

/** The name that ends at `last`. The words before it count where it says little itself. */
function nameBefore(scan: Scan, last: number): Named {
  const { text, units } = scan;
  let from = last;
  let first = -1;
  let words = 1;
  while (from > 0 && last - from < longestName) {
    const code = units[from - 1];
    if (!scan.isWord(from - 1) && code !== 45 && code !== 46) {
      if (first < 0) first = from;
      if (code !== 32 || words === 3 || !scan.isAlnum(from - 2)) break;
      words++;
    }
    from--;
  }
  if (first < 0) first = from;
  const own = named(text.slice(first, last + 1));
  if (words === 1) return own;
  const wide = named(text.slice(from, last + 1));
  return own.family === undefined || own.family === 'weak-token' ? wide : { name: wide.name, family: own.family };
}

function valueAfter(scan: Scan, sign: number): Value | undefined {
  const { units } = scan;
  let at = sign + 1;
  // `==`, `===` and `=>` stand between other things too: then only a text in quotes is a value
  const compared = units[sign] === 61 && moreSigns[units[at]!] === 1;
  for (let skipped = 0; skipped < 2 && moreSigns[units[at]!] === 1; skipped++) at++;
  for (let skipped = 0; skipped < 8 && blanks[units[at]!] === 1; skipped++) at++;
  // the first text of a list
  if (units[at] === 91 && twoQuotes[units[at + 1]!] === 1) at++;
  const value = readValue(scan, at);
  return compared && value?.quoted !== true ? undefined : value;
}

function readValue(scan: Scan, at: number): Value | undefined {
  const { text, units } = scan;
  // b"…", r"…", f"…", u"…", @"…"
  if (literalPrefixes[units[at]!] === 1 && twoQuotes[units[at + 1]!] === 1) at++;
  let quote = at;
  while (quote < at + 3 && units[quote] === 92) quote++;
  if (at < text.length && quotes[units[quote]!] === 1) return quotedValue(scan, quote + 1, units[quote]!, quote - at);
  return bareValue(scan, at);
}

/** `escapes`: how many backslashes stand before the first quote; as many stand before the last. */
function quotedValue(scan: Scan, start: number, quote: number, escapes: number): Value {
  const { units } = scan;
  const limit = Math.min(scan.text.length, start + longestQuoted);
  let end = start;
  let slashes = 0;
  for (; end < limit; end++) {
    const code = units[end]!;
    if (code === quote && slashes <= escapes) return { start, end: end - Math.min(slashes, escapes), quoted: true };
    slashes = code === 92 ? slashes + 1 : 0;
    // an escaped backslash escapes nothing
    if (escapes === 0 && slashes === 2) slashes = 0;
  }
  return { start, end, quoted: true };
}

function bareValue(scan: Scan, start: number): Value {
  const { text, units } = scan;
  const limit = Math.min(text.length, start + longestBare);
  let end = start;
  for (; end < limit; end++) {
    const code = units[end]!;
    if (code <= 32 || quotes[code] === 1 || code === 60) break;
    if (code > 127 && isForeignSign(text.charCodeAt(end))) break;
    if (code === 92 && escaped[units[end + 1]!] === 1) break;
    if ((code === 38 || code === 44 || code === 59) && endsPair(scan, end)) break;
  }
  while (end > start && closing[units[end - 1]!] === 1) end--;
  return { start, end, quoted: false };
}

/** Blanks, quotes and full stops beyond ASCII. */
function isForeignSign(code: number): boolean {
  return (
    code === 0xa0 ||
    code === 0xab ||
    code === 0xbb ||
    (code >= 0x2000 && code <= 0x2021) ||
    (code >= 0x3000 && code <= 0x3011) ||
    (code >= 0xff00 && code <= 0xff1f)
  );
}

/** Whether the value ends at this `&`, `,` or `;`: after it comes nothing, a blank, or the next name. */
function endsPair(scan: Scan, at: number): boolean {
  const { text, units } = scan;
  if (at + 1 >= text.length || units[at + 1]! <= 32 || quotesOrSlash[units[at + 1]!] === 1) return true;
  let next = at + 1;
  while (next < at + 40 && (scan.isWord(next) || innerName[units[next]!] === 1)) next++;
  return next > at + 1 && signs[units[next]!] === 1;
}

/** The text of an element with the name, `>` at `sign`: `<password>x</password>`. */
function elementValue(scan: Scan, sign: number, last: number, length: number): Value | undefined {
  const { text, units } = scan;
  if (last !== sign - 1) return undefined;
  let open = last;
  while (open > 0 && last - open < longestName && units[open] !== 60) open--;
  if (units[open] !== 60 || last - open < length || units[open + 1] === 47) return undefined;
  let end = sign + 1;
  while (end < text.length && end < sign + longestBare && units[end] !== 60) end++;
  return text.startsWith('</', end) ? { start: sign + 1, end, quoted: true } : undefined;
}

/** `plain`: the sign is `=` or the name in quotes, so that the value is no sentence. */
function judge(scan: Scan, name: string, family: Exclude<Family, 'authorization'>, value: Value, plain: boolean): void {
  const { start, end, quoted } = value;
  const length = end - start;
  if (!quoted && length > longestJudgedTwice) scan.assignedTo = end;
  if (length < shortest[family]) return;
  const text = scan.text.slice(start, end);
  if (isPlaceholder(text)) return;
  // `Bearer x` and the like under another name
  if (length > 12 && /^(?:bearer|basic|token)\s/i.test(text)) return credentials(scan, value);
  if ((!quoted && isIdentifier(text)) || isPath(text)) return;
  if (family === 'password') return isProse(text, quoted || plain) ? undefined : report(scan, 'password', start, end);
  const digits = /\d/.test(text);
  if (family === 'pass') return (quoted || (plain && digits)) && !isProse(text, true) ? report(scan, 'password', start, end) : undefined;
  if (family === 'signature') return /^[A-Za-z0-9+/%]{40,}(?:=|%3[Dd])/.test(text) ? report(scan, 'azure-sas', start, end) : undefined;
  if (/\s/.test(text)) return;
  const letters = /[A-Za-z]/.test(text);
  if (family === 'weak-token' && !(digits && letters)) return;
  if (family === 'token' && !letters) return;
  if (!digits && isLoneWord(text, family, quoted, plain)) return;
  const rule = length < 32 ? undefined : vendors.find((vendor) => vendor.value.test(text) && vendor.name.test(name))?.rule;
  // the vendor's own rule may be off while the general one is on
  const general = family === 'secret' ? 'generic-secret' : 'generic-token';
  report(scan, rule !== undefined && scan.wants(rule) ? rule : general, start, end);
}

/** Whether a value without digits is a word that says what kind of thing is meant. */
function isLoneWord(text: string, family: Family, quoted: boolean, plain: boolean): boolean {
  if (quoted ? text.length >= 16 || !isIdentifier(text) : text.length >= 20 || !/^[A-Za-z]+$/.test(text)) return false;
  if (plain && /[a-z][A-Z]/.test(text)) return false;
  return !(quoted && family === 'secret' && !isProse(text, true));
}

function report(scan: Scan, rule: string, start: number, end: number): void {
  scan.assignedTo = end;
  scan.add(rule, start, end);
}

const scheme = /(?:bearer|basic|token|bot|apikey|api-key|key|negotiate|splunk|genietoken)\s{1,4}/iy;

/** The value of an `Authorization` header: the scheme stays, what follows it is taken. */
function credentials(scan: Scan, value: Value): void {
  const { text } = scan;
  const limit = Math.min(text.length, value.start + longestBare * 8);
  scheme.lastIndex = value.start;
  const hasScheme = scheme.test(text);
  const start = hasScheme ? scheme.lastIndex : value.start;
  const end = tokenEnd(scan, start, limit);
  const length = end - start;
  if (length > longestJudgedTwice) scan.assignedTo = end;
  if (length < (hasScheme ? 6 : 16)) return;
  const shown = text.slice(start, Math.min(end, start + 96));
  if (isPlaceholder(shown) || !/\d|[a-z][A-Z]|=$/.test(shown)) return;
  scan.add('authorization', start, end);
  scan.assignedTo = end;
}

/** The characters of RFC 6750's b64token and RFC 7235's token68, and `:` for the vendors that join two parts with it. */
function tokenEnd(scan: Scan, start: number, limit: number): number {
  const { units } = scan;
  let end = start;
  while (end < limit && (scan.isWord(end) || tokenSigns[units[end]!] === 1)) end++;
  while (end > start && tokenEnds[units[end - 1]!] === 1) end--;
  return end;
}

/** At the word `Bearer` outside a header. */
export function bearer(scan: Scan, start: number): void {
  if (start < scan.assignedTo || scan.units[start + 6] !== 32) return;
  const end = tokenEnd(scan, start + 7, Math.min(scan.text.length, start + longestBare * 8));
  if (end - start >= 23 && /\d/.test(scan.text.slice(start + 7, start + 96))) credentials(scan, { start, end, quoted: false });
}

/** At the `:` of `://`. */
export function userinfo(scan: Scan, colon: number): void {
  const { text, units } = scan;
  const limit = Math.min(text.length, colon + 3 + longestUserinfo);
  let password = -1;
  let at = -1;
  for (let next = colon + 3; next < limit; next++) {
    const code = units[next]!;
    if (code === 64) at = next;
    else if (code === 58 && password < 0) password = next + 1;
    else if (code <= 32 || userinfoEnds[code] === 1) break;
  }
  if (at < 0) return;
  scan.userinfoEnd = at;
  if (password < 0 || password > at || at - password < 3) return;
  if (isPlaceholder(text.slice(password, at))) return;
  scan.add('url-password', password, at);
}
