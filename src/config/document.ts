/**
 * A YAML 1.2 text (so a JSON text too) as plain values, with the place in the text of each of them. Works for every text: what is wrong is listed.
 */
import { isAlias, isMap, isScalar, isSeq, parseDocument, visit, type Document, type ParsedNode, type Scalar, type YAMLError } from 'yaml';
import { quoted, type Found } from './problem.ts';

/** Levels of lists and maps in each other; the file's shape needs nine. */
export const depth = 32;
/** Values that aliases (`*name`) may stand for together: a few anchors for thousands of rules, but no bomb. */
export const aliasedValues = 200_000;
/** Syntax errors that are told: one leads to the next. */
const syntaxErrors = 10;

export type Path = readonly (string | number)[];

/** Both from 1; columns in UTF-16 units, as editors count them. A byte order mark takes no column. */
export interface Position {
  line: number;
  column: number;
}

export interface ParsedDocument {
  /** `undefined` when the text holds nothing, or cannot be read. Maps have no prototype. */
  value: unknown;
  /** Of the syntax, by the place that each names. */
  errors: (Found & { path: Path; position: Position })[];
  /** Where the value at `path` begins; of what is missing, the nearest thing around it. */
  at(path: Path): Position;
  /** Where the key of the member at `path` stands. */
  atKey(path: Path): Position;
  /**
   * The first key that is an array index (`42`) and stands behind other keys, of each map that has one: JavaScript moves it to the front, so the map's members are
   * not in the order of the text.
   */
  moved: WeakMap<object, string>;
  /** Where the character `offset` (UTF-16 units from 0) of the string at `path` stands; exact but for folded scalars and those of several lines in quotes. */
  inside(path: Path, offset: number): Position;
}

