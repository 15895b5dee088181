/** Calls that take much longer than their tool usually does, and those that nobody answers. */
import { everything, type Found, type SeenCall } from '../events.ts';
import { firstOf, msOf, nameOf, placeOf, rule, silencing } from './rule.ts';

interface Durations {
  /** Of a tool's newest calls, µs. */
  latest: number[];
  /** By session: the first entry of its finding. */
  firsts: Record<string, number>;
}

const latestMost = 31;
const latestLeast = 8;
const slowMs = 10_000;
const slowTimes = 10;
const slowSessions = 20;

export const slow = rule<Durations>(
  {
    id: 'slow',
    sees: ['call ended'],
    severity: 'low',
    title: "a call takes ten times as long as its tool's calls usually do, and more than ten seconds",
    why: 'A server that suddenly hangs holds the agent up, and may do something else than usual.',
    silence: silencing('slow', 'What is slow: findings: { rules: { slow: { afterMs: 60000 } } } (default 10000).'),
  },
  () => ({ latest: [], firsts: {} }),
  (seen, memory, settings) => {
    if (seen.kind !== 'call' || seen.phase !== 'ended' || seen.call.method !== 'tools/call' || isWaiting(seen)) return [];
    const { call } = seen;
    const { durationUs } = call;
    if (durationUs === undefined || call.state === 'blocked') return [];
    const own = memory.of(`${call.server} ${nameOf(seen)}`);
    const isLong = own.latest.length >= latestLeast && durationUs >= settings.count('afterMs', slowMs) * 1000;
    const usual = isLong ? own.latest.toSorted((one, other) => one - other)[own.latest.length >> 1]! : 0;
    own.latest.push(durationUs);
    if (own.latest.length > latestMost) own.latest.shift();
    if (!isLong || durationUs < usual * slowTimes) return [];
    return [
      {
        first: firstOf(own.firsts, call.session, call.index, slowSessions),
        title: `Why did ${nameOf(seen)} take so long?`,
        detail: `${seconds(durationUs)}, where half of its calls take less than ${seconds(usual)}`,
        indexes: [call.index, seen.index],
        ...placeOf(seen),
      },
    ];
  },
  1_000,
);

interface Waiting {
  index: number;
  beganMs: number;
  place: Pick<Found, 'session' | 'server' | 'tool'>;
}

interface Open {
  /** Oldest first. */
  waiting: Waiting[];
  /** By session and tool: the first entry of its finding. */
  firsts: Record<string, number>;
}

const hungMs = 5 * 60_000;
/** At its session's end: what was asked a moment ago could not be answered any more. */
const hungAtEndMs = 30_000;
const waitingMost = 1_000;
const firstsMost = 200;

export const hung = rule<Open>(
  {
    id: 'hung',
    sees: everything,
    severity: 'low',
    title: 'a call is not answered',
    why: 'Whether it was done, nobody knows: the agent may do it again.',
    silence: silencing('hung', 'What is too long: findings: { rules: { hung: { afterMs: 900000 } } } (default 300000).'),
  },
  () => ({ waiting: [], firsts: {} }),
  (seen, memory, settings) => {
    const open = memory.of('');
    const found: Found[] = [];
    const afterMs = settings.count('afterMs', hungMs);
    if (seen.kind === 'message') {
      // a server that asks waits for somebody, and so does what it works on
      if (open.waiting.length > 0 && seen.entry.kind === 'message' && seen.entry.type === 'request' && seen.entry.direction === 's2c') {
        const { session } = seen.session;
        open.waiting = open.waiting.filter(({ place }) => place.session !== session);
      }
    } else if (seen.kind === 'call' && seen.call.method === 'tools/call') {
      const { call } = seen;
      const at = open.waiting.findIndex(({ index }) => index === call.index);
      if (seen.phase === 'began' && call.state === 'open') {
        open.waiting.push({ index: call.index, beganMs: msOf(call.beganAt), place: placeOf(seen) });
        if (open.waiting.length > waitingMost) open.waiting.shift();
      } else if (at >= 0 && (seen.phase === 'ended' || isWaiting(seen))) {
        const [own] = open.waiting.splice(at, 1);
        const waitedMs = msOf(seen.at) - own!.beganMs;
        if (!isWaiting(seen) && call.state === 'unanswered' && waitedMs >= Math.min(hungAtEndMs, afterMs)) found.push(told(own!, waitedMs, open));
      }
    }
    while (open.waiting.length > 0 && msOf(seen.at) - open.waiting[0]!.beganMs >= afterMs) {
      const own = open.waiting.shift()!;
      found.push(told(own, msOf(seen.at) - own.beganMs, open));
    }
    return found;
  },
);

function told({ index, place }: Waiting, waitedMs: number, { firsts }: Open): Found {
  const first = firstOf(firsts, `${place.session} ${place.tool}`, index, firstsMost);
  return {
    first,
    title: `Why was ${place.tool ?? 'a call'} not answered?`,
    detail: `no answer for ${seconds(waitedMs * 1000)}`,
    indexes: [index],
    ...place,
  };
}

/** Somebody was asked for something meanwhile, or it goes on as a task: then long is usual. */
function isWaiting({ call }: SeenCall): boolean {
  return call.asked > 0 || call.taskStatus !== undefined;
}

function seconds(us: number): string {
  return us >= 1e6 ? `${Math.round(us / 1e5) / 10} s` : `${Math.round(us / 1e3)} ms`;
}
