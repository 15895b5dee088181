/**
 * The words that rules go by and speak with, as data: no rule knows a tool, a field or a department of anybody. All lists are lower case, in the singular.
 */

/** Verbs by which a tool acts in somebody's name, and what such an act is called. */
export const acts: Readonly<Record<string, string>> = {
  submit: 'submission',
  approve: 'approval',
  reject: 'rejection',
  send: 'sending',
  reply: 'reply',
  post: 'post',
  tweet: 'post',
  publish: 'publication',
  unpublish: 'withdrawal',
  release: 'release',
  deploy: 'deployment',
  merge: 'merge',
  pay: 'payment',
  charge: 'charge',
  refund: 'refund',
  transfer: 'transfer',
  wire: 'transfer',
  withdraw: 'withdrawal',
  deposit: 'deposit',
  donate: 'donation',
  buy: 'purchase',
  purchase: 'purchase',
  sell: 'sale',
  trade: 'trade',
  order: 'order',
  checkout: 'checkout',
  book: 'booking',
  reserve: 'reservation',
  hire: 'hire',
  fire: 'dismissal',
  dismiss: 'dismissal',
  terminate: 'termination',
  promote: 'promotion',
  enroll: 'enrolment',
  sign: 'signature',
  invite: 'invitation',
  grant: 'grant',
  revoke: 'revocation',
  authorize: 'authorisation',
  authorise: 'authorisation',
  vote: 'vote',
};

/** What is done by a plain verb and yet in somebody's name: `create_payment`, `place_order`. */
export const actNouns: Readonly<Record<string, string>> = {
  payment: 'payment',
  payout: 'payout',
  refund: 'refund',
  charge: 'charge',
  transfer: 'transfer',
  withdrawal: 'withdrawal',
  purchase: 'purchase',
  order: 'order',
  trade: 'trade',
  booking: 'booking',
  reservation: 'reservation',
  invitation: 'invitation',
  invite: 'invitation',
  signature: 'signature',
};
export const plainStarts: ReadonlySet<string> = new Set(['create', 'make', 'place', 'issue', 'execute', 'confirm', 'initiate', 'start', 'request']);

/** Acts that move money: the finding weighs more. */
export const moneyActs: ReadonlySet<string> = new Set([
  'payment',
  'payout',
  'refund',
  'charge',
  'transfer',
  'withdrawal',
  'deposit',
  'donation',
  'purchase',
  'sale',
  'trade',
  'checkout',
]);

/** Verbs that only look, or prepare: where one comes first the tool does not act (`get_order`, `draft_reply`). */
export const looking: ReadonlySet<string> = new Set([
  'get',
  'list',
  'read',
  'search',
  'find',
  'fetch',
  'check',
  'count',
  'describe',
  'query',
  'show',
  'view',
  'preview',
  'draft',
  'validate',
  'verify',
  'simulate',
  'plan',
  'compare',
  'diff',
  'parse',
  'render',
  'summarize',
  'can',
  'is',
  'has',
]);

/** What a tool destroys by: its verb, and what that is called. */
export const destructions: Readonly<Record<string, string>> = {
  drop: 'drop',
  truncate: 'truncation',
  purge: 'purge',
  wipe: 'wipe',
  erase: 'erasure',
  destroy: 'destruction',
  format: 'formatting',
};
/** These destroy little by themselves: they count where they name many things at once. */
export const deletions: ReadonlySet<string> = new Set(['delete', 'remove', 'rm', 'unlink']);

/** Tools whose calls leave the house, by a word of their name. */
export const outwardWords: ReadonlySet<string> = new Set([
  'email',
  'mail',
  'gmail',
  'smtp',
  'sms',
  'http',
  'https',
  'webhook',
  'post',
  'upload',
  'message',
  'send',
  'share',
  'publish',
  'tweet',
  'slack',
  'telegram',
  'discord',
  'whatsapp',
  'fax',
  'forward',
  'broadcast',
  'notify',
  'export',
  'push',
]);

/** What a field's name says that it holds, in words for a title: the first that fits any word of a name. */
export const subjects: readonly { readonly words: ReadonlySet<string>; readonly called: string }[] = [
  { words: new Set(['salary', 'salaries', 'pay', 'wage', 'wages', 'compensation', 'payroll', 'bonus']), called: 'salary data' },
  {
    words: new Set(['diagnosis', 'diagnoses', 'medication', 'medications', 'prescription', 'allergies', 'patient', 'health']),
    called: 'health data',
  },
  { words: new Set(['password', 'passwords', 'secret', 'secrets', 'token', 'credential', 'credentials', 'apikey']), called: 'a credential' },
  { words: new Set(['iban', 'balance', 'account', 'card', 'invoice', 'payment', 'transaction', 'transactions']), called: 'financial data' },
  { words: new Set(['ssn', 'passport', 'birthdate', 'birthday', 'address', 'phone']), called: 'personal data' },
];

