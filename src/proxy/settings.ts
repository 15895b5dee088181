/** What the proxy runs with: the command line, the configuration, and the files that it names, as they are now. */
import { readFile } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { loadConfig, type AuthSettings, type HttpUpstreamSettings, type ProxySettings } from '../config/config.ts';
import { noAuth } from '../config/auth.ts';
import { SwornError } from '../errors.ts';
import { defaultListen, listenOf, originOf, usualRules, type ProxyOptions } from './options.ts';
import type { UpstreamSettings } from './upstream.ts';

export interface Settings {
  listen: { host: string; port: number };
  publicUrl?: URL;
  allowHosts: string[];
  allowOrigins: string[];
  /** Of our own; absolute paths of PEM files. */
  tls?: { cert: string; key: string };
  upstreams: UpstreamSettings[];
  auth: AuthSettings;
}

/** @throws SwornError `usage`, `config-missing`, `config-invalid`, `auth-file` */
export async function settingsOf(options: ProxyOptions): Promise<Settings> {
  const config = options.config === undefined ? undefined : await loadConfig(options.config);
  const proxy: Partial<ProxySettings> = config?.proxy ?? {};
  const upstreams = [...options.upstreams, ...(await Promise.all((proxy.upstreams ?? []).map((one) => upstreamOf(one))))];
  if (upstreams.length === 0)
    throw new SwornError('usage', `${options.config} names no server: write proxy: { upstreams: { name: { url: … } } }, or give --upstream`, {
      command: 'proxy',
    });
  const publicUrl = options.publicUrl ?? (proxy.publicUrl === undefined ? undefined : new URL(proxy.publicUrl));
  const listen = options.listen ?? listenOf(proxy.listen ?? defaultListen);
  const allowHosts = [...options.allowHosts, ...(proxy.allowHosts ?? []), ...(publicUrl === undefined ? [] : [publicUrl.host])];
  if (isEveryAddress(listen.host) && allowHosts.length === 0)
    throw new SwornError('usage', `${listen.host} is no name that clients use: say with --allow-host how they call this machine`, {
      command: 'proxy',
    });
  const tls = options.tls ?? proxy.tls;
  return {
    listen,
    ...(publicUrl === undefined ? {} : { publicUrl }),
    allowHosts,
    allowOrigins: [...options.allowOrigins, ...(proxy.allowOrigins ?? []).map(originOf), ...(publicUrl === undefined ? [] : [publicUrl.origin])],
    ...(tls === undefined ? {} : { tls }),
    // a server over stdio is no resource of anybody's
    upstreams: publicUrl === undefined ? upstreams : upstreams.map((one) => ('command' in one ? one : { ...one, publicUrl })),
    auth: config?.auth ?? noAuth,
  };
}

async function upstreamOf(one: ProxySettings['upstreams'][number]): Promise<UpstreamSettings> {
  const mount = `/${one.name}`;
  if ('command' in one) return { name: one.name, mount, command: one.command, sessions: one.sessions };
  const { cert, key, ca, serverName, insecureSkipVerify } = one.tls;
  return {
    name: one.name,
    mount,
    url: new URL(one.url),
    rules: { ...usualRules, authorization: one.forwardsAuthorization, remove: one.remove, set: [...one.set, ...(await fromFiles(one))] },
    upstreamTimeoutMs: one.upstreamTimeoutMs,
    tls: {
      ...(ca === undefined ? {} : { ca: await authoritiesOf(ca) }),
      ...(cert === undefined || key === undefined ? {} : await certificateOf({ cert, key })),
      ...(serverName === undefined ? {} : { serverName }),
      ...(insecureSkipVerify === undefined ? {} : { insecureSkipVerify }),
    },
  };
}

async function fromFiles({ setFrom }: HttpUpstreamSettings): Promise<[string, string][]> {
  return Promise.all(
    setFrom.map(async ([name, path]): Promise<[string, string]> => {
      const [line = ''] = (await textOf(path)).split(/\r?\n/);
      if (!/^[\x21-\x7e][\x20-\x7e\t]{0,8191}$/.test(line))
        throw new SwornError('config-missing', `the first line of ${path} is empty, or cannot be the value of ${name}`, { path });
      return [name, line.trimEnd()];
    }),
  );
}

/** A certificate with its key. @throws SwornError `config-missing`, and `auth-file` where they are none, or do not belong together */
export async function certificateOf({ cert, key }: { cert: string; key: string }): Promise<{ cert: string; key: string }> {
  const texts = { cert: await textOf(cert), key: await textOf(key) };
  check(texts, `${cert} and ${key} are not a certificate and its key`, cert);
  return texts;
}

async function authoritiesOf(path: string): Promise<string> {
  const text = await textOf(path);
  // nothing of an authority would be those of the system
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new SwornError('auth-file', `${path} holds no certificate (PEM)`, { path });
  check({ ca: text }, `${path} holds a certificate that cannot be read`, path);
  return text;
}

function check(options: SecureContextOptions, problem: string, path: string): void {
  try {
    createSecureContext(options);
  } catch (error) {
    throw new SwornError('auth-file', `${problem}: ${(error as Error).message}`, { path });
  }
}

/** A listener at it can be called by any name. */
export function isEveryAddress(host: string): boolean {
  return host === '0.0.0.0' || /^[0:]+$/.test(host);
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new SwornError('config-missing', `cannot read ${path}: ${(error as Error).message}`, { path });
  }
}
