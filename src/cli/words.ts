/** What entries say, in words for people. Names in them come from strangers and are made harmless here. */
import { approvalOf, approvalText, spanText } from '../analysis/approvals.ts';
import type { AccessEntry, BatchEntry, Entry, ErasureEntry, MessageEntry, PolicyEntry } from '../entry/entry.ts';
import type { Content } from '../readers/payload.ts';
import { prunedBy } from '../verify/pruned.ts';
import { count, duration, paint, size, visible, type Output, type Style } from './output.ts';

const anomalyTexts: Record<string, string> = {
  'not-json': 'not JSON',
  'not-jsonrpc': 'not JSON-RPC',
  'invalid-utf8': 'invalid UTF-8',
  'duplicate-key': 'duplicate key',
  'case-variant-key': 'key in another case',
  'too-deep': 'nested too deep',
  'id-reused': 'id in use twice',
  'id-not-scalar': 'id is no string or number',
  'reply-to-nothing': 'reply to nothing',
  unterminated: 'no line end',
  'nul-byte': 'NUL byte',
  'too-many-items': 'too many items',
  'header-mismatch': 'headers say something else',
  'other-charset': 'said not to be UTF-8',
};

/** `write! sensitive`: `!` marks a destructive tool. */
export function effectText(entry: Pick<MessageEntry, 'effect' | 'sensitive' | 'destructive'>): string {
  return `${entry.effect ?? ''}${entry.destructive ? '!' : ''}${entry.sensitive ? ' sensitive' : ''}`;
}

/** `tools/call read_file`. Untrusted: goes through `cell` or `visible`. */
export function subjectOf(entry: MessageEntry): string {
  if (entry.type === 'http') return httpSubject(entry);
  if (entry.method === undefined) return entry.type === 'opaque' ? '(opaque)' : entry.type;
  return entry.target === undefined ? entry.method : `${entry.method} ${entry.target}`;
}

/** A request or response without a message, or the end of one's stream: `HTTP DELETE`, `HTTP 405`, `stream ended: client closed`. */
function httpSubject({ direction, http: { method = 'POST', status = 200, end, own } = {} }: MessageEntry): string {
  if (own) return `HTTP ${status}${end === undefined ? '' : `: ${end}`}`;
  if (end !== undefined) return `stream ended: ${end}`;
  return direction === 'c2s' ? `HTTP ${method}` : `HTTP ${status}`;
}

/** What HTTP says of a message beside the usual. */
function httpNotes({ type, http: { method, status, encoding, end, own } = {} }: MessageEntry): string {
  const said = type === 'http' ? [] : [method, status === undefined ? undefined : `HTTP ${status}`, end];
  return [...said, encoding, own ? 'the proxy’s own answer' : undefined]
    .filter((word) => word !== undefined)
    .map(visible)
    .join(', ');
}

/** What policy said of a message: `BLOCKED by no-drops: Destructive SQL is blocked`; nothing of what simply passed. */
export function verdictText(entry: MessageEntry | BatchEntry): string {
  const { verdict, rule, reason, shadow, problem } = entry;
  if (verdict === 'pass') return '';
  const word = verdict === 'block' ? 'BLOCKED' : verdict === 'flag' ? 'flagged' : 'a person is asked';
  const how =
    problem === 'delivered-before'
      ? ' (delivered before it could be blocked)'
      : `${problem === undefined ? '' : ` (condition not evaluated: ${visible(problem)})`}${shadow ? ' (shadow)' : ''}`;
  const again = entry.retryAfterMs === undefined ? '' : `, again in ${spanText(entry.retryAfterMs)}`;
  return `${word}${rule === undefined ? '' : ` by ${visible(rule)}`}${how}${reason === undefined ? '' : `: ${visible(reason)}`}${again}`;
}

/** Stretches that rules left out of a frame. */
function redactedCount({ redacted = {} }: MessageEntry | BatchEntry): number {
  let stretches = 0;
  // the stretches of a batch that capture rules left out are counted under this name
  for (const [rule, times] of Object.entries(redacted)) if (rule !== 'capture') stretches += times;
  return stretches;
}

