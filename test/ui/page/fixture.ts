/** The app over rows of a test: `#fixture` says which, as JSON. */
import { MemoryBackend } from '../../../src/analysis/memory-backend.ts';
import { PackedRows } from '../../../src/analysis/packed-rows.ts';
import { start } from '../../../ui/app.tsx';
import { approvalsView } from '../../../ui/views/approvals.tsx';
import { desk } from './desk.ts';
import { hostile } from './hostile.ts';
import { ledger, many, asked, story, type World } from './rows.ts';

interface Wanted {
  world: 'story' | 'many' | 'hostile' | 'empty' | 'asked';
  calls?: number;
  strings?: string[];
  /** A report of some records: no list of tools, no finding. */
  isPart?: true;
  /** So many requests wait for a person. */
  waiting?: number;
  /** Nobody may decide. */
  isToken?: true;
}

const wanted = JSON.parse(document.querySelector('#fixture')!.textContent) as Wanted;
const world: World =
  wanted.world === 'story'
    ? story()
    : wanted.world === 'asked'
      ? asked()
      : wanted.world === 'hostile'
        ? hostile(wanted.strings ?? [])
        : many(wanted.world === 'empty' ? 0 : (wanted.calls ?? 1_000));
if (wanted.world === 'empty') world.rows = new PackedRows();
if (wanted.isPart) {
  world.rows.clear('findings');
  for (const tool of world.rows.rows('tools')) world.rows.put('tools', { ...tool, isListed: false });
  world.evidence.shown--;
}

const backend = new MemoryBackend({
  rows: world.rows,
  entry: (of, index) => Promise.resolve(of === ledger ? world.details.get(index) : undefined),
  evidence: () => [world.evidence],
  verify: () => Promise.resolve(),
  now: () => '2026-11-20T12:00:00.000Z',
  zone: 'UTC',
});
if (wanted.waiting === undefined) start(backend, document.querySelector('#app')!);
else {
  const live = Object.assign(backend, { approvals: desk(world, wanted.waiting, wanted.isToken !== true) });
  start(live, document.querySelector('#app')!, [approvalsView(live)]);
}
