/** The help of `sworn proxy`, and its small acts. The proxy itself (`src/proxy/`) is a program of its own and reads its options by itself. */
import { SwornError } from '../errors.ts';
import type { CommandHelp } from './help.ts';
import { connectionOptions, effectOptions } from './run.ts';

export const proxyHelp: CommandHelp = {
  options: [
    { flags: '--upstream <url>', description: 'the MCP endpoint of the server behind the proxy, http or https' },
    { flags: '--name <name>', description: "the server's name in the record (default: from the URL)" },
    { flags: '--listen <address>', description: 'where to listen (default: 127.0.0.1:4422)' },
    { flags: '--config <file>', description: 'many servers by path, TLS, who may come, and the policy: proxy, auth and the rest of sworn.yaml' },
    { flags: '--allow-host <host>', description: 'a further name, with or without port, in the Host header; may be given several times' },
    { flags: '--allow-origin <origin>', description: 'a web page that may come, as in https://app.example.com; may be given several times' },
    {
      flags: '--public-url <url>',
      description: 'how clients reach the proxy, without /mcp: OAuth metadata of the server says it in place of its own address (an audience change)',
    },
    { flags: '--tls-cert <file>', description: 'speak TLS with this certificate (PEM); read again when it changes' },
    { flags: '--tls-key <file>', description: 'its key (PEM)' },
    { flags: '--new-api-key <name>', description: 'with --config, instead of starting: makes a key for the file `auth.apiKeys`, and prints it once' },
    ...connectionOptions,
    ...effectOptions,
  ],
  example: 'sworn proxy --upstream http://127.0.0.1:3001/mcp --name hr',
};

/** Reached only by `sworn help proxy` with more words: the proxy handles every other `proxy`. */
export function proxyUsage(): Promise<number> {
  throw new SwornError('usage', 'sworn proxy is started by bin/sworn.mjs', { command: 'proxy' });
}
