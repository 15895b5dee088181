/** The queue of requests that wait for a person, in the order in which they came, and below it what was decided. One keystroke decides the one that is open. */
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import type { ApprovalRow, ApprovalsBackend } from '../../src/analysis/approval-views.ts';
import type { Backend } from '../../src/analysis/views.ts';
import { OpenApproval } from '../approval.tsx';
import {
  alike,
  busy,
  decide,
  decisions,
  follow,
  isDecidedHere,
  isOff,
  isShown,
  key,
  keyOf,
  leftMs,
  marked,
  queue,
  queueError,
  said,
  toggleMark,
  waiting,
  waitingCount,
} from '../approvals.ts';
import type { LiveView } from '../app.tsx';
import { backend } from '../ask.ts';
import { DecidedList } from '../decided.tsx';
import { DecideTogether, type Together } from '../decide-together.tsx';
import { count, counted } from '../figures.ts';
import { useKeys } from '../keyboard.tsx';
import { useMovable } from '../list.tsx';
import { Command, Empty, Icon } from '../parts.tsx';
import { plain, Text } from '../text.tsx';
import { Unlock, wantSecret } from '../unlock.tsx';

/** Rows that are drawn at first, and more each time. */
const rowsStep = 100;
/** A key that was meant for the row before does not decide the one that took its place. */
const armMs = 400;

/** Which one is open: it stays so while others come and go. */
const selected = signal<ApprovalRow | undefined>(undefined);
const together = signal<Together | undefined>(undefined);
let armedAtMs = 0;

export function ApprovalsView(): JSX.Element {
  const desk = backend().approvals;
  if (desk === undefined || isOff.value) return <Empty>Nothing is decided here: `sworn serve` was started with --no-approvals.</Empty>;
  if (queue.value === undefined)
    return queueError.value === undefined ? (
      <div class="waiting" role="status">
        Asking what waits …
      </div>
    ) : (
      <div class="broken" role="alert">
        <Icon shape="error" /> <Text>{queueError.value}</Text>
      </div>
    );
  return <Desk desk={desk} />;
}

