/**
 * Makes rows of one ledger in a thread of its own, and says when there are new ones: questions do not wait for it. Where another process makes them already (a second
 * dashboard, `sworn findings`), it waits until that one ends.
 */
import { setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { AnalysisOptions } from '../analysis/options.ts';
import { Catalog } from '../catalog/catalog.ts';
import { Notifier, type NotifyPlace } from '../catalog/notify.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';

export interface FollowTask {
  ledger: string;
  /** Of the catalog. */
  path: string;
  /** The ledger's. */
  id: string;
  analysis: Omit<AnalysisOptions, 'crypto'>;
  /** Who is told of new findings. */
  notify: readonly NotifyPlace[];
}

/** How often it is looked whether the other process has ended. */
const heldMs = 1_000;

// of this thread alone (Linux): recording goes first, also while there is much to catch up with
setPriority(5);

function say(cursor: number): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort!.postMessage(cursor);
}

const { ledger, path, id, analysis, notify } = workerData as FollowTask;
const notifier =
  notify.length === 0 ? undefined : new Notifier({ ledger: id, path, places: notify, log: (line) => console.error(`sworn: note: ${line}`) });
for (;;) {
  try {
    const catalog = await Catalog.open(ledger, { path, analysis: { ...analysis, crypto: nodeCrypto } });
    say(catalog.cursor);
    // until this thread is ended: what is written stays whole, whenever that is
    await catalog.follow(new AbortController().signal, ({ cursor }) => {
      say(cursor);
      notifier?.look();
    });
  } catch (error) {
    if (!(error instanceof SwornError) || error.code !== 'catalog-held') throw error;
    // there are rows all the same
    say(0);
  }
  await sleep(heldMs);
}
