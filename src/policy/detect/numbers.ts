/**
 * Numbers that are personal: cards, telephones, national numbers that consist of digits. A search begins at the first digit of a word and takes in all groups of
 * digits with single separators between them; what the groups may be is decided by their lengths, then by check digits, then by the words before them.
 */
import { bsn, cpf, isMonotone, isMonthAndDay, luhn, nir, pesel, steuerId, tfn, verhoeff } from './checksums.ts';
import { nationalPhone } from './phones.ts';
import { beyond, setOf, type Scan } from './scan.ts';

export const numberRules: readonly string[] = [
  'card',
  'us-ssn',
  'de-steuer-id',
  'fr-nir',
  'nl-bsn',
  'se-personnummer',
  'pl-pesel',
  'br-cpf',
  'in-aadhaar',
  'ca-sin',
  'au-tfn',
];

/** Groups that are looked at together; a longer row is looked at piece by piece. */
const mostGroups = 12;
/** How far before a number the word may stand that says what it is, in UTF-16 units. */
const nearby = 48;

const starts = new Int32Array(mostGroups);
const ends = new Int32Array(mostGroups);
/** The separator before each group, 0 before the first. */
const separators = new Uint8Array(mostGroups);

/** Between a word that names a number and the number stand at most a few other words: `my SSN is`, `"ssn": "`. */
const named = {
  ssn: /ssn|social.?security|soc\.? ?sec/,
  steuer: /steuer|idnr|id-?nr|tax.?id|\btin\b|identifikationsnummer/,
  bsn: /bsn|burgerservice|sofi/,
  personnummer: /person(?:al)?.?(?:nummer|number|nr)|\bpnr\b|samordningsnummer/,
  pesel: /pesel/,
  cpf: /cpf/,
  aadhaar: /aadha?ar|uidai|\buid\b|आधार/,
  sin: /\bsin\b|_sin\b|social.?insurance|assurance sociale|\bnas\b/,
  tfn: /tfn|tax.?file/,
  nir: /\bnir\b|s[ée]cu|s[ée]curit[ée] sociale|insee/,
} as const;

function says(scan: Scan, at: number, word: RegExp): boolean {
  return word.test(scan.before(at, nearby));
}

/** From the first digit of a word. Gives the position after everything that was looked at. */
export function numbers(scan: Scan, from: number): number {
  let count = 0;
  let at = from;
  let separator = 0;
  let total = 0;
  while (count < mostGroups) {
    let end = at + 1;
    while (scan.isDigit(end)) end++;
    // a group with letters belongs to a name
    if (scan.isWord(end)) break;
    starts[count] = at;
    ends[count] = end;
    total += end - at;
    separators[count] = separator;
    count++;
    separator = scan.units[end]!;
    if (separator === beyond && scan.text.charCodeAt(end) === 0xa0) separator = 32;
    if (separator !== 32 && separator !== 45 && separator !== 46 && separator !== 47) break;
    if (!scan.isDigit(end + 1)) break;
    at = end + 1;
  }
  if (count === 0) return from + 1;
  // the shortest numbers have seven digits with a word before them, nine with separators
  if (total < (count === 1 ? 7 : 9)) return ends[count - 1]!;
  for (let group = 0; group < count;) group = Math.max(group + 1, look(scan, group, count));
  return ends[count - 1]!;
}

const lengthOf = (group: number): number => ends[group]! - starts[group]!;

/** The digits of `groups` groups from `first`. */
function digitsOf(scan: Scan, first: number, groups: number): string {
  let digits = '';
  for (let group = first; group < first + groups; group++) digits += scan.text.slice(starts[group], ends[group]);
  return digits;
}

const dashOrBlank = setOf('- ');
const dashDotOrBlank = setOf('-. ');
const blank = setOf(' ');
const dash = setOf('-');

/** Whether the groups' lengths from `first` are those of `lengths`, with one kind of separator, and no neighbour with that separator. */
function fits(scan: Scan, first: number, count: number, lengths: readonly number[], allowed: Uint8Array): boolean {
  const groups = lengths.length;
  if (first + groups > count) return false;
  for (let group = 0; group < groups; group++) if (lengthOf(first + group) !== lengths[group]) return false;
  const separator = separators[first + 1]!;
  if (allowed[separator] !== 1) return false;
  for (let group = first + 2; group < first + groups; group++) if (separators[group] !== separator) return false;
  if (first > 0 && separators[first] === separator) return false;
  if (first + groups < count && separators[first + groups] === separator) return false;
  return scan.standsAlone(starts[first]!, ends[first + groups - 1]!);
}

