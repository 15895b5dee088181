/** What a request asks with and what a result brings, as the analyses read it. The text is a stranger's: it is compared and shown, never followed. */
import { looseJson } from './frame-text.ts';

export interface ResultView {
  isError: boolean;
  /** Of a JSON-RPC error. */
  code?: number;
  /** Texts of its content, of embedded resources, of prompts' messages, or of an error, in order; at most `textsMost` of `textChars` together. */
  texts: string[];
  /** `structuredContent`, as it came. */
  structured?: unknown;
  /** Texts that are JSON objects or lists, read. */
  documents: unknown[];
  /** URIs of resource links and embedded resources. */
  uris: string[];
  /** What it is estimated to put into the model's context. */
  contextTokens: number;
}

const textsMost = 200;
const textChars = 1024 * 1024;
/** The rule of thumb for text: four bytes of UTF-8 a token. */
const tokenBytes = 4;
/** An image of unknown size: what a picture of a screen costs with today's models. */
const imageTokens = 1_500;
/** Bytes of a second of compressed speech, and its tokens. */
const audioBytesPerS = 16_000;
const audioTokensPerS = 32;

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `params.arguments` of a tool call or prompt, `params` without `_meta` of another request. */
export function argumentsOf(method: string, message: unknown): unknown {
  const params = isObject(message) ? message['params'] : undefined;
  if (!isObject(params)) return undefined;
  if (method === 'tools/call' || method === 'prompts/get') return params['arguments'];
  const { _meta, ...others } = params;
  return Object.keys(others).length === 0 ? undefined : others;
}

/** The result or error in a message; `undefined` where there is neither. */
export function resultOf(message: unknown): ResultView | undefined {
  if (!isObject(message)) return undefined;
  const { result, error } = message;
  if (isObject(error)) {
    const { code, message: text } = error;
    const texts = typeof text === 'string' ? [text.slice(0, textChars)] : [];
    return {
      isError: true,
      ...(typeof code === 'number' ? { code } : {}),
      texts,
      documents: [],
      uris: [],
      contextTokens: texts.reduce((sum, one) => sum + tokensOf(one), 0),
    };
  }
  if (!isObject(result)) return undefined;
  const view: ResultView = { isError: result['isError'] === true, texts: [], documents: [], uris: [], contextTokens: 0 };
  let charsLeft = textChars;
  for (const block of blocksOf(result)) {
    const { type, text, uri, blob, mimeType } = block;
    if (typeof uri === 'string' && view.uris.length < textsMost) view.uris.push(uri);
    if (typeof text === 'string') {
      view.contextTokens += tokensOf(text);
      if (view.texts.length < textsMost && charsLeft > 0) {
        const kept = text.slice(0, charsLeft);
        charsLeft -= kept.length;
        view.texts.push(kept);
        if (/^\s*[[{]/.test(kept)) {
          const document = looseJson(kept);
          if (typeof document === 'object' && document !== null) view.documents.push(document);
        }
      }
    } else if (type === 'image' || (typeof blob === 'string' && String(mimeType).startsWith('image/'))) view.contextTokens += imageTokens;
    else if (type === 'audio' && typeof block['data'] === 'string') {
      view.contextTokens += Math.ceil(((block['data'].length * 0.75) / audioBytesPerS) * audioTokensPerS);
    } else if (type === 'resource_link') view.contextTokens += tokensOf(JSON.stringify(block));
  }
  if (result['structuredContent'] !== undefined) {
    view.structured = result['structuredContent'];
    // clients hand on one of the two: the content where there is some
    if (view.contextTokens === 0) view.contextTokens = tokensOf(JSON.stringify(view.structured));
  }
  return view;
}

/** Requests whose results say nothing to the model, and are not looked into. */
const quiet: ReadonlySet<string> = new Set([
  'initialize',
  'server/discover',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);

export function isQuiet(method: string): boolean {
  return method.endsWith('/list') || quiet.has(method);
}

/** What a quiet request's result puts into the context: definitions of tools, prompts and resources are read by the model as they come. */
export function listTokens(method: string, sizeBytes: number): number {
  return method.endsWith('/list') ? Math.ceil(sizeBytes / tokenBytes) : 0;
}

/** Content blocks of every kind of result: of tools, resources and prompts. */
function* blocksOf(result: Record<string, unknown>): Generator<Record<string, unknown>> {
  const { content, contents, messages } = result;
  for (const block of listOf(content)) yield isObject(block['resource']) ? block['resource'] : block;
  yield* listOf(contents);
  for (const { content: said } of listOf(messages)) {
    for (const block of Array.isArray(said) ? listOf(said) : listOf([said])) yield isObject(block['resource']) ? block['resource'] : block;
  }
}

function listOf(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

// oxlint-disable-next-line no-control-regex -- all that is ASCII
const notAscii = /[^\0-\x7f]/;

function tokensOf(text: string): number {
  let sizeBytes = text.length;
  if (!notAscii.test(text)) return Math.ceil(sizeBytes / tokenBytes);
  // what is not ASCII has two or three bytes a unit
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 0x7f) sizeBytes += text.charCodeAt(at) > 0x7ff ? 2 : 1;
  return Math.ceil(sizeBytes / tokenBytes);
}

const shownChars = 160;

/** The beginning of a value on one line, as stored. */
export function lineOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  // a long value is not written out whole for its beginning
  const text = typeof value === 'string' ? value.slice(0, shownChars * 4) : briefJson(value, shownChars * 2);
  const line = text.replace(/\s+/g, ' ').trim();
  if (line.length <= shownChars) return apart(line);
  // not within a character of two units
  const end = (line.charCodeAt(shownChars - 2) & 0xfc00) === 0xd800 ? shownChars - 2 : shownChars - 1;
  return apart(`${line.slice(0, end)}…`);
}

/** The same text in memory of its own: a slice keeps all of the text that it was cut from, and rows stay when messages go. */
function apart(text: string): string {
  // a join is copied before it is cut
  return ` ${text}`.slice(1);
}

export function resultLine(view: ResultView): string | undefined {
  const text = view.texts.find((one) => one.trim() !== '');
  return text === undefined ? lineOf(view.structured ?? view.uris[0]) : lineOf(text);
}

/** JSON of a value whose texts are cut, so that its beginning costs no more than it shows. */
function briefJson(value: unknown, chars: number): string {
  let left = chars;
  return (
    JSON.stringify(value, (_name, inner: unknown) => {
      if (left <= 0) return undefined;
      if (typeof inner === 'string') {
        left -= inner.length;
        return inner.length > chars ? inner.slice(0, chars) : inner;
      }
      left -= 4;
      return inner;
    }) ?? ''
  );
}
