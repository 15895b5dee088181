/**
 * The client with a proxy in front of its server: `node client-through.ts <proxy> <placement> <ledger> <url>`, the last word from the suite. `same-origin`:
 * the proxy takes the server's place for the client, which dials the same URL as without it; `own-url`: the client dials the proxy's.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { startProxy, type Proxy } from './programs.ts';
import { frontAddress } from './same-origin.ts';

export type Placement = 'same-origin' | 'own-url';

const [proxy, placement, ledger, url] = process.argv.slice(2) as [Proxy, Placement, string, string];
const here = (file: string): string => join(import.meta.dirname, file);
const { port, pathname } = new URL(url);

const front = await startProxy(
  proxy,
  `http://127.0.0.1:${port}${pathname}`,
  placement === 'same-origin' ? `${frontAddress}:${port}` : '127.0.0.1:0',
  ledger,
  process.env,
);
const words = placement === 'same-origin' ? [here('client-same-origin.ts'), url] : [here('client.ts'), front.url];
const client = spawn(process.execPath, words, { stdio: 'inherit' });
// the suite gives up on a client with SIGTERM
process.on('SIGTERM', () => client.kill('SIGTERM'));
const [status] = (await once(client, 'exit')) as [number | null];
await front.end();
process.exit(status ?? 1);
