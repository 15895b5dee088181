/**
 * Credentials with a shape of their own: the vendors' formats (`formats.ts`), web tokens, private keys, and the few that are told by something in their middle.
 */
import { formatsAt, formatRules, nearby, slotInUse, slotOf, type Format } from './formats.ts';
import type { Alphabet, Scan } from './scan.ts';

const hex: Alphabet = 0;
const alnum: Alphabet = 2;
const url: Alphabet = 3;
const base64: Alphabet = 4;
const dotted: Alphabet = 5;
const letter: Alphabet = 7;

export const shapeRules: readonly string[] = [
  ...formatRules,
  'aws-secret-key',
  'azure-client-secret',
  'mailchimp-key',
  'telegram-token',
  'discord-token',
  'terraform-token',
  'jwt',
  'private-key',
];

/** How much of a value is looked at for digits and letters. A random value without a digit among so many characters is rarer than one in a thousand. */
const looked = 48;

/** Whether there are digits and letters within [start, end), both among its first characters. */
function isMixed(scan: Scan, start: number, end: number): boolean {
  let digits = false;
  let letters = false;
  for (let at = start; at < end && at < start + looked && !(digits && letters); at++) {
    if (scan.isDigit(at)) digits = true;
    else if (scan.isAlnum(at)) letters = true;
  }
  return digits && letters;
}

function endOfFormat(scan: Scan, format: Format, start: number): number {
  let at = start + format.prefix.length;
  for (const part of format.parts) {
    if (typeof part === 'string') {
      if (!scan.text.startsWith(part, at)) return -1;
      at += part.length;
    } else {
      // most runs that are too short are seen at the place of their last character
      if (!scan.isIn(part.alphabet, at + part.min - 1)) return -1;
      const end = scan.runEnd(part.alphabet, at);
      if (end - at < part.min || end - at > part.max) return -1;
      at = end;
    }
  }
  if (scan.isAlnum(at)) return -1;
  // a full stop behind the value ends a sentence
  return scan.units[at - 1] === 46 ? at - 1 : at;
}

/** A web token begins with `{"` in base64url. At most five parts (JWE). */
function jsonWebToken(scan: Scan, start: number): void {
  if (start < scan.webTokenEnd) return;
  let end = scan.runEnd(url, start);
  if (end - start < 10) return;
  let parts = 1;
  while (parts < 5 && scan.units[end] === 46) {
    const next = scan.runEnd(url, end + 1);
    // the second part of an encrypted one may be empty
    if (next === end + 1 && !(parts === 1 && scan.units[next] === 46)) break;
    end = next;
    parts++;
  }
  if (parts < 3 && !(parts === 2 && scan.text.startsWith('eyJ', scan.text.indexOf('.', start) + 1))) return;
  if (end - start < 36) return;
  scan.webTokenEnd = end;
  scan.add('jwt', start, end);
}

/** The pair that a console or a CSV file gives: beside the id stands the secret, 40 characters of base64. */
function awsSecretAfter(scan: Scan, end: number): void {
  let at = end;
  while (at < end + 6 && !scan.isAlnum(at)) at++;
  const to = scan.runEnd(base64, at);
  if (to - at === 40 && isMixed(scan, at, to)) scan.add('aws-secret-key', at, to);
}

function shapesFrom(scan: Scan, start: number): void {
  const { units } = scan;
  const slot = slotOf(units[start]!, units[start + 1]!, units[start + 2]!);
  if (slotInUse[slot] !== 0) formatsFrom(scan, start, slot);
}

function formatsFrom(scan: Scan, start: number, slot: number): void {
  const { text } = scan;
  if (start + 12 > text.length) return;
  const fourth = scan.units[start + 3];
  if (text.startsWith('eyJ', start)) jsonWebToken(scan, start);
  for (const format of formatsAt(slot)) {
    if ((format.fourth !== 0 && format.fourth !== fourth) || !text.startsWith(format.prefix, start)) continue;
    const end = endOfFormat(scan, format, start);
    if (end < 0) continue;
    if (format.mixed && !isMixed(scan, start + format.prefix.length, end)) continue;
    if (format.near !== undefined && !format.near.test(scan.before(start, nearby))) continue;
    scan.add(format.rule, start, end);
    if (format.rule === 'aws-access-key') awsSecretAfter(scan, end);
  }
}
slotInUse[slotOf(101, 121, 74)] = 1; // eyJ

/** At the first character of a word, `end` after its last: letters, digits and `_`. */
export function shapesAtWord(scan: Scan, start: number, end: number): void {
  shapesFrom(scan, start);
  const before = scan.unit(start - 1);
  // the first letters may belong to an escape: `\n`, `\u003d`, `%3D`
  if (before === 92) {
    shapesFrom(scan, start + 1);
    if (scan.units[start] === 117) shapesFrom(scan, start + 5);
  } else if (before === 37) {
    shapesFrom(scan, start + 2);
  } else if (before === 45) {
    mailchimp(scan, start, end);
  } else if (before === 46 && scan.text.startsWith('atlasv1.', start)) {
    terraform(scan, start);
  }
}

