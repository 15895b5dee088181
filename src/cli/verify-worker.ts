/** Verifies one ledger in a thread of its own, as `sworn verify --json` does, and tells how far it is: the dashboard's questions do not wait for it. */
import { constants, setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { verifyCommand, type VerifyCommandOptions } from './verify.ts';
import type { VerifyJson } from './evidence-state.ts';

export type VerifyTask = Pick<VerifyCommandOptions, 'ledger' | 'policy' | 'keysHome'>;
export type VerifyAnswer = { progress: number } | { found: VerifyJson } | { problem: string };

function say(answer: VerifyAnswer): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort!.postMessage(answer);
}

// of this thread alone (Linux): recording and questions go first
setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
let saidMs = 0;
let text = '';
const output = { out: (more: string) => void (text += more), err: () => undefined, isTTY: false, color: false };
const options: VerifyCommandOptions = {
  ...(workerData as VerifyTask),
  json: true,
  // the recorder and the agent need the other cores
  workers: 1,
  progress: (done, total) => {
    if (performance.now() - saidMs < 100) return;
    saidMs = performance.now();
    say({ progress: total === 0 ? 0 : done / total });
  },
};
try {
  await verifyCommand(options, output);
  say({ found: JSON.parse(text) as VerifyJson });
} catch (error) {
  say({ problem: (error as Error).message });
}
