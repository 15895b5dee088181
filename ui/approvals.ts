/**
 * What the page knows of requests that wait for a person, and deciding about them. What must stay true: nothing is approved whose content this page did not show; each
 * decision names the commitment of what was shown; the key for deciding is in memory alone, and gone with the page.
 */
import { computed, signal } from '@preact/signals';
import type { ApprovalQueue, ApprovalRow, ApprovalsBackend, DecideResult, DecisionRow } from '../src/analysis/approval-views.ts';
import type { Backend } from '../src/analysis/views.ts';

export const queue = signal<ApprovalQueue | undefined>(undefined);
export const queueError = signal<string | undefined>(undefined);
export const decisions = signal<readonly DecisionRow[]>([]);
/** `sworn serve --no-approvals`. */
export const isOff = signal(false);
/** What the second secret was exchanged for. */
export const key = signal<string | undefined>(undefined);
/** Rows that a person put together, by `keyOf`. */
export const marked = signal<ReadonlySet<string>>(new Set());
/** Decided here; the queue does not know yet. */
export const done = signal<ReadonlyMap<string, 'approved' | 'denied'>>(new Map());
/** On its way to the recorder. */
export const busy = signal<ReadonlySet<string>>(new Set());
/** The clock of whoever serves, ms; beats once a second while something waits. */
export const now = signal(Date.now());
/** The last word about a decision. */
export const said = signal<{ text: string; isProblem: boolean } | undefined>(undefined);

/** What of this page was shown whole, and what was decided here, by commitment. */
const shown = signal<ReadonlySet<string>>(new Set());
const decidedHere = new Set<string>();
const atOnce = 64;
let offsetMs = 0;

export function keyOf({ ledger, request }: Pick<ApprovalRow, 'ledger' | 'request'>): string {
  return `${ledger}:${request}`;
}

/** What still waits, as far as this page knows. */
export const waiting = computed<readonly ApprovalRow[]>(() => (queue.value?.rows ?? []).filter((row) => !done.value.has(keyOf(row))));
export const waitingCount = computed(() => Math.max(0, (queue.value?.total ?? 0) - ((queue.value?.rows.length ?? 0) - waiting.value.length)));

export function leftMs({ deadline }: Pick<ApprovalRow, 'deadline'>): number {
  return Math.max(0, Date.parse(deadline) - now.value);
}

/** Its content stands on the page. */
export function wasShown({ commitment }: ApprovalRow): void {
  shown.value = new Set([...shown.peek(), commitment]);
}

/** Whether all that is ever shown of it was: opened, or all of it stands in its line. */
export function isShown({ commitment, isAll }: ApprovalRow): boolean {
  return shown.value.has(commitment) || isAll === true;
}

export function isDecidedHere({ commitment }: ApprovalRow): boolean {
  return decidedHere.has(commitment);
}

export function toggleMark(rows: readonly ApprovalRow[]): void {
  const keys = rows.map(keyOf);
  const next = new Set(marked.peek());
  const isAll = keys.every((one) => next.has(one));
  for (const one of keys) {
    if (isAll) next.delete(one);
    else next.add(one);
  }
  marked.value = next;
}

/** Rows of the same session, rule and tool. */
export function alike(row: ApprovalRow): ApprovalRow[] {
  return waiting
    .peek()
    .filter((one) => one.connection === row.connection && one.rule === row.rule && one.tool === row.tool && one.method === row.method);
}

/** Some may fail where others do not: `said` tells. */
export async function decide(desk: ApprovalsBackend, decision: 'approved' | 'denied', rows: readonly ApprovalRow[], reason: string): Promise<void> {
  const secret = key.peek();
  if (secret === undefined || rows.length === 0) return;
  const keys = rows.map(keyOf);
  busy.value = new Set([...busy.peek(), ...keys]);
  said.value = undefined;
  const results: DecideResult[] = [];
  let failure: string | undefined;
  try {
    for (let at = 0; at < rows.length; at += atOnce) {
      const some = rows.slice(at, at + atOnce);
      const answers = await desk.decide({ decision, key: secret, ...(reason.trim() === '' ? {} : { reason: reason.trim() }) }, some);
      results.push(...answers);
      const good = answers.filter(({ decided }) => decided !== undefined).map((one) => [keyOf(one), decision] as const);
      for (const row of some) if (good.some(([one]) => one === keyOf(row))) decidedHere.add(row.commitment);
      done.value = new Map([...done.peek(), ...good]);
    }
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
    if ((error as { status?: number }).status === 403) key.value = undefined;
  }
  busy.value = new Set([...busy.peek()].filter((one) => !keys.includes(one)));
  marked.value = new Set([...marked.peek()].filter((one) => !done.peek().has(one)));
  const problems = results.filter(({ problem }) => problem !== undefined);
  const good = results.length - problems.length;
  const [first] = rows;
  const name = rows.length === 1 ? (first!.tool ?? first!.method) : `${good} of ${rows.length}`;
  failure ??= problems[0]?.problem;
  said.value =
    failure === undefined
      ? { text: `${decision === 'approved' ? 'Approved' : 'Denied'}: ${rows.length === 1 ? name : `${good} requests`}`, isProblem: false }
      : { text: `${rows.length === 1 ? '' : `${decision === 'approved' ? 'Approved' : 'Denied'} ${name}. `}${failure}`, isProblem: true };
}

export async function unlock(desk: ApprovalsBackend, secret: string): Promise<string | undefined> {
  try {
    key.value = (await desk.unlock(secret)).key;
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Asks for the queue now, and whenever it is another one; one question at a time. */
export function follow(backend: Backend, desk: ApprovalsBackend): void {
  let isAsking = false;
  let isAgain = false;
  const read = async (): Promise<void> => {
    if (isAsking) {
      isAgain = true;
      return;
    }
    isAsking = true;
    try {
      const answer = await desk.queue();
      isOff.value = answer === undefined;
      queueError.value = undefined;
      if (answer !== undefined) {
        offsetMs = Date.parse(answer.now) - Date.now();
        now.value = Date.now() + offsetMs;
        queue.value = answer;
        const still = new Set(answer.rows.map(keyOf));
        done.value = new Map([...done.peek()].filter(([one]) => still.has(one)));
        marked.value = new Set([...marked.peek()].filter((one) => still.has(one)));
        decisions.value = await desk.decisions();
      }
    } catch (error) {
      queueError.value = error instanceof Error ? error.message : String(error);
    }
    // a long queue that changes all the time is not read all the time
    await new Promise((done) => setTimeout(done, Math.min(1_000, queue.peek()?.rows.length ?? 0)));
    isAsking = false;
    if (isAgain && !isOff.peek()) {
      isAgain = false;
      await read();
    }
  };
  void read();
  backend.subscribe(({ approvals }) => {
    if (approvals === true) void read();
  });
  setInterval(() => {
    if ((queue.peek()?.rows.length ?? 0) > 0 && !document.hidden) now.value = Date.now() + offsetMs;
  }, 1_000);
}
