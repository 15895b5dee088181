/** `sworn recorder start|status|stop`: the daemon from outside, over its socket. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SwornError } from '../errors.ts';
import { recorderWaitMs } from '../limits.ts';
import type { Freeze } from '../policy/freeze.ts';
import type { Hold } from '../recorder/hold.ts';
import { ask } from '../wire/ask.ts';
import { recorderEnvironment, recorderWords } from '../wire/recorder-command.ts';
import { defaultLedger, ledgerPath, socketPathOf } from '../wire/socket-path.ts';
import { swornPath } from './installation.ts';
import type { CommandHelp } from './help.ts';
import { custodyTexts } from '../entry/custody.ts';
import { count, duration, safeJson, size, table, visible, type Output } from './output.ts';

export const recorderHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'status, stop: the answer as one JSON object' },
    { flags: '--foreground', description: 'start: stay in the foreground, for a service manager' },
    { flags: '--group <group>', description: 'start: open the socket to this group' },
    { flags: '--keys <dir>', description: 'start: where keys and heads are kept (default: ~/.config/sworn)' },
    { flags: '--continues <file>', description: 'start: a new ledger that goes on from this checkpoint of one whose key was stolen' },
    { flags: '--config <file>', description: 'start: the policy file (default: ~/.config/sworn/sworn.yaml, if it is there)' },
    { flags: '--mode <mode>', description: 'start: `commit` makes every connection wait for the disk, whatever its tap asked for' },
    { flags: '--idle <seconds>', description: 'start: end after this long without a connection; not with --foreground (default: 300)' },
  ],
  example: 'sworn recorder status',
};

interface RecorderOptions {
  action?: string;
  ledger?: string;
  socket?: string;
  json?: boolean;
  group?: string;
  keys?: string;
  mode?: string;
  idle?: string;
  config?: string;
  continues?: string;
}

/** What a recorder says of itself (`status()` in `recorder/recorder.ts`); a recorder of another version may leave things out. */
interface Status {
  version?: string;
  pid?: number;
  uid?: number;
  custody?: string | null;
  uptimeS?: number;
  socket?: string;
  ledger?: string;
  keyFingerprint?: string;
  entries?: number;
  signedSize?: number;
  publishedSize?: number;
  encryption?: { key: string } | null;
  policy?: { path: string; digest: string; rules: number; redact: number; canBlock: boolean } | null;
  freezes?: Freeze[];
  holds?: Hold[];
  erasing?: { pending: number; problem?: string };
  pins?: { mode: string; tools: number; waiting: number; path?: string } | null;
  pruned?: { end: number; entry?: number; problem?: string };
  anchors?: { kind: string; name: string; size?: number; signedAtS?: number; problem?: string }[];
  limits?: { count: number; buckets: number; running: number; crowded: number; storms: number; refused: Record<string, number> } | null;
  recordable?: boolean;
  queueBytes?: number;
  lastSyncMs?: number;
  medianCommitMs?: number;
  connections?: { server: string; client?: string; custody: string; mode: string; attached: boolean; pending: number; entries: number }[];
  lock?: string;
  missing?: string[];
  logFile?: string | null;
  memoryBytes?: number;
}

export async function recorderCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as RecorderOptions;
  const ledger = ledgerPath(options.ledger ?? defaultLedger());
  const socketPath = options.socket === undefined ? socketPathOf(ledger) : resolve(options.socket);
  switch (options.action ?? 'status') {
    case 'start': {
      const already = await listens(socketPath);
      if (!already) {
        const refusal = await startRecorder(ledger, socketPath, options);
        if (refusal !== undefined) {
          output.err(refusal.text);
          return refusal.status;
        }
      }
      output.out(`a recorder ${already ? 'listens already' : 'listens'} at ${visible(socketPath)}\n`);
      return 0;
    }
    case 'stop': {
      const { pid } = (await ask(socketPath, 'status')) as Status;
      const answer = await ask(socketPath, 'stop');
      await gone(socketPath, pid);
      output.out(options.json ? `${JSON.stringify(answer)}\n` : `the recorder of ${visible((answer as Status).ledger ?? ledger)} has stopped\n`);
      return 0;
    }
    default: {
      const answer = await ask(socketPath, 'status');
      output.out(options.json ? `${safeJson(JSON.stringify(answer))}\n` : statusText(answer, output));
      return 0;
    }
  }
}

export async function listens(socketPath: string): Promise<boolean> {
  try {
    await ask(socketPath, 'status');
    return true;
  } catch {
    return false;
  }
}

