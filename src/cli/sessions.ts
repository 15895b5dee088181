/** `sworn sessions`: who talked to which server, and how it went. */
import type { PruneEntry } from '../entry/entry.ts';
import { indexSince } from '../readers/entries.ts';
import { readSessions, type Session } from '../readers/sessions.ts';
import { globMatches } from '../mcp/glob.ts';
import { filterOf, timeHelp } from './filter.ts';
import { ledgerPaths } from './ledger-path.ts';
import { limitOf } from './log.ts';
import type { CommandHelp } from './help.ts';
import { prunedOf } from './pruned.ts';
import { count, duration, paint, safeJson, size, table, visible, type Output } from './output.ts';
import { headline } from './rows.ts';
import { effectText } from './words.ts';

export interface SessionsOptions {
  ledger?: string | string[];
  session?: string;
  server?: string;
  since?: string;
  until?: string;
  limit?: string | number;
  tools?: boolean;
  json?: boolean;
}

export const sessionsHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    { flags: '--session <id>', description: 'only this connection; the beginning of its id is enough' },
    { flags: '--server <glob>', description: 'only servers of this name' },
    ...timeHelp,
    { flags: '--limit <n>', description: 'only the newest n' },
    { flags: '--tools', description: 'list the tools of each session' },
    { flags: '--json', description: 'one JSON object a line' },
  ],
  example: 'sworn sessions --since 7d --tools',
};

/** A session as it is told: what is left of it, where entries before it were pruned. */
interface Told extends Session {
  /** Of a session whose beginning is pruned: the first index that was not. */
  prunedBefore?: number;
}

/** Tools shown in a row without `--tools`. */
const namedTools = 3;

export async function sessionsCommand(options: SessionsOptions, output: Output): Promise<number> {
  const ledgers = ledgerPaths(options.ledger);
  const most = limitOf(options.limit, 'limit', 'sessions');
  const { sinceMs } = filterOf(
    { ...(options.since === undefined ? {} : { since: options.since }), ...(options.session === undefined ? {} : { session: options.session }) },
    'sessions',
  );
  const untilMs = options.until === undefined ? undefined : filterOf({ since: options.until }, 'sessions').sinceMs;
  let sessions: { ledger: string; session: Told }[] = [];
  for (const ledger of ledgers) {
    const from = sinceMs === undefined ? 0 : await indexSince(ledger, sinceMs);
    const found: Told[] = await readSessions(ledger, { from });
    const pruned = await prunedOf(ledger);
    for (const session of pruned === undefined ? found : marked(found, pruned.entry)) {
      if (options.session !== undefined && !session.connection.startsWith(options.session)) continue;
      if (options.server !== undefined && !globMatches(options.server, session.server)) continue;
      if (sinceMs !== undefined && Date.parse(session.lastAt) < sinceMs) continue;
      if (untilMs !== undefined && Date.parse(session.openedAt) > untilMs) continue;
      sessions.push({ ledger, session });
    }
  }
  sessions.sort((a, b) => (a.session.openedAt < b.session.openedAt ? -1 : a.session.openedAt > b.session.openedAt ? 1 : 0));
  if (most !== undefined) sessions = most === 0 ? [] : sessions.slice(-most);
  if (options.json) {
    for (const { ledger, session } of sessions) {
      output.out(`${safeJson(JSON.stringify(ledgers.length > 1 ? { ledger, ...session } : session))}\n`);
      await output.drained?.();
      if (output.closed) break;
    }
    return 0;
  }
  for (const ledger of ledgers) output.out(await headline(ledger, output));
  output.out('\n');
  if (sessions.length === 0) {
    output.out('no sessions\n');
    return 0;
  }
  if (options.tools) for (const { session } of sessions) output.out(detail(output, session));
  else output.out(list(output, sessions, ledgers.length > 1));
  return 0;
}

/**
 * Marks the sessions whose beginning is pruned: of those the newest `prune` entry names the connection. Behind a proxy the connection is not the session: one that
 * began behind the bound is whole, and of those that a silence cut the first one may be.
 */
export function marked<T extends Pick<Session, 'connection' | 'part' | 'index'>>(
  sessions: readonly T[],
  { end, connections }: Pick<PruneEntry, 'end' | 'connections'>,
): (T & { prunedBefore?: number })[] {
  const cut = new Map(connections.map(({ connection, index }) => [connection, index]));
  const seen = new Set<string>();
  return sessions.map((session) => {
    const { connection, part, index } = session;
    const opened = cut.get(connection);
    const id = `${connection}/${part ?? ''}`;
    const isFirst = !seen.has(id);
    seen.add(id);
    // an entry that says so may not be carried out yet: then it is there from its beginning on
    const isCut = opened !== undefined && isFirst && (part === undefined ? index > opened : part < end && index >= end);
    return isCut ? { ...session, prunedBefore: end } : session;
  });
}

