/** What a shape found wrong, in words: zod's issues become messages that name the field, what stands there, and what was probably meant. */
import * as z from 'zod';
import type { IssueDetails } from './checked-text.ts';
import type { Path } from './document.ts';
import { nearest } from '../bytes/typed.ts';
import { either, quoted, type Found } from './problem.ts';

export interface PlacedFinding extends Found {
  path: Path;
  /** It is about the key at `path`, not about its value. */
  key?: true;
  /** It is about this character of the string at `path`. */
  offset?: number;
}

/** Words that people write where the file has another one. */
const otherWords: Readonly<Record<string, string>> = {
  action: 'write `allow: true`, `deny: true`, `flag: true` or `ask: true`',
  block: 'write `deny: true`',
  condition: 'did you mean `when`?',
  if: 'did you mean `when`?',
  expression: 'did you mean `when`?',
  message: 'did you mean `reason`?',
  shadow: 'write `enforce: false`',
  dryRun: 'write `enforce: false`',
  arguments: 'arguments are judged by a condition: `when: args.…`',
  args: 'arguments are judged by a condition: `when: args.…`',
  '<<': 'merge keys belong to YAML 1.1; write the members out',
};

/** `issues` of `schema` for `value`, which is the value as a whole. */
export function explain(schema: z.ZodType, value: unknown, issues: readonly z.core.$ZodIssue[]): PlacedFinding[] {
  return issues.flatMap((issue) => explainOne(schema, value, issue, []));
}

function explainOne(schema: z.ZodType, root: unknown, issue: z.core.$ZodIssue, before: Path): PlacedFinding[] {
  const path: Path = [...before, ...(issue.path as (string | number)[])];
  const value = valueAt(root, path);
  const field = fieldText(path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = knownKeys(schemaAt(schema, root, path));
      return issue.keys.map((key) => {
        const guess = nearest(key, known);
        const hint = guess === undefined ? (otherWords[key] ?? `known here: ${known.join(', ')}`) : `did you mean \`${guess}\`?`;
        return { path: [...path, key], key: true, message: `unknown key ${quoted(key)}${path.length === 0 ? '' : ` in ${field}`}`, hint };
      });
    }
    case 'invalid_union': {
      if (value === undefined) return [{ path, message: `${field} is missing` }];
      const options = optionsOf(schemaAt(schema, root, path, true));
      const fit = options.findIndex((option) => takes(option, value));
      if (fit >= 0 && issue.errors[fit]) return issue.errors[fit].flatMap((inner) => explainOne(schema, root, inner, path));
      return [{ path, ...wrongType(field, kindsText(options), value, path) }];
    }
    case 'invalid_type': {
      const here = schemaAt(schema, root, path);
      if (value === undefined) return [{ path, message: `${field} is missing` }];
      return [{ path, ...wrongType(field, here === undefined ? issue.expected : kindText(here), value, path) }];
    }
    case 'invalid_value': {
      if (value === undefined) return [{ path, message: `${field} is missing` }];
      const words = issue.values.map(String);
      const known = words.length > 12 ? 'a known word' : either(words);
      const guess = typeof value === 'string' ? nearest(value, words) : undefined;
      const hint =
        guess !== undefined
          ? `did you mean ${guess}?`
          : words.length > 12
            ? `known: ${words.join(', ')}`
            : value === false && words[0] === 'true'
              ? 'remove the line'
              : yesHint(value, words);
      return [{ path, message: `${field} must be ${known}, not ${valueText(value)}`, ...(hint === undefined ? {} : { hint }) }];
    }
    case 'too_big':
    case 'too_small': {
      const bound = Number(issue.code === 'too_big' ? issue.maximum : issue.minimum);
      const limit = issue.code === 'too_big' ? `at most ${bound.toLocaleString('en')}` : `at least ${bound.toLocaleString('en')}`;
      if (Array.isArray(value)) {
        if (value.length === 0) return [{ path, message: `${field} is an empty list`, hint: 'remove it, or name something' }];
        return [{ path, message: `${field} has ${value.length.toLocaleString('en')} items, ${limit} are allowed` }];
      }
      return [{ path, message: `${field} must be ${limit}, not ${valueText(value)}` }];
    }
    case 'invalid_key':
      return issue.issues.map((inner) => ({ path, key: true as const, message: `a key in ${fieldText(path.slice(0, -1))} ${inner.message}` }));
    case 'custom': {
      const { hint, offset } = (issue.params ?? {}) as IssueDetails;
      return [{ path, message: `${field} ${issue.message}`, ...(hint === undefined ? {} : { hint }), ...(offset === undefined ? {} : { offset }) }];
    }
    default:
      return [{ path, message: `${field}: ${issue.message}` }];
  }
}