/** What is out of the ordinary about a message, in words. */
export function notesOf(output: Output, entry: MessageEntry | BatchEntry): string {
  const notes: string[] = [];
  const add = (style: Style, text: string): void => void (text === '' || notes.push(paint(output, style, text)));
  add(entry.verdict === 'block' ? ['bold', 'red'] : 'yellow', verdictText(entry));
  if (entry.origin === 'sworn') add('magenta', 'sworn’s own answer');
  const stretches = redactedCount(entry);
  if (stretches > 0) add('cyan', `${stretches} redacted`);
  if (entry.capture !== undefined && entry.capture !== 'full') add('cyan', `capture ${entry.capture}`);
  if (entry.kind === 'message') add(['dim'], httpNotes(entry));
  for (const anomaly of entry.anomalies ?? []) add('yellow', anomalyTexts[anomaly] ?? visible(anomaly));
  if (entry.kind === 'message' && entry.batch !== undefined) add('yellow', `item ${entry.item} of batch ${entry.batch}`);
  return notes.join(', ');
}

/** What is told of an entry beside the entry. */
export interface Around {
  /** Of its connection. */
  server?: string | undefined;
  /** Of a connection that ends, where all of it was seen. */
  blocked?: number;
  flagged?: number;
  content?: Content | undefined;
}

