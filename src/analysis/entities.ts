/** Finds what a call names: walks over arguments and results by the rules of `entity-rules.ts`. Knows nothing of rows. */
import { globMatches, splitGlobs } from '../mcp/glob.ts';
import { attributeNames, entityRules, idleIds, qualifiers, type EntityOptions, type EntityRule, type ValueShape } from './entity-rules.ts';
import { isMissing } from './frame-text.ts';
import { isObject } from './message-view.ts';
import { isSql, tablesIn } from './sql.ts';
import { isId, joinedWords, nounOfTool, singular } from './words.ts';

export interface Named {
  type: string;
  value: string;
  /** `arguments.id`, `result.employees[].id`. */
  path: string;
  /** Where the text itself says it (SQL). */
  kind?: 'read' | 'write';
  attributes?: Record<string, string>;
}

export interface Place {
  in: 'arguments' | 'result';
  tool: string;
  /** What its parameters' descriptions call them. */
  nouns: Readonly<Record<string, string>>;
  /** The type of an entity of which only the value is known. */
  typeOf(value: string): string | undefined;
  most: number;
}

const depthMost = 12;
/** Members that are looked at in one value. */
const membersMost = 10_000;
const valueChars = 512;
const typeChars = 64;
const attributeChars = 128;
const namesMost = 10_000;

interface Prepared extends EntityRule {
  globs: readonly { parent?: string; key: string }[];
}

export class EntityFinder {
  readonly #rules: readonly Prepared[];
  readonly #attributes: ReadonlySet<string>;
  readonly #known: [glob: string, attributes: Readonly<Record<string, string>>][];
  /** Rules by member name and what it stands in: names repeat. */
  readonly #byName = new Map<string, readonly Prepared[]>();

  constructor({ rules = [], defaults = true, attributes = attributeNames, known = {} }: EntityOptions = {}) {
    this.#rules = [...rules, ...(defaults ? entityRules : [])].map((rule) => ({
      ...rule,
      globs: rule.keys.map((key) => {
        const [first = '', second] = key.split('.');
        return second === undefined ? { key: first } : { parent: first, key: second };
      }),
      ...(rule.tools === undefined ? {} : { tools: splitGlobs(rule.tools) }),
    }));
    this.#attributes = new Set(attributes.map((name) => joinedWords(name)));
    this.#known = Object.entries(known);
  }

  /** What is configured of an entity. */
  attributesOf(entity: string): Record<string, string> | undefined {
    const found = this.#known.filter(([glob]) => globMatches(glob, entity)).map(([, attributes]) => attributes);
    return found.length === 0 ? undefined : Object.assign({}, ...found);
  }

  /** Each thing once, in the order in which it is named first. */
  find(value: unknown, place: Place): Named[] {
    const found = new Map<string, Named>();
    let members = 0;
    const add = (named: Named): void => {
      const key = `${named.type}:${named.value}`;
      const before = found.get(key);
      if (before === undefined) {
        if (found.size < place.most) found.set(key, named);
        return;
      }
      if (named.attributes !== undefined) before.attributes = { ...named.attributes, ...before.attributes };
      if (named.kind === 'write') before.kind = 'write';
    };
    // `attributes`: what stands beside it
    const walk = (inner: unknown, path: string, key: string, parent: string, depth: number, attributes?: Record<string, string>): void => {
      if (depth > depthMost || ++members > membersMost || found.size >= place.most) return;
      if (Array.isArray(inner)) {
        // what stands in a list has the list's name
        for (const one of inner) walk(one, `${path}[]`, key, parent, depth + 1, attributes);
      } else if (isObject(inner)) {
        const beside = place.in === 'result' ? this.#attributesIn(inner) : undefined;
        for (const [name, one] of Object.entries(inner)) {
          if (members > membersMost) return;
          walk(one, `${path}.${name.slice(0, typeChars)}`, joinedWords(name), key, depth + 1, beside);
        }
      } else if (typeof inner === 'string' || typeof inner === 'number') {
        for (const named of this.#named(inner, path, key, parent, place)) add(attributes === undefined ? named : { ...named, attributes });
      }
    };
    walk(value, place.in, '', '', 0);
    return [...found.values()];
  }

  /** Departments and the like in an object: texts, or objects with a name. */
  #attributesIn(holder: Record<string, unknown>): Record<string, string> | undefined {
    let found: Record<string, string> | undefined;
    for (const [name, value] of Object.entries(holder)) {
      const attribute = joinedWords(name).replace(/_(?:id|name)$/u, '');
      if (!this.#attributes.has(attribute)) continue;
      const said = isObject(value) ? (value['name'] ?? value['id']) : value;
      if ((typeof said !== 'string' && typeof said !== 'number') || said === '') continue;
      const text = String(said).slice(0, attributeChars);
      if (!isMissing(text)) (found ??= {})[attribute] ??= text;
    }
    return found;
  }

  #named(value: string | number, path: string, key: string, parent: string, place: Place): Named[] {
    for (const rule of this.#rulesFor(key, parent)) {
      if (rule.in !== undefined && rule.in !== place.in) continue;
      if (rule.tools !== undefined && !rule.tools.some((glob) => globMatches(glob, place.tool))) continue;
      const found = shaped(value, rule, key);
      if (found.length === 0) continue;
      return found.flatMap(({ type, value: text, kind }) => {
        const what = type === '?' ? this.#typeOfId(text, path, parent, place) : type;
        return what === undefined ? [] : [{ type: what, value: text, path, ...(kind === undefined ? {} : { kind }) }];
      });
    }
    return [];
  }

  /** What a bare id is of. */
  #typeOfId(value: string, path: string, parent: string, { in: where, nouns, typeOf, tool }: Place): string | undefined {
    const holder = parent.split('_');
    if (parent !== '' && !nameless.has(parent)) return [...holder.slice(0, -1), singular(holder.at(-1)!)].join('_').slice(0, typeChars);
    // of the top level alone: a parameter
    const described = where === 'arguments' ? nouns[path.slice('arguments.'.length).replace(/\[\]$/u, '')] : undefined;
    return described ?? typeOf(value) ?? nounOfTool(tool)?.slice(0, typeChars);
  }

  #rulesFor(key: string, parent: string): readonly Prepared[] {
    const name = `${parent}.${key}`;
    let rules = this.#byName.get(name);
    if (rules === undefined) {
      rules = this.#rules.filter(({ globs }) =>
        globs.some((glob) => globMatches(glob.key, key) && (glob.parent === undefined || globMatches(glob.parent, parent))),
      );
      if (this.#byName.size >= namesMost) this.#byName.clear();
      this.#byName.set(name, rules);
    }
    return rules;
  }
}

