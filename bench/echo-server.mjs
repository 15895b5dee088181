// A small MCP server over stdio in plain Node: answers `initialize`, `tools/list` and `tools/call` of one tool, `echo`.
// One write for each message, as the official SDKs' servers do.
let rest = '';
process.stdin.setEncoding('utf8');
process.stdin.on('data', (text) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop();
  for (const line of lines) {
    const { id, method, params } = JSON.parse(line);
    if (id === undefined) continue;
    process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: answer(method, params) })}\n`);
  }
});

function answer(method, params) {
  if (method === 'tools/call') return { content: [{ type: 'text', text: params.arguments.text }] };
  if (method === 'tools/list')
    return {
      tools: [{ name: 'echo', inputSchema: { type: 'object', properties: { text: { type: 'string' } } }, annotations: { readOnlyHint: true } }],
    };
  return { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'echo', version: '1' } };
}
