/**
 * The conformance server over HTTP: both eras at one endpoint, the old one with sessions, resumable streams and a GET stream. Says its URL on stdout, and
 * ends when its stdin does.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  createMcpHandler,
  hostHeaderValidationResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  originValidationResponse,
  WebStandardStreamableHTTPServerTransport,
  type EventStore,
  type JSONRPCMessage,
} from '@modelcontextprotocol/server';
import { everythingServer } from './everything.ts';

/** How long a client waits before it comes back to a stream that was closed; a scenario waits as long. */
const retryMs = 500;

/** Every event of a session, for those who come back with `Last-Event-ID`. */
class SessionEvents implements EventStore {
  readonly #events: { id: string; stream: string; message: JSONRPCMessage }[] = [];

  storeEvent(stream: string, message: JSONRPCMessage): Promise<string> {
    // counted per stream: which of two streams is first is another in every run
    const id = `${stream}::${this.#events.filter((event) => event.stream === stream).length}`;
    this.#events.push({ id, stream, message });
    return Promise.resolve(id);
  }

  getStreamIdForEventId(id: string): Promise<string | undefined> {
    return Promise.resolve(this.#events.find((event) => event.id === id)?.stream);
  }

  async replayEventsAfter(lastEventId: string, { send }: { send: (id: string, message: JSONRPCMessage) => Promise<void> }): Promise<string> {
    const last = this.#events.findIndex((event) => event.id === lastEventId);
    const stream = this.#events[last]?.stream;
    if (stream === undefined) throw new Error(`no event ${lastEventId}`);
    for (const event of this.#events.slice(last + 1)) {
      // a priming event is stored without a message
      if (event.stream === stream && 'jsonrpc' in event.message) await send(event.id, event.message);
    }
    return stream;
  }
}

const modern = createMcpHandler(
  (context) => everythingServer(context, { tools: () => modern.notify.toolsChanged(), prompts: () => modern.notify.promptsChanged() }),
  { legacy: 'reject' },
);
const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();

async function serveLegacy(request: Request): Promise<Response> {
  const id = request.headers.get('mcp-session-id');
  if (id !== null) {
    const session = sessions.get(id);
    return (
      session?.handleRequest(request) ??
      Response.json({ jsonrpc: '2.0', error: { code: -32_001, message: 'Session not found' }, id: null }, { status: 404 })
    );
  }
  // whatever is not `initialize` this transport refuses itself
  const opened = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new SessionEvents(),
    retryInterval: retryMs,
    onsessioninitialized: (session) => void sessions.set(session, opened),
    onsessionclosed: (session) => void sessions.delete(session),
  });
  await everythingServer({ era: 'legacy' }).connect(opened);
  return opened.handleRequest(request);
}

const serve = toNodeHandler({
  fetch: async (request) =>
    hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
    originValidationResponse(request, localhostAllowedOrigins()) ??
    (new URL(request.url).pathname !== '/mcp' ? new Response(null, { status: 404 }) : undefined) ??
    ((await isLegacyRequest(request)) ? serveLegacy(request) : modern.fetch(request)),
});
const server = createServer((request, response) => void serve(request as Parameters<typeof serve>[0], response));
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`));
process.stdin.on('end', () => process.exit(0)).resume();
