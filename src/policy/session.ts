/** What a connection did so far, as conditions may ask (`session.*`). Counted by the recorder and by `policy simulate` in the same way. */
import { asks, type Subject } from './match.ts';
import type { Verdict } from './verdict.ts';

export interface SessionCounts {
  /** Tool calls that were let through. */
  calls: number;
  /** Of them, by effect. */
  reads: number;
  writes: number;
  /** Requests to something sensitive that do not write. */
  sensitiveReads: number;
  /** Results of tools whose results may hold what a stranger wrote. */
  untrustedResults: number;
  /** Results that say that they are errors, and JSON-RPC errors. */
  errors: number;
  /** Messages that were refused. */
  denied: number;
}

export function newCounts(): SessionCounts {
  return { calls: 0, reads: 0, writes: 0, sensitiveReads: 0, untrustedResults: 0, errors: 0, denied: 0 };
}

/** Counts of what `newCounts` made, after a round through JSON; what is no count is 0. */
export function countsFrom(json: unknown): SessionCounts {
  const counts = newCounts();
  for (const name of Object.keys(counts) as (keyof SessionCounts)[]) {
    const value = (json as Record<string, unknown> | undefined)?.[name];
    if (Number.isSafeInteger(value) && (value as number) >= 0) counts[name] = value as number;
  }
  return counts;
}

/** Counts a message. `failed`: a result that says that it is an error. */
export function count(counts: SessionCounts, subject: Subject, verdict: Verdict['kind'], failed = false): void {
  add(1, counts, subject, verdict, failed);
}

/** Takes back what `count` did with the same message. */
export function uncount(counts: SessionCounts, subject: Subject, verdict: Verdict['kind'], failed = false): void {
  add(-1, counts, subject, verdict, failed);
}

function add(one: 1 | -1, counts: SessionCounts, subject: Subject, verdict: Verdict['kind'], failed: boolean): void {
  if (verdict === 'block') counts.denied += one;
  else if (asks(subject)) {
    const { effect, sensitive } = subject.effects;
    if (subject.method === 'tools/call') {
      counts.calls += one;
      if (effect === 'read') counts.reads += one;
      else if (effect === 'write') counts.writes += one;
    }
    if (sensitive && effect !== 'write') counts.sensitiveReads += one;
  } else if (subject.type === 'result' || subject.type === 'error') {
    if (failed || subject.type === 'error') counts.errors += one;
    if (subject.effects.untrusted) counts.untrustedResults += one;
  }
}
