/** A thread that looks through long frames for what must not be stored, so that other connections do not wait for one's megabytes. */
import { parentPort } from 'node:worker_threads';
import type { RedactRule } from '../policy/policy.ts';
import { compileRedaction, Redactor, type Redaction } from '../policy/redact.ts';

export interface Search {
  id: number;
  rules: readonly RedactRule[];
  bytes: Uint8Array;
  known: readonly string[];
  isJson: boolean;
}

export type Found = { id: number; redactions: Redaction[] } | { id: number; error: string };

/** By the rules' text: a policy changes seldom. */
const redactors = new Map<string, Promise<Redactor>>();
const redactorsMost = 16;

function redactorFor(rules: readonly RedactRule[]): Promise<Redactor> {
  const key = JSON.stringify(rules);
  let redactor = redactors.get(key);
  if (redactor === undefined) {
    if (redactors.size >= redactorsMost) redactors.clear();
    redactor = Promise.all(rules.map(compileRedaction)).then((compiled) => new Redactor(compiled));
    redactors.set(key, redactor);
  }
  return redactor;
}

parentPort?.on('message', ({ id, rules, bytes, known, isJson }: Search) => {
  void redactorFor(rules)
    .then((redactor): Found => ({ id, redactions: redactor.ranges(bytes, 0, known, isJson) }))
    .catch((error: Error): Found => ({ id, error: error.message }))
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    .then((found) => parentPort!.postMessage(found));
});
