/** A thread that reads one policy file and ends: YAML, its shape, and what is wrong with its conditions take a second for thousands of rules, and cannot be taken in slices. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadConfig, type Config } from '../config/config.ts';
import { SwornError, type ErrorCode } from '../errors.ts';

/** Errors lose their class on the way between threads. */
export type PolicyRead = { config: Config } | { code: ErrorCode; message: string; details: Readonly<Record<string, string>> } | { defect: string };

/** The file's path. */
export type PolicyToRead = string;

const read = await loadConfig(workerData as PolicyToRead).then(
  (config): PolicyRead => ({ config }),
  (error: Error): PolicyRead =>
    error instanceof SwornError ? { code: error.code, message: error.message, details: error.details } : { defect: String(error.stack) },
);
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
parentPort!.postMessage(read);
