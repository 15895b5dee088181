/** Storms of requests that limits refused. */
import { isLimited } from '../approvals.ts';
import type { Found } from '../events.ts';
import { rule, short, silencing } from './rule.ts';

interface Storm {
  /** Requests that were refused so far, those without an entry among them. */
  refused: number;
  first: number;
  told: number;
}

/** So many requests refused in one session are more than a client that was a little too fast. */
const manyRefused = 100;

export const limited = rule<Partial<Storm>>(
  {
    id: 'limited',
    sees: ['call began', 'entry'],
    severity: 'low',
    title: 'very many requests of one session were refused by a limit',
    why: 'Whoever goes on at once when told to wait is a loop, or tries to keep somebody busy. What was refused was not done.',
    silence: silencing('limited', 'Where it is meant to be so fast, say so in limits of sworn.yaml.'),
  },
  () => ({}),
  (seen, memory, settings) => {
    let more: number;
    let key: string;
    let by: string | undefined;
    let place: Pick<Found, 'session' | 'server'>;
    if (seen.kind === 'call') {
      const { call } = seen;
      if (!isLimited(call.rule) || call.verdict !== 'block') return [];
      more = 1;
      by = call.rule;
      key = call.session;
      place = { session: call.session, server: call.server };
    } else if (seen.kind === 'entry' && seen.entry.kind === 'policy' && seen.entry.act === 'limited') {
      more = seen.entry.count ?? 0;
      by = seen.entry.rule;
      // behind a proxy it is summed up by connection
      key = seen.session?.session ?? seen.entry.connection ?? '';
      place = seen.session === undefined ? {} : { session: seen.session.session, server: seen.session.server };
    } else return [];
    const storm = memory.of(key);
    storm.first ??= seen.index;
    storm.refused = (storm.refused ?? 0) + more;
    if (storm.refused < settings.count('requests', manyRefused)) return [];
    const count = storm.refused - (storm.told ?? 0);
    storm.told = storm.refused;
    const found: Found = {
      first: storm.first,
      title: 'Why did somebody go on when told to wait?',
      detail: `${storm.refused.toLocaleString('en')} requests were refused by ${short(by ?? '', 80)}`,
      indexes: storm.first === seen.index ? [seen.index] : [storm.first, seen.index],
      count,
      ...place,
    };
    return [found];
  },
);
