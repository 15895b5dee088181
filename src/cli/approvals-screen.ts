/** The screen of `sworn approvals watch`: what waits, one of it in full, and what a key does. Nothing here reads or writes anything. */
import type { Pending } from '../recorder/approval-question.ts';
import { approvalReasonLength } from '../limits.ts';
import { argumentsOf, askerOf, effectOf, leftOf, nameOf } from './approvals-words.ts';
import { indented } from './indent.ts';
import { cell, count, cut, duration, paint, visible, visibleLines, widthOf, type Output } from './output.ts';

/** A key decides only on what stood on the screen this long: who types when another request moves under the key must not decide on that. */
const seenMs = 400;
/** Of the queue, at a time. */
const listRows = 8;

/** Something that the session did before. */
export interface Earlier {
  index: number;
  name: string;
  outcome: string;
}

export type Act = { act: 'decide'; pending: Pending; decision: 'approved' | 'denied'; reason?: string } | { act: 'leave' };

export class Screen {
  readonly #ledger: string;
  #approvals: readonly Pending[] = [];
  #waiting = 0;
  #chosen: number | undefined;
  /** Since when the chosen one is on the screen. */
  #chosenAt = 0;
  #scroll = 0;
  /** A reason that is being typed. */
  #reason: string | undefined;
  /** Decided and not heard of yet. */
  readonly #decided = new Set<number>();
  #said = '';
  readonly #earlier = new Map<number, readonly Earlier[] | string>();

  constructor(ledger: string) {
    this.#ledger = ledger;
  }

  /** The one that is shown in full, once its past is not known yet. */
  get wanted(): Pending | undefined {
    const chosen = this.#pending;
    return chosen === undefined || this.#earlier.has(chosen.request) ? undefined : chosen;
  }

