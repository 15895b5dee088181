/** The backend of a report, as the page sees it: questions to the worker that verifies and reads. Where a browser starts no worker the same code runs in the page itself. */
import type { Backend, Heard } from '../src/analysis/views.ts';
import { utf8 } from '../src/bytes/bytes.ts';
import { readReport, type ReportTexts } from './report-worker.ts';

interface Answered {
  id?: number;
  value?: unknown;
  error?: string;
  change?: Heard;
}

/** The texts of the data elements of this page, which go: they would take the memory that they take once more. */
export function takeTexts(document: Document): ReportTexts {
  const name = location.pathname.split('/').at(-1) ?? '';
  let file = name;
  try {
    file = decodeURIComponent(name);
  } catch {
    // a name that is no text in percent signs stays as it is
  }
  return {
    file: file === '' ? 'report.html' : file,
    head: taken(document.querySelector('#sworn-head')),
    chunks: [...document.querySelectorAll('script[data-block]')].map((element) => [
      element.getAttribute('data-block') ?? '',
      // bytes are handed over, a text would be copied
      utf8(taken(element) ?? ''),
    ]),
  };
}

/** With the element: a page that is saved with its data gone must not look like one that lost some. */
function taken(element: Element | null): string | undefined {
  const text = element?.textContent ?? undefined;
  element?.remove();
  return text;
}

/** `script`: the text of the app itself, which is the worker's, too. */
export function reportBackend(script: string, texts: Promise<ReportTexts>): Backend {
  let worker: Worker;
  try {
    const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
    worker = new Worker(url);
  } catch {
    return later(texts.then(readReport));
  }
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  const subscribers = new Set<(change: Heard) => void>();
  let last = 0;
  worker.addEventListener('message', ({ data }: MessageEvent<Answered>) => {
    if (data.change !== undefined) for (const subscriber of subscribers) subscriber(data.change);
    const one = data.id === undefined ? undefined : waiting.get(data.id);
    if (one === undefined) return;
    waiting.delete(data.id!);
    if (data.error === undefined) one.resolve(data.value);
    else one.reject(new Error(data.error));
  });
  worker.addEventListener('error', (event) => {
    event.preventDefault();
    for (const one of waiting.values()) one.reject(new Error(`the verifier of this page failed: ${event.message}`));
    waiting.clear();
  });
  const started = texts.then((all) =>
    worker.postMessage(
      all,
      all.chunks.map(([, bytes]) => bytes.buffer),
    ),
  );
  const ask = async <Value>(method: string, ...args: unknown[]): Promise<Value> => {
    await started;
    const id = ++last;
    return new Promise<Value>((resolve, reject) => {
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      worker.postMessage({ id, method, args });
    });
  };
  return asking(ask, (changed) => {
    subscribers.add(changed);
    return () => subscribers.delete(changed);
  });
}

type Ask = <Value>(method: string, ...args: unknown[]) => Promise<Value>;

/** Every question under its own name. */
function asking(ask: Ask, subscribe: Backend['subscribe']): Backend {
  return {
    kind: 'report',
    evidence: () => ask('evidence'),
    overview: (range) => ask('overview', range),
    timeline: (range, wanted) => ask('timeline', range, wanted),
    sessions: (range, paging) => ask('sessions', range, paging),
    calls: (range, paging) => ask('calls', range, paging),
    call: (ledger, index) => ask('call', ledger, index),
    entries: (range, paging) => ask('entries', range, paging),
    entry: (ledger, index) => ask('entry', ledger, index),
    tools: (range, paging) => ask('tools', range, paging),
    tool: (ledger, server, tool) => ask('tool', ledger, server, tool),
    entities: (range, paging) => ask('entities', range, paging),
    matrix: (range, paging) => ask('matrix', range, paging),
    entity: (ledger, entity) => ask('entity', ledger, entity),
    findings: (range, paging) => ask('findings', range, paging),
    subscribe,
    verify: (ledger) => ask('verify', ledger),
  };
}

/** A backend that is not there yet. */
function later(backend: Promise<Backend>): Backend {
  const ask: Ask = async <Value>(method: string, ...args: unknown[]): Promise<Value> => {
    const asked = (await backend) as unknown as Record<string, (...args: unknown[]) => Promise<Value>>;
    return asked[method]!(...args);
  };
  return asking(ask, (changed) => {
    let stop = (): void => {};
    let isStopped = false;
    void backend.then((known) => {
      if (!isStopped) stop = known.subscribe(changed);
    });
    return () => {
      isStopped = true;
      stop();
    };
  });
}
