/** Telephone numbers: international ones with `+` and their country's lengths, and the national ways to write them with separators. */
import { beyond, Kind, kinds, type Scan } from './scan.ts';

/** Digits with the country's code, fewest and most: the national numbering plans as the ITU lists them. Countries that are not here: 9 to 13. */
const lengths = new Map<string, readonly [number, number]>(
  (
    '1:11-11 7:11-11 20:11-12 27:11-11 30:12-12 31:11-11 32:10-11 33:11-11 34:11-11 36:10-11 39:10-13 40:11-11 41:11-11 43:10-14 44:11-12 45:10-10 46:9-12 47:10-10 ' +
    '48:11-11 49:9-14 51:10-11 52:12-13 53:10-10 54:12-13 55:12-13 56:11-11 57:11-12 58:12-12 60:10-12 61:11-11 62:10-14 63:11-12 64:9-12 65:10-10 66:10-11 81:11-12 ' +
    '82:10-12 84:11-12 86:12-13 90:12-12 91:12-12 92:11-12 93:11-11 94:11-11 95:9-12 98:11-12'
  )
    .split(' ')
    .map((row) => row.split(/[:-]/) as [string, string, string])
    .map(([code, min, max]) => [code, [Number(min), Number(max)]]),
);
const other = [9, 13] as const;
/** Codes of three digits begin with these two. */
const longCodes = new Set('21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99'.split(' '));

/** At a `+`, or at the second 0 of `00`; the number begins at `start`. Gives the position after the number, or after the sign. */
export function internationalPhone(scan: Scan, plus: number, start = plus): number {
  const { text, units } = scan;
  const first = units[plus + 1]!;
  if (first < 49 || first > 57) return plus + 1;
  const before = scan.unit(start - 1);
  if ((scan.isWord(start - 1) && !scan.isEscape(start - 1)) || before === 43 || before === 47) return plus + 1;
  const two = text.slice(plus + 1, plus + 3);
  const [min, max] = lengths.get(two[0]!) ?? lengths.get(two) ?? (longCodes.has(two) ? other : [0, 0]);
  if (max === 0) return plus + 1;
  let digits = 0;
  let end = -1;
  let at = plus + 1;
  while (at < plus + 40) {
    // the trunk's 0 in `+44 (0)20` is written and not dialled
    if (units[at] === 40 && units[at + 1] === 48 && units[at + 2] === 41) at += 3;
    while (at < plus + 40 && isSeparator(units[at]!) && units[at] !== 40) at++;
    if (units[at] === 40 && units[at + 1] !== 48) at++;
    const from = at;
    while (at < from + 16 && scan.isDigit(at)) at++;
    if (at === from || digits + at - from > max) break;
    digits += at - from;
    if (!scan.isWord(at) && digits >= min) end = at;
    if (isSeparator(units[at]!) && !scan.isDigit(at + 1) && units[at + 1] !== 40 && units[at] !== 41 && units[at + 1] !== 32) break;
    if (!isSeparator(units[at]!) && units[at] !== beyond) break;
    if (units[at] === beyond && text.charCodeAt(at) !== 0xa0) break;
    if (units[at] === beyond) at++;
  }
  if (end < 0) return plus + 1;
  const dialled = text
    .slice(plus + 1, end)
    .replace('(0)', '')
    .replace(/\D/g, '');
  // in North America neither the area nor the exchange begins with 0 or 1
  if (first === 49 && (dialled[1]! < '2' || dialled[4]! < '2')) return plus + 1;
  if (/^.{2}(.)\1*$/.test(dialled)) return plus + 1;
  scan.add('phone', start, end);
  return end;
}

/** Blank, `-`, `.`, `/`, parentheses. */
function isSeparator(code: number): boolean {
  return code === 32 || code === 45 || code === 46 || code === 40 || code === 41 || code === 47;
}

const bracketed = /\((0?\d{2,4})\)[ -]?(\d{3,5})[ .-]?(\d{3,5})(?:[ .-](\d{2,4}))?/y;

/** At a `(`: an area code, then two or three groups. */
export function bracketedPhone(scan: Scan, open: number): void {
  if (!scan.isDigit(open + 1) || !scan.isDigit(open + 2) || scan.isWord(open - 1)) return;
  bracketed.lastIndex = open;
  const parts = bracketed.exec(scan.text);
  if (parts === null || scan.isWord(bracketed.lastIndex)) return;
  const [, area, second, third, fourth] = parts as unknown as [string, string, string, string, string | undefined];
  const total = area.length + second.length + third.length + (fourth ?? '').length;
  const isAmerican = area.length === 3 && second.length === 3 && third.length === 4 && fourth === undefined && area[0]! > '1' && second[0]! > '1';
  const isBrazilian = area.length === 2 && area > '10' && third.length === 4 && fourth === undefined && (second.length === 4 || second.length === 5);
  const isTrunk = area[0] === '0' && area[1] !== '0' && total >= 9 && total <= 12;
  if (isAmerican || isBrazilian || isTrunk) scan.add('phone', open, bracketed.lastIndex);
}

