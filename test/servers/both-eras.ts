/** A server of ours on the official SDK 2.x: it speaks both eras, and its tools show every annotation, every kind of failure, and progress. */
import { acceptedContent, inputRequired, McpServer, type CallToolResult } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import * as z from 'zod';

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });

function server(): McpServer {
  const server = new McpServer({ name: 'both-eras', version: '3.1.4' });
  server.registerTool('look', { description: 'reads', inputSchema: z.object({ at: z.string() }), annotations: { readOnlyHint: true } }, ({ at }) =>
    text(`seen ${at}`),
  );
  server.registerTool(
    'put',
    {
      description: 'writes, and takes nothing away',
      inputSchema: z.object({ at: z.string() }),
      annotations: { readOnlyHint: false, destructiveHint: false },
    },
    ({ at }) => text(`put ${at}`),
  );
  server.registerTool('wipe', { description: 'says nothing of itself', inputSchema: z.object({}) }, () => text('wiped'));
  server.registerTool('fail', { description: 'fails', inputSchema: z.object({}), annotations: { readOnlyHint: true } }, () => ({
    ...text('it failed'),
    isError: true,
  }));
  server.registerTool('get_pay', { description: 'reads pay', inputSchema: z.object({}), annotations: { readOnlyHint: true } }, () => text('4711'));
  server.registerTool(
    'steps',
    { description: 'reports progress', inputSchema: z.object({ count: z.number() }), annotations: { readOnlyHint: true } },
    async ({ count }, ctx) => {
      const progressToken = ctx.mcpReq._meta?.progressToken;
      for (let i = 1; i <= count && progressToken !== undefined; i++) {
        await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: i, total: count } });
      }
      return text(`${count} steps`);
    },
  );
  server.registerTool(
    'wait',
    { description: 'answers when it is cancelled', inputSchema: z.object({}), annotations: { readOnlyHint: true } },
    (_args, ctx) => new Promise((done) => ctx.mcpReq.signal.addEventListener('abort', () => done(text('cancelled')))),
  );
  const name = z.object({ name: z.string() });
  server.registerTool('confirm', { description: 'asks back', inputSchema: z.object({}), annotations: { readOnlyHint: false } }, (_args, ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'who', name);
    if (answer === undefined) return inputRequired({ inputRequests: { who: inputRequired.elicit({ message: 'who?', requestedSchema: name }) } });
    return text(`confirmed by ${answer.name}`);
  });
  server.registerResource('note', 'note://one', { mimeType: 'text/plain' }, (uri) => ({ contents: [{ uri: uri.href, text: 'a note' }] }));
  server.registerPrompt('greet', { argsSchema: z.object({ who: z.string() }) }, ({ who }) => ({
    messages: [{ role: 'user', content: { type: 'text', text: `hello ${who}` } }],
  }));
  return server;
}

serveStdio(server);
