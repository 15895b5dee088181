/**
 * A relay that knows nothing of MCP: the harness's own baseline. `node pass-through.ts --upstream <url> --listen <host:port>` says its URL on stderr. It hands
 * on method, path, headers and bytes as they come, the `Host` among them; what it shows is that the comparison finds nothing where nothing is changed.
 * Ends when its stdin does.
 */
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { upstream: { type: 'string' }, listen: { type: 'string', default: '127.0.0.1:0' } } });
const upstream = new URL(values.upstream!);
const [host, port] = values.listen.split(':') as [string, string];

const server = createServer((incoming, outgoing) => {
  const onward = request({
    host: upstream.hostname,
    port: upstream.port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.rawHeaders as unknown as Record<string, string>,
  });
  onward.on('response', (answer) => {
    outgoing.writeHead(answer.statusCode!, answer.statusMessage, answer.rawHeaders as unknown as Record<string, string>);
    outgoing.flushHeaders();
    answer.pipe(outgoing);
    answer.on('error', () => outgoing.destroy());
  });
  onward.on('error', () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end()));
  outgoing.on('close', () => onward.destroy());
  incoming.pipe(onward);
});
server.listen(Number(port), host, () => {
  const { address, port: bound } = server.address() as AddressInfo;
  console.error(`pass-through: on http://${address}:${bound}${upstream.pathname}`);
});
process.stdin.on('end', () => process.exit(0)).resume();
