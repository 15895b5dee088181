/** Personal data that is told by letters: mailboxes, accounts, and national numbers with letters in them. */
import { codiceFiscale, dni, mod97, nir } from './checksums.ts';
import { numberRules } from './numbers.ts';
import type { Scan } from './scan.ts';

export const personalRules: readonly string[] = [
  'email',
  'phone',
  ...numberRules.slice(0, 1),
  'iban',
  ...numberRules.slice(1),
  'uk-nino',
  'es-dni',
  'it-codice-fiscale',
  'in-pan',
];

/** Longest local part of a mailbox and longest domain: RFC 5321, 4.5.3.1. */
const longestLocal = 64;
const longestDomain = 255;

/** Files that are named like domains (`logo@2x.png`). Endings that are countries too (`md`, `rs`, `py`) are not here. */
const fileEndings = new Set(
  'png jpg jpeg gif svg webp avif ico bmp js mjs cjs ts tsx jsx css scss less html htm json yaml yml xml txt lock map log woff ttf tgz gz local localdomain'.split(
    ' ',
  ),
);

/** At an `@`. */
export function email(scan: Scan, at: number): void {
  if (at === scan.userinfoEnd) return;
  const { text } = scan;
  let start = at;
  while (start > 0 && at - start <= longestLocal && isLocal(text.charCodeAt(start - 1))) start--;
  if (at - start > longestLocal) return;
  while (start < at && isDotOrDash(scan.units[start]!)) start++;
  // the letter of an escape is no part of the name
  if (start < at - 1 && scan.isEscape(start)) start++;
  if (start === at || text.charCodeAt(at - 1) === 46) return;
  let end = at + 1;
  let dot = -1;
  for (;;) {
    const label = end;
    while (end < text.length && end - at <= longestDomain && (isLetterOrDigit(text.charCodeAt(end)) || text.charCodeAt(end) === 45)) end++;
    if (end === label || text.charCodeAt(label) === 45) break;
    if (text.charCodeAt(end) !== 46 || end + 1 >= text.length || !isLetterOrDigit(text.charCodeAt(end + 1))) {
      endEmail(scan, start, dot, end);
      break;
    }
    dot = end;
    end++;
  }
}

function endEmail(scan: Scan, start: number, dot: number, domainEnd: number): void {
  let end = domainEnd;
  const { text } = scan;
  while (end > 0 && text.charCodeAt(end - 1) === 45) end--;
  if (dot < 0 || end - dot < 3 || end - dot > 25) return;
  const top = text.slice(dot + 1, end).toLowerCase();
  if (!/^(?:[a-z\u00c0-\u024f]+|xn--[a-z0-9-]+)$/.test(top) || fileEndings.has(top)) return;
  // git@host.org:path is the address of a repository
  if (text.charCodeAt(end) === 58 && text.startsWith('git@', start)) return;
  scan.add('email', start, end);
}

const isDotOrDash = (code: number): boolean => code === 46 || code === 45 || code === 37 || code === 43;

/** ASCII and the Latin letters with marks: names and domains are written with both. */
function isLetterOrDigit(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 0xc0 && code <= 0x24f);
}

function isLocal(code: number): boolean {
  return isLetterOrDigit(code) || code === 95 || isDotOrDash(code);
}

/** Characters of an IBAN by country: SWIFT's registry, release 100. */
const ibanLengths = new Map(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 ' +
    'HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 ' +
    'PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((row) => [row.slice(0, 2), Number(row.slice(2))]),
);

function iban(scan: Scan, start: number): void {
  const { text, units } = scan;
  const length = ibanLengths.get(text.slice(start, start + 2));
  if (length === undefined) return;
  // groups of four, or no groups
  let count = 0;
  let at = start;
  for (; count < length; at++) {
    const unit = units[at]!;
    if ((unit >= 48 && unit <= 57) || (unit >= 65 && unit <= 90)) count++;
    else if (count % 4 !== 0 || (unit !== 32 && unit !== 45 && text.charCodeAt(at) !== 0xa0)) return;
  }
  if (scan.standsAlone(start, at) && mod97(text.slice(start, at).replace(/[^0-9A-Z]/g, ''))) scan.add('iban', start, at);
}

/** Two letters that are given, six digits, one of A to D; in pairs with blanks or without. */
const nino = /(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]/y;
const fiscal = /^[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]$/;
/** The fourth letter says what kind of holder it is. */
const pan = /^[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]$/;

/** At a word that begins with a capital letter; `end` is after its letters, digits and `_`. */
export function lettersFirst(scan: Scan, start: number, end: number): void {
  const { text, units } = scan;
  const length = end - start;
  const second = units[start + 1]!;
  if (second >= 65 && second <= 90) {
    const third = length > 2 ? units[start + 2]! : 0;
    if (length >= 4 && third >= 48 && third <= 57 && scan.isDigit(start + 3)) iban(scan, start);
    if (length === 9 || length === 2 || length === 8 || length === 4) {
      nino.lastIndex = start;
      if ((third >= 48 && third <= 57) || length === 2) {
        if (nino.test(text) && scan.standsAlone(start, nino.lastIndex)) scan.add('uk-nino', start, nino.lastIndex);
      }
    } else if (length === 10) {
      if (pan.test(text.slice(start, end)) && scan.standsAlone(start, end)) scan.add('in-pan', start, end);
    } else if (length === 16) {
      const code = text.slice(start, end);
      if (fiscal.test(code) && codiceFiscale(code) && scan.standsAlone(start, end)) scan.add('it-codice-fiscale', start, end);
    }
  } else if (length === 9 && second >= 48 && second <= 57) {
    dniFrom(scan, start, text.slice(start, end), end);
  } else if (length === 1) {
    // X-1234567-L
    const dashed = /[XYZ]-\d{7}-[A-Z]/y;
    dashed.lastIndex = start;
    if (units[start + 1] === 45 && dashed.test(text)) dniFrom(scan, start, text.slice(start, start + 11).replaceAll('-', ''), start + 11);
  }
}

/** At a word that begins with a digit and holds letters, or with one that `-` and a letter follow. */
export function digitsFirst(scan: Scan, start: number, end: number): void {
  const length = end - start;
  if (length !== 9 && length !== 8 && length !== 15 && length !== 1) return;
  const { text, units } = scan;
  if (length === 9 && scan.isAlnum(end - 1) && !scan.isDigit(end - 1)) dniFrom(scan, start, text.slice(start, end), end);
  else if (length === 8 && units[end] === 45) dniFrom(scan, start, text.slice(start, end) + text.slice(end + 1, end + 2), end + 2);
  else if (length === 15) {
    const code = text.slice(start, end);
    if (/^[12]\d{4}2[AB]\d{8}$/.test(code) && nir(code) && scan.standsAlone(start, end)) scan.add('fr-nir', start, end);
  } else if (length === 1) {
    const grouped = /[12] \d\d \d\d 2[AB] \d{3} \d{3} \d\d/y;
    grouped.lastIndex = start;
    if (units[start + 1] === 32 && units[start + 7] === 50 && grouped.test(text)) {
      const to = grouped.lastIndex;
      if (nir(text.slice(start, to).replaceAll(' ', '')) && scan.standsAlone(start, to)) scan.add('fr-nir', start, to);
    }
  }
}

function dniFrom(scan: Scan, start: number, code: string, end: number): void {
  if (/^[XYZ\d]\d{7}[A-Z]$/.test(code) && !/^0{8}/.test(code) && dni(code) && scan.standsAlone(start, end)) scan.add('es-dni', start, end);
}
