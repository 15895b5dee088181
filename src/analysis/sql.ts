/** The tables that an SQL text names, without understanding more of it: a tokenizer, and the words that stand before a table's name. */

export interface NamedTable {
  /** As written, without quotes: `hr.employees`. */
  name: string;
  kind: 'read' | 'write';
}

const tablesMost = 50;
const sqlChars = 64 * 1024;
const beginning =
  /^(?:\s|\(|--[^\n]*\n|\/\*[^*]*\*\/)*(?:with|select|insert|update|delete|drop|alter|create|truncate|replace|merge|explain|copy)\b/iu;
const token = /--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|`[^`]*`?|\[[^\]\n]{0,128}\]|[\p{L}_][\p{L}\p{N}_$]*|[0-9.]+|[^\s]/gu;

/** Between such a word and its table: `drop table if exists only t`. */
const skipped = new Set([
  'if',
  'not',
  'exists',
  'only',
  'lateral',
  'table',
  'view',
  'materialized',
  'temporary',
  'temp',
  'index',
  'into',
  'ignore',
  'overwrite',
]);
/** No names. */
const reserved = new Set(['select', 'values', 'set', 'where', 'on', 'using', 'as', 'default', 'unnest', 'generate_series', 'dual', 'concurrently']);
/** `extract(year from t)` names no table. */
const takesFrom = new Set(['extract', 'substring', 'trim', 'overlay', 'position']);

export function isSql(text: string): boolean {
  return beginning.test(text.slice(0, 4096));
}

export function tablesIn(text: string): NamedTable[] {
  const tokens = [...text.slice(0, sqlChars).matchAll(token)].map(([one]) => one).filter((one) => !one.startsWith('--') && !one.startsWith('/*'));
  const words = tokens.map((one) => one.toLowerCase());
  const found = new Map<string, NamedTable>();
  const own = withNames(words);
  const calls: string[] = [];
  for (let at = 0; at < words.length && found.size < tablesMost; at++) {
    const word = words[at]!;
    const before = words[at - 1] ?? '';
    if (word === '(') calls.push(before);
    else if (word === ')') calls.pop();
    const kind = kindOf(word, before, calls.at(-1) ?? '', words[at + 1] ?? '');
    if (kind === undefined) continue;
    let next = at + 1;
    do {
      while (skipped.has(words[next] ?? '')) next++;
      const [name, end] = nameAt(tokens, next);
      // a list is gone through once, whatever words are in it
      at = Math.max(at, end - 1);
      // a function that makes rows is no table, but `insert into t (…)` names one
      if (name === undefined || reserved.has(words[next]!) || (word !== 'into' && word !== 'table' && words[end] === '(')) break;
      if (!own.has(name.toLowerCase())) {
        const known = found.get(name);
        if (known === undefined) found.set(name, { name, kind });
        else if (kind === 'write') known.kind = 'write';
      }
      next = afterAlias(words, end);
    } while ((word === 'from' || word === 'table') && words[next++] === ',');
  }
  return [...found.values()];
}

/** What is done to the table that comes behind a word; nothing where none does. */
function kindOf(word: string, before: string, call: string, after: string): NamedTable['kind'] | undefined {
  if (word === 'from') {
    if (before === 'distinct' || takesFrom.has(call)) return undefined;
    return before === 'delete' ? 'write' : 'read';
  }
  if (word === 'join') return 'read';
  if (word === 'into') return 'write';
  // `for update`, `on conflict do update`, `on duplicate key update`, `on update cascade`
  if (word === 'update') return ['for', 'do', 'key', 'on', 'then'].includes(before) ? undefined : 'write';
  if (word === 'truncate') return after === 'table' ? undefined : 'write';
  if (word === 'table') return ['drop', 'alter', 'create', 'truncate', 'temporary', 'temp'].includes(before) ? 'write' : undefined;
  return undefined;
}

/** Names that the text itself gives: `with recent as (…)`. */
function withNames(words: readonly string[]): Set<string> {
  const names = new Set<string>();
  if (!words.includes('with')) return names;
  for (let at = 1; at < words.length - 2; at++)
    if (words[at + 1] === 'as' && words[at + 2] === '(') names.add(words[at]!.replace(/^["`[]|["`\]]$/gu, ''));
  return names;
}

/** A name, of several parts joined by `.`, and where it ends. */
function nameAt(tokens: readonly string[], from: number): [name: string | undefined, end: number] {
  const parts: string[] = [];
  let at = from;
  for (;;) {
    const part = tokens[at];
    if (part === undefined || !/^[\p{L}_"`[]/u.test(part)) break;
    parts.push(part.replace(/^["`[]|["`\]]$/gu, ''));
    at++;
    if (tokens[at] !== '.') break;
    at++;
  }
  return [parts.length === 0 ? undefined : parts.join('.'), at];
}

function afterAlias(words: readonly string[], from: number): number {
  let at = from;
  if (words[at] === 'as') at += 2;
  else if (words[at + 1] === ',' && /^[\p{L}_"]/u.test(words[at] ?? '')) at++;
  return at;
}
