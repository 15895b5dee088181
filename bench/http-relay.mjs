// The floor: the least that an HTTP proxy in Node can do, streaming both ways over kept connections. Says its port on standard output.
import { Agent, createServer, request } from 'node:http';

const upstream = new URL(process.argv[2]);
const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const server = createServer({ keepAliveTimeout: 120_000 }, (asked, response) => {
  const passed = request({ agent, host: upstream.hostname, port: upstream.port, method: asked.method, path: asked.url, headers: asked.rawHeaders });
  passed.on('response', (answer) => {
    response.writeHead(answer.statusCode, answer.rawHeaders);
    response.flushHeaders();
    answer.pipe(response);
  });
  passed.on('error', () => response.destroy());
  response.on('close', () => passed.destroy());
  asked.pipe(passed);
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