export function parseYaml(source: string): ParsedDocument {
  const text = source.startsWith('\ufeff') ? source.slice(1) : source;
  const lineStarts = [0];
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', end + 1)) lineStarts.push(end + 1);
  const positionOf = (offset: number): Position => {
    let low = 0;
    let high = lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - lineStarts[low]! + 1 };
  };

  const yaml = parseDocument(text, {
    version: '1.2',
    // found below: the library compares every key with every other
    uniqueKeys: false,
    stringKeys: true,
    resolveKnownTags: false,
    prettyErrors: false,
  });
  const errors: ParsedDocument['errors'] = [];
  const trail: (string | number)[] = [];
  const found = (offset: number, error: Found): void => {
    if (errors.length < syntaxErrors) errors.push({ ...error, path: [...trail], position: positionOf(offset) });
  };

  // one mistake makes the library stumble for the rest of the line
  const lines = new Set<number>();
  const stumbles = [...yaml.errors, ...yaml.warnings];
  // a tab shifts what follows, of which all else is said in vain
  const tabs = stumbles.filter(({ code }) => code === 'TAB_AS_INDENT');
  for (const error of (tabs.length > 0 ? tabs : stumbles).sort((a, b) => a.pos[0] - b.pos[0])) {
    const offset = error.code === 'MISSING_CHAR' ? (openingQuote(yaml, error.pos[0]) ?? error.pos[0]) : error.pos[0];
    const { line } = positionOf(offset);
    if (!lines.has(line)) found(offset, syntaxError(error, text));
    lines.add(line);
  }
  if (yaml.directives?.yaml.version === '1.1')
    found(0, { message: 'the file says that it is YAML 1.1, where yes and on are not words', hint: 'remove the line %YAML 1.1' });

  const inStep = <T>(step: string | number, read: () => T): T => {
    trail.push(step);
    const value = read();
    trail.pop();
    return value;
  };
  const anchors = new Map<string, ParsedNode>();
  // an anchor may be given again: an alias means the one before it in the text, wherever it is repeated
  const targets = new Map<ParsedNode, ParsedNode>();
  const open = new Set<ParsedNode>();
  let aliased = 0;
  let aliases = 0;
  const valueOf = (node: ParsedNode | null, level: number): unknown => {
    if (node === null || errors.length > 0) return null;
    if (aliases > 0 && ++aliased > aliasedValues) {
      found(node.range[0], { message: `aliases stand for more than ${aliasedValues.toLocaleString('en')} values`, hint: 'write out what is meant' });
      return null;
    }
    if (isAlias(node)) {
      const target = targets.get(node) ?? anchors.get(node.source);
      if (target === undefined) {
        const raw = text.slice(node.range[0], node.range[1]);
        found(node.range[0], {
          message: `${quoted(raw)} is an alias, and nothing before it is marked &${shortened(node.source)}`,
          hint: `text that begins with * stands in quotes: ${quoted(raw)}`,
        });
        return null;
      }
      if (open.has(target)) {
        found(node.range[0], { message: `${quoted(`*${node.source}`)} stands inside of what it refers to` });
        return null;
      }
      targets.set(node, target);
      aliases++;
      const value = valueOf(target, level);
      aliases--;
      return value;
    }
    if (node.anchor !== undefined && aliases === 0) anchors.set(node.anchor, node);
    if (isScalar(node)) return node.value;
    if (level === depth) {
      found(node.range[0], { message: `lists and maps are nested deeper than ${depth} levels` });
      return null;
    }
    open.add(node);
    const value = isSeq(node) ? node.items.map((item, i) => inStep(i, () => valueOf(item, level + 1))) : mapOf(node, level);
    open.delete(node);
    return value;
  };
  const moved = new WeakMap<object, string>();
  const mapOf = (node: ParsedNode, level: number): Record<string, unknown> => {
    const map = Object.create(null) as Record<string, unknown>;
    const firsts = new Map<string, number>();
    let others = false;
    if (!isMap(node)) return map;
    for (const { key, value } of node.items as { key: ParsedNode; value: ParsedNode | null }[]) {
      if (!isAlias(key) && key.anchor !== undefined && aliases === 0) anchors.set(key.anchor, key);
      const name = isAlias(key) ? String(valueOf(key, level)) : keyText(key);
      if (name === '__proto__') found(key.range[0], { message: 'the key "__proto__" is not possible here' });
      const first = firsts.get(name);
      if (first !== undefined && aliases === 0)
        inStep(name, () => {
          const { line } = positionOf(first);
          found(key.range[0], { message: `the key ${quoted(name)} is there twice`, hint: `it is in line ${line} already` });
        });
      if (!arrayIndex.test(name)) others = true;
      else if (others && !moved.has(map)) moved.set(map, name);
      firsts.set(name, first ?? key.range[0]);
      map[name] = inStep(name, () => valueOf(value, level + 1));
    }
    return map;
  };
  const root = yaml.contents;
  const value = errors.length === 0 && root !== null && root !== undefined ? valueOf(root, 0) : undefined;

  const resolved = (node: ParsedNode): ParsedNode => targets.get(node) ?? node;
  const pairAt = (node: ParsedNode, name: string): { key: ParsedNode; value: ParsedNode | null } | undefined =>
    isMap(node) ? (node.items as { key: ParsedNode; value: ParsedNode | null }[]).find(({ key }) => keyText(resolved(key)) === name) : undefined;
  /** The node at `path`, or the nearest around it; `exact` when it is there. */
  const nodeAt = (path: Path): { node: ParsedNode | undefined; exact: boolean } => {
    let node: ParsedNode | undefined = root === null || root === undefined ? undefined : resolved(root);
    for (const step of path) {
      if (node === undefined) break;
      const pair = typeof step === 'string' ? pairAt(node, step) : undefined;
      const next: ParsedNode | null | undefined = isSeq(node) && typeof step === 'number' ? node.items[step] : pair?.value;
      if (next === undefined || next === null) return { node: pair?.key ?? node, exact: false };
      node = resolved(next);
    }
    return { node, exact: node !== undefined };
  };
  const at = (path: Path): Position => {
    const { node } = nodeAt(path);
    return positionOf(node === undefined ? 0 : startOf(node, text));
  };
  return {
    value,
    errors,
    moved,
    at,
    atKey(path) {
      const { node, exact } = nodeAt(path.slice(0, -1));
      const key = exact && typeof path.at(-1) === 'string' ? pairAt(node!, path.at(-1) as string)?.key : undefined;
      return key === undefined ? at(path) : positionOf(key.range[0]);
    },
    inside(path, offset) {
      const { node, exact } = nodeAt(path);
      if (!exact || !isScalar(node)) return at(path);
      return positionOf(offsetInside(node, text, offset));
    },
  };
}

const arrayIndex = /^(?:0|[1-9]\d{0,9})$/;

const keyText = (key: ParsedNode): string => (isScalar(key) ? String(key.value) : '');

/** A map or list that begins in its own lines begins with its first key or dash, which is where the library says so; an empty value where its key ends. */
function startOf(node: ParsedNode, text: string): number {
  return Math.min(node.range[0], text.length);
}

const simpleEscape = /^\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[^\n])/;

