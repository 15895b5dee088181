/** A server of ours on the official SDK 2.x, with a tool that pays and one that lets whoever calls it run anything, as a shell tool of an agent does. */
import { spawnSync } from 'node:child_process';
import { McpServer } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import * as z from 'zod';

function server(): McpServer {
  const server = new McpServer({ name: 'deciding', version: '1.0.0' });
  server.registerTool('pay', { description: 'pays', inputSchema: z.object({ to: z.string() }) }, ({ to }) => ({
    content: [{ type: 'text', text: `paid ${to}` }],
  }));
  server.registerTool('shell', { description: 'runs', inputSchema: z.object({ words: z.array(z.string()) }) }, ({ words }) => {
    const { status, stdout, stderr } = spawnSync(words[0]!, words.slice(1), { encoding: 'utf8' });
    return { content: [{ type: 'text', text: JSON.stringify({ status, stdout, stderr }) }] };
  });
  return server;
}

serveStdio(server);
