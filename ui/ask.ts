/** Questions to the backend, as components ask them: what was known stays on the page until what is new is there. */
import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Backend, EvidenceState, Overview } from '../src/analysis/views.ts';

let current: Backend | undefined;

export function useBackend(backend: Backend): void {
  current = backend;
}

export function backend(): Backend {
  if (current === undefined) throw new Error('the app has no backend yet');
  return current;
}

/** What an unsorted list of what happened begins with: where more comes all the time, the newest. */
export function newestFirst(by: string): string | undefined {
  return backend().kind === 'live' ? `-${by}` : undefined;
}

/** A report of some records says nothing of the others. */
export function isPart(): boolean {
  return backend().kind === 'report' && (evidence.value ?? []).some(({ shown, size }) => shown < size);
}

/** Not all records are here, or not their content: what was not found may stand in the rest. */
export function isPartial(): boolean {
  const lacksContent = (evidence.value ?? []).some(({ steps }) => steps.some(({ name, result }) => name === 'Content' && result === 'unknown'));
  return isPart() || lacksContent;
}

export type Answer<Value> =
  | { state: 'asking'; value?: Value | undefined }
  | { state: 'here'; value: Value }
  | { state: 'failed'; error: Error; value?: Value | undefined };

/** Counts up when a person asked to see what is new: every question is asked again. */
export const round = signal(0);
/** Counts up when the live tail shows what is new: questions are asked again that follow it. */
const tick = signal(0);
/** What is known of everything, however a view is narrowed, and when it is to be asked for again. */
export const whole = signal<Overview | undefined>(undefined);
export const wholeRound = signal(0);
export const evidence = signal<EvidenceState[] | undefined>(undefined);
export const evidenceError = signal<string | undefined>(undefined);
/** `isMore`: or more than was told. */
const none = { entries: 0, calls: 0, findings: 0, isMore: false };
/** How much was told. */
function told({ entries = 0, calls = 0, findings = 0 }: { entries?: number; calls?: number; findings?: number }): number {
  return entries + calls + findings;
}

/** What came since the page was read, and is not shown yet. */
export const news = signal(none);
/** There is some, or may be. */
export function isNews(): boolean {
  return told(news.value) > 0 || news.value.isMore;
}

/** Whether what is new is told at all. */
export const isConnected = signal(true);
/** Why what is shown is not what could be known; it is asked for again. */
export const trouble = signal<string | undefined>(undefined);
/** Questions on the page that follow the live tail. */
let followers = 0;
/** Something on the page follows the live tail; otherwise what is new waits until a person asks for it. */
export function isFollowed(): boolean {
  return followers > 0;
}

/** Questions of this page that follow the live tail and have no answer yet, who waits for all of them, and how long there were any, in ms. */
const unanswered = new Set<object>();
let wake: (() => void) | undefined;
let askedAt = 0;
let tookMs = 0;
let hasFailed = false;

function begun(question: object): void {
  if (unanswered.size === 0) {
    askedAt = performance.now();
    hasFailed = false;
  }
  unanswered.add(question);
}

/** Answered, or asked by what is not on the page any more. */
function ended(question: object): void {
  if (!unanswered.delete(question) || unanswered.size > 0) return;
  tookMs += performance.now() - askedAt;
  if (!hasFailed) trouble.value = undefined;
  wake?.();
}

function failed(question: object, error: unknown): void {
  if (!unanswered.has(question)) return;
  hasFailed = true;
  trouble.value = error instanceof Error ? error.message : String(error);
  news.value = { ...news.peek(), isMore: true };
  ended(question);
}

/** The key of a question that follows the live tail, and the question, which is counted. Content is never asked for so: that it was opened is an entry of the ledger. */
export function useTail<Value, Words extends unknown[]>(
  question: (...words: Words) => Promise<Value>,
): { key: string; ask: (...words: Words) => Promise<Value> } {
  const { current: own } = useRef(new Set<object>());
  useEffect(() => {
    followers++;
    return () => {
      followers--;
      own.forEach(ended);
    };
  }, []);
  const ask = (...words: Words): Promise<Value> => {
    const asked = question(...words);
    const one = {};
    own.add(one);
    begun(one);
    asked
      .then(
        () => ended(one),
        (error: unknown) => failed(one, error),
      )
      .finally(() => own.delete(one));
    return asked;
  };
  return { key: `${round.value} ${tick.value}`, ask };
}