/** The words before a number without separators that make it a telephone's: `"phone": "`, `tel:`, `Mobile no. `. */
const phoneWord =
  /(?:phone|tel|telefon|téléphone|telefono|teléfono|telefone|mobile|mobil|handy|cell|fax|whatsapp|msisdn|sms|call)(?:[ _-]?(?:number|no|nr|num|nummer))?\.?["'\\]{0,4}\s{0,3}[:=(]?\s{0,3}["'\\]{0,4}$/;

/**
 * Groups of digits that a country writes its numbers in, beginning with group `first`. Gives how many groups the number has, 0 when it is none.
 * `starts`, `ends` and `separators` describe `count` groups.
 */
export function nationalPhone(scan: Scan, starts: Int32Array, ends: Int32Array, separators: Uint8Array, first: number, count: number): number {
  const lengthOf = (group: number): number => (group < count ? ends[group]! - starts[group]! : 0);
  const start = starts[first]!;
  const hit = (groups: number): number => {
    const end = ends[first + groups - 1]!;
    if (!scan.standsAlone(start, end)) return 0;
    scan.add('phone', start, end);
    return groups;
  };
  const a = lengthOf(first);
  const lead = scan.units[start]! - 48;
  if (a > 6 || first + 1 === count) {
    const isLonely = first + 1 === count || separators[first + 1] === 32;
    return a >= 7 && a <= 13 && isLonely && precedes(scan, start) && phoneWord.test(scan.before(start, 40)) ? hit(1) : 0;
  }
  if (first > 0 && separators[first] !== 32) return 0;
  const separator = separators[first + 1]!;
  if (first > 0 && separator === 32) return 0;
  // as far as one separator reaches; the first may be another, as in 030/123 456
  let groups = 2;
  let total = a + lengthOf(first + 1);
  const inner = separators[first + 2];
  const uniform = separator === 47 ? inner : separator;
  while (first + groups < count && separators[first + groups] === uniform) total += lengthOf(first + groups++);
  if (first + groups < count && separators[first + groups] !== 32) return 0;
  const b = lengthOf(first + 1);
  const c = lengthOf(first + 2);
  const d = lengthOf(first + 3);
  if (separator === 46) {
    const isFrench = groups === 5 && lead === 0 && total === 10 && a === 2 && b === 2 && c === 2 && d === 2;
    return isFrench || (groups === 3 && isAmerican(scan, starts, first, a, b, c)) ? hit(groups) : 0;
  }
  if (groups === 3 && isAmerican(scan, starts, first, a, b, c)) return hit(3);
  if (groups === 4 && a === 1 && lead === 1 && isAmerican(scan, starts, first + 1, b, c, d)) return hit(4);
  // mobiles of China (1xx xxxx xxxx) and India (xxxxx xxxxx)
  if (groups === 3 && a === 3 && lead === 1 && b === 4 && c === 4 && scan.text[start + 1]! > '2') return hit(3);
  if (groups === 2 && a === 5 && b === 5 && lead >= 6 && separator !== 47) return hit(2);
  if (lead !== 0 || a < 2 || a > 5 || total < 9 || total > 12 || groups > 5) return 0;
  const second = scan.units[start + 1];
  if (second === 48) return 0;
  for (let group = 1; group < groups; group++) if (lengthOf(first + group) < 2) return 0;
  // 01-02-2024-001 is a day with something behind it; rows of pairs are a number only as the French write it
  if (a === 2 && b === 2 && (groups !== 5 || total !== 10 || isHexPair(scan, ends[first + 4]!) || isHexPair(scan, start - 3))) return 0;
  if (separator === 47 && (b < 3 || a < 3)) return 0;
  return hit(groups);
}

/** Three, three and four digits; area and exchange begin with 2 to 9. */
function isAmerican(scan: Scan, starts: Int32Array, first: number, a: number, b: number, c: number): boolean {
  return a === 3 && b === 3 && c === 4 && scan.text[starts[first]!]! > '1' && scan.text[starts[first + 1]!]! > '1';
}

/** Whether a blank and two hex digits stand at `at`, as in a dump of bytes. */
function isHexPair(scan: Scan, at: number): boolean {
  return at >= 0 && /^ ?[0-9a-f]{2}(?: |$)/i.test(scan.text.slice(at, at + 4));
}

/** Whether a letter stands before the signs before a number: without one there is no word to look for. */
function precedes(scan: Scan, start: number): boolean {
  for (let at = start - 1; at >= 0 && at > start - 12; at--) {
    const kind = kinds[scan.units[at]!];
    if (kind === Kind.digit) return false;
    if (kind === Kind.letter) return true;
  }
  return false;
}
