/** The official clients, behind one face: what differs between 1.x and 2.x is only how a call is spelled. */
import {
  Client as Client2,
  SSEClientTransport as Sse2,
  StreamableHTTPClientTransport as Http2,
  type Transport as Transport2,
} from '@modelcontextprotocol/client';
import { StdioClientTransport as Stdio2 } from '@modelcontextprotocol/client/stdio';
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport as Sse1 } from '@modelcontextprotocol/sdk/client/sse.js';
import { StdioClientTransport as Stdio1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as Http1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport as Transport1 } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  LoggingMessageNotificationSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';

export const kinds = ['sdk 1', 'legacy', 'auto', 'pinned-modern'] as const;
export type ClientKind = (typeof kinds)[number];

export interface CallOptions {
  onprogress?: (progress: unknown) => void;
  signal?: AbortSignal;
}

export interface AnyClient {
  listTools(): Promise<{ tools: { name: string }[] }>;
  callTool(name: string, args: Record<string, unknown>, options?: CallOptions): Promise<{ isError?: boolean | undefined; content: unknown }>;
  listResources(): Promise<{ resources: { uri: string }[] }>;
  readResource(uri: string): Promise<unknown>;
  listPrompts(): Promise<unknown>;
  getPrompt(name: string, args: Record<string, string>): Promise<unknown>;
  close(): Promise<void>;
}

const identity = { name: 'scenario', version: '2.7.1' };
const capabilities = { sampling: {}, elicitation: {}, roots: { listChanged: true } };
const roots = { roots: [{ uri: 'file:///scenario', name: 'scenario' }] };
const sampled = { model: 'none', role: 'assistant', content: { type: 'text', text: 'sampled' } } as const;

/** Connects a client of this kind to `command`. With `offers`, it answers what servers ask of clients. */
export async function connect(kind: ClientKind, command: string[], env: Record<string, string>, offers = false): Promise<AnyClient> {
  const [file, ...args] = command as [string, ...string[]];
  const parameters = { command: file, args, env, stderr: 'ignore' as const };
  return connectOver(
    kind,
    () => new Stdio1(parameters),
    () => new Stdio2(parameters),
    offers,
  );
}

/** Connects a client of this kind to a server over Streamable HTTP, or over HTTP+SSE (2024-11-05). */
export async function connectTo(kind: ClientKind, url: string, transport: 'http' | 'sse', offers = false): Promise<AnyClient> {
  const at = new URL(url);
  return transport === 'http'
    ? connectOver(
        kind,
        () => new Http1(at),
        () => new Http2(at),
        offers,
      )
    : connectOver(
        kind,
        () => new Sse1(at),
        () => new Sse2(at),
        offers,
      );
}

async function connectOver(kind: ClientKind, transport1: () => Transport1, transport2: () => Transport2, offers: boolean): Promise<AnyClient> {
  const options = { capabilities: offers ? capabilities : {} };
  if (kind === 'sdk 1') {
    const client = new Client1(identity, options);
    if (offers) {
      client.setRequestHandler(CreateMessageRequestSchema, () => sampled);
      client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name: 'scenario' } }));
      client.setRequestHandler(ListRootsRequestSchema, () => roots);
    }
    client.setNotificationHandler(LoggingMessageNotificationSchema, () => undefined);
    const transport = transport1();
    await client.connect(transport);
    return {
      listTools: () => client.listTools(),
      callTool: (name, args, options) =>
        client.callTool({ name, arguments: args }, undefined, options) as Promise<{ isError?: boolean; content: unknown }>,
      listResources: () => client.listResources(),
      readResource: (uri) => client.readResource({ uri }),
      listPrompts: () => client.listPrompts(),
      getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
      close: () => closed(client, transport),
    };
  }
  const mode = kind === 'pinned-modern' ? { pin: '2026-07-28' } : kind;
  const client = new Client2(identity, { ...options, versionNegotiation: { mode } });
  if (offers) {
    client.setRequestHandler('sampling/createMessage', () => sampled);
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'scenario' } }));
    client.setRequestHandler('roots/list', () => roots);
  }
  const transport = transport2();
  await client.connect(transport);
  return {
    listTools: () => client.listTools(),
    callTool: (name, args, options) => client.callTool({ name, arguments: args }, options),
    listResources: () => client.listResources(),
    readResource: (uri) => client.readResource({ uri }),
    listPrompts: () => client.listPrompts(),
    getPrompt: (name, args) => client.getPrompt({ name, arguments: args }),
    close: () => closed(client, transport),
  };
}

/** Over Streamable HTTP a session ends when its client says so. */
async function closed(client: { close(): Promise<void> }, transport: Transport1 | Transport2): Promise<void> {
  if (transport instanceof Http1 || transport instanceof Http2) await transport.terminateSession();
  await client.close();
}

/** Ends a request of this client before its answer; how, is its own affair. */
export async function cancelled(client: AnyClient, name: string, args: Record<string, unknown>, whenRunning: () => Promise<void>): Promise<void> {
  const stop = new AbortController();
  const call = client.callTool(name, args, { signal: stop.signal }).then(
    () => {
      throw new Error('a cancelled call was answered');
    },
    (error: unknown) => error,
  );
  await whenRunning();
  stop.abort();
  const error = await call;
  if ((error as Error).message === 'a cancelled call was answered') throw error as Error;
}