function Desk({ desk }: { desk: ApprovalsBackend }): JSX.Element {
  const [most, setMost] = useState(rowsStep);
  const rows = waiting.value;
  const open = selected.value;
  const isOpenThere = open !== undefined && rows.some((row) => keyOf(row) === keyOf(open));
  const hasProblem = (queue.value?.problems.length ?? 0) > 0;

  // the first is open from the beginning, where somebody looks; one that is gone stays until somebody goes on, unless it was decided here
  useEffect(() => {
    const show = (): void => {
      const isFree = open === undefined ? rows.length > 0 : !isOpenThere && isDecidedHere(open);
      if (!document.hidden && isFree) select(nextOf(open, rows), true);
    };
    show();
    document.addEventListener('visibilitychange', show);
    return () => document.removeEventListener('visibilitychange', show);
  }, [rows, open, isOpenThere]);

  const move = (step: number): void => {
    if (rows.length === 0) return;
    const at = open === undefined ? -1 : rows.findIndex((row) => keyOf(row) === keyOf(open));
    const next = at < 0 ? nextOf(open, rows) : rows[Math.max(0, Math.min(rows.length - 1, at + step))];
    if (next === undefined) return;
    const place = rows.indexOf(next);
    if (place >= most) setMost(place + rowsStep);
    select(next, false);
    requestAnimationFrame(() => document.querySelector<HTMLElement>('.ask.open .askname')?.focus());
  };
  useMovable({ move, openAll: () => undefined });

  const want = (decision: 'approved' | 'denied'): void => {
    if (key.value === undefined) {
      wantSecret();
      return;
    }
    const chosen = rows.filter((row) => marked.value.has(keyOf(row)));
    if (chosen.length > 0) together.value = { decision, rows: chosen };
    else if (open === undefined || !isOpenThere || busy.value.has(keyOf(open)) || performance.now() < armedAtMs) return;
    else if (decision === 'denied') together.value = { decision, rows: [open] };
    else if (isShown(open)) void decide(desk, 'approved', [open], '');
  };
  useKeys([
    { key: 'a', does: 'approve the open one, or all that are marked', act: () => want('approved') },
    { key: 'd', does: 'deny, with a reason', act: () => want('denied') },
    { key: 'x', does: 'mark it, to decide several at once', act: () => open !== undefined && isOpenThere && toggleMark([open]) },
    { key: 'm', does: 'mark all like it: same session, rule and tool', act: () => open !== undefined && toggleMark(alike(open)) },
  ]);

  const drawn = rows.slice(0, most);
  const total = waitingCount.value;
  return (
    <>
      <h1>What waits for a person?</h1>
      {total === 0 ? null : (
        <p class="lead">
          {counted(total, 'request')} {total === 1 ? 'waits' : 'wait'}; no server has seen {total === 1 ? 'it' : 'any of them'}. What nobody approves
          in time is denied.
        </p>
      )}
      {(queue.value?.problems ?? []).map(({ ledger, message }) => (
        <div key={ledger} class="broken" role="alert">
          <Icon shape="error" /> <Text>{message}</Text>
        </div>
      ))}
      {queueError.value === undefined ? null : (
        <div class="broken" role="alert">
          <Icon shape="error" /> <Text>{queueError.value}</Text>
        </div>
      )}
      {total === 0 ? null : (
        <Unlock desk={desk} mayUnlock={queue.value?.mayUnlock === true} isSelf={rows.some(({ selfOnly }) => selfOnly === true)} />
      )}
      <p class={said.value === undefined ? 'unseen' : `said ${said.value.isProblem ? 'problem' : ''}`} role="status">
        <Text>{said.value?.text}</Text>
      </p>
      {total === 0 && !hasProblem ? <HowTo /> : null}
      <ol class="asks">
        {open !== undefined && !isOpenThere && !isDecidedHere(open) ? <Gone row={open} /> : null}
        {drawn.map((row) => (
          <Ask key={keyOf(row)} desk={desk} row={row} isOpen={open !== undefined && keyOf(open) === keyOf(row)} want={want} />
        ))}
      </ol>
      {rows.length > most ? (
        <p>
          <button type="button" class="fold" onClick={() => setMost(most + rowsStep)}>
            … {count(total - most)} more wait behind these
          </button>
        </p>
      ) : total > rows.length ? (
        <p class="note">The first {count(rows.length)} are shown; the others follow when these are decided.</p>
      ) : null}
      <Marked want={want} />
      <DecidedList />
      <DecideTogether desk={desk} asked={together} />
    </>
  );
}

function select(row: ApprovalRow | undefined, isByItself: boolean): void {
  selected.value = row;
  armedAtMs = performance.now() + (isByItself ? armMs : 0);
}

/** What stands where one stood that is gone; at the end the one before. */
function nextOf(gone: ApprovalRow | undefined, rows: readonly ApprovalRow[]): ApprovalRow | undefined {
  return gone === undefined ? rows[0] : (rows.find(({ askedAt, request }) => askedAt > gone.askedAt || request > gone.request) ?? rows.at(-1));
}

interface AskProps {
  desk: ApprovalsBackend;
  row: ApprovalRow;
  isOpen: boolean;
  want: (decision: 'approved' | 'denied') => void;
}

