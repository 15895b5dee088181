/**
 * `sworn erase --prune-before`: takes entries away, from the beginning of the ledger on, and leaves their hashes and an entry that says so. The recorder says how far
 * it can go, and what keeps the rest (`spec/ledger.md`, Pruning).
 */
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';
import { checkLedger } from '../readers/entries.ts';
import type { Obstacle, PruneAnswer } from '../recorder/prune.ts';
import { ask } from '../wire/ask.ts';
import { checkAnswerable, confirmed } from './confirm.ts';
import { ensureRecorder, pastTime, placeOf, type PlaceOptions } from './keeping.ts';
import { safeJson, visible, type Output } from './output.ts';

export interface PruneOptions extends PlaceOptions {
  pruneBefore: string;
  reason?: string;
  dryRun?: boolean;
  yes?: boolean;
  json?: boolean;
}

const answerMs = 3_600_000;
const copies = 'exports, reports, backups and copies made before still have them';

/** @throws SwornError `usage`, `held`, or whatever the recorder answers */
export async function pruneCommand(options: PruneOptions, output: Output): Promise<number> {
  const { pruneBefore, reason, dryRun, json } = options;
  const { ledger, socket } = placeOf(options);
  checkLedger(ledger);
  const end = wholeNumber(pruneBefore);
  const bound = end !== undefined ? { end } : { beforeMs: pastTime(pruneBefore, 'prune-before', 'erase') };
  checkAnswerable(options, output);
  const status = await ensureRecorder(options, output);
  if (status !== undefined) return status;
  const question = async (isDry: boolean): Promise<PruneAnswer> =>
    (await ask(
      socket,
      'prune',
      { ...bound, ...(reason === undefined ? {} : { reason }), ...(isDry ? { dryRun: true } : {}) },
      answerMs,
    )) as unknown as PruneAnswer;
  const say = async (answer: PruneAnswer, text: string): Promise<void> => {
    output.out(json ? `${safeJson(JSON.stringify({ ...answer, ...(dryRun ? { dryRun } : {}), notPruned: copies }))}\n` : text);
    await output.drained?.();
  };
  const planned = await question(true);
  if (planned.end <= planned.from) {
    if (dryRun) await say(planned, 'nothing would be pruned\n');
    throw refusal(planned.obstacle);
  }
  if (dryRun) {
    await say(planned, planText(planned, 'would be deleted, for ever'));
    return 0;
  }
  if (options.yes !== true && !(await confirmed(planText(planned, 'will be deleted, for ever'), 'Prune', output))) {
    output.out('nothing is pruned\n');
    return 1;
  }
  const answer = await question(false);
  if (answer.entry === undefined) throw refusal(answer.obstacle);
  const done = `entries ${answer.from}–${answer.end - 1} are pruned: their hashes are in the tree, their text and content are gone`;
  const undone = `NOT YET pruned: ${visible(answer.unfinished ?? '')}\nthe recorder goes on by itself: see \`sworn recorder status\``;
  await say(
    answer,
    `${answer.unfinished === undefined ? done : undone}\nsaid by entry ${answer.entry}\nthe rest stays: ${obstacleText(answer.obstacle)}\n${copies}\n`,
  );
  return answer.unfinished === undefined ? 0 : 1;
}

function planText({ from, end, obstacle }: PruneAnswer, how: string): string {
  return `entries ${from}–${end - 1} ${how}: text and content; their hashes stay in the tree\nthe rest stays: ${obstacleText(obstacle)}\n${copies}\n`;
}

function refusal(obstacle: Obstacle): SwornError {
  const text = `nothing is pruned: ${obstacleText(obstacle)}`;
  return obstacle.hold === undefined ? new SwornError('not-found', text) : new SwornError('held', text, { hold: String(obstacle.hold) });
}

/** Why no more goes. */
function obstacleText({ what, index, name, hold }: Obstacle): string {
  switch (what) {
    case 'hold':
      return `hold ${hold}${name === undefined ? '' : ` (${visible(name)})`} keeps everything from entry ${index} on`;
    case 'session':
      return `session ${visible((name ?? '').slice(0, 8))}, which began at entry ${index}, is open or younger`;
    case 'freeze':
      return `the freeze of entry ${index} is in force`;
    case 'published':
      return `the published checkpoint covers ${index} entries`;
    case 'witness':
      return `the witnesses have seen ${index} entries`;
    case 'parts':
      return `a long message that begins before entry ${index} ends behind it`;
    case 'encrypted':
      return `the encrypted segment that begins at entry ${index} cannot be opened and written anew: ${visible(name ?? '')}`;
    case 'restated':
      return `too many sessions have entries on both sides of entry ${index}`;
    default:
      return `only whole bundles of 256 entries go, of the ${index} that are meant`;
  }
}