function list(output: Output, sessions: readonly { ledger: string; session: Told }[], withLedger: boolean): string {
  // columns for what policy did, where it did something
  const isJudged = sessions.some(({ session }) => session.blocked + session.flagged > 0);
  const isAsked = sessions.some(({ session }) => session.asked > 0);
  const isPruned = sessions.some(({ session }) => session.prunedBefore !== undefined);
  const rows = sessions.map(({ ledger, session }) => [
    idOf(session),
    session.openedAt.slice(0, 19).replace('T', ' '),
    ...(isPruned ? [session.prunedBefore === undefined ? '' : 'pruned'] : []),
    lengthOf(session),
    session.server,
    clientOf(session),
    String(session.calls),
    String(session.errors),
    String(session.unanswered),
    ...(isJudged ? [String(session.blocked), String(session.flagged)] : []),
    ...(isAsked ? [String(session.asked)] : []),
    toolsOf(session),
    endOf(session),
    ...(withLedger ? [ledger] : []),
  ]);
  return table(
    output,
    [
      { title: 'session' },
      { title: 'opened (UTC)' },
      ...(isPruned ? [{ title: 'beginning' }] : []),
      { title: 'lasted', align: 'right' },
      { title: 'server', most: 24 },
      { title: 'client', most: 24 },
      { title: 'calls', align: 'right' },
      { title: 'errors', align: 'right' },
      { title: 'unanswered', align: 'right' },
      ...(isJudged
        ? [
            { title: 'blocked', align: 'right' as const },
            { title: 'flagged', align: 'right' as const },
          ]
        : []),
      ...(isAsked ? [{ title: 'asked', align: 'right' as const }] : []),
      { title: 'tools', most: 44 },
      { title: 'end', most: 32 },
      ...(withLedger ? [{ title: 'ledger' }] : []),
    ],
    rows,
  );
}

function detail(output: Output, session: Told): string {
  const who = session.who.map(({ source, uid, user, executable, pid, name }) =>
    [name ?? user ?? (uid === undefined ? '' : `uid ${uid}`), executable ?? '', pid === undefined ? '' : `pid ${pid}`, `(${source})`]
      .filter((text) => text !== '')
      .join(' '),
  );
  const facts = [
    session.prunedBefore === undefined ? '' : `beginning pruned, with all entries before ${session.prunedBefore}: what follows is of what is left`,
    `server ${visible(session.server)}${session.serverInfo === undefined ? '' : ` (${visible(peerText(session.serverInfo))})`}`,
    `client ${visible(clientOf(session))}`,
    session.protocolVersion === undefined ? '' : `protocol ${visible(session.protocolVersion)}`,
    session.custody === undefined ? '' : `custody ${session.custody}`,
    `${count(session.messages, 'message')}, ${size(session.sizeBytes)}`,
    `${count(session.calls, 'call')}, ${count(session.errors, 'error')}, ${session.unanswered} unanswered, ${session.cancelled} cancelled`,
    session.blocked + session.flagged > 0 ? `${session.blocked} blocked, ${session.flagged} flagged` : '',
    session.asked > 0 ? `a person was asked about ${count(session.asked, 'request')}` : '',
    session.uncaptured > 0 ? `${session.uncaptured} not captured, so replies may be missing here` : '',
    session.lost > 0 ? `${count(session.lost, 'frame')} not recorded` : '',
    session.anomalies > 0 ? count(session.anomalies, 'anomaly', 'anomalies') : '',
    ...who.map((text) => `who ${visible(text)}`),
    endOf(session) === '' ? '' : `end ${visible(endOf(session))}`,
  ].filter((text) => text !== '');
  const title = `${session.connection}  ${session.openedAt.slice(0, 19).replace('T', ' ')} UTC, ${lengthOf(session)}`;
  const isJudged = session.tools.some(({ blocked }) => blocked > 0);
  const tools = session.tools.map((tool) => {
    const mean = tool.answered > 0 ? duration(tool.totalUs / tool.answered) : '';
    return [
      `  ${tool.name}`,
      effectText(tool),
      String(tool.calls),
      String(tool.errors),
      String(tool.unanswered),
      ...(isJudged ? [String(tool.blocked)] : []),
      mean,
      tool.longestUs > 0 ? duration(tool.longestUs) : '',
    ];
  });
  const columns = [
    { title: '  tool', most: 48 },
    { title: 'effect' },
    { title: 'calls', align: 'right' as const },
    { title: 'errors', align: 'right' as const },
    { title: 'unanswered', align: 'right' as const },
    ...(isJudged ? [{ title: 'blocked', align: 'right' as const }] : []),
    { title: 'mean', align: 'right' as const },
    { title: 'longest', align: 'right' as const },
  ];
  return `${paint(output, 'bold', title)}\n${facts.map((fact) => `  ${fact}\n`).join('')}${tools.length === 0 ? '' : table(output, columns, tools)}\n`;
}

/** As `--session` takes it: of a session behind a proxy with the index that its messages name. */
function idOf({ connection, part }: Session): string {
  return part === undefined ? connection.slice(0, 8) : `${connection.slice(0, 8)}/${part}`;
}

function lengthOf({ openedAt, lastAt }: Session): string {
  return duration(Math.max(0, Date.parse(lastAt) - Date.parse(openedAt)) * 1000);
}

function peerText({ name, version }: { name: string; version?: string }): string {
  return version === undefined ? name : `${name} ${version}`;
}

function clientOf({ client, prunedBefore }: Told): string {
  return client === undefined ? (prunedBefore === undefined ? 'not named' : 'pruned') : peerText(client);
}

function toolsOf({ tools }: Session): string {
  const named = tools.slice(0, namedTools).map(({ name, calls }) => `${name} ×${calls}`);
  return [...named, ...(tools.length > namedTools ? [`${tools.length - namedTools} more`] : [])].join(', ');
}

function endOf({ closeReason, exitCode, signal }: Session): string {
  if (closeReason === undefined) return 'open';
  return `${closeReason}${signal !== undefined ? ` (${signal})` : exitCode ? ` (status ${exitCode})` : ''}`;
}