/** Names of lists and objects that say nothing of what is in them. */
const nameless: ReadonlySet<string> = new Set(
  'data result results item items row rows record records value values content contents object objects list entry entries output response payload node nodes edge edges input args arguments params filter where body matches hits'.split(
    ' ',
  ),
);

interface Shaped {
  type: string;
  value: string;
  kind?: 'read' | 'write';
}

const pathLike = /^(?:\.{0,2}\/|~|[A-Za-z]:[\\/]|\\\\)|[\\/]|^[^\s]+\.[A-Za-z0-9]{1,5}$/u;
const surePath: ReadonlySet<string> = new Set(['path', 'paths', 'directory', 'dir', 'folder', 'cwd', 'filename', 'file_name', 'filepath']);
const scheme = /^([A-Za-z][A-Za-z0-9+.-]{1,32}):(?=\S)/u;
const email = /[^\s<>@,;"]{1,64}@[^\s<>@,;"]{1,190}\.[A-Za-z]{2,24}/gu;
const webSchemes: ReadonlySet<string> = new Set(['http', 'https', 'ws', 'wss', 'ftp']);

/** The things that a value of a rule's shape names: none where it has another one. */
function shaped(value: string | number, { type, value: shape }: EntityRule, key: string): Shaped[] {
  if (shape === 'sql') {
    if (typeof value !== 'string' || !isSql(value)) return [];
    return tablesIn(value).flatMap(({ name, kind }) => (isMissing(name) ? [] : [{ type, value: name.slice(0, valueChars), kind }]));
  }
  if (typeof value === 'number') return (shape === 'id' || shape === 'number') && Number.isSafeInteger(value) ? typed(type, key, String(value)) : [];
  const text = value.trim();
  if (text === '' || text.length > valueChars || /[\r\n]/u.test(text) || isMissing(text)) return [];
  const known: Record<Exclude<ValueShape, 'sql'>, () => Shaped[]> = {
    id: () => (/\s/u.test(text) || text.length > 128 ? [] : typed(type, key, text)),
    number: () => (/\s/u.test(text) || text.length > 128 || !/\p{N}/u.test(text) ? [] : typed(type, key, text)),
    path: () => ofPath(text, key, type),
    uri: () => ofUri(text),
    table: () => (/^[\p{L}\p{N}_."`[\]$-]{1,128}$/u.test(text) ? [{ type, value: text }] : []),
    email: () => [...text.matchAll(email)].map(([one]) => ({ type, value: one.toLowerCase() })),
    text: () => (text.length > 128 ? [] : [{ type, value: text }]),
  };
  return known[shape]();
}

function ofPath(text: string, key: string, type: string): Shaped[] {
  if (scheme.test(text) && !/^[A-Za-z]:[\\/]/u.test(text)) return ofUri(text);
  // `PATH` and its like are lists
  if (/:[/~]/u.test(text.slice(2))) return [];
  return surePath.has(key) || pathLike.test(text) ? [{ type, value: text }] : [];
}

function ofUri(text: string): Shaped[] {
  const name = scheme.exec(text)?.[1]?.toLowerCase();
  if (name === undefined || name === 'data' || name === 'javascript') return [];
  if (webSchemes.has(name)) return [{ type: 'url', value: text }];
  if (name === 'mailto') return [...text.matchAll(email)].map(([one]) => ({ type: 'email', value: one.replace(/^mailto:/iu, '').toLowerCase() }));
  if (name !== 'file') return [{ type: 'resource', value: text }];
  try {
    return [{ type: 'file', value: decodeURIComponent(text.replace(/^file:(?:\/\/)?/iu, '')) }];
  } catch {
    return [{ type: 'file', value: text }];
  }
}

/** Of `*` the words before `id`; none for ids of the conversation itself. */
function typed(type: string, key: string, value: string): Shaped[] {
  if (type !== '*') return [{ type, value }];
  const words = key.split('_');
  if (isId(words.at(-1)) || words.at(-1) === 'number') words.pop();
  while (words.length > 1 && idleWords.has(words[0]!)) words.shift();
  const last = words.pop();
  if (last === undefined) return [];
  const noun = [...words, singular(last)].join('_').slice(0, typeChars);
  return idleNouns.has(noun) ? [] : [{ type: noun, value }];
}

const idleWords: ReadonlySet<string> = new Set(qualifiers);
const idleNouns: ReadonlySet<string> = new Set(idleIds);
