/**
 * What an operator has in hand: the policy file in force, and freezes. A file that is wrong never takes the place of one that is right; what is in force,
 * and every change of it, is in the ledger.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { AnchorSettings, Config, EncryptionSettings } from '../config/config.ts';
import type { PolicyEntry } from '../entry/entry.ts';
import { fromBase64 } from '../bytes/bytes.ts';
import { configHome, type KeyHolder } from '../ledger/keys.ts';
import { SwornError } from '../errors.ts';
import { reasonBytes } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import type { Freeze } from '../policy/freeze.ts';
import { compilePolicy, unruled, type CompiledPolicy, type Pause } from '../policy/judge.ts';
import type { PolicyRead, PolicyToRead } from './policy-worker.ts';
import { threadProgram } from '../thread.ts';

/** A file that was read, or that there is none. */
export interface Loaded {
  /** Absent where there is no file and none was named. */
  path?: string;
  digest?: string;
  text?: string;
  compiled: CompiledPolicy;
  anchors?: AnchorSettings;
  /** Whose word about principals is believed. */
  trustedTaps?: Config['trustedTaps'];
  encryption?: EncryptionSettings;
}

/**
 * Reads the file that was named, or the default one if it is there. The readers of YAML are loaded only where there is a file.
 * @throws SwornError `config-missing`, `config-invalid`
 */
export async function loadPolicy(named: string | undefined): Promise<Loaded> {
  const path = pathOf(named);
  if (path === undefined) return noFile();
  assertFile(path);
  const { policy, ...read } = await readHere(path);
  return { ...read, compiled: await compilePolicy(policy) };
}

/**
 * The same while messages are recorded, which wait for nothing of it: the file is read in another thread, and its conditions are compiled in slices. What is in force
 * stays so meanwhile; a file that has not changed gives the very same.
 * @throws SwornError as `loadPolicy`
 */
export async function reloadPolicy(named: string | undefined, inForce: Loaded): Promise<Loaded> {
  const path = pathOf(named);
  if (path === undefined) return noFile();
  assertFile(path);
  const { policy, ...read } = await readElsewhere(path);
  if (read.digest === inForce.digest && policy.tools?.file?.digest === inForce.compiled.policy.tools?.file?.digest) return inForce;
  return { ...read, compiled: await compilePolicy(policy, slices()) };
}

/** A file, and the file of pins that it names, have not changed. */
export function isSame(loaded: Loaded, inForce: Loaded): boolean {
  return loaded.digest === inForce.digest && loaded.compiled.policy.tools?.file?.digest === inForce.compiled.policy.tools?.file?.digest;
}

/** None where no file was named, and the default one is not there. */
function pathOf(named: string | undefined): string | undefined {
  return named ?? (existsSync(defaultPath()) ? defaultPath() : undefined);
}

/** A pipe that nobody writes to would be waited for, and every later reading with it. @throws SwornError `config-invalid` */
function assertFile(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat !== undefined && !stat.isFile() && !stat.isDirectory()) throw new SwornError('config-invalid', `${path} is no regular file`, { path });
}

const defaultPath = (): string => join(configHome(), 'sworn.yaml');

const noFile = (): Loaded => ({ path: defaultPath(), compiled: unruled });

async function readHere(path: string): Promise<Config> {
  return (await import('../config/config.ts')).loadConfig(path);
}

/** Where no thread can be had the file is read here: an answer comes in any case. */
async function readElsewhere(path: string): Promise<Config> {
  const read = await new Promise<PolicyRead | undefined>((done) => {
    const worker = new Worker(threadProgram('policy-worker', import.meta.url), { workerData: path satisfies PolicyToRead });
    worker.once('message', done);
    worker.once('error', () => done(undefined));
    worker.once('exit', () => done(undefined));
    // behind the listeners: a recorder that ends does not wait for it
    worker.unref();
  });
  if (read === undefined) return readHere(path);
  if ('config' in read) return read.config;
  if ('defect' in read) throw new Error(read.defect);
  throw new SwornError(read.code, read.message, read.details);
}

/** So long conditions are compiled before what came meanwhile is looked at. */
const sliceMs = 10;

/** Lets the event loop turn whenever a slice is over. */
function slices(): Pause {
  let until = performance.now() + sliceMs;
  return () => {
    if (performance.now() < until) return undefined;
    return new Promise((done) => {
      setImmediate(() => {
        until = performance.now() + sliceMs;
        done();
      });
    });
  };
}