/** Words of members that say in which state something is, or of which kind: things differ in them wherever they belong. */
export const states: ReadonlySet<string> = new Set([
  'status',
  'state',
  'stage',
  'phase',
  'step',
  'priority',
  'severity',
  'type',
  'kind',
  'role',
  'position',
  'title',
  'level',
  'grade',
  'rank',
  'currency',
  'language',
  'locale',
  'gender',
  'color',
  'colour',
  'size',
  'unit',
  'format',
  'version',
  'result',
  'outcome',
  'turnover',
  'rating',
  'method',
  'message',
  'note',
  'comment',
  'first',
  'last',
]);

/** Types of entities that are people: `someone`, and `who`. */
export const people: ReadonlySet<string> = new Set([
  'employee',
  'person',
  'user',
  'member',
  'customer',
  'patient',
  'student',
  'contact',
  'candidate',
  'applicant',
  'client',
  'tenant',
  'driver',
  'guest',
  'manager',
  'teacher',
  'subscriber',
  'owner',
  'author',
  'recipient',
]);

/** Types whose names a model makes up all day in good faith: a file may be there or not. */
export const guessable: ReadonlySet<string> = new Set([
  'file',
  'path',
  'directory',
  'folder',
  'url',
  'uri',
  'resource',
  'host',
  'branch',
  'package',
  'symbol',
  'key',
]);

/** Tools that are asked again and again by design. */
export const pollWords: ReadonlySet<string> = new Set([
  'poll',
  'status',
  'wait',
  'watch',
  'progress',
  'health',
  'heartbeat',
  'ping',
  'tail',
  'now',
  'time',
  'next',
]);

const known = new Map<string, readonly string[]>();
const knownMost = 2_000;

/** The words of a name, lower case: `getPayInfo`, `hr.get_pay-info` → `get pay info`, `hr get pay info`. At most 12. Names repeat, so what was cut up is remembered. */
export function wordsOf(name: string): readonly string[] {
  let words = known.get(name);
  if (words !== undefined) return words;
  words = name
    .slice(0, 256)
    .replaceAll(/([\p{Ll}\d])(\p{Lu})/gu, '$1 $2')
    .replaceAll(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '')
    .slice(0, 12);
  if (known.size >= knownMost) known.clear();
  if (name.length <= 256) known.set(name, words);
  return words;
}

/** `an employee`, `a file`. By its letter: no dictionary of sounds is carried for the few words where that is wrong. */
export function withArticle(noun: string): string {
  return `${/^[aeio]/i.test(noun) || /^u(?!ser|rl|ri|nit|uid|sage)/i.test(noun) ? 'an' : 'a'} ${noun}`;
}

/** One for many of a type: `employee` → `employees`. */
export function plural(noun: string): string {
  if (people.has(noun) && noun === 'person') return 'people';
  if (/[^aeiou]y$/.test(noun)) return `${noun.slice(0, -1)}ies`;
  return /(?:s|x|z|ch|sh)$/.test(noun) ? `${noun}es` : `${noun}s`;
}

/** What values under these names are called, in words; nothing where no name says it. */
export function subjectOf(names: Iterable<string>): string | undefined {
  const words = new Set<string>();
  for (const name of names) for (const word of wordsOf(name)) words.add(word);
  for (const { words: known, called } of subjects) for (const word of words) if (known.has(word)) return called;
  return undefined;
}

export interface Act {
  /** What it is called: `submission`. */
  noun: string;
  /** What it is done to, as the tool's name says it: `time-off`; empty where it says nothing. */
  object: string;
}

/** The act that a tool's name says, if it acts in somebody's name. A vendor's word may stand before the verb: `slack_post_message`. */
export function actOf(tool: string): Act | undefined {
  const words = wordsOf(tool);
  for (const [at, word] of words.slice(0, 3).entries()) {
    if (looking.has(word)) return undefined;
    if (Object.hasOwn(acts, word) && (at === 0 || !plainStarts.has(words[at - 1]!))) return { noun: acts[word]!, object: objectIn(words, at) };
    if (!plainStarts.has(word)) continue;
    const found = words.slice(at + 1).find((one) => Object.hasOwn(actNouns, one));
    if (found !== undefined) return { noun: actNouns[found]!, object: words.slice(at + 1, words.indexOf(found, at + 1)).join('-') };
    return undefined;
  }
  return undefined;
}

/** What stands behind the verb; of a verb at the end (`invoice_pay`) what stands before it. */
export function objectIn(words: readonly string[], verb: number): string {
  const behind = words.slice(verb + 1).filter((word) => !fillers.has(word));
  return (behind.length > 0 ? behind : words.slice(0, verb)).slice(0, 4).join('-');
}

const fillers: ReadonlySet<string> = new Set(['a', 'an', 'the', 'to', 'for', 'of', 'on', 'in', 'with', 'by', 'from', 'and']);
