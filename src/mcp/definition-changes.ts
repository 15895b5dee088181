/** What is different between two definitions of a tool, field by field: for people who are to accept one of them. */
import { canonicalJson } from './definition.ts';

export interface DefinitionChange {
  /** `description`, `inputSchema.properties.path.type`; names of strangers: not safe for a terminal. */
  path: string;
  /** A text as it is, anything else as JSON; absent where there was, or is, none. */
  before?: string;
  after?: string;
}

/** Beyond it the rest is not listed. */
const changesMost = 500;
/** What a person reads first. */
const first = ['name', 'title', 'description', 'annotations'];

/** Every field that differs, at most 500. `undefined` for `before`: all of it is new. */
export function definitionChanges(before: unknown, after: unknown): DefinitionChange[] {
  const changes: DefinitionChange[] = [];
  compare('', before, after, changes);
  return changes;
}

function compare(path: string, before: unknown, after: unknown, changes: DefinitionChange[]): void {
  if (changes.length >= changesMost) return;
  if (before !== undefined && after !== undefined && canonicalJson(before) === canonicalJson(after)) return;
  if (isObject(before) && isObject(after)) {
    for (const name of namesOf(before, after)) compare(pathOf(path, name), own(before, name), own(after, name), changes);
    return;
  }
  // a definition that is new, or gone, is shown by its fields
  if (path === '' && (isObject(before) || isObject(after))) {
    const names = namesOf(isObject(before) ? before : {}, isObject(after) ? after : {});
    for (const name of names)
      compare(name, isObject(before) ? own(before, name) : undefined, isObject(after) ? own(after, name) : undefined, changes);
    return;
  }
  if (Array.isArray(before) && Array.isArray(after) && [...before, ...after].some((one) => typeof one === 'object' && one !== null)) {
    for (let i = 0; i < Math.max(before.length, after.length); i++) compare(`${path}[${i}]`, before[i] as unknown, after[i] as unknown, changes);
    return;
  }
  changes.push({ path, ...(before === undefined ? {} : { before: textOf(before) }), ...(after === undefined ? {} : { after: textOf(after) }) });
}

function namesOf(before: object, after: object): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const rank = (name: string): number => (first.includes(name) ? first.indexOf(name) : first.length);
  return names.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function own(value: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

function pathOf(path: string, name: string): string {
  const step = /^[A-Za-z_$][\w$-]*$/.test(name) ? name : JSON.stringify(name);
  return path === '' ? step : `${path}.${step}`;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, undefined, 2);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