function Ask({ desk, row, isOpen, want }: AskProps): JSX.Element {
  const name = keyOf(row);
  const isMarked = marked.value.has(name);
  return (
    <li
      class={`ask ${isOpen ? 'open' : ''} ${isMarked ? 'marked' : ''} ${row.sensitive ? 'is-sensitive' : row.effect === 'write' ? 'is-write' : ''}`}
    >
      <div
        class="askhead"
        onClick={(event) => {
          if ((event.target as Element).closest('button,input,a') === null && getSelection()?.isCollapsed !== false) select(row, false);
        }}
      >
        <input
          type="checkbox"
          checked={isMarked}
          aria-label={`mark ${plain(row.tool ?? row.method, 60)}, request ${row.request}`}
          onChange={() => toggleMark([row])}
        />
        <span class="asktitle">
          <button type="button" class="askname" aria-expanded={isOpen} onClick={() => select(row, false)}>
            <Text most={80}>{row.tool ?? row.method}</Text>
          </button>{' '}
          {isOpen ? null : (
            <span class="args">
              <Text most={160}>{row.argumentsText}</Text>
            </span>
          )}
        </span>
        <span class="faint askwho">
          <Text most={40}>{row.client ?? 'a client'}</Text> → <Text most={40}>{row.server}</Text>
        </span>
        <Left row={row} />
      </div>
      {isOpen ? <OpenApproval desk={desk} row={row} want={want} /> : null}
    </li>
  );
}

/** Of its time, what is left: in words, and as a line that grows shorter. */
function Left({ row }: { row: ApprovalRow }): JSX.Element {
  const left = leftMs(row);
  const all = Math.max(1, Date.parse(row.deadline) - Date.parse(row.askedAt));
  const seconds = Math.ceil(left / 1_000);
  const words = seconds >= 5_400 ? `${Math.round(seconds / 3_600)} h` : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return (
    <span class={`left ${left < 15_000 ? 'soon' : left < 60_000 ? 'near' : ''}`} title={`denied at ${plain(row.deadline, 40)} without a decision`}>
      <span class="unseen">time left: </span>
      {left === 0 ? 'time is over' : words}
      <span class="lefttrack" aria-hidden="true">
        <span class="leftline" style={{ width: `${Math.min(100, (left / all) * 100)}%` }} />
      </span>
    </span>
  );
}

/** The one that was open does not wait any more, and nobody decided it here. */
function Gone({ row }: { row: ApprovalRow }): JSX.Element {
  const decision = decisions.value.find(({ ledger, request }) => ledger === row.ledger && request === row.request);
  return (
    <li class="ask gone">
      <p>
        <b>
          <Text most={80}>{row.tool ?? row.method}</Text>
        </b>{' '}
        does not wait any more
        {decision === undefined ? '' : `: ${decision.decision === 'timed-out' ? 'its time was over' : plain(decision.decision, 20)}`}.{' '}
        <button type="button" class="quiet" onClick={() => select(nextOf(row, waiting.peek()), false)}>
          go on
        </button>
      </p>
    </li>
  );
}

function Marked({ want }: { want: AskProps['want'] }): JSX.Element | null {
  const size = marked.value.size;
  if (size === 0) return null;
  return (
    <p class="together">
      <b>{count(size)} marked</b>
      <button type="button" class="approve" onClick={() => want('approved')}>
        Approve {count(size)} …
      </button>
      <button type="button" class="deny" onClick={() => want('denied')}>
        Deny {count(size)} …
      </button>
      <button type="button" class="quiet" onClick={() => (marked.value = new Set())}>
        clear
      </button>
    </p>
  );
}

const example = `policy:
  rules:
    - name: pay-needs-a-human
      ask: true
      tool: "hr/submit_*"
      reason: Payments need a person
      timeout: 5m`;

function HowTo(): JSX.Element {
  return (
    <div class="empty">
      <p>Nothing waits. A request does when a rule of sworn.yaml asks for a person:</p>
      <pre class="raw example">{example}</pre>
      <p>
        Then <Command>sworn policy reload</Command>
      </p>
    </div>
  );
}

/** Follows the queue from now on. */
export function approvalsView(from: Backend): LiveView {
  if (from.approvals !== undefined) follow(from, from.approvals);
  return {
    name: 'approvals',
    title: 'Approvals',
    key: 'p',
    view: ApprovalsView,
    isThere: () => from.approvals !== undefined && !isOff.value,
    waiting: () => waitingCount.value,
  };
}
