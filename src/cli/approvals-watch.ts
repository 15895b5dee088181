/** `sworn approvals watch`: the queue live in a terminal, one keystroke to decide. Without a terminal, with `--json`: what comes to wait, a line each. */
import { SwornError } from '../errors.ts';
import { approvalsWaitMs } from '../limits.ts';
import type { Pending } from '../recorder/approval-question.ts';
import { readEntriesBackwards } from '../readers/entries.ts';
import { decideOn, pendingAt } from './approvals-queue.ts';
import { Screen, type Earlier } from './approvals-screen.ts';
import { placeOf, type PlaceOptions } from './keeping.ts';
import { safeJson, type Output } from './output.ts';

/** Entries that are looked through for what a session did before, and what is shown of it. */
const lookedThrough = 5_000;
const earlierMost = 6;
/** A recorder that is gone is looked for again. */
const againMs = 1_000;

/** Until somebody leaves, or the signal comes (default: SIGINT and SIGTERM). @throws SwornError `usage` without a terminal, or what the recorder answers first */
export async function watchApprovals(options: PlaceOptions & { json?: boolean }, output: Output): Promise<number> {
  const { socket, ledger } = placeOf(options);
  if (options.json === true) return printed(socket, output);
  if (!output.isTTY || !process.stdin.isTTY)
    throw new SwornError('usage', '`sworn approvals watch` needs a terminal; without one give --json, or use `sworn approvals list`', {
      command: 'approvals',
    });
  const first = await pendingAt(socket);
  const screen = new Screen(ledger);
  screen.update(first.approvals, first.waiting, Date.now());
  return new Promise((done) => {
    let isOver = false;
    // who leaves need not wait for an answer
    const left = new AbortController();
    const draw = (): void => {
      if (isOver) return;
      const lines = screen.lines(output, process.stdout.rows || 24, Date.now());
      // each line anew, and nothing below: no flicker
      output.out(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\r\n')}\u001b[J`);
      const { wanted } = screen;
      if (wanted === undefined) return;
      screen.tellEarlier(wanted.request, []);
      earlierOf(ledger, wanted)
        .then(
          (earlier) => screen.tellEarlier(wanted.request, earlier),
          (error: Error) => screen.tellEarlier(wanted.request, `not known: ${error.message}`),
        )
        .finally(draw);
    };
    const clock = setInterval(draw, 1_000);
    const leave = (): void => {
      if (isOver) return;
      isOver = true;
      left.abort();
      clearInterval(clock);
      process.stdin.setRawMode(false);
      process.stdin.pause();
      process.stdin.off('data', typed);
      process.stdout.off('resize', draw);
      // the terminal as it was
      output.out('\u001b[?25h\u001b[?1049l');
      done(0);
    };
    const typed = (bytes: Buffer): void => {
      for (const key of keysOf(bytes.toString())) {
        const act = screen.key(key, Date.now());
        if (act?.act === 'leave') return leave();
        if (act?.act !== 'decide') continue;
        const { pending, decision, reason } = act;
        decideOn(socket, pending, decision, reason)
          .then(
            ({ decided }) => screen.say(`${pending.request} ${decision}: entry ${decided}`),
            (error: Error) => {
              screen.undecided(pending.request);
              screen.say(`${pending.request}: ${error.message}`);
            },
          )
          .finally(draw);
        screen.update([...known.approvals], known.waiting, Date.now());
      }
      draw();
    };
    let known = first;
    const follow = async (): Promise<void> => {
      while (!isOver) {
        try {
          known = await pendingAt(socket, { version: known.version, waitMs: approvalsWaitMs }, left.signal);
          screen.update(known.approvals, known.waiting, Date.now());
        } catch (error) {
          if (isOver) return;
          screen.update([], 0, Date.now());
          screen.say((error as Error).message);
          known = { version: undefined, waiting: 0, approvals: [] };
          await new Promise((resolve) => setTimeout(resolve, againMs));
        }
        draw();
      }
    };
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, leave);
    process.stdin.setRawMode(true);
    process.stdin.on('data', typed);
    process.stdout.on('resize', draw);
    output.out('\u001b[?1049h\u001b[?25l');
    draw();
    void follow();
  });
}

/** What a terminal sent, key by key: an arrow is several characters, and what is pasted is many keys. */
function keysOf(text: string): string[] {
  // oxlint-disable-next-line no-control-regex -- what a terminal sends begins with it
  return text.match(/\u001b\[[0-9;]*[A-Za-z~]|[\s\S]/gu) ?? [];
}

async function printed(socket: string, output: Output): Promise<number> {
  const seen = new Set<number>();
  let known = await pendingAt(socket);
  for (;;) {
    for (const pending of known.approvals) {
      if (!seen.has(pending.request)) output.out(`${safeJson(JSON.stringify(pending))}\n`);
      seen.add(pending.request);
    }
    for (const request of seen) if (!known.approvals.some((one) => one.request === request)) seen.delete(request);
    await output.drained?.();
    if (output.closed) return 0;
    known = await pendingAt(socket, { version: known.version, waitMs: approvalsWaitMs });
  }
}

/** The last requests of the same session before this one, the newest first, and what came of them until now. */
export async function earlierOf(ledger: string, { request, connection, session }: Pending): Promise<Earlier[]> {
  const outcomes = new Map<number, string>();
  const approved = new Set<number>();
  const earlier: Earlier[] = [];
  let looked = 0;
  for await (const { index, entry } of readEntriesBackwards(ledger)) {
    if (++looked > lookedThrough || earlier.length === earlierMost) break;
    if (entry.kind === 'approval' && entry.connection === connection) {
      if (entry.decision === 'approved') approved.add(entry.request);
      else outcomes.set(entry.request, entry.decision);
      continue;
    }
    if (entry.kind !== 'message' || entry.connection !== connection || (session !== undefined && entry.session !== session)) continue;
    if (entry.type !== 'request') {
      if (entry.exchange !== undefined && entry.outcome !== undefined && !outcomes.has(entry.exchange))
        outcomes.set(entry.exchange, entry.outcome === 'toolError' ? 'tool error' : entry.outcome);
      continue;
    }
    if (index >= request || entry.method === 'initialize' || entry.method === 'ping' || entry.method?.endsWith('/list') === true) continue;
    const name = entry.method === 'tools/call' ? (entry.target ?? '(no name)') : `${entry.method ?? ''} ${entry.target ?? ''}`.trim();
    const unanswered = approved.has(index) ? 'approved, no answer yet' : entry.verdict === 'ask' ? 'waits, too' : 'no answer yet';
    const outcome = entry.verdict === 'block' ? 'blocked' : (outcomes.get(index) ?? unanswered);
    earlier.push({ index, name, outcome });
  }
  return earlier;
}
