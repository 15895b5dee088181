/**
 * Check digits of cards, accounts and national numbers. Every function takes the digits (or the code) without separators and says whether they fit together;
 * none looks at the length, which the caller knows.
 */

const digit = (text: string, at: number): number => text.charCodeAt(at) - 48;

function weighted(text: string, weights: readonly number[]): number {
  let sum = 0;
  for (let at = 0; at < weights.length; at++) sum += digit(text, at) * weights[at]!;
  return sum;
}

const bsnWeights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
const peselWeights = [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1];
const cpfWeights = [11, 10, 9, 8, 7, 6, 5, 4, 3, 2];
const cpfFirstWeights = cpfWeights.slice(1);
const tfnWeights = [1, 4, 3, 7, 5, 8, 6, 9, 10];

/** Whether all characters are the same one: such numbers pass most checks and are never issued. */
export function isMonotone(text: string): boolean {
  for (let at = 1; at < text.length; at++) if (text[at] !== text[0]) return false;
  return true;
}

/** ISO/IEC 7812-1, annex B. */
export function luhn(digits: string): boolean {
  let sum = 0;
  for (let at = digits.length - 1, double = false; at >= 0; at--, double = !double) {
    const value = digit(digits, at);
    sum += double ? (value > 4 ? value * 2 - 9 : value * 2) : value;
  }
  return sum % 10 === 0;
}

const dihedral = Array.from({ length: 10 }, (_, a) =>
  Array.from({ length: 10 }, (__, b) => (a < 5 ? (b < 5 ? (a + b) % 5 : ((a + b) % 5) + 5) : b < 5 ? ((a - b) % 5) + 5 : (a - b + 5) % 5)),
);
const permutation = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

/** Verhoeff's check over the dihedral group of order ten. */
export function verhoeff(digits: string): boolean {
  let state = 0;
  for (let at = digits.length - 1, place = 0; at >= 0; at--, place++) {
    let value = digit(digits, at);
    for (let round = 0; round < place % 8; round++) value = permutation[value]!;
    state = dihedral[state]![value]!;
  }
  return state === 0;
}

/** ISO 13616: the first four characters moved to the end, letters as 10…35, the whole must be 1 modulo 97. Upper case only. */
export function mod97(iban: string): boolean {
  let rest = 0;
  for (let at = 0; at < iban.length; at++) {
    const code = iban.charCodeAt((at + 4) % iban.length);
    rest = code > 57 ? (rest * 100 + code - 55) % 97 : (rest * 10 + code - 48) % 97;
  }
  return rest === 1;
}

/** German tax number, 11 digits: ISO 7064 MOD 11,10, and among the first ten exactly one digit comes twice or three times (Bundeszentralamt für Steuern). */
export function steuerId(digits: string): boolean {
  if (digits[0] === '0') return false;
  let product = 10;
  let once = 0;
  let again = 0;
  let last = 0;
  for (let at = 0; at < 10; at++) {
    const value = digit(digits, at);
    const bit = 1 << value;
    if ((once & bit) !== 0) {
      if (again !== 0 && value !== last) return false;
      last = value;
      if (++again > 2) return false;
    }
    once |= bit;
    product = (((value + product) % 10 || 10) * 2) % 11;
  }
  return again > 0 && (11 - product) % 10 === digit(digits, 10);
}

/** French NIR with its key, 15 characters: the key is 97 less the number modulo 97; Corsica's 2A and 2B count as 19 and 18. */
export function nir(code: string): boolean {
  const number = Number(code.slice(0, 13).replace('2A', '19').replace('2B', '18'));
  const month = Number(code.slice(3, 5));
  // 20, 30…42 and 50…99 stand for months that the registry does not know
  if (month === 0 || (month > 12 && month < 20)) return false;
  return 97 - (number % 97) === Number(code.slice(13));
}

const dniLetters = 'TRWAGMYFPDXBNJZSQVHLCKE';

/** Spanish DNI (8 digits and a letter) or NIE (X, Y or Z, 7 digits and a letter). */
export function dni(code: string): boolean {
  const first = 'XYZ'.indexOf(code[0]!);
  const number = first < 0 ? Number(code.slice(0, 8)) : first * 10_000_000 + Number(code.slice(1, 8));
  return dniLetters[number % 23] === code[8];
}

const fiscalOdd = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];

/** Italian codice fiscale, 16 characters, decree of 23 December 1976. A digit counts as the letter at its place in the alphabet. */
export function codiceFiscale(code: string): boolean {
  let sum = 0;
  for (let at = 0; at < 15; at++) {
    const unit = code.charCodeAt(at);
    const place = unit > 57 ? unit - 65 : unit - 48;
    sum += at % 2 === 0 ? fiscalOdd[place]! : place;
  }
  return sum % 26 === code.charCodeAt(15) - 65;
}

/** Dutch BSN, 9 digits (the "11-test", the last weight negative). */
export const bsn = (digits: string): boolean => !isMonotone(digits) && weighted(digits, bsnWeights) % 11 === 0;

/** Polish PESEL, 11 digits: the month carries the century (+80, +20, +40, +60). */
export function pesel(digits: string): boolean {
  const month = Number(digits.slice(2, 4)) % 20;
  const day = Number(digits.slice(4, 6));
  if (month < 1 || month > 12 || day < 1 || day > 31) return false;
  return weighted(digits, peselWeights) % 10 === 0;
}

/** Brazilian CPF, 11 digits, two of them check digits. */
export function cpf(digits: string): boolean {
  if (isMonotone(digits)) return false;
  const first = ((weighted(digits, cpfFirstWeights) * 10) % 11) % 10;
  const second = ((weighted(digits, cpfWeights) * 10) % 11) % 10;
  return first === digit(digits, 9) && second === digit(digits, 10);
}

/** Australian TFN, 9 digits. */
export const tfn = (digits: string): boolean => !isMonotone(digits) && weighted(digits, tfnWeights) % 11 === 0;

/** A two-digit month and a two-digit day that a calendar may hold. */
export function isMonthAndDay(month: number, day: number): boolean {
  return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}
