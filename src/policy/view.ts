/** What conditions see of a message (`spec/policy.md`, Conditions): plain values, read from exactly the bytes that would be delivered. */
import { utf8Text } from '../bytes/bytes.ts';
import { readJson } from './json.ts';
import type { Judged } from './judge.ts';
import type { Party } from './match.ts';
import type { SessionCounts } from './session.ts';

export function viewOf(message: Judged, party: Party, counts: SessionCounts): Record<string, unknown> {
  const json = message.bytes === undefined ? undefined : documentOf(message.bytes);
  const params = objectIn(json?.['params']);
  const isReply = message.type === 'result' || message.type === 'error';
  const isCall = message.method === 'tools/call' || message.method === 'prompts/get';
  return {
    message: json ?? {},
    params,
    args: isCall && !isReply ? objectIn(params['arguments']) : {},
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
    result: isReply ? resultOf(json) : {},
    sizeBytes: BigInt(message.sizeBytes),
  };
}

/** CEL's ints; JSON's numbers are its doubles. */
function integers(numbers: Record<string, number | undefined>): Record<string, bigint> {
  const counts: Record<string, bigint> = {};
  for (const [name, value] of Object.entries(numbers)) if (value !== undefined) counts[name] = BigInt(value);
  return counts;
}

function documentOf(bytes: Uint8Array): Record<string, unknown> | undefined {
  const text = utf8Text(bytes);
  if (text === undefined) return undefined;
  try {
    return objectIn(readJson(text));
  } catch {
    return undefined;
  }
}

function objectIn(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

/** All the text of a result, one part a line: what a rule about words is about, wherever a server puts them. */
function resultOf(json: Record<string, unknown> | undefined): Record<string, unknown> {
  const result = objectIn(json?.['result']);
  const error = objectIn(json?.['error']);
  const texts: string[] = [];
  for (const list of [result['content'], result['contents'], result['messages']]) {
    for (const part of Array.isArray(list) ? (list as unknown[]) : [list]) textsIn(part, texts);
  }
  // as a server writes it into a text for clients that do not know the field
  for (const other of [result['structuredContent'], error['data']]) if (other !== undefined) texts.push(JSON.stringify(other));
  if (typeof error['message'] === 'string') texts.push(error['message']);
  return {
    text: texts.join('\n'),
    isError: result['isError'] === true || json?.['error'] !== undefined,
    ...(result['structuredContent'] === undefined ? {} : { structured: result['structuredContent'] }),
    ...(json?.['error'] === undefined ? {} : { error }),
  };
}

/** The text of one part of a result: its own, that of a resource embedded in it, that of a prompt's message. */
function textsIn(part: unknown, texts: string[]): void {
  const { text, resource, content } = objectIn(part);
  if (typeof text === 'string') texts.push(text);
  const embedded = objectIn(resource)['text'];
  if (typeof embedded === 'string') texts.push(embedded);
  for (const inner of Array.isArray(content) ? (content as unknown[]) : content === undefined ? [] : [content]) {
    const innerText = objectIn(inner)['text'];
    if (typeof innerText === 'string') texts.push(innerText);
  }
}