  get #pending(): Pending | undefined {
    return this.#approvals.find(({ request }) => request === this.#chosen);
  }

  update(approvals: readonly Pending[], waiting: number, nowMs: number): void {
    const place = Math.max(
      0,
      this.#approvals.findIndex(({ request }) => request === this.#chosen),
    );
    const isGone = (request: number): boolean => !approvals.some((one) => one.request === request);
    const gone = [...this.#decided, ...this.#approvals.map(({ request }) => request)].filter(isGone);
    for (const request of gone) this.#decided.delete(request);
    // what became of one is part of what the others' session did before
    if (gone.length > 0) this.#earlier.clear();
    this.#approvals = approvals.filter(({ request }) => !this.#decided.has(request));
    this.#waiting = waiting - this.#decided.size;
    if (this.#pending !== undefined) return;
    // what is typed was meant for what is gone
    this.#reason = undefined;
    this.#choose(Math.min(place, this.#approvals.length - 1), nowMs);
  }

  /** What the session did before, or why nobody can say. */
  tellEarlier(request: number, earlier: readonly Earlier[] | string): void {
    this.#earlier.set(request, earlier);
  }

  say(text: string): void {
    this.#said = text;
  }

  /** It could not be decided: it waits on. */
  undecided(request: number): void {
    this.#decided.delete(request);
  }

  #choose(place: number, nowMs: number): void {
    this.#chosen = this.#approvals[place]?.request;
    this.#chosenAt = nowMs;
    this.#scroll = 0;
  }

  #move(by: number, nowMs: number): void {
    const place = this.#approvals.findIndex(({ request }) => request === this.#chosen);
    const next = Math.min(Math.max(place + by, 0), this.#approvals.length - 1);
    if (next !== place && next >= 0) this.#choose(next, nowMs);
  }

  /** One key, as a terminal sends it. */
  key(key: string, nowMs: number): Act | undefined {
    if (key === '\u0003') return { act: 'leave' };
    if (this.#reason !== undefined) return this.#type(key);
    switch (key) {
      case 'q':
        return { act: 'leave' };
      case 'a':
        return this.#decide('approved', nowMs);
      case 'd':
        return this.#decide('denied', nowMs);
      case 'D':
        if (this.#pending !== undefined && nowMs - this.#chosenAt >= seenMs) this.#reason = '';
        return undefined;
      case '\u001b[A':
      case 'k':
        this.#move(-1, nowMs);
        return undefined;
      case '\u001b[B':
      case 'j':
        this.#move(1, nowMs);
        return undefined;
      case '\u001b[6~':
      case ' ':
        this.#scroll += 8;
        return undefined;
      case '\u001b[5~':
        this.#scroll = Math.max(0, this.#scroll - 8);
        return undefined;
      default:
        return undefined;
    }
  }

  #type(key: string): Act | undefined {
    const reason = this.#reason!;
    const pending = this.#pending;
    if (key === '\r' || key === '\n') {
      this.#reason = undefined;
      if (pending === undefined) return undefined;
      this.#decided.add(pending.request);
      return { act: 'decide', pending, decision: 'denied', ...(reason.trim() === '' ? {} : { reason: reason.trim() }) };
    }
    if (key === '\u001b') this.#reason = undefined;
    else if (key === '\u007f' || key === '\b') this.#reason = [...reason].slice(0, -1).join('');
    else if (visible(key) === key && reason.length + key.length <= approvalReasonLength) this.#reason = reason + key;
    return undefined;
  }

  #decide(decision: 'approved' | 'denied', nowMs: number): Act | undefined {
    const pending = this.#pending;
    if (pending === undefined || this.#decided.has(pending.request) || nowMs - this.#chosenAt < seenMs) return undefined;
    this.#decided.add(pending.request);
    return { act: 'decide', pending, decision };
  }

  /** Lines of `output.columns` columns at most, and of `rows` rows. */
  lines(output: Output, rows: number, nowMs: number): string[] {
    const columns = output.columns;
    const pending = this.#pending;
    const place = this.#approvals.findIndex(({ request }) => request === this.#chosen);
    const from = Math.max(0, Math.min(place - listRows + 1, this.#approvals.length - listRows));
    const queue = this.#approvals.slice(from, from + listRows).map((one, i) => {
      const width = Math.max(10, columns - 42);
      const line = `${from + i === place ? '›' : ' '} ${cell(String(one.request), 7, 'right')}  ${cell(nameOf(one), width)}  ${cell(effectOf(one), 18)}  ${cell(leftOf(one, nowMs), 8, 'right')}`;
      return from + i === place ? paint(output, 'bold', cut(line, columns)) : cut(line, columns);
    });
    const head = [
      `${paint(output, 'bold', 'sworn approvals')} · ${waitingText(this.#waiting)} · ${cut(visible(this.#ledger), Math.max(8, columns - 40))}`,
      ...queue,
      paint(output, 'dim', '─'.repeat(Math.max(1, columns))),
    ];
    const keys =
      this.#reason === undefined
        ? paint(output, 'dim', cut('a approve · d deny · D deny with a reason · ↑↓ choose · space more · q leave', columns))
        : cut(`why? ${visible(this.#reason)}▏ (Enter denies, Esc goes back)`, columns);
    const foot = [cut(visible(this.#said), columns), keys];
    const room = Math.max(1, rows - head.length - foot.length);
    const detail = pending === undefined ? ['', 'nothing waits for you; this goes on by itself'] : this.#detail(pending, output, nowMs);
    const most = Math.max(0, detail.length - room);
    this.#scroll = Math.min(this.#scroll, most);
    const shown = detail.slice(this.#scroll, this.#scroll + room);
    if (this.#scroll < most) shown[shown.length - 1] = paint(output, 'dim', `… ${most - this.#scroll + 1} more lines`);
    while (shown.length < room) shown.push('');
    return [...head, ...shown, ...foot];
  }

  #detail(pending: Pending, output: Output, nowMs: number): string[] {
    const columns = output.columns;
    const dim = (text: string): string => paint(output, 'dim', text);
    const ago = duration(Math.max(0, nowMs - Date.parse(pending.askedAt)) * 1000);
    const earlier = this.#earlier.get(pending.request);
    const lines = [
      paint(output, 'bold', cut(visible(nameOf(pending)), columns)),
      ...wrapped(`${dim('rule')}  ${visible(pending.rule)}${pending.reason === undefined ? '' : `: ${visible(pending.reason)}`}`, columns),
      `${dim('does')}  ${effectOf(pending) || 'nobody says what'}`,
      ...wrapped(
        `${dim('from')}  ${visible(askerOf(pending))}, connection ${pending.connection.slice(0, 8)}, ${ago} ago; denied by itself in ${leftOf(pending, nowMs)}`,
        columns,
      ),
      ...(pending.selfOnly === true
        ? wrapped(paint(output, 'yellow', 'you decide with the agent’s own account: it could do so itself, and the record says that'), columns)
        : []),
      '',
      dim(pending.isCut === true ? 'the beginning of what it is given' : 'what it is given'),
      ...(pending.shown === ''
        ? ['  its content is not stored, and cannot be shown']
        : visibleLines(indented(argumentsOf(pending)))
            .split('\n')
            .flatMap((line) => wrapped(`  ${line}`, columns))),
      '',
      dim('before, in this session'),
      ...(earlier === undefined
        ? ['  …']
        : typeof earlier === 'string'
          ? [`  ${cut(visible(earlier), columns - 2)}`]
          : earlier.length === 0
            ? ['  nothing']
            : earlier.map(({ index, name, outcome }) => cut(`  ${cell(String(index), 7, 'right')}  ${visible(name)}  ${visible(outcome)}`, columns))),
    ];
    return lines;
  }
}

function waitingText(waiting: number): string {
  return waiting === 0 ? 'nothing waits' : `${count(waiting, 'request')} ${waiting === 1 ? 'waits' : 'wait'}`;
}

/** Long lines go on below: nothing of what is decided on is left out. */
function wrapped(line: string, columns: number): string[] {
  const plain = stripped(line);
  if (widthOf(plain) <= columns || columns < 8) return [line];
  const pieces: string[] = [];
  let piece = '';
  let width = 0;
  for (const character of plain) {
    const more = widthOf(character);
    if (width + more > columns) {
      pieces.push(piece);
      piece = '    ';
      width = piece.length;
    }
    piece += character;
    width += more;
  }
  return [...pieces, piece];
}

/** Without our own colours. */
function stripped(line: string): string {
  // oxlint-disable-next-line no-control-regex -- what `paint` writes
  return line.replace(/\u001b\[[0-9;]*m/g, '');
}