/** Starts a recorder in the background, as the tap does. When it would not start: what it said, and its exit status. */
export async function startRecorder(
  ledger: string,
  socketPath: string,
  options: RecorderOptions = {},
): Promise<{ text: string; status: number } | undefined> {
  const words = recorderWords(swornPath(), ledger, options.config === undefined ? undefined : resolve(options.config));
  if (options.socket !== undefined) words.push('--socket', socketPath);
  if (options.keys !== undefined) words.push('--keys', resolve(options.keys));
  if (options.continues !== undefined) words.push('--continues', resolve(options.continues));
  for (const name of ['group', 'mode', 'idle'] as const) if (options[name] !== undefined) words.push(`--${name}`, options[name]);
  // Its complaints at start would go nowhere: the pipe is closed when it listens.
  const child = spawn(process.execPath, words, { detached: true, stdio: ['ignore', 'ignore', 'pipe'], cwd: '/', env: recorderEnvironment() });
  let complaint = '';
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
  let ended: { status: number | null; signal: string | null } | undefined;
  child.on('close', (status, signal) => (ended = { status, signal }));
  const until = Date.now() + recorderWaitMs;
  let isUp = false;
  while (!isUp && Date.now() < until && ended === undefined) {
    await sleep(25);
    isUp = await listens(socketPath);
  }
  // also one that may still come, as a large ledger takes its time: who waits for it here waits no longer
  child.stderr.destroy();
  child.unref();
  if (isUp) return undefined;
  if (ended?.status && complaint.includes('sworn: error: ')) return { text: complaint, status: ended.status };
  const reason = ended === undefined ? `no answer within ${recorderWaitMs / 1000} s` : `it ended with ${ended.signal ?? `status ${ended.status}`}`;
  throw new SwornError('recorder-unreachable', `the recorder of ${ledger} did not start: ${reason}; see ${join(ledger, 'run', 'recorder.log')}`);
}

/**
 * Stopped is who has written the `stop` entry and released the lock: the process has ended. The socket says nothing of that: a tap that is at work has the
 * next recorder listen at the same place at once.
 */
async function gone(socketPath: string, pid: number | undefined): Promise<void> {
  const until = Date.now() + recorderWaitMs;
  while ((pid === undefined ? existsSync(socketPath) : runs(pid)) && Date.now() < until) await sleep(20);
}

