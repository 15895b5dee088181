/** What the proxy runs with: the command line, the configuration, and the files that it names, as they are now. */
import { readFile } from 'node:fs/promises';
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
  tls?: { cert: string; key: string };
  upstreams: UpstreamSettings[];
  auth: AuthSettings;
}

/** @throws SwornError `usage`, `config-missing`, `config-invalid` */
export async function settingsOf(options: ProxyOptions): Promise<Settings> {
  const config = options.config === undefined ? undefined : await loadConfig(options.config);
  const proxy: Partial<ProxySettings> = config?.proxy ?? {};
  const upstreams = [...options.upstreams, ...(await Promise.all((proxy.upstreams ?? []).map((one) => upstreamOf(one))))];
  if (upstreams.length === 0)
    throw new SwornError('usage', `${options.config} names no server: write proxy: { upstreams: { name: { url: … } } }, or give --upstream`, {
      command: 'proxy',
    });
  const publicUrl = options.publicUrl ?? (proxy.publicUrl === undefined ? undefined : new URL(proxy.publicUrl));
  return {
    listen: options.listen ?? listenOf(proxy.listen ?? defaultListen),
    ...(publicUrl === undefined ? {} : { publicUrl }),
    allowHosts: [...options.allowHosts, ...(proxy.allowHosts ?? []), ...(publicUrl === undefined ? [] : [publicUrl.host])],
    allowOrigins: [...options.allowOrigins, ...(proxy.allowOrigins ?? []).map(originOf)],
    ...(await tlsOf(options.tls ?? proxy.tls)),
    upstreams,
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
      ...(ca === undefined ? {} : { ca: await textOf(ca) }),
      ...(cert === undefined ? {} : { cert: await textOf(cert) }),
      ...(key === undefined ? {} : { key: await textOf(key) }),
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

async function tlsOf(files: { cert: string; key: string } | undefined): Promise<Pick<Settings, 'tls'>> {
  return files === undefined ? {} : { tls: { cert: await textOf(files.cert), key: await textOf(files.key) } };
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new SwornError('config-missing', `cannot read ${path}: ${(error as Error).message}`, { path });
  }
}