/** The lines that went and came, without what is the same before and behind them. */
export function difference(before: string, after: string): string {
  const old = before === '' ? [] : before.split('\n');
  const now = after === '' ? [] : after.split('\n');
  let same = 0;
  while (same < old.length && same < now.length && old[same] === now[same]) same++;
  let behind = 0;
  while (behind < old.length - same && behind < now.length - same && old.at(-1 - behind) === now.at(-1 - behind)) behind++;
  return [
    `@@ line ${same + 1}`,
    ...old.slice(same, old.length - behind).map((line) => `-${line}`),
    ...now.slice(same, now.length - behind).map((line) => `+${line}`),
  ].join('\n');
}

/** Who is to hold a new key, from a stranger's JSON; a text says what is wrong with it; `undefined`: we do. */
export function readHolder(json: Record<string, unknown>): KeyHolder | string | undefined {
  const { publicKey, command, agent } = json;
  if (publicKey === undefined && command === undefined && agent === undefined) return undefined;
  const bytes = typeof publicKey === 'string' ? fromBase64(publicKey) : undefined;
  if (bytes?.length !== 32) return 'publicKey is an Ed25519 public key: 32 bytes in base64';
  if (typeof agent === 'string' && command === undefined) return { publicKey: bytes, agent };
  if (agent === undefined && Array.isArray(command) && command.length > 0 && command.every((word) => typeof word === 'string'))
    return { publicKey: bytes, command };
  return 'whoever holds the key is a command (a list of words) or an ssh-agent (the path of its socket)';
}

/** What a `freeze` says, from a stranger's JSON; a text says what is wrong with it. */
export function readFreeze(json: Record<string, unknown>, nowMs: number): Omit<Freeze, 'id'> | string {
  const freeze: Omit<Freeze, 'id'> = { all: json['all'] === true };
  for (const name of ['server', 'client', 'principal', 'session', 'reason'] as const) {
    const value = json[name];
    if (value === undefined) continue;
    if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > reasonBytes) return `${name} is a text of 1 to ${reasonBytes} bytes`;
    freeze[name] = value;
  }
  if (freeze.session !== undefined && !/^[0-9a-f]{1,32}$/.test(freeze.session)) return 'session is the beginning of a connection id (hex digits)';
  const { untilMs } = json;
  if (untilMs !== undefined) {
    if (typeof untilMs !== 'number' || !(untilMs > nowMs)) return 'until is a time to come';
    freeze.untilMs = Math.floor(untilMs);
  }
  return freeze;
}

/** The fields of a freeze in its entry. */
export function freezeFields(freeze: Omit<Freeze, 'id'>, timeText: (us: number) => string): Partial<PolicyEntry> {
  const { server, client, principal, session, all, reason, untilMs } = freeze;
  return {
    ...(server === undefined ? {} : { server }),
    ...(client === undefined ? {} : { client }),
    ...(principal === undefined ? {} : { principal }),
    ...(session === undefined ? {} : { session }),
    ...(all ? { all: true as const } : {}),
    ...(reason === undefined ? {} : { reason }),
    ...(untilMs === undefined ? {} : { until: timeText(untilMs * 1000) }),
  };
}

/** Brings the freezes up to an entry. */
export function applyFreeze(freezes: Freeze[], entry: PolicyEntry, index: number): Freeze[] {
  if (entry.act === 'unfreeze') return entry.freeze === undefined ? [] : freezes.filter(({ id }) => id !== entry.freeze);
  if (entry.act !== 'freeze') return freezes;
  const { server, client, principal, session, all, reason, until } = entry;
  return [
    ...freezes,
    {
      id: index,
      all: all === true,
      ...(server === undefined ? {} : { server }),
      ...(client === undefined ? {} : { client }),
      ...(principal === undefined ? {} : { principal }),
      ...(session === undefined ? {} : { session }),
      ...(reason === undefined ? {} : { reason }),
      ...(until === undefined ? {} : { untilMs: Date.parse(until) }),
    },
  ];
}

/** What was wrong with a file, for an entry. */
export function problemOf(error: unknown): string {
  return bounded(error instanceof SwornError ? error.message : String(error), reasonBytes);
}
