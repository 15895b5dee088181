/** What conditions see of a message (`spec/policy.md`, Conditions): plain values, read from exactly the bytes that would be delivered. */
import { utf8Text } from '../bytes/bytes.ts';
import { readJson, TooCostly } from './json.ts';
import type { Judged } from './match.ts';
import type { Party } from './match.ts';
import type { SessionCounts } from './session.ts';

/** Why no condition can be evaluated about a message, which denies. */
export type Unviewable = 'too-costly' | 'no-such-overload';

export function viewOf(message: Judged, party: Party, counts: SessionCounts): Record<string, unknown> | Unviewable {
  const json = message.bytes === undefined ? undefined : documentOf(message.bytes);
  if (json === 'too-costly') return json;
  const params = json?.['params'] ?? {};
  const isReply = message.type === 'result' || message.type === 'error';
  const isCall = message.method === 'tools/call' || message.method === 'prompts/get';
  // A server may take it for what it is meant to be all the same; to a condition it would look as if there were none.
  if (!isReply && !isObject(params)) return 'no-such-overload';
  const args = isCall && isObject(params) ? (params['arguments'] ?? {}) : {};
  if (!isReply && !isObject(args)) return 'no-such-overload';
  return {
    message: json ?? {},
    params,
    args: isReply ? {} : args,
    method: message.method ?? '',
    server: party.server,
    tool: message.target?.kind === 'tool' ? message.target.value : '',
    target: message.target?.value ?? '',
    direction: message.direction,
    type: message.type,
    effect: message.effects.effect ?? 'unknown',
    sensitive: message.effects.sensitive ?? false,
    destructive: message.effects.destructive ?? false,
    client: { ...(party.client === undefined ? {} : { given: party.client }), ...party.clientInfo },
    labels: party.labels,
    principal: {
      ...party.principal,
      observed: { ...party.principal.observed, ...integers({ uid: party.principal.observed.uid, pid: party.principal.observed.pid }) },
    },
    session: integers({ ...counts }),
    result: isReply ? resultOf(json, message.type === 'error') : {},
    sizeBytes: BigInt(message.sizeBytes),
  };
}

/** CEL's ints; JSON's numbers are its doubles. */
function integers(numbers: Record<string, number | undefined>): Record<string, bigint> {
  const counts: Record<string, bigint> = {};
  for (const [name, value] of Object.entries(numbers)) if (value !== undefined) counts[name] = BigInt(value);
  return counts;
}

function documentOf(bytes: Uint8Array): Record<string, unknown> | 'too-costly' | undefined {
  const text = utf8Text(bytes);
  if (text === undefined) return undefined;
  try {
    return objectIn(readJson(text));
  } catch (error) {
    return error instanceof TooCostly ? 'too-costly' : undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectIn(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

/** Every text in a result or an error, and every member's name, a line each: what a rule about words is about, wherever a server puts them. */
function resultOf(json: Record<string, unknown> | undefined, isError: boolean): Record<string, unknown> {
  const result = json?.['result'];
  const said = json?.['error'];
  const error = objectIn(said);
  const fields = objectIn(result);
  const texts: string[] = [];
  textsIn(result, texts);
  // also one that is no object, and its members that no specification knows
  textsIn(said, texts);
  return {
    text: texts.join('\n'),
    isError: fields['isError'] === true || isError,
    ...(fields['structuredContent'] === undefined ? {} : { structured: fields['structuredContent'] }),
    ...(isError ? { error } : {}),
  };
}

/** No deeper than the strict reader goes. */
function textsIn(value: unknown, texts: string[]): void {
  if (typeof value === 'string') texts.push(value);
  else if (Array.isArray(value)) for (const item of value as unknown[]) textsIn(item, texts);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, inner] of Object.entries(value)) {
      if (!ownNames.has(name)) texts.push(name);
      textsIn(inner, texts);
    }
  }
}

/** The protocol's own, which would be in the text of every result. */
const ownNames = new Set([
  'content',
  'contents',
  'messages',
  'text',
  'type',
  'resource',
  'uri',
  'mimeType',
  'structuredContent',
  'isError',
  '_meta',
  'resultType',
  'code',
  'message',
  'data',
]);