/** An entry that is no message, in words. */
export function controlText(output: Output, entry: Exclude<Entry, MessageEntry>, around: Around = {}): string {
  const name = visible('server' in entry && entry.kind !== 'policy' ? (entry.server ?? '') : (around.server ?? ''));
  switch (entry.kind) {
    case 'start':
      return `recorder ${visible(entry.recorder.version)} started, uid ${entry.recorder.uid}, pid ${entry.recorder.pid}`;
    case 'stop':
      return `recorder stopped (${entry.reason}${entry.by === undefined ? '' : ` by uid ${entry.by.uid}, pid ${entry.by.pid}`})`;
    case 'open': {
      const client = entry.client === undefined ? '' : ` for ${visible(entry.client)}`;
      const policy = entry.policyDigest === undefined ? '' : `, policy ${shortDigest(entry.policyDigest)}`;
      return `● ${name} opened${client}, ${entry.mode}, custody ${entry.custody}, connection ${entry.connection.slice(0, 8)}${policy}`;
    }
    case 'principal': {
      const facts = [entry.uid === undefined ? '' : `uid ${entry.uid}`, entry.pid === undefined ? '' : `pid ${entry.pid}`].filter(
        (fact) => fact !== '',
      );
      if (entry.reportedBy === undefined) return `client ${facts.join(', ')} (${entry.source})`;
      const how = [
        entry.source,
        entry.method === undefined ? '' : visible(entry.method),
        entry.unbelieved ? 'the proxy is not trusted to say so' : '',
        entry.failure === undefined ? '' : `authentication failed: ${visible(entry.failure)}`,
      ].filter((word) => word !== '');
      const known = [namedText(around.content), ...facts].filter((fact) => fact !== '').join(', ');
      return `client ${known}${known === '' ? '' : ' '}(${how.join(', ')})`;
    }
    case 'close': {
      const status = entry.signal === undefined ? (entry.exitCode === undefined ? '' : `, status ${entry.exitCode}`) : `, ${visible(entry.signal)}`;
      const { blocked = 0, flagged = 0 } = around;
      const judged = `${blocked > 0 ? `, ${blocked} blocked` : ''}${flagged > 0 ? `, ${flagged} flagged` : ''}`;
      const [c2s, s2c] = entry.uncaptured ?? [0, 0];
      const left = c2s + s2c > 0 ? `, ${c2s + s2c} not captured` : '';
      return `○ ${name === '' ? 'connection' : name} closed: ${entry.reason}${status}${judged}${left}`;
    }
    case 'batch': {
      const notes = notesOf(output, entry);
      const arrow = entry.direction === 'c2s' ? '→' : '←';
      return `${arrow} batch of ${count(entry.items, 'message')}, ${size(entry.sizeBytes)}${notes === '' ? '' : `, ${notes}`}`;
    }
    case 'gap':
      return `gap: ${count(entry.lost.c2s + entry.lost.s2c, 'frame')} not recorded (c2s ${entry.lost.c2s}, s2c ${entry.lost.s2c}): ${visible(entry.reason)}`;
    case 'recovery': {
      const more =
        entry.cutBytes !== undefined ? `, ${size(entry.cutBytes)} cut` : entry.backUs !== undefined ? `, ${duration(entry.backUs)} back` : '';
      return `recovery: ${entry.reason}${more}`;
    }
    case 'policy':
      return policyText(entry, around.content);
    case 'erasure':
      return erasureText(entry, around.content);
    case 'prune': {
      const reason = around.content?.attributes['reason'];
      return `pruned: entries 0–${entry.end - 1} ${visible(prunedBy(entry))}${typeof reason === 'string' ? `: ${visible(reason)}` : ''}`;
    }
    case 'key': {
      const by = entry.by === undefined ? '' : `, by uid ${entry.by.uid}, pid ${entry.by.pid}`;
      const key = visible(entry.vkey.slice(entry.vkey.indexOf('+') + 1, entry.vkey.indexOf('+') + 9));
      return entry.act === 'rotate' ? `key: ${key} signs too, endorsed by the one before${by}` : `key: ${key} signs alone${by}`;
    }
    case 'anchor': {
      const who = `${entry.source === 'witness' ? 'witness' : 'timestamp authority'} ${visible(entry.name)}`;
      const what = `the checkpoint of ${count(entry.size, 'entry', 'entries')}`;
      if (entry.problem === 'fork') return `anchor: ${who} REFUSES ${what}: it has cosigned another history`;
      if (entry.problem === 'ahead') return `anchor: ${who} REFUSES ${what}: it has cosigned more than this ledger has`;
      const at = entry.signedAtS === undefined ? '' : ` at ${new Date(entry.signedAtS * 1000).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
      return `anchor: ${who} signed ${what}${at}`;
    }
    case 'approval': {
      const approval = approvalOf(0, entry, around.content?.attributes);
      const { reason } = approval;
      return `entry ${entry.request} ${approvalText(approval)}${reason === undefined ? '' : `: ${visible(reason)}`}`;
    }
    case 'access':
      return accessText(entry, around.content);
    default:
      return entry.kind;
  }
}

/** Whom a proxy names: the best that is known of it. */
function namedText(content: Content | undefined): string {
  const { declared, ...parts } = content?.attributes ?? {};
  // of a proxy that is not trusted all of it is what it declares
  const said = { ...(declared as Record<string, Record<string, unknown>> | undefined), ...(parts as Record<string, Record<string, unknown>>) };
  const userAgent = (declared as Record<string, unknown> | undefined)?.['userAgent'] ?? said['declared']?.['userAgent'];
  const best = [said['verified']?.['subject'], said['observed']?.['address'], userAgent].filter((text) => typeof text === 'string');
  return best.map((text) => visible(text)).join(', ');
}

function shortDigest(digest: string): string {
  return `${digest.slice(0, 8)}…`;
}

function accessText({ act, how, viewer, opened = [], count: times = 1, finding, rule, by }: AccessEntry, content: Content | undefined): string {
  const who = `${by === undefined ? '' : `, by uid ${by.uid}, pid ${by.pid}`}${viewer === undefined ? '' : `, viewer ${viewer}`}, ${how}`;
  if (act === 'open') {
    const named = opened.map(([first, last]) => (first === last ? String(first) : `${first}–${last}`));
    const often = times === 1 ? '' : `, ${times} times`;
    const isOne = named.length === 1 && opened[0]![0] === opened[0]![1];
    return `opened: content of ${isOne ? 'entry' : 'entries'} ${named.slice(0, 5).join(', ')}${named.length > 5 ? ' …' : ''}${often}${who}`;
  }
  const note = content?.attributes['note'];
  return `acknowledged: finding ${finding}${rule === undefined ? '' : ` of ${visible(rule)}`}${typeof note === 'string' ? `: ${visible(note)}` : ''}${who}`;
}

function erasureText({ targets, scope, fields, policyDigest, by }: ErasureEntry, content: Content | undefined): string {
  const named = targets.map(({ index, to }) => (to === undefined || to === index ? String(index) : `${index}–${to}`));
  const reason = content?.attributes['reason'];
  const shown = `${named.slice(0, 5).join(', ')}${named.length > 5 ? ' …' : ''}`;
  const who = by === undefined ? (policyDigest === undefined ? '' : `, policy ${shortDigest(policyDigest)}`) : `, by uid ${by.uid}, pid ${by.pid}`;
  return `erased by ${scope}: ${fields ? 'fields' : 'content'} of ${named.length === 1 && targets[0]!.to === undefined ? 'entry' : 'entries'} ${shown}${typeof reason === 'string' ? `: ${visible(reason)}` : ''}${who}`;
}

/** `tool changed: fs/read_file is 91bc3f2a…, accepted was 3f2a41b0…`. */
function pinText(entry: PolicyEntry, content: Content | undefined): string {
  const { act, server = '', tool = '', definition, previous, source, change } = entry;
  const name = visible(`${server}/${tool}`);
  const is = definition === undefined ? '' : ` ${shortDigest(definition)}`;
  const was = previous === undefined ? '' : `, accepted was ${shortDigest(previous)}`;
  if (act === 'accept') {
    const reason = content?.attributes['reason'];
    return `tool accepted: ${name} as${is}${was}${entry.also === true ? ' (which goes on)' : ''}${typeof reason === 'string' ? `: ${visible(reason)}` : ''}`;
  }
  if (act === 'pin')
    return `tool pinned: ${name} as${is} (${source === 'list' ? 'its first list' : source === 'file' ? 'file of pins' : 'accepted'})`;
  return change === 'gone' ? `tool not listed any more: ${name}` : `tool ${change === 'new' ? 'new' : 'changed'}: ${name} is${is}${was}`;
}

function policyText(entry: PolicyEntry, content: Content | undefined): string {
  const by = entry.by === undefined ? '' : `, by uid ${entry.by.uid}, pid ${entry.by.pid}`;
  const inForce = entry.digest === undefined ? 'none' : shortDigest(entry.digest);
  if (entry.act === 'load') {
    if (entry.digest === undefined) return `policy in force: none${by}`;
    return `policy in force: ${count(entry.rules ?? 0, 'rule')}, digest ${inForce}${by}`;
  }
  if (entry.act === 'rejected') {
    const problem = content?.attributes['problem'];
    return `policy file not taken: ${typeof problem === 'string' ? visible(problem) : 'the reason cannot be read here'} (in force: ${inForce}${by})`;
  }
  if (entry.act === 'limited') return `limited: ${count(entry.count ?? 0, 'more request')} refused by ${visible(entry.rule ?? '')}`;
  if (entry.act === 'unfreeze') return `unfrozen: ${entry.freeze === undefined ? 'everything' : `the freeze of entry ${entry.freeze}`}${by}`;
  if (entry.act === 'release') return `released: the hold of entry ${entry.hold}${by}`;
  if (entry.act === 'hold') {
    const { session: of, server: on, since } = entry;
    const { subject, reason } = content?.attributes ?? {};
    const covers = Object.entries({ session: of, server: on, subject, since, until: entry.until }).flatMap(([what, value]) =>
      typeof value === 'string' ? [`${what} ${visible(value)}`] : [],
    );
    return `held: ${covers.length === 0 ? 'everything' : covers.join(', ')}${typeof reason === 'string' ? `: ${visible(reason)}` : ''}${by}`;
  }
  if (entry.act === 'pin' || entry.act === 'drift' || entry.act === 'accept') return `${pinText(entry, content)}${by}`;
  const { server, client, principal, session } = entry;
  const about = Object.entries({ server, client, principal, session }).flatMap(([what, value]) =>
    value === undefined ? [] : [`${what} ${visible(value)}`],
  );
  const where = about.length === 0 ? ' everywhere' : ` on ${about.join(', ')}`;
  const until = entry.until === undefined ? '' : ` (until ${entry.until.slice(0, 10)} ${entry.until.slice(11, 19)} UTC)`;
  return `frozen: ${entry.all ? 'all requests' : 'writes'}${where}${entry.reason === undefined ? '' : `: ${visible(entry.reason)}`}${until}${by}`;
}
