/** The same again and again: calls that bring nothing new, calls that fail every time, and more calls than anybody reads. */
import type { Found, SeenCall } from '../events.ts';
import { hash53 } from './hash.ts';
import { msOf, nameOf, placeOf, rule, short, silencing } from './rule.ts';
import { pollWords, wordsOf } from './words.ts';

/** Calls that follow each other in a session and are the same. */
interface Row {
  key: string;
  result: number;
  length: number;
  beganMs: number;
  indexes: number[];
  first?: number;
}

const nothing = (): Row => ({ key: '', result: 0, length: 0, beganMs: 0, indexes: [] });
const indexesMost = 100;
/** A row goes on for so long. */
const rowMs = 10 * 60_000;

export const loop = rule<Row>(
  {
    id: 'loop',
    sees: ['call ended'],
    severity: 'medium',
    title: 'the same call with the same arguments brings the same result again and again',
    why: 'An agent that goes round in a circle costs money and time, and does not do what it was asked to.',
    silence: silencing('loop', 'How many in a row are too many: findings: { rules: { loop: { calls: 30 } } } (default 10).'),
  },
  nothing,
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || !isToolCall(seen)) return [];
    const row = memory.of(seen.call.session);
    const result = seen.call.state === 'ok' ? hash53((seen.result?.texts ?? []).join('\n').slice(0, 20_000)) : 0;
    const isSame = goOn(row, seen, result) && seen.call.state === 'ok';
    const most = settings.count('calls', 10);
    if (!isSame || row.length < most || wordsOf(seen.call.target!).some((word) => pollWords.has(word))) return [];
    return tell(row, seen, `Why was ${seen.call.target} called with the same arguments ${most} times and more?`, 'times the same result');
  },
);

export const retryStorm = rule<Row>(
  {
    id: 'retry-storm',
    sees: ['call ended'],
    severity: 'medium',
    title: 'a call that fails is made again and again as it was',
    why: 'What failed five times the same way fails again. Each try may cost, lock an account, or do half of what it says.',
    silence: silencing('retry-storm', 'How many in a row are too many: findings: { rules: { retry-storm: { calls: 10 } } } (default 5).'),
  },
  nothing,
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || !isToolCall(seen)) return [];
    const row = memory.of(seen.call.session);
    const { state } = seen.call;
    const isFailure = state === 'error' || state === 'toolError' || state === 'blocked';
    const isSame = goOn(row, seen, isFailure ? 1 : 0);
    const most = settings.count('calls', 5);
    if (!isFailure || !isSame || row.length < most) return [];
    return tell(
      row,
      seen,
      `Why was the failing call of ${seen.call.target} made ${most} times and more?`,
      `failures: ${short(seen.result?.texts[0] ?? state, 120)}`,
    );
  },
);

function isToolCall({ call, argumentsDigest }: SeenCall): boolean {
  return call.method === 'tools/call' && call.target !== undefined && argumentsDigest !== undefined;
}

/** Whether this call is one more of the row; if not it begins another one. */
function goOn(row: Row, seen: SeenCall, result: number): boolean {
  const key = `${seen.call.target} ${seen.argumentsDigest}`;
  const ms = msOf(seen.at);
  if (row.key === key && row.result === result && ms - row.beganMs <= rowMs) {
    row.length++;
    if (row.indexes.length < indexesMost) row.indexes.push(seen.call.index);
    return true;
  }
  delete row.first;
  Object.assign(row, { key, result, length: 1, beganMs: ms, indexes: [seen.call.index] });
  return false;
}

function tell(row: Row, seen: SeenCall, title: string, what: string): Found[] {
  const isNew = row.first === undefined;
  row.first ??= row.indexes[0]!;
  return [
    {
      first: row.first,
      title,
      detail: `${nameOf(seen)} ${short(seen.call.argumentsText ?? '', 80)}: ${row.length} ${what}`,
      indexes: isNew ? row.indexes : [seen.call.index],
      count: isNew ? row.length : 1,
      ...placeOf(seen),
    },
  ];
}

interface Beats {
  /** Calls of the newest seconds: [second, calls]. */
  seconds: [number, number][];
  indexes: number[];
  first?: number;
}

const burstS = 10;

export const burst = rule<Beats>(
  {
    id: 'burst',
    sees: ['call began'],
    severity: 'low',
    title: 'a session makes very many calls within ten seconds',
    why: 'No person follows that. It may be a program, or an agent out of control.',
    silence: silencing('burst', 'How many calls in ten seconds are too many: findings: { rules: { burst: { calls: 500 } } } (default 100).'),
  },
  () => ({ seconds: [], indexes: [] }),
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'began' || seen.call.method !== 'tools/call') return [];
    const beats = memory.of(seen.call.session);
    const second = Math.floor(msOf(seen.at) / 1000);
    if (beats.seconds.at(-1)?.[0] === second) beats.seconds.at(-1)![1]++;
    else beats.seconds.push([second, 1]);
    while (beats.seconds[0]![0] <= second - burstS) beats.seconds.shift();
    beats.indexes.push(seen.call.index);
    if (beats.indexes.length > indexesMost) beats.indexes.shift();
    const most = settings.count('calls', 100);
    const calls = beats.seconds.reduce((sum, [, count]) => sum + count, 0);
    if (calls < most) {
      if (calls < most / 2) delete beats.first;
      return [];
    }
    const isNew = beats.first === undefined;
    beats.first ??= beats.indexes[0]!;
    return [
      {
        first: beats.first,
        title: `Why were there ${most} calls and more within ${burstS} seconds?`,
        detail: `${calls} calls in ${burstS} s, the last one of ${nameOf(seen)}`,
        indexes: isNew ? beats.indexes : [seen.call.index],
        count: isNew ? calls : 1,
        session: seen.call.session,
        server: seen.call.server,
      },
    ];
  },
);