function runs(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  try {
    // ended, and nobody collects its status (a container without an init)
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

/** In the headline of every place: who could rewrite the record, and the one step that improves it. */
function custodyText(custody: string): string {
  const known = (custodyTexts as Record<string, (typeof custodyTexts)[keyof typeof custodyTexts] | undefined>)[custody];
  if (known === undefined) return visible(custody);
  return `${custody}: ${known.says}${known.improve === undefined ? '' : `\n           ${known.improve}`}`;
}

function prunedRows({ pruned }: Status): [string, string][] {
  if (pruned?.entry === undefined) return [];
  const problem = pruned.problem === undefined ? '' : `, NOT done: ${visible(pruned.problem)}; tried again every minute`;
  return [['pruned', `entries below ${pruned.end}, as entry ${pruned.entry} states${problem}`]];
}

function erasingRows({ erasing }: Status): [string, string][] {
  if (erasing === undefined || erasing.pending === 0) return [];
  const problem = erasing.problem === undefined ? 'under way' : `NOT done: ${visible(erasing.problem)}; tried again every minute`;
  return [['erasing', `${count(erasing.pending, 'erasure')} ${problem}`]];
}

function policyText({ policy }: Status): string {
  if (policy === null || policy === undefined) return 'none: everything passes, and is stored in full';
  const acts = policy.canBlock ? 'can refuse' : 'refuses nothing';
  return `${count(policy.rules, 'rule')} (${acts}), ${count(policy.redact, 'redact rule')}, digest ${visible(policy.digest.slice(0, 16))}…, ${visible(policy.path)}`;
}

/** Since the recorder started. */
function limitsRows({ limits }: Status): [string, string][] {
  if (limits === null || limits === undefined) return [];
  const refused = Object.entries(limits.refused).map(([rule, requests]) => `${requests} by ${visible(rule)}`);
  const crowded = limits.crowded === 0 ? '' : `; ${count(limits.crowded, 'request')} found no room for a bucket of their own`;
  return [
    [
      'limits',
      `${count(limits.count, 'limit')}, ${count(limits.buckets, 'bucket')} live, ${count(limits.running, 'request')} running, refused: ${refused.length === 0 ? 'none' : refused.join(', ')}${crowded}`,
    ],
  ];
}

/** One line for what a freeze is about. */
export function freezeText({ id, server, client, principal, session, all, reason, untilMs }: Freeze): string {
  const about = [
    server === undefined ? undefined : `server ${server}`,
    client === undefined ? undefined : `client ${client}`,
    principal === undefined ? undefined : `principal ${principal}`,
    session === undefined ? undefined : `session ${session}`,
  ].filter((part) => part !== undefined);
  const until = untilMs === undefined ? '' : ` until ${new Date(untilMs).toISOString().slice(0, 19)}Z`;
  return visible(
    `${id}: ${all ? 'all requests' : 'writes'} ${about.length === 0 ? 'everywhere' : `on ${about.join(', ')}`}${until}${reason === undefined ? '' : `: ${reason}`}`,
  );
}

/** One line for what a hold covers. */
export function holdText({ id, session, server, subject, sinceMs, untilMs, reason }: Hold): string {
  const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
  const about = [
    session === undefined ? undefined : `session ${session}`,
    server === undefined ? undefined : `server ${server}`,
    subject === undefined ? undefined : `subject ${subject}`,
    sinceMs === undefined ? undefined : `since ${time(sinceMs)}`,
    untilMs === undefined ? undefined : `until ${time(untilMs)}`,
  ].filter((part) => part !== undefined);
  return visible(`${id}: ${about.length === 0 ? 'everything' : about.join(', ')}${reason === undefined ? '' : `: ${reason}`}`);
}

function pinsRows({ pins }: Status): [string, string][] {
  if (!pins) return [];
  const { mode, tools, waiting, path } = pins;
  const file = path === undefined ? '' : `, as ${path} says`;
  return [['tools', visible(`${tools} pinned${file}, ${mode}${waiting === 0 ? '' : `; ${waiting} TO BE ACCEPTED: sworn tools diff`}`)]];
}

function statusText(answer: Record<string, unknown>, output: Output): string {
  const status = answer as Status;
  const number = (value: number | undefined): string => (value === undefined ? '?' : String(value));
  const connections = status.connections ?? [];
  const missing = status.missing ?? [];
  const custody = status.custody ? custodyText(status.custody) : 'no connection is open';
  const rows: [string, string][] = [
    [
      'recorder',
      `${visible(status.version ?? '?')}, pid ${number(status.pid)}, uid ${number(status.uid)}, up ${duration((status.uptimeS ?? 0) * 1e6)}`,
    ],
    ['custody', custody],
    ['ledger', visible(status.ledger ?? '?')],
    ['entries', `${number(status.entries)}, ${number(status.signedSize)} signed, ${number(status.publishedSize)} published`],
    ...(status.encryption
      ? [['payload', visible(`encrypted at rest from now on, under the key ${status.encryption.key}`)] satisfies [string, string]]
      : []),
    ['policy', policyText(status)],
    ...(status.freezes ?? []).map((freeze): [string, string] => ['frozen', freezeText(freeze)]),
    ...(status.holds ?? []).map((hold): [string, string] => ['held', holdText(hold)]),
    ...pinsRows(status),
    ...limitsRows(status),
    ...erasingRows(status),
    ...prunedRows(status),
    ...(status.anchors ?? []).map(({ kind, name, size: covered, problem }): [string, string] => [
      kind,
      visible(`${name}: ${problem === undefined ? `has ${count(covered ?? 0, 'entry', 'entries')}` : `NOT REACHED: ${problem}`}`),
    ]),
    ['recording', status.recordable ? `yes, ${size(status.queueBytes ?? 0)} queued` : 'NO: the disk does not take entries; see the log'],
    ['sync', `last ${duration((status.lastSyncMs ?? 0) * 1e3)}, median commit ${duration((status.medianCommitMs ?? 0) * 1e3)}`],
    ['key', visible(status.keyFingerprint ?? '?')],
    ['socket', visible(status.socket ?? '?')],
    ['lock', visible(status.lock ?? '?')],
    ['log', visible(status.logFile ?? 'stderr')],
    ['memory', size(status.memoryBytes ?? 0)],
    ['missing', missing.length === 0 ? 'nothing' : visible(missing.join('; '))],
    ['open', count(connections.length, 'connection')],
  ];
  const head = rows.map(([name, text]) => `${name.padEnd(9)}  ${text}\n`).join('');
  if (connections.length === 0) return head;
  const columns = ['server', 'client', 'custody', 'mode', 'pending', 'entries', 'tap'].map((title) => ({ title, most: 40 }));
  const cells = connections.map((one) => [
    one.server,
    one.client ?? '',
    one.custody,
    one.mode,
    number(one.pending),
    number(one.entries),
    one.attached ? 'attached' : 'lost',
  ]);
  return `${head}\n${table(output, columns, cells)}`;
}
