// A small MCP server over HTTP in plain Node: answers a POST with JSON, as a stateless server does; and `GET /events?each=<ms>` with a stream of
// events that say when they were sent. Says its port on standard output.
import { createServer } from 'node:http';

const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
  if (request.method === 'GET') {
    const everyMs = Number(new URL(request.url, 'http://127.0.0.1').searchParams.get('each') ?? 100);
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
    let n = 0;
    const timer = setInterval(() => {
      const sentUs = Number(process.hrtime.bigint() / 1000n);
      response.write(
        `event: message\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"n":${++n},"sentUs":${sentUs}}}}\n\n`,
      );
    }, everyMs);
    response.on('close', () => clearInterval(timer));
    return;
  }
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { id, params } = JSON.parse(Buffer.concat(chunks).toString());
    const body = JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: params.arguments.text }] } });
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
    response.end(body);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
