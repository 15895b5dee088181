/**
 * Credentials and personal data in decoded text. One pass looks at every character once; around the places where something may stand, bounded checks decide.
 * What is found is a guess by shape, name and check digit: it is made to keep secrets out of storage, not to judge people by it.
 */
import type { Hit } from '../range.ts';
import { assignment, assignmentRules, bearer, option, userinfo } from './assignments.ts';
import { commandOption } from './commands.ts';
import { slotInUse, slotOf } from './formats.ts';
import { numbers } from './numbers.ts';
import { bracketedPhone, internationalPhone } from './phones.ts';
import { digitsFirst, email, lettersFirst, personalRules } from './pii.ts';
import { beyond, Kind, kinds, Scan, setOf } from './scan.ts';
import { azureClientSecret, discord, privateKey, shapeRules, shapesAtWord, telegram } from './secrets.ts';

const secretRules: readonly string[] = [...new Set([...shapeRules, ...assignmentRules])];

/** Every single detector; where two find the same range, the earlier one names it. */
export const detectorIds: readonly string[] = [...secretRules, ...personalRules];

export const detectorGroups: Readonly<Record<'secrets' | 'pii', readonly string[]>> = { secrets: secretRules, pii: personalRules };

const ranks = new Map(detectorIds.map((id, rank) => [id, rank]));

export class Detectors {
  readonly #wanted: ReadonlySet<string>;
  readonly #secrets: boolean;
  readonly #personal: boolean;

  /**
   * `names`: groups or ids.
   * @throws RangeError for an unknown name
   */
  constructor(names: readonly string[]) {
    const wanted = new Set<string>();
    for (const name of names) {
      if (name === 'secrets' || name === 'pii') for (const id of detectorGroups[name]) wanted.add(id);
      else if (ranks.has(name)) wanted.add(name);
      else throw new RangeError(`unknown detector: ${name}`);
    }
    this.#wanted = wanted;
    this.#secrets = secretRules.some((id) => wanted.has(id));
    this.#personal = personalRules.some((id) => wanted.has(id));
  }

