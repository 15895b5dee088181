/** How a connection began: what its tap said, who the OS says is behind it, and the `open` and `principal` entries that say so. */
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statSync, type Stats } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { OpenEntry, PrincipalEntry } from '../entry/entry.ts';
import { nodeFiles, replace } from '../ledger/files.ts';
import { digestsCount, executableBytes } from '../limits.ts';
import type { Hello } from '../wire/wire.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { parentsOf, processOf } from '../processes.ts';
import type { Peer } from './peer.ts';
import { principalEntry } from './principals.ts';
import type { RecordDeps } from './record-deps.ts';
import type { Attributes } from './seal.ts';
import type { NamedPrincipal } from './speaker.ts';

/** What a connection was opened with beyond what its entries keep at hand. */
export interface Origin {
  hello: Hello;
  peer: Peer;
  /** The process that `hello` names as the server is not the tap's: nothing is recorded of it. */
  isServerForeign: boolean;
}

type Opening = ReturnType<RecordDeps['openingOf']>;

export class Openings {
  readonly #common: Clock['common'];
  /** Digests of programs that were hashed before: disposable. */
  readonly #digests: string;
  readonly #origins = new WeakMap<Connection, Origin>();

  constructor(ledger: string, common: Clock['common']) {
    this.#digests = join(ledger, 'run', 'digests.json');
    this.#common = common;
  }

  /** Of one that an earlier recorder had, what its tap says now. */
  set(connection: Connection, origin: Origin): void {
    this.#origins.set(connection, origin);
  }

  get(connection: Connection): Origin | undefined {
    return this.#origins.get(connection);
  }

  /** The entries that begin a connection, with what the OS says now of the processes behind it. */
  of(connection: Connection, policyDigest: string | undefined): Opening {
    const { hello, peer, isServerForeign } = this.#origins.get(connection)!;
    const serverPid = isServerForeign ? undefined : hello.serverPid;
    const server = serverPid === undefined ? undefined : processOf(serverPid);
    const tap = peer.pid === undefined ? undefined : processOf(peer.pid);
    const parents = peer.pid === undefined ? [] : parentsOf(peer.pid);
    const client = parents[0];
    const executableDigest = server?.executable === undefined ? undefined : this.#digestOf(connection, server.executable);
    const { opened } = connection;
    // command lines and labels hold secrets as often as messages do
    const clean = <T>(value: T): T => (connection.judge.anyRedactor?.cleanAll(value) ?? value) as T;
    const open: OpenEntry = {
      ...this.#common('open'),
      connection: connection.id,
      transport: connection.transport,
      server: connection.shownServer,
      ...(opened.client === undefined ? {} : { client: clean(opened.client) }),
      mode: opened.mode,
      onUnrecordable: opened.onUnrecordable,
      custody: opened.custody,
      tap: {
        ...(peer.uid === undefined ? {} : { uid: peer.uid }),
        ...(peer.pid === undefined ? {} : { pid: peer.pid }),
        ...(tap?.startTime === undefined ? {} : { startTime: tap.startTime }),
        source: peer.source,
      },
      ...(serverPid === undefined
        ? {}
        : { process: { pid: serverPid, ...(server?.startTime === undefined ? {} : { startTime: server.startTime }) } }),
      ...(executableDigest === undefined ? {} : { executableDigest }),
      tokenDigest: opened.tokenDigest,
      ...(policyDigest === undefined ? {} : { policyDigest }),
      ...(Object.keys(hello.labels).length === 0 ? {} : { labels: clean(hello.labels) }),
    };
    connection.observe({
      ...(peer.uid === undefined ? {} : { uid: peer.uid }),
      ...(client === undefined ? {} : { pid: client.pid }),
      ...(client?.executable === undefined ? {} : { executable: client.executable }),
    });
    const openAttributes: Attributes = clean({
      ...(hello.upstream === undefined ? { argv: hello.argv } : { upstream: hello.upstream }),
      cwd: hello.cwd,
      executable: server?.executable,
      ...(Object.values(opened.overrides).some((globs) => globs.length > 0) ? { overrides: opened.overrides } : {}),
    });
    const principal: PrincipalEntry = {
      ...this.#common('principal'),
      connection: connection.id,
      source: 'observed',
      ...(peer.uid === undefined ? {} : { uid: peer.uid }),
      ...(client === undefined ? {} : { pid: client.pid }),
    };
    const principalAttributes: Attributes = clean({
      executable: client?.executable,
      cwd: client?.cwd,
      ...(parents.length > 0 ? { parents } : {}),
      user: peer.uid !== undefined && peer.uid === process.getuid?.() ? userInfo().username : undefined,
    });
    return { open, openAttributes, principal, principalAttributes };
  }

  /** The entry of somebody whom the proxy named. */
  principalOf({ who, said }: NamedPrincipal, connection: Connection): { entry: PrincipalEntry; attributes: Attributes } {
    const { fields, attributes } = principalEntry(said ?? { observed: {}, declared: {} }, { trusted: connection.opened.isTrusted === true });
    return {
      entry: { ...this.#common('principal'), connection: connection.id, ...fields },
      // by `key` the next recorder knows it again
      attributes: { key: who, ...((connection.judge.anyRedactor?.cleanAll(attributes) ?? attributes) as Attributes) },
    };
  }

  /** The SHA-256 of the server's program: known at once if it was hashed before, else later, for the `close` entry. */
  #digestOf(connection: Connection, executable: string): string | undefined {
    const cacheFile = this.#digests;
    try {
      const stat = statSync(executable);
      if (!isHashable(stat)) return undefined;
      const key = `${executable} ${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeMs}`;
      const cache = readJsonFile(cacheFile);
      const known = cache[key];
      if (typeof known === 'string') return (connection.executableDigest = known);
      const hash = createHash('sha256');
      const stream = createReadStream(executable, { highWaterMark: 256 * 1024 });
      stream.on('data', (chunk) => hash.update(chunk));
      stream.on('error', () => undefined);
      stream.on('end', () => {
        connection.executableDigest = hash.digest('hex');
        try {
          const older = Object.entries(readJsonFile(cacheFile)).slice(1 - digestsCount);
          replace(nodeFiles, cacheFile, Buffer.from(JSON.stringify(Object.fromEntries([...older, [key, connection.executableDigest]]))), 0o600);
        } catch {
          // disposable
        }
      });
    } catch {
      // not readable for us
    }
    return undefined;
  }
}

/** A device or a pipe has no end, and a very long file would keep us busy for somebody who only names it. */
export function isHashable(stat: Stats): boolean {
  return stat.isFile() && stat.size <= executableBytes;
}

function readJsonFile(path: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch {
    return {};
  }
}
