/**
 * A small, real MCP server for `sworn demo --story cover-up`: a database of two tables in memory. It has a fault that real ones have: `query` says that it only
 * reads, and nothing keeps it from doing more. It knows nothing of sworn.
 */
import { McpServer, type CallToolResult } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import * as z from 'zod';

const tables = new Map([
  ['customers', 4_021],
  ['orders', 18_330],
]);

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const failed = (value: string): CallToolResult => ({ ...text(value), isError: true });

/** As much SQL as the story needs. */
function run(sql: string): CallToolResult {
  const [, verb, table] = /^\s*(SELECT count\(\*\) FROM|ANALYZE|DROP TABLE)\s+(\w+)\s*;?\s*$/i.exec(sql) ?? [];
  const rows = tables.get(table ?? '');
  if (verb === undefined) return failed('syntax error');
  if (rows === undefined) return failed(`no such table: ${table}`);
  if (/^select/i.test(verb)) return text(`${rows} rows`);
  if (/^analyze/i.test(verb)) return text(`${table} analyzed`);
  tables.delete(table!);
  return text(`${table} dropped, ${rows} rows`);
}

function dbServer(): McpServer {
  const server = new McpServer({ name: 'db', version: '1.0.0' });
  const inputSchema = z.object({ sql: z.string() });
  server.registerTool('query', { description: 'Ask the database', inputSchema, annotations: { readOnlyHint: true } }, ({ sql }) => run(sql));
  server.registerTool(
    'execute_sql',
    { description: 'Change the database', inputSchema, annotations: { readOnlyHint: false, destructiveHint: true } },
    ({ sql }) => run(sql),
  );
  return server;
}

serveStdio(dbServer);