/** The place in the text of the character `offset` of a scalar. */
function offsetInside(node: Scalar.Parsed, text: string, offset: number): number {
  const [start, end] = node.range;
  const raw = text.slice(start, end);
  if (node.type === 'BLOCK_LITERAL') return literalOffset(String(node.value), text, start, end, offset) ?? start;
  if (raw.includes('\n')) return start;
  if (node.type === 'PLAIN') return start + Math.min(offset, raw.length);
  const double = node.type === 'QUOTE_DOUBLE';
  if (!double && node.type !== 'QUOTE_SINGLE') return start;
  let at = 1;
  let length = 0;
  while (length < offset && at < raw.length - 1) {
    const written = double ? (simpleEscape.exec(raw.slice(at, at + 10))?.[0] ?? raw[at]!) : raw.startsWith("''", at) ? "''" : raw[at]!;
    length += written.startsWith('\\U') && Number.parseInt(written.slice(2), 16) > 0xffff ? 2 : 1;
    at += written.length;
  }
  return start + at;
}

/** `undefined` when a line of the text is not the value's line with something before it. */
function literalOffset(value: string, text: string, start: number, end: number, offset: number): number | undefined {
  const before = value.slice(0, offset).split('\n');
  const wanted = value.split('\n')[before.length - 1]!;
  let lineStart = start;
  for (let i = 0; i < before.length; i++) {
    lineStart = text.indexOf('\n', lineStart) + 1;
    if (lineStart === 0 || lineStart > end) return undefined;
  }
  const lineEnd = text.indexOf('\n', lineStart);
  const line = text.slice(lineStart, lineEnd < 0 ? text.length : lineEnd).replace(/\r$/, '');
  const indent = line.length - wanted.length;
  if (!line.endsWith(wanted) || line.slice(0, indent).trim() !== '') return undefined;
  return lineStart + indent + before.at(-1)!.length;
}

const shortened = (text: string): string => (text.length > 120 ? `${text.slice(0, 120)}…` : text);

/** Where the quoted text begins that ends at `end`, the end of the file, for want of a quote. */
function openingQuote(yaml: Document.Parsed, end: number): number | undefined {
  let opening: number | undefined;
  visit(yaml, {
    Scalar(_, { type, range }) {
      if ((type === 'QUOTE_DOUBLE' || type === 'QUOTE_SINGLE') && range?.[1] === end) opening = range[0];
    },
  });
  return opening;
}

function syntaxError(error: YAMLError, text: string): Found {
  const character = text[error.pos[0]] ?? '';
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return { message: 'a tab stands where lines are indented', hint: 'YAML indents with spaces only' };
    case 'MULTIPLE_DOCS':
      return { message: 'a second document begins here', hint: 'one file holds one document: remove the line --- or ...' };
    case 'NON_STRING_KEY':
      return { message: 'a key is a word, not a list or a map', hint: 'a value that begins with [ or { stands behind a key, or in quotes' };
    case 'RESOURCE_EXHAUSTION':
      return { message: `lists and maps are nested deeper than ${depth} levels` };
    case 'TAG_RESOLVE_FAILED':
      return { message: 'a tag (!…) has no meaning in this file', hint: 'text that begins with ! stands in quotes' };
    case 'BAD_SCALAR_START':
      return { message: `text cannot begin with ${character}`, hint: 'put it in quotes' };
    case 'BAD_ALIAS':
      return { message: 'a bare * is an alias without a name', hint: 'text that begins with * stands in quotes: "*"' };
    case 'BAD_DQ_ESCAPE':
      return {
        message: `there is no escape ${quoted(text.slice(error.pos[0], error.pos[0] + 2))} in double quotes`,
        hint: 'put the text in single quotes, where a backslash is itself, or write \\\\',
      };
    case 'BLOCK_AS_IMPLICIT_KEY':
      return { message: 'a second colon in one line', hint: 'put text that holds ": " in quotes; or the line is indented too far' };
    case 'BAD_DIRECTIVE':
      return { message: 'a line that begins with % says something about YAML that is not understood', hint: 'remove the line' };
    case 'KEY_OVER_1024_CHARS':
      return { message: 'a key is longer than 1,024 characters' };
    case 'MISSING_CHAR':
      if (/closing/.test(error.message)) return { message: `a closing ${/'/.test(error.message) ? "'" : '"'} is missing` };
      break;
    default:
  }
  const words = shortened(error.message.split('\n')[0]!);
  return { message: `not YAML: ${words[0]!.toLowerCase()}${words.slice(1)}`, hint: 'look at the indentation, at brackets and at quotes' };
}
