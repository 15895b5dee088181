/** Names that programs give to things, read as words: `employeeId`, `employee_id` and `Employee-ID` are the same. */
import { isObject } from './message-view.ts';

/** The words of an identifier, lower case. `width` is one word and holds no `id`. */
export function wordsOf(name: string): string[] {
  return name
    .slice(0, 128)
    .replace(/IDs(?!\p{Ll})/gu, 'Ids')
    .replace(/([\p{Ll}\p{N}])(\p{Lu})/gu, '$1 $2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '');
}

/** Names repeat: those that were read are remembered, up to `namesMost`. */
const known = new Map<string, string>();
const namesMost = 10_000;

/** The words of an identifier joined by `_`. */
export function joinedWords(name: string): string {
  let words = known.get(name);
  if (words === undefined) {
    words = wordsOf(name).join('_');
    if (known.size >= namesMost) known.clear();
    if (name.length <= 128) known.set(name, words);
  }
  return words;
}

/** One of many: `employees` → `employee`, `companies` → `company`, `addresses` → `address`. */
export function singular(word: string): string {
  if (word.length < 4 || !word.endsWith('s')) return word;
  if (word.endsWith('ies')) return `${word.slice(0, -3)}y`;
  if (/(?:ss|x|ch|sh)es$/u.test(word)) return word.slice(0, -2);
  return /(?:ss|us|is)$/u.test(word) ? word : word.slice(0, -1);
}

/** Words that say nothing of what an id is of. */
const idle = new Set([
  'the',
  'a',
  'an',
  'this',
  'that',
  'its',
  'of',
  'your',
  'my',
  'unique',
  'valid',
  'numeric',
  'internal',
  'optional',
  'string',
  'by',
  'and',
  'or',
  'with',
  'for',
  'is',
  'to',
]);

/** What the parameters of an input schema are ids of, where their description says it: `{ id: { description: "employee id" } }` → `{ id: "employee" }`. */
export function nounsOf(schema: unknown): Record<string, string> {
  const nouns: Record<string, string> = {};
  const properties = isObject(schema) ? schema['properties'] : undefined;
  if (!isObject(properties)) return nouns;
  for (const [name, property] of Object.entries(properties).slice(0, 200)) {
    const words = wordsOf(name);
    if (!isId(words.at(-1)) || words.length > 1) continue;
    const described = isObject(property) ? property['description'] : undefined;
    if (typeof described !== 'string') continue;
    const said = wordsOf(described);
    const at = said.findIndex((word) => isId(word) || word === 'identifier' || word === 'identifiers');
    // `employee id`, `ID of the employee`
    const before = said[at - 1];
    const after = at >= 0 && said[at + 1] === 'of' ? said.slice(at + 2).find((word) => !idle.has(word)) : undefined;
    const noun = before !== undefined && !idle.has(before) ? before : after;
    if (noun !== undefined) Object.defineProperty(nouns, name, { value: singular(noun), enumerable: true, configurable: true, writable: true });
  }
  return nouns;
}

export function isId(word: string | undefined): boolean {
  return word === 'id' || word === 'ids' || word === 'uuid' || word === 'uuids' || word === 'guid';
}

const verbs = new Set(
  'get list search find read fetch load show view describe lookup look query count check create add new make open write update edit modify set put patch save delete remove drop close submit send post assign approve reject cancel upsert insert move rename copy download upload export import retrieve select all run execute'.split(
    ' ',
  ),
);
/** Behind the noun: `get_employee_details`. */
const tails = new Set('info information details detail data list status summary history record records by all'.split(' '));

/** What a tool is about, by its name: `search_employees` → `employee`, `get_time_off_requests` → `time_off_request`. */
export function nounOfTool(tool: string): string | undefined {
  const words = wordsOf(tool);
  while (words.length > 0 && verbs.has(words[0]!)) words.shift();
  const by = words.indexOf('by');
  if (by > 0) words.splice(by);
  while (words.length > 1 && tails.has(words.at(-1)!)) words.pop();
  const last = words.pop();
  return last === undefined || tails.has(last) ? undefined : [...words, singular(last)].slice(-3).join('_');
}