/** 32 hex digits, `-us` and the number of a data centre. */
function mailchimp(scan: Scan, start: number, end: number): void {
  const length = end - start;
  if (length < 3 || length > 4 || !scan.text.startsWith('us', start) || !scan.isDigit(start + 2) || !scan.isDigit(end - 1)) return;
  const from = start - 33;
  if (from >= 0 && scan.runEnd(hex, from) === start - 1 && !scan.isAlnum(from - 1)) scan.add('mailchimp-key', from, end);
}

/** 14 characters before `.atlasv1.`, 60 to 70 after it. */
function terraform(scan: Scan, start: number): void {
  const from = start - 15;
  const end = scan.runEnd(url, start + 8);
  if (from >= 0 && scan.runEnd(alnum, from) === start - 1 && !scan.isAlnum(from - 1) && end - start >= 68 && end - start <= 78) {
    scan.add('terraform-token', from, end);
  }
}

/** At a `:` between the number of a bot (8 to 10 digits) and 35 characters that begin with `AA`. */
export function telegram(scan: Scan, colon: number): void {
  const end = scan.runEnd(url, colon + 1);
  if (end - colon !== 36) return;
  let from = colon;
  while (from > colon - 11 && scan.isDigit(from - 1)) from--;
  if (colon - from < 8 || colon - from > 10) return;
  // in addresses the number stands behind `bot`
  if (scan.isAlnum(from - 1) && scan.before(from, 3) !== 'bot') return;
  scan.add('telegram-token', from, end);
}

/** At the first `.` of three parts: 24 to 28 characters that begin with M, N or O, then 6, then 27 to 38. */
export function discord(scan: Scan, dot: number): void {
  if (scan.runEnd(url, dot + 1) !== dot + 7) return;
  const end = scan.runEnd(url, dot + 8);
  if (end - dot < 35 || end - dot > 46) return;
  let from = dot;
  while (dot - from < 30 && (scan.isWord(from - 1) || scan.unit(from - 1) === 45)) from--;
  if (dot - from < 24 || dot - from > 28 || !'MNO'.includes(scan.text[from]!)) return;
  if (isMixed(scan, from, dot) && isMixed(scan, dot + 8, end)) scan.add('discord-token', from, end);
}

/** At the `~` of a secret of Entra ID: three characters, a digit, `Q~`, 31 to 34 characters. */
export function azureClientSecret(scan: Scan, tilde: number): void {
  const from = tilde - 5;
  if (from < 0 || scan.unit(tilde - 1) !== 81 || !scan.isDigit(tilde - 2) || scan.isAlnum(from - 1)) return;
  const end = scan.runEnd(dotted, tilde + 1);
  const length = end - tilde - 1;
  if (scan.runEnd(dotted, from) === end && length >= 31 && length <= 34) scan.add('azure-client-secret', from, end);
}

/** A private key may have so many units between its lines of dashes before it is taken for something else. */
const longestKey = 64 * 1024;

/** At the end of five or more dashes. A key that was cut off ends where its base64 does. */
export function privateKey(scan: Scan, dashesEnd: number): void {
  const { text, units } = scan;
  if (!text.startsWith('BEGIN ', dashesEnd)) return;
  let labelEnd = dashesEnd + 6;
  while (labelEnd < dashesEnd + 48 && (units[labelEnd] === 32 || units[labelEnd] === 50 || scan.runEnd(letter, labelEnd) > labelEnd)) labelEnd++;
  if (!text.startsWith('PRIVATE KEY', labelEnd - 11) && !text.startsWith('PRIVATE KEY BLOCK', labelEnd - 17)) return;
  let body = labelEnd;
  while (units[body] === 45 && body < labelEnd + 5) body++;
  if (body - labelEnd < 4) return;
  // every further beginning has dashes of its own, so no stretch is searched twice
  const dashes = text.indexOf('-----', body);
  if (dashes >= 0 && dashes - body <= longestKey && text.startsWith('END ', dashes + 5)) {
    if (dashes - body < 24) return;
    const close = text.indexOf('-----', dashes + 9);
    const end = close >= 0 && close - dashes < 60 ? close + 5 : dashes + 9;
    scan.add('private-key', dashesEnd - 5, end);
    return;
  }
  let end = body;
  while (end < text.length && end - body < longestKey && isKeyBody(units[end]!)) end++;
  if (end - body >= 24) scan.add('private-key', dashesEnd - 5, end);
}

function isKeyBody(code: number): boolean {
  const isAlphanumeric = (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
  return isAlphanumeric || code === 43 || code === 47 || code === 61 || code === 10 || code === 13 || code === 92;
}
