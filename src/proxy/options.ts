/** The command line of `sworn proxy`. */
import { basename, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { argumentProblem } from '../bytes/typed.ts';
import { publicUrlProblem } from '../config/values.ts';
import { SwornError } from '../errors.ts';
import { overridesBytes } from '../limits.ts';
import { choiceOf, globsOf, labelsOf, shortName } from '../wire/options.ts';
import { checkSocketPath, defaultLedger, ledgerPath, socketPathOf } from '../wire/socket-path.ts';
import type { Hello } from '../wire/wire.ts';
import type { HeaderRules } from './headers.ts';
import type { UpstreamSettings } from './upstream.ts';

export interface ProxyOptions {
  listen?: { host: string; port: number };
  /** How clients reach the proxy, with what stands before all of its paths. */
  publicUrl?: URL;
  /** Absolute paths of PEM files. */
  tls?: { cert: string; key: string };
  upstreams: UpstreamSettings[];
  allowHosts: string[];
  allowOrigins: string[];
  ledger: string;
  socket: string;
  /** The socket was named: its recorder is somebody else's to start. */
  external: boolean;
  config?: string;
  client?: string;
  labels: Record<string, string>;
  mode: Hello['mode'];
  onUnrecordable: Hello['onUnrecordable'];
  overrides: Hello['overrides'];
}

export const defaultListen = '127.0.0.1:4422';

/** The client's own credentials are for the server that it means to talk to. */
export const usualRules: HeaderRules = { authorization: true, cookies: false, remove: [], set: [] };

/** @throws SwornError `usage` */
export function readProxyOptions(argv: readonly string[]): ProxyOptions {
  const { values } = parsed(argv);
  const config = values.config === undefined ? undefined : resolve(values.config);
  const ledger = ledgerPath(values.ledger ?? defaultLedger());
  const socket = values.socket === undefined ? socketPathOf(ledger) : resolve(values.socket);
  checkSocketPath(socket);
  if (values.upstream === undefined && config === undefined)
    throw usage('where to? sworn proxy --upstream <url>, or upstreams in a configuration with --config FILE');
  const overrides = { sensitive: globsOf(values.sensitive), write: globsOf(values.write), read: globsOf(values.read) };
  if (Buffer.byteLength(JSON.stringify(overrides)) > overridesBytes)
    throw usage(`--sensitive, --write and --read have at most ${overridesBytes} bytes together`);
  return {
    ...(values.listen === undefined ? {} : { listen: listenOf(values.listen) }),
    ...(values['public-url'] === undefined ? {} : { publicUrl: publicUrlOf(values['public-url']) }),
    ...tlsOf(values['tls-cert'], values['tls-key']),
    upstreams: values.upstream === undefined ? [] : [upstreamOf(values.upstream, values.name)],
    allowHosts: values['allow-host'] ?? [],
    allowOrigins: (values['allow-origin'] ?? []).map(originOf),
    ledger,
    socket,
    external: values.socket !== undefined,
    ...(config === undefined ? {} : { config }),
    ...(values.client === undefined ? {} : { client: shortName(values.client, '--client', usage) }),
    labels: labelsOf(values.label ?? [], usage),
    mode: choiceOf(values.mode ?? 'commit', '--mode', ['commit', 'observe'], usage),
    onUnrecordable: choiceOf(values['on-unrecordable'] ?? 'block', '--on-unrecordable', ['block', 'pass'], usage),
    overrides,
  };
}

function parsed(argv: readonly string[]) {
  const one = { type: 'string' } as const;
  const many = { type: 'string', multiple: true } as const;
  const options = {
    upstream: one,
    name: one,
    listen: one,
    'public-url': one,
    'tls-cert': one,
    'tls-key': one,
    'allow-host': many,
    'allow-origin': many,
    ledger: one,
    socket: one,
    config: one,
    client: one,
    label: many,
    mode: one,
    'on-unrecordable': one,
    sensitive: many,
    write: many,
    read: many,
  };
  try {
    return parseArgs({ args: [...argv], allowPositionals: false, options });
  } catch (error) {
    // read elsewhere, and perhaps what was meant
    throw usage(argumentProblem(error, { ...options, help: one, 'new-api-key': one }));
  }
}

function upstreamOf(text: string, name: string | undefined): UpstreamSettings {
  const url = urlOf(text);
  return { name: shortName(name ?? nameOf(url), '--name', usage), url, mount: '', rules: usualRules, upstreamTimeoutMs: 0 };
}

/** @throws SwornError `usage` */
export function urlOf(text: string): URL {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw usage(`${JSON.stringify(text)} is no URL; as in http://127.0.0.1:3001/mcp`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw usage(`an upstream is http or https, not ${url.protocol}`);
  if (url.username !== '' || url.password !== '')
    throw usage('an upstream with user or password in its URL is not taken: it would be seen by everybody');
  url.hash = '';
  return url;
}

function publicUrlOf(text: string): URL {
  const problem = publicUrlProblem(text);
  if (problem !== undefined) throw usage(`--public-url ${JSON.stringify(text)} ${problem}`);
  return new URL(text);
}

/** The first name of its host, or the last word of its path. */
function nameOf(url: URL): string {
  const word = basename(url.pathname);
  return word !== '' && word !== 'mcp' && word !== 'sse' ? word : url.host;
}

function tlsOf(cert: string | undefined, key: string | undefined): Pick<ProxyOptions, 'tls'> {
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined || key === undefined) throw usage('--tls-cert and --tls-key belong together');
  return { tls: { cert: resolve(cert), key: resolve(key) } };
}

/** @throws SwornError `usage` */
export function listenOf(text: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || host === '' || Number(port) > 65_535)
    throw usage(`--listen is HOST:PORT, as in ${defaultListen}, not ${JSON.stringify(text)}`);
  return { host, port: Number(port) };
}

/** @throws SwornError `usage` */
export function originOf(text: string): string {
  try {
    const { origin } = new URL(text);
    if (origin !== 'null') return origin;
  } catch {
    // below
  }
  throw usage(`--allow-origin is an origin, as in https://app.example.com, not ${JSON.stringify(text)}`);
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'proxy' });
}