/** What begins with group `first`. Gives the first group after it, or `first` when it is nothing. */
function look(scan: Scan, first: number, count: number): number {
  const length = lengthOf(first);
  const isLast = first + 1 === count;
  const alone = (first === 0 || separators[first] === 32) && (isLast || separators[first + 1] === 32);
  const groups =
    card(scan, first, count) || national(scan, first, count, length, isLast) || nationalPhone(scan, starts, ends, separators, first, count);
  if (groups > 0) return first + groups;
  if (alone && length >= 8 && length <= 15 && scan.standsAlone(starts[first]!, ends[first]!)) plain(scan, starts[first]!, ends[first]!);
  return first;
}

/** Cards that are issued, by their first digits and lengths: ISO/IEC 7812 and the networks' own lists. */
function isIssued(digits: string): boolean {
  const length = digits.length;
  const two = Number(digits.slice(0, 2));
  const three = Number(digits.slice(0, 3));
  const four = Number(digits.slice(0, 4));
  if (two === 34 || two === 37) return length === 15;
  if (two === 36 || two === 38 || two === 39 || (three >= 300 && three <= 305)) return length === 14;
  if (four >= 3528 && four <= 3589) return length === 16;
  if (digits[0] === '4') return length === 13 || length === 16 || length === 19;
  if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720) || (four >= 2200 && four <= 2204)) return length === 16;
  if (two === 62 || two === 81) return length >= 16 && length <= 19;
  if (four === 6011 || two === 65 || (three >= 644 && three <= 649)) return length === 16 || length === 19;
  if (four === 5018 || four === 5020 || four === 5038 || four === 5893 || four === 6304 || four === 6759 || (four >= 6761 && four <= 6763))
    return length >= 16;
  return false;
}

/** 13 to 19 digits in one group, or in groups of three and more with one separator. */
function card(scan: Scan, first: number, count: number): number {
  const length = lengthOf(first);
  if (length < 4 || length > 19) return 0;
  const lead = scan.units[starts[first]!]!;
  if (lead < 50 || lead > 56) return 0;
  let groups = 1;
  let total = length;
  if (length < 13) {
    const separator = first + 1 < count ? separators[first + 1] : 0;
    if (separator !== 32 && separator !== 45) return 0;
    if (first > 0 && separators[first] === separator && (separator === 45 || lengthOf(first - 1) > 3)) return 0;
    while (first + groups < count && groups < 6 && separators[first + groups] === separator && total < 20) {
      const next = lengthOf(first + groups);
      // the last group of a card of 13 or 19 digits is short; month, year and check value behind a full card are not its own
      if (next < 3 && total + next !== 13) break;
      if (total === 16 || (total === 15 && (lead === 51 ? length === 4 : false))) break;
      total += next;
      groups++;
    }
  }
  if (total < 13 || total > 19) return 0;
  const start = starts[first]!;
  const end = ends[first + groups - 1]!;
  if (!scan.standsAlone(start, end)) return 0;
  const digits = digitsOf(scan, first, groups);
  if (!isIssued(digits) || isMonotone(digits) || !luhn(digits)) return 0;
  scan.add('card', start, end);
  return groups;
}

/** National numbers in their usual groups. */
function national(scan: Scan, first: number, count: number, length: number, isLast: boolean): number {
  if (isLast || length > 8) return 0;
  const hit = (rule: string, groups: number): number => {
    scan.add(rule, starts[first]!, ends[first + groups - 1]!);
    return groups;
  };
  const start = starts[first]!;
  if (length === 3) {
    if (fits(scan, first, count, [3, 2, 4], dashOrBlank)) return isSsn(digitsOf(scan, first, 3)) ? hit('us-ssn', 3) : 0;
    if (first + 3 < count && lengthOf(first + 3) === 2 && separators[first + 3] === 45 && isCpf(scan, first)) return hit('br-cpf', 4);
    if (!fits(scan, first, count, [3, 3, 3], dashOrBlank)) return 0;
    const digits = digitsOf(scan, first, 3);
    if (tfn(digits) && says(scan, start, named.tfn)) return hit('au-tfn', 3);
    if (bsn(digits) && says(scan, start, named.bsn)) return hit('nl-bsn', 3);
    return isSin(digits) && !isAmount(scan, start, ends[first + 2]!) ? hit('ca-sin', 3) : 0;
  }
  if (length === 4) {
    if (!fits(scan, first, count, [4, 4, 4], dashOrBlank)) return 0;
    return isAadhaar(digitsOf(scan, first, 3)) ? hit('in-aadhaar', 3) : 0;
  }
  if (length === 6 || length === 8) return isPersonnummer(scan, first, count, length) ? hit('se-personnummer', 2) : 0;
  if (length === 2 && fits(scan, first, count, [2, 3, 3, 3], blank)) {
    return steuerId(digitsOf(scan, first, 4)) && says(scan, start, named.steuer) ? hit('de-steuer-id', 4) : 0;
  }
  if (length === 1) {
    for (const lengths of nirGroups)
      if (fits(scan, first, count, lengths, dashDotOrBlank) && nir(digitsOf(scan, first, lengths.length))) return hit('fr-nir', lengths.length);
  }
  return 0;
}