/** As `useAsk`, and again whenever the live tail shows what is new. */
export function useFollowing<Value>(question: () => Promise<Value>, about: readonly unknown[]): Answer<Value> {
  const { key, ask } = useTail(question);
  return useAsk(ask, [...about, key]);
}

/** Asks again when a word of `about` changes. */
export function useAsk<Value>(question: () => Promise<Value>, about: readonly unknown[]): Answer<Value> {
  const key = JSON.stringify([...about, round.value]);
  const [answer, setAnswer] = useState<Answer<Value> & { key?: string }>({ state: 'asking' });
  const wanted = useRef(key);
  wanted.current = key;
  useEffect(() => {
    setAnswer((before) => ({ state: 'asking', value: before.value }));
    question().then(
      (value) => wanted.current === key && setAnswer({ state: 'here', value }),
      (error: unknown) =>
        wanted.current === key &&
        setAnswer((before) => ({ state: 'failed', error: error instanceof Error ? error : new Error(String(error)), value: before.value })),
    );
  }, [key]);
  return answer;
}

/** How long it may take until what is known of everything is asked for again, when only entries came: an acknowledgement is one. */
const wholeMs = 5_000;
let wholeTimer: number | undefined;

function wholeChanged(isUrgent: boolean): void {
  if (isUrgent) {
    clearTimeout(wholeTimer);
    wholeTimer = undefined;
    wholeRound.value++;
  } else
    wholeTimer ??= setTimeout(() => {
      wholeTimer = undefined;
      wholeRound.value++;
    }, wholeMs);
}

/** What is known of everything: whoever asks lets all others know. */
export function askWhole(): Promise<Overview> {
  const asked = backend().overview({});
  asked.then(
    (answer) => (whole.value = answer),
    () => undefined,
  );
  return asked;
}

/** Reads the evidence now and whenever the backend says that it is another. */
export function watch(backend: Backend): void {
  const read = (): void => {
    backend.evidence().then(
      (states) => {
        evidence.value = states;
        if (trouble.value === evidenceError.value) trouble.value = undefined;
        evidenceError.value = undefined;
      },
      (error: unknown) => {
        evidenceError.value = error instanceof Error ? error.message : String(error);
        trouble.value = evidenceError.value;
      },
    );
  };
  read();
  backend.subscribe((change) => {
    if (change.evidence === true) read();
    const { entries = 0, calls = 0, findings = 0, missed = false } = change;
    if (change.isConnected !== undefined) isConnected.value = change.isConnected;
    if (told(change) === 0 && !missed) return;
    wholeChanged(findings > 0 || missed);
    // a report's rows come once: there is nothing that a reader could lose
    if (backend.kind === 'report') round.value++;
    else {
      const before = news.peek();
      news.value = {
        entries: before.entries + entries,
        calls: before.calls + calls,
        findings: before.findings + findings,
        isMore: before.isMore || missed,
      };
    }
  });
}

/** Because a person asked. */
export function showNews(): void {
  news.value = none;
  round.value++;
}

/** Two frames: what is drawn in the second asks its questions behind it. */
function drawn(): Promise<void> {
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))));
}

/** Because the live tail goes on. @returns when the page shows it: how long the answers took, in ms */
export async function followNews(): Promise<number> {
  tookMs = 0;
  news.value = none;
  tick.value++;
  await drawn();
  if (unanswered.size > 0) await new Promise<void>((answered) => (wake = answered));
  // what was told meanwhile is in some of the answers, if not in all; of a page that was left meanwhile for one that does not follow it is in none
  if (isFollowed() && told(news.peek()) > 0) news.value = { ...none, isMore: true };
  await drawn();
  return tookMs;
}