  /**
   * Ranges in UTF-16 units of `text`, ascending, not overlapping: where two overlap the longer, then the earlier-listed detector wins. Linear in the text's length.
   * `ascii`: the bytes of the text, where it is known that it is ASCII.
   */
  find(text: string, ascii?: Uint8Array): Hit[] {
    if (this.#wanted.size === 0) return [];
    const scan = new Scan(text, this.#wanted, ascii);
    search(scan, this.#secrets, this.#personal);
    return withoutOverlaps(scan.found);
  }
}

function search(scan: Scan, secrets: boolean, personal: boolean): void {
  const { units } = scan;
  const { length } = scan.text;
  let at = 0;
  while (at < length) {
    const kind = kinds[units[at]!]!;
    if (kind === Kind.none) {
      at++;
    } else if (kind >= Kind.letter) {
      let end = at + 1;
      while (kinds[units[end]!]! >= Kind.letter) end++;
      at = isOrdinary(units, at, end, kind) ? end : word(scan, at, end, kind, secrets, personal);
    } else {
      at = around(scan, at, kind, secrets, personal);
    }
  }
}

/** Before a word these make a difference to what it may be: an escape, or what joins it to the word before it. */
const joining = setOf('\\%-.');
/** Between the groups of one number; `beyond` may be a blank that does not break. */
const grouping = setOf('- ./');
grouping[beyond] = 1;
const capitals = setOf('ABCDEFGHIJKLMNOPQRSTUVWXYZ');
// Bearer
for (const b of [66, 98]) for (const e of [69, 101]) for (const a of [65, 97]) slotInUse[slotOf(b, e, a)] = 1;

/**
 * Whether nothing begins at a word, at a glance: most words are such, and calling `word` for each costs more than all the rest.
 * What must stay true: no word of which `word` could make anything is ordinary.
 */
function isOrdinary(units: Uint8Array, start: number, end: number, kind: number): boolean {
  const first = units[start]!;
  if (slotInUse[slotOf(first, units[start + 1]!, units[start + 2]!)] !== 0 || capitals[first] === 1) return false;
  if (start > 0 && joining[units[start - 1]!] === 1) return false;
  if (kind !== Kind.digit) return true;
  // the shortest numbers with letters in them have eight units, those without seven, or several groups
  if (end - start > 6 || (first === 48 && units[start + 1] === 48)) return false;
  return grouping[units[end]!] === 0 || kinds[units[end + 1]!] !== Kind.digit;
}

/** A word of letters, digits and `_`. Gives the position from which the search goes on. */
function word(scan: Scan, start: number, end: number, kind: number, secrets: boolean, personal: boolean): number {
  const first = scan.units[start]!;
  if (secrets && end - start > 1) {
    shapesAtWord(scan, start, end);
    if (end - start === 6 && (first | 32) === 98 && scan.units[end] === 32 && scan.text.slice(start + 1, end).toLowerCase() === 'earer')
      bearer(scan, start);
  }
  if (!personal) return end;
  if (kind === Kind.digit) {
    digitsFirst(scan, start, end);
    // `00` is dialled for `+`; without separators behind the country it is any number
    if (first === 48 && scan.units[start + 1] === 48 && end - start >= 3 && end - start < 6 && scan.units[end] === 32) {
      const after = internationalPhone(scan, start + 1, start);
      if (after > end) return after;
    }
    return Math.max(end, numbers(scan, start));
  }
  if (first >= 65 && first <= 90) lettersFirst(scan, start, end);
  else if (scan.isEscape(start) && scan.isDigit(start + 1)) return Math.max(end, numbers(scan, start + 1));
  return end;
}

/** A sign around which something may stand. Gives the position from which the search goes on. */
function around(scan: Scan, at: number, kind: number, secrets: boolean, personal: boolean): number {
  const { units } = scan;
  switch (kind) {
    case Kind.colon: {
      const next = units[at + 1];
      if (next === 47 && units[at + 2] === 47) userinfo(scan, at);
      else if (secrets) {
        if (next === 65 && scan.isDigit(at - 1)) telegram(scan, at);
        assignment(scan, at);
      }
      return at + 1;
    }
    case Kind.equals:
    case Kind.greater:
      if (secrets) assignment(scan, at);
      return at + 1;
    case Kind.at:
      if (personal) email(scan, at);
      return at + 1;
    case Kind.plus:
      return personal ? internationalPhone(scan, at) : at + 1;
    case Kind.tilde:
      if (secrets) azureClientSecret(scan, at);
      return at + 1;
    case Kind.dot:
      if (secrets && units[at + 7] === 46) discord(scan, at);
      return at + 1;
    case Kind.parenthesis:
      if (personal) bracketedPhone(scan, at);
      return at + 1;
    default:
      return dashes(scan, at, secrets);
  }
}

function dashes(scan: Scan, start: number, secrets: boolean): number {
  let end = start + 1;
  while (scan.units[end] === 45) end++;
  if (secrets) {
    if (end - start === 2) option(scan, end);
    if (end - start <= 2) commandOption(scan, start);
    else if (end - start >= 5) privateKey(scan, end);
  }
  return end;
}

/** `found` is in order of starts. Only ranges that hang together by overlaps are compared with each other. */
function withoutOverlaps(found: readonly Hit[]): Hit[] {
  const kept: Hit[] = [];
  for (let first = 0; first < found.length;) {
    let end = found[first]!.end;
    let next = first + 1;
    while (next < found.length && found[next]!.start < end) end = Math.max(end, found[next++]!.end);
    if (next === first + 1) kept.push(found[first]!);
    else kept.push(...best(found.slice(first, next)));
    first = next;
  }
  return kept;
}

function best(tangle: Hit[]): Hit[] {
  const from = tangle[0]!.start;
  let to = from;
  for (const hit of tangle) to = Math.max(to, hit.end);
  const taken = new Uint8Array(to - from);
  tangle.sort((a, b) => b.end - b.start - (a.end - a.start) || ranks.get(a.rule)! - ranks.get(b.rule)! || a.start - b.start);
  const kept: Hit[] = [];
  for (const hit of tangle) {
    // what is kept already is as long or longer, so it cannot lie inside without covering an end
    if (taken[hit.start - from] === 1 || taken[hit.end - 1 - from] === 1) continue;
    taken.fill(1, hit.start - from, hit.end - from);
    kept.push(hit);
  }
  return kept.sort((a, b) => a.start - b.start);
}
