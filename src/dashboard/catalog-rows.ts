/** Rows of the ledgers' catalogs: made in a thread for each ledger, asked for here. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { AnalysisOptions } from '../analysis/options.ts';
import type { NotifyPlace } from '../catalog/notify.ts';
import { catalogPathOf } from '../catalog/place.ts';
import { CatalogRows } from '../catalog/queries.ts';
import type { Rows } from './api.ts';
import type { Ledger } from './evidence.ts';
import type { FollowTask } from './follow-worker.ts';
import type { Progress } from './stream.ts';

export interface Catalogs {
  rows: Rows;
  progressOf(ledger: string): Progress;
  follow(ledger: Ledger): Worker;
  close(): void;
}

export function catalogsOf(ledgers: readonly Ledger[], analysis: Omit<AnalysisOptions, 'crypto'>, notify: readonly NotifyPlace[] = []): Catalogs {
  const places = new Map(ledgers.map(({ id, path }) => [id, catalogPathOf(path)]));
  const rows = new CatalogRows(ledgers.map(({ id }) => ({ ledger: id, path: places.get(id)! })));
  return {
    rows,
    progressOf: (ledger) => rows.progressOf(ledger),
    follow: (ledger) =>
      new Worker(program('follow-worker'), {
        workerData: { ledger: ledger.path, path: places.get(ledger.id)!, id: ledger.id, analysis, notify } satisfies FollowTask,
      }),
    close: () => rows.close(),
  };
}

/** A program of the build: chunks lie one folder deeper; or of a checkout that runs from its sources. */
function program(name: string): URL {
  for (const path of [`${name}.mjs`, `../${name}.mjs`]) {
    const url = new URL(path, import.meta.url);
    if (existsSync(fileURLToPath(url))) return url;
  }
  return new URL(`${name}.ts`, import.meta.url);
}
