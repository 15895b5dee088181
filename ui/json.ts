/**
 * JSON as it was written: keys keep their order (and their repetition), numbers their spelling, and a stretch that is missing keeps its place inside of a string or in the place of a
 * value. Parsing never throws; what is no JSON is `undefined`, and shown as text.
 */
import type { Stretch } from '../src/analysis/views.ts';

export type Missing = Extract<Stretch, { missing: string }>;
export type Part = string | Missing;

export type Json =
  | { kind: 'object'; members: { key: Part[]; value: Json }[] }
  | { kind: 'array'; items: Json[] }
  | { kind: 'string'; parts: Part[] }
  /** A number, `true`, `false` or `null`, in its own spelling. */
  | { kind: 'literal'; text: string }
  | { kind: 'missing'; missing: Missing };

/** Deeper is shown as text. */
const deepest = 512;
const escapes: Readonly<Record<string, string>> = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

/** A stretch that is not here: half of a surrogate pair, which no decoded text has alone. */
const gap = '\uD800';

class NotJson extends Error {}

/** A frame as one text, in which each missing stretch is one `gap`. */
export function joined(frame: readonly Stretch[]): { text: string; missing: Missing[] } {
  const missing: Missing[] = [];
  let text = '';
  for (const stretch of frame) {
    if ('text' in stretch) text += stretch.text.replaceAll(gap, '\uFFFD');
    else {
      missing.push(stretch);
      text += gap;
    }
  }
  return { text, missing };
}

export function readJson(frame: readonly Stretch[]): Json | undefined {
  const { text, missing } = joined(frame);
  let at = 0;
  let gaps = 0;

  const space = (): void => {
    while (at < text.length && ' \t\n\r'.includes(text[at]!)) at++;
  };
  const string = (): Part[] => {
    at++;
    const parts: Part[] = [];
    let piece = '';
    for (;;) {
      const character = text[at++];
      if (character === undefined) throw new NotJson();
      if (character === '"') break;
      if (character === gap) {
        if (piece !== '') parts.push(piece);
        piece = '';
        parts.push(missing[gaps++]!);
      } else if (character === '\\') {
        const next = text[at++] ?? '';
        if (next === 'u' && /^[0-9a-fA-F]{4}$/.test(text.slice(at, at + 4))) {
          piece += String.fromCharCode(Number.parseInt(text.slice(at, at + 4), 16));
          at += 4;
        } else if (escapes[next] === undefined) {
          // an escape that redaction cut stands as it was written
          piece += `\\${next === gap ? '' : next}`;
          if (next === gap) at--;
        } else piece += escapes[next];
      } else {
        let end = at;
        while (end < text.length && text[end] !== '"' && text[end] !== '\\' && text[end] !== gap) end++;
        piece += text.slice(at - 1, end);
        at = end;
      }
    }
    if (piece !== '' || parts.length === 0) parts.push(piece);
    return parts;
  };
  const value = (depth: number): Json => {
    if (depth > deepest) throw new NotJson();
    space();
    const character = text[at];
    if (character === '"') return { kind: 'string', parts: string() };
    if (character === gap) {
      at++;
      return { kind: 'missing', missing: missing[gaps++]! };
    }
    if (character === '{') return object(depth);
    if (character === '[') return array(depth);
    const found = /^(?:-?\d[\d.eE+-]*|true|false|null)/.exec(text.slice(at, at + 400));
    if (found === null) throw new NotJson();
    at += found[0].length;
    return { kind: 'literal', text: found[0] };
  };
  const object = (depth: number): Json => {
    const members: { key: Part[]; value: Json }[] = [];
    at++;
    space();
    if (text[at] === '}') {
      at++;
      return { kind: 'object', members };
    }
    for (;;) {
      space();
      if (text[at] !== '"') throw new NotJson();
      const key = string();
      space();
      if (text[at++] !== ':') throw new NotJson();
      members.push({ key, value: value(depth + 1) });
      space();
      const next = text[at++];
      if (next === '}') return { kind: 'object', members };
      if (next !== ',') throw new NotJson();
    }
  };
  const array = (depth: number): Json => {
    const items: Json[] = [];
    at++;
    space();
    if (text[at] === ']') {
      at++;
      return { kind: 'array', items };
    }
    for (;;) {
      items.push(value(depth + 1));
      space();
      const next = text[at++];
      if (next === ']') return { kind: 'array', items };
      if (next !== ',') throw new NotJson();
    }
  };

  try {
    const found = value(0);
    space();
    return at === text.length ? found : undefined;
  } catch (error) {
    if (error instanceof NotJson) return undefined;
    throw error;
  }
}

export function partsText(parts: readonly Part[]): string {
  return parts.map((part) => (typeof part === 'string' ? part : missingText(part))).join('');
}

/** What stands where a stretch is missing. */
export function missingText({ missing, sizeBytes, rule }: Missing): string {
  return `▒ ${missing}${rule === undefined ? '' : ` by ${rule}`}, ${sizeBytes} B ▒`;
}

/** The value at `path` of keys, where it is an object all the way. Keys are compared, never looked up in a prototype. */
export function at(json: Json | undefined, ...path: string[]): Json | undefined {
  let found = json;
  for (const key of path) {
    if (found?.kind !== 'object') return undefined;
    found = found.members.find((member) => member.key.length === 1 && member.key[0] === key)?.value;
  }
  return found;
}

/** Indented lines, for comparing: one member or item a line, in the order and spelling in which they were written. */
export function lines(json: Json, most = 5_000): string[] {
  const out: string[] = [];
  const write = (value: Json, indent: string, before: string, after: string): void => {
    if (out.length >= most) return;
    if (value.kind === 'object' || value.kind === 'array') {
      const [open, close] = value.kind === 'object' ? '{}' : '[]';
      const many = value.kind === 'object' ? value.members.length : value.items.length;
      if (many === 0) {
        out.push(`${indent}${before}${open}${close}${after}`);
        return;
      }
      out.push(`${indent}${before}${open}`);
      if (value.kind === 'object') {
        value.members.forEach((member, index) =>
          write(member.value, `${indent}  `, `${JSON.stringify(partsText(member.key))}: `, index + 1 < many ? ',' : ''),
        );
      } else value.items.forEach((item, index) => write(item, `${indent}  `, '', index + 1 < many ? ',' : ''));
      out.push(`${indent}${close}${after}`);
    } else out.push(`${indent}${before}${spelled(value)}${after}`);
  };
  write(json, '', '', '');
  if (out.length >= most) out.push('…');
  return out;
}

function spelled(value: Json): string {
  if (value.kind === 'literal') return value.text;
  if (value.kind === 'missing') return missingText(value.missing);
  return value.kind === 'string' ? JSON.stringify(partsText(value.parts)) : '';
}
