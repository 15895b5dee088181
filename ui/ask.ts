/** Questions to the backend, as components ask them: what was known stays on the page until what is new is there. */
import { signal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Backend, EvidenceState } from '../src/analysis/views.ts';

let current: Backend | undefined;

export function useBackend(backend: Backend): void {
  current = backend;
}

export function backend(): Backend {
  if (current === undefined) throw new Error('the app has no backend yet');
  return current;
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
export const evidence = signal<EvidenceState[] | undefined>(undefined);
export const evidenceError = signal<string | undefined>(undefined);
/** What came since the page was read; nothing moves before a person asks for it. */
export const news = signal({ entries: 0, calls: 0, findings: 0 });

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

/** Reads the evidence now and whenever the backend says that it is another. */
export function watch(backend: Backend): void {
  const read = (): void => {
    backend.evidence().then(
      (states) => {
        evidence.value = states;
        evidenceError.value = undefined;
      },
      (error: unknown) => {
        evidenceError.value = error instanceof Error ? error.message : String(error);
      },
    );
  };
  read();
  backend.subscribe((change) => {
    if (change.evidence === true) read();
    const { entries = 0, calls = 0, findings = 0 } = change;
    if (entries + calls + findings === 0) return;
    // a report's rows come once: there is nothing that a reader could lose
    if (backend.kind === 'report') round.value++;
    else news.value = { entries: news.peek().entries + entries, calls: news.peek().calls + calls, findings: news.peek().findings + findings };
  });
}

export function showNews(): void {
  news.value = { entries: 0, calls: 0, findings: 0 };
  round.value++;
}