const nirGroups = [
  [1, 2, 2, 2, 3, 3, 2],
  [1, 2, 2, 5, 3, 2],
];

/** Eight to fifteen digits without separators: without a check digit of its own kind (15 digits) only a word before them makes them a number of a person. */
function plain(scan: Scan, start: number, end: number): void {
  const digits = scan.text.slice(start, end);
  const add = (rule: string): void => scan.add(rule, start, end);
  if (digits.length === 9) {
    if (isSsn(digits) && says(scan, start, named.ssn)) add('us-ssn');
    else if (bsn(digits) && says(scan, start, named.bsn)) add('nl-bsn');
    else if (tfn(digits) && says(scan, start, named.tfn)) add('au-tfn');
    else if (isSin(digits) && says(scan, start, named.sin)) add('ca-sin');
  } else if (digits.length === 8) {
    if (bsn(`0${digits}`) && says(scan, start, named.bsn)) add('nl-bsn');
  } else if (digits.length === 11) {
    if (steuerId(digits) && says(scan, start, named.steuer)) add('de-steuer-id');
    else if (pesel(digits) && says(scan, start, named.pesel)) add('pl-pesel');
    else if (cpf(digits) && says(scan, start, named.cpf)) add('br-cpf');
  } else if (digits.length === 12 || digits.length === 10) {
    if (digits.length === 12 && isAadhaar(digits) && says(scan, start, named.aadhaar)) add('in-aadhaar');
    else if (isBorn(digits.slice(-10)) && luhn(digits.slice(-10)) && says(scan, start, named.personnummer)) add('se-personnummer');
  } else if (digits.length === 15) {
    const sex = digits[0]!;
    if ((sex === '1' || sex === '2') && nir(digits)) add('fr-nir');
  }
}

/** Areas 000, 666 and 900 to 999, group 00 and serial 0000 are never given (Social Security Administration). */
function isSsn(digits: string): boolean {
  return !/^(?:000|666|9)|^...00|0000$/.test(digits) && !isMonotone(digits);
}

/** 0 and 8 begin no person's number. */
function isSin(digits: string): boolean {
  return digits[0] !== '0' && digits[0] !== '8' && !isMonotone(digits) && luhn(digits);
}

const isAadhaar = (digits: string): boolean => digits[0]! >= '2' && !isMonotone(digits) && verhoeff(digits);

function isCpf(scan: Scan, first: number): boolean {
  if (lengthOf(first + 1) !== 3 || lengthOf(first + 2) !== 3 || separators[first + 1] !== 46 || separators[first + 2] !== 46) return false;
  return scan.standsAlone(starts[first]!, ends[first + 3]!) && cpf(digitsOf(scan, first, 4));
}

/** YYMMDD and more: coordination numbers have 60 added to the day. */
function isBorn(digits: string): boolean {
  const day = Number(digits.slice(4, 6));
  return isMonthAndDay(Number(digits.slice(2, 4)), day > 60 ? day - 60 : day);
}

function isPersonnummer(scan: Scan, first: number, count: number, length: number): boolean {
  if (!fits(scan, first, count, [length, 4], dash)) return false;
  const digits = digitsOf(scan, first, 2);
  const century = length === 8 ? Number(digits.slice(0, 2)) : 0;
  const short = digits.slice(-10);
  if ((century !== 0 && century !== 18 && century !== 19 && century !== 20) || !isBorn(short) || !luhn(short)) return false;
  // a day of this century and a time of day is how files and builds are named
  const isRecent = century === 20 || (century === 0 && short < '4');
  const isTime = Number(short.slice(6, 8)) < 24 && Number(short.slice(8)) < 60;
  return !(isRecent && isTime) || says(scan, starts[first]!, named.personnummer);
}

/** Whether a currency or a unit stands at the number. */
function isAmount(scan: Scan, start: number, end: number): boolean {
  return (
    /[$€£¥₹]\s?$/.test(scan.text.slice(Math.max(0, start - 2), start)) ||
    /^(?:,\d|\s?[$€£¥₹%])|^\s?(?:(?:EUR|USD|CAD|GBP|CHF|SEK|PLN|kr|bytes|[KMG]i?B|ms|km|rows|users)\b)/.test(scan.text.slice(end, end + 7))
  );
}