/** The name of the field a value belongs to; of an item, with its place in the list. */
export function fieldText(path: Path): string {
  const items: string[] = [];
  for (let i = path.length - 1; i >= 0; i--) {
    const step = path[i]!;
    if (typeof step === 'string') return `\`${/^[\w*?/.-]{1,60}$/.test(step) ? step : quoted(step)}${items.reverse().join('')}\``;
    items.push(`[${step}]`);
  }
  return 'the file';
}

function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const step of path)
    value = typeof value === 'object' && value !== null && Object.hasOwn(value, step) ? (value as Record<string | number, unknown>)[step] : undefined;
  return value;
}

/** The schema for the value at `path`: of a union that option which takes the value, unless `asUnion`. */
function schemaAt(schema: z.ZodType, root: unknown, path: Path, asUnion = false): z.ZodType | undefined {
  let here: z.ZodType | undefined = schema;
  let value = root;
  for (let i = 0; ; i++) {
    while (here instanceof z.ZodOptional) here = here.unwrap() as z.ZodType;
    if (i === path.length && asUnion) return here;
    if (here instanceof z.ZodUnion) {
      const options = optionsOf(here);
      here = options.find((option) => takes(option, value)) ?? (i === path.length ? here : undefined);
    }
    if (i === path.length || here === undefined) return here;
    const step = path[i]!;
    value = valueAt(value, [step]);
    if (here instanceof z.ZodObject) here = (here.shape as Record<string, z.ZodType>)[step];
    else if (here instanceof z.ZodArray) here = here.element as z.ZodType;
    else if (here instanceof z.ZodRecord) here = here.valueType as z.ZodType;
    else return undefined;
  }
}

function optionsOf(schema: z.ZodType | undefined): z.ZodType[] {
  return schema instanceof z.ZodUnion ? (schema.options as z.ZodType[]) : [];
}

function knownKeys(schema: z.ZodType | undefined): string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** Whether a value is of the kind that a schema is for, whatever is wrong inside of it. */
function takes(schema: z.ZodType, value: unknown): boolean {
  if (schema instanceof z.ZodArray) return Array.isArray(value);
  if (schema instanceof z.ZodObject || schema instanceof z.ZodRecord) return typeof value === 'object' && value !== null && !Array.isArray(value);
  if (schema instanceof z.ZodNumber) return typeof value === 'number';
  return typeof value === 'string';
}

function kindsText(schemas: readonly z.ZodType[]): string {
  const kinds = schemas.map(kindText);
  return kinds.some((kind) => kind.includes(' or ')) ? kinds.join(', or ') : either(kinds);
}

/** What a schema asks for: `a string or a list of strings`. */
function kindText(schema: z.ZodType): string {
  while (schema instanceof z.ZodOptional) schema = schema.unwrap() as z.ZodType;
  if (schema instanceof z.ZodUnion) return kindsText(optionsOf(schema));
  if (schema instanceof z.ZodArray) {
    const element = schema.element as z.ZodType;
    return element instanceof z.ZodObject || element instanceof z.ZodUnion
      ? 'a list'
      : element instanceof z.ZodEnum
        ? 'a list of these'
        : `a list of ${kindText(element).replace(/^an? /, '')}s`;
  }
  if (schema instanceof z.ZodObject || schema instanceof z.ZodRecord) return 'a map';
  if (schema instanceof z.ZodNumber) return 'a whole number';
  if (schema instanceof z.ZodBoolean) return 'true or false';
  if (schema instanceof z.ZodEnum) return schema.options.length > 12 ? 'a known word' : either(schema.options.map(String));
  return 'a string';
}

function valueText(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return Array.isArray(value) ? 'a list' : 'a map';
}

function wrongType(field: string, expected: string, value: unknown, path: Path): Found {
  const message = `${field} must be ${expected}, not ${valueText(value)}`;
  if (path.at(-1) === 'principal' && (typeof value === 'string' || Array.isArray(value))) {
    const who = typeof value === 'string' && /^[\w@.*-]+$/.test(value) ? value : 'alice';
    return {
      message: '`principal` does not name its part: observed, verified or declared',
      hint: `what somebody says of itself: principal: { declared: { name: ${who} } }`,
    };
  }
  const hint =
    value === null
      ? 'is what belongs to it indented too little? else remove the line'
      : expected.startsWith('a string') && (typeof value === 'number' || typeof value === 'boolean')
        ? `put it in quotes: "${value}"`
        : expected === 'true or false'
          ? yesHint(value, ['true', 'false'])
          : expected === 'a list' && typeof value === 'object'
            ? 'begin each item with a dash: - '
            : undefined;
  return { message, ...(hint === undefined ? {} : { hint }) };
}

/** `yes` and `on` are strings since YAML 1.2. */
function yesHint(value: unknown, words: readonly string[]): string | undefined {
  if (typeof value !== 'string' || !words.includes('true')) return undefined;
  if (/^(yes|y|on|true|1)$/i.test(value)) return 'write true, without quotes';
  return /^(no|n|off|false|0)$/i.test(value) ? (words.includes('false') ? 'write false, without quotes' : 'remove the line') : undefined;
}
