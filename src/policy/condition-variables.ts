/**
 * What a condition may start from, and what is known of it before there is a message.
 */

/** Every name that a condition may start from. */
export const variables: Readonly<Record<string, string>> = {
  args: 'map: params.arguments of tools/call and prompts/get, else empty',
  params: 'map: params of the request or notification, else empty',
  method: "string: the method, of a reply its request's",
  server: 'string: the name of the MCP server',
  tool: "string: the tool of tools/call, '' when none",
  target: 'string: tool, prompt or URI that the message is about',
  direction: "string: 'c2s' or 's2c'",
  type: "string: 'request', 'result', 'error' or 'notification'",
  effect: "string: 'read', 'write' or 'unknown'",
  sensitive: 'bool: whether the tool was declared sensitive',
  destructive: 'bool: whether the tool was declared destructive',
  client: 'map: name, version; what the client says of itself',
  labels: 'map of strings: the labels of the session',
  principal:
    'map: observed {uid (int), pid (int), executable, address}, verified {method, subject, issuer, clientId, scopes (list), actors (list)}, declared {name, userAgent, claims (map)}',
  session: 'map of ints: calls, reads, writes, sensitiveReads, untrustedResults, denied, errors',
  result: 'map: text (string), isError (bool), structured, error {code, message}',
  sizeBytes: 'int: bytes of the message',
  message: 'map: the whole message',
};

/** What is known of a value before there is one: 'dyn' is anything. */
export interface Shape {
  readonly type: string;
  /** All that a map can hold; without it anything. */
  readonly members?: Readonly<Record<string, Shape>>;
  /** Of members without a name of their own. */
  readonly member?: Shape;
  /** Whether it may be absent, so that reading it is an error. */
  readonly optional?: true;
}

export const dyn: Shape = { type: 'dyn' };
export const anything: Shape = { type: 'dyn', optional: true };
const intShape: Shape = { type: 'int' };
export const textShape: Shape = { type: 'string' };
export const boolShape: Shape = { type: 'bool' };
const openMap: Shape = { type: 'map', member: anything };
const optional = (shape: Shape): Shape => ({ ...shape, optional: true });
const record = (members: Record<string, Shape>): Shape => ({ type: 'map', members });

export const shapes: Readonly<Record<string, Shape>> = {
  args: openMap,
  params: openMap,
  message: openMap,
  client: openMap,
  labels: { type: 'map', member: optional(textShape) },
  principal: record({
    observed: optional(record({ uid: optional(intShape), pid: optional(intShape), executable: optional(textShape), address: optional(textShape) })),
    verified: optional(
      record({
        ...Object.fromEntries(['method', 'subject', 'issuer', 'clientId'].map((name) => [name, optional(textShape)])),
        ...Object.fromEntries(['scopes', 'actors'].map((name) => [name, optional({ type: 'list', member: textShape })])),
      }),
    ),
    declared: optional(
      record({ name: optional(textShape), userAgent: optional(textShape), claims: optional({ type: 'map', member: optional(textShape) }) }),
    ),
  }),
  session: record(
    Object.fromEntries(['calls', 'reads', 'writes', 'sensitiveReads', 'untrustedResults', 'denied', 'errors'].map((name) => [name, intShape])),
  ),
  result: record({
    text: textShape,
    isError: boolShape,
    structured: anything,
    error: optional(record({ code: anything, message: optional(textShape) })),
  }),
  sizeBytes: intShape,
  ...Object.fromEntries(['method', 'server', 'tool', 'target', 'direction', 'type', 'effect'].map((name) => [name, textShape])),
  ...Object.fromEntries(['sensitive', 'destructive'].map((name) => [name, boolShape])),
};
