/** What `sworn.yaml` says of `sworn proxy` (`proxy`), as plain settings. */
import type { FileContent } from './shape.ts';

/** Absolute paths of PEM files. */
export interface UpstreamTls {
  /** Of the authorities that are believed, in place of the system's. */
  ca?: string;
  /** Ours, where the upstream wants to know who we are. */
  cert?: string;
  key?: string;
  /** The name that the upstream's certificate must have, where it is not the URL's. */
  serverName?: string;
  /** Anybody could be the upstream. It is said at start, and in `open`. */
  insecureSkipVerify?: true;
}

interface UpstreamCommon {
  name: string;
}

/** A server over HTTP. */
export interface HttpUpstreamSettings extends UpstreamCommon {
  url: string;
  /** The client's own `Authorization` and `DPoP` go on to it. */
  forwardsAuthorization: boolean;
  remove: string[];
  set: [name: string, value: string][];
  /** Headers whose value is the first line of a file: absolute paths. */
  setFrom: [name: string, path: string][];
  /** Until the first byte of an answer's head, milliseconds; 0: for ever. */
  upstreamTimeoutMs: number;
  tls: UpstreamTls;
}

/** A server over stdio. */
export interface StdioUpstreamSettings extends UpstreamCommon {
  command: string[];
  /** A process for each MCP session, or one for all clients. */
  sessions: 'each' | 'shared';
}

export interface ProxySettings {
  /** `HOST:PORT` */
  listen?: string;
  /** How clients reach us, where it is another address than we listen at. */
  publicUrl?: string;
  allowHosts: string[];
  allowOrigins: string[];
  /** Absolute paths of PEM files. */
  tls?: { cert: string; key: string };
  upstreams: (HttpUpstreamSettings | StdioUpstreamSettings)[];
}

export function proxyOf({ proxy = {} }: FileContent): ProxySettings {
  const { listen, publicUrl, allowHosts = [], allowOrigins = [], tls, upstreams = {} } = proxy;
  return {
    ...(listen === undefined ? {} : { listen }),
    ...(publicUrl === undefined ? {} : { publicUrl }),
    allowHosts,
    allowOrigins,
    ...(tls === undefined ? {} : { tls }),
    upstreams: Object.entries(upstreams).map(([name, one]) =>
      'command' in one
        ? { name, command: one.command, sessions: one.sessions ?? 'each' }
        : {
            name,
            url: one.url,
            forwardsAuthorization: one.authorization === 'forward',
            remove: one.headers?.remove ?? [],
            set: Object.entries(one.headers?.set ?? {}),
            setFrom: Object.entries(one.headers?.setFrom ?? {}),
            upstreamTimeoutMs: one.upstreamTimeoutMs ?? 0,
            tls: present(one.tls ?? {}),
          },
    ),
  };
}

/** The members that are there. */
function present(members: { [K in keyof UpstreamTls]?: UpstreamTls[K] | undefined }): UpstreamTls {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
