/**
 * Requests that wait for a person: the queue, its times, who decides, and what becomes of each (`spec/policy.md`, Approval).
 *
 * What must stay true:
 *   1. Nobody is asked before the request's entry is durable, and nothing is delivered before the `approval` entry is that says `approved`.
 *   2. Each request that was asked for gets exactly one `approval`, whoever comes first: a person, its time, its sender, or the end of its connection or of this recorder.
 *   3. A decision names the commitment of what was shown, so what is delivered is what was seen.
 *   4. Who may not decide is not told what waits.
 * If we die while some wait, the next recorder finds their entries without an `approval`, and refuses them (`lost`).
 */
import type { ApprovalDecision, ApprovalEntry, ApprovalHow, MessageEntry } from '../entry/entry.ts';
import type { AppendOptions, Receipt, Waiter } from '../ledger/ledger.ts';
import type { ContentItem } from '../ledger/segment.ts';
import {
  approvalBriefLength,
  approvalProgressMs,
  approvalsReplyBytes,
  approvalsWaitMs,
  approvalsWatchers,
  approvalWaitMs,
  decidedApprovals,
  pendingApprovalBytes,
  pendingApprovals,
  pendingApprovalsOfOne,
} from '../limits.ts';
import type { Subject } from '../policy/match.ts';
import { ownRules } from '../policy/verdict.ts';
import { notRecorded, refusalLine } from '../wire/refusal.ts';
import type { Aside, DirectionIndex } from '../wire/wire.ts';
import type { Answer } from './administration.ts';
import type { Parties } from './administrator.ts';
import { linesForApproval, refuseFrame } from './answer.ts';
import { readDecide, type Decide, type Pending } from './approval-question.ts';
import { approversNow, obstacleTo, type AsJudged, type InForce } from './approvable.ts';
import { approverOf, mayDecide, type Approver, type Asked } from './approvers.ts';
import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import { noLines, type Lines } from './lines.ts';
import type { Peer } from './peer.ts';
import type { Attributes } from './seal.ts';
import { shownOf } from './shown.ts';

/** A request that waits; thousands may, so it holds what is shown and not the frame. */
interface Waiting {
  readonly connection: Connection;
  readonly entry: MessageEntry;
  readonly index: number;
  readonly aside: Aside;
  /** The raw token, or nothing where its sender cannot be answered. */
  readonly id: string | undefined;
  /** Its answer repeats what must not be written. */
  readonly isConcealed: boolean;
  shown: Buffer;
  isCut: boolean;
  readonly timeoutMs: number;
  readonly approvers: readonly number[];
  /** As it was judged; nothing of what an earlier recorder asked for. */
  readonly judged: AsJudged | undefined;
  /** `shown` is all of it, to the letter. */
  isWhole: boolean;
  /** The token of `notifications/progress`, where its sender wants to be told. */
  readonly progress: string | number | undefined;
  readonly who: { client?: string; principal?: string };
  /** Who sent it, as a proxy that is believed saw it: the account, where it has one on this machine. */
  readonly sender: { uid: number | undefined; isElsewhere: boolean } | undefined;
  readonly askedUs: number;
  /** `accepted`: its entry is not durable yet. `over`: its `approval` is on its way. */
  state: 'accepted' | 'waiting' | 'over';
  timer: NodeJS.Timeout | undefined;
}

/** What was decided of a request, by whom. */
interface Decided {
  decision: ApprovalDecision;
  how: ApprovalHow;
  reason?: string;
  approver?: string;
  viewer?: string;
  by?: { uid: number; pid: number };
  selfApproved?: true;
}

/** A request as `record.ts` knows it when its entry is about to be stored. */
export interface Asking {
  connection: Connection;
  entry: MessageEntry;
  index: number;
  aside: Aside;
  id: string | undefined;
  isConcealed: boolean;
  items: readonly ContentItem[];
  subject: Subject;
  progress: string | number | undefined;
  /** Takes back what the entry did to what is known of the connection. */
  undo(): void;
}

export interface ApprovalsDeps {
  clock: Clock;
  nextIndex(): number;
  append(entry: ApprovalEntry, attributes: Attributes, waiter: Waiter, options: AppendOptions): void;
  /** The answer in the request's place is a message, and has an entry. */
  recordAnswer(entry: MessageEntry, index: number, lines: Lines, isConcealed: boolean, connection: Connection): void;
  /** That it still waits: recorded, then told. */
  recordProgress(connection: Connection, entry: MessageEntry, index: number, line: Buffer): void;
  parties(): Parties;
  inForce(): InForce;
  /** Of the tap of a connection. */
  tapUid(connection: Connection): number | undefined;
}

/** Who waits for the queue to change. */
interface Watcher {
  since: number;
  tell(): void;
  timer: NodeJS.Timeout;
}

const retryMs = 1_000;
/** Changes within this are told together. */
const gatherMs = 20;
/** No person decided. */
const own: Decided = { decision: 'lost', how: 'recorder' };

export class Approvals {
  readonly #deps: ApprovalsDeps;
  /** By the index of the request, oldest first. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #ofConnection = new Map<Connection, { count: number; sizeBytes: number }>();
  /** What became of the last ones. */
  readonly #decided = new Map<number, string>();
  readonly #watchers = new Set<Watcher>();
  /** Another one in every recorder: who watched the last one must not take this one's for known. */
  #version = Date.now();
  #telling: NodeJS.Timeout | undefined;
  #progressing: NodeJS.Timeout | undefined;

  constructor(deps: ApprovalsDeps) {
    this.#deps = deps;
  }

  /** Why no more may wait, with another one of so many bytes. */
  full(connection: Connection, sizeBytes: number): string | undefined {
    const of = this.#ofConnection.get(connection);
    const isFull =
      this.#waiting.size >= pendingApprovals ||
      (of !== undefined && (of.count >= pendingApprovalsOfOne || of.sizeBytes + sizeBytes > pendingApprovalBytes));
    return isFull ? 'too many requests wait for approval' : undefined;
  }

  /** The request of this entry was not delivered, and may yet be. */
  isWaiting(index: number): boolean {
    return this.#waiting.has(index);
  }

  /** A request is about to be stored; it waits from when it is. Refused if it cannot be stored: nobody could be asked. */
  ask(asking: Asking): Waiter {
    const { connection, entry, index, aside, id, isConcealed } = asking;
    const { policy, approvals, tools } = connection.judge.compiled.policy;
    // what pins ask for stands in no rule
    const rule = policy.rules.find(({ name }) => name === entry.rule) ?? (entry.rule === ownRules.pin ? tools : undefined);
    const waiting: Waiting = {
      connection,
      entry,
      index,
      aside,
      id,
      isConcealed,
      ...shownOf(asking.items),
      timeoutMs: rule?.timeoutMs ?? approvals?.timeoutMs ?? approvalWaitMs.usual,
      approvers: rule !== undefined && 'approvers' in rule ? rule.approvers : [],
      judged: { subject: asking.subject, judge: connection.judge, counts: connection.counts },
      isWhole: asking.items.length > 0 && asking.items.every(({ state }) => state === 'kept'),
      progress: connection.transport === 'stdio' ? asking.progress : undefined,
      who: connection.shownParty,
      sender: senderOf(connection),
      askedUs: this.#deps.clock.monotonicUs(),
      state: 'accepted',
      timer: undefined,
    };
    this.#add(waiting);
    return {
      durable: (receipt) => this.#asked(waiting, receipt),
      undo: () => {
        this.#remove(waiting);
        asking.undo();
      },
      failed: () => {
        const toSender = id === undefined ? noLines.toSender : refusalLine(id, notRecorded('nobody could be asked for it'));
        connection.lose(aside.direction, 'unrecordable', this.#deps.clock.wallUs());
        refuseFrame(connection, aside.direction, aside.first, aside.last, { ...noLines, toSender });
      },
    };
  }

  #add(waiting: Waiting): void {
    this.#waiting.set(waiting.index, waiting);
    const of = this.#ofConnection.get(waiting.connection) ?? { count: 0, sizeBytes: 0 };
    of.count++;
    of.sizeBytes += waiting.entry.sizeBytes;
    this.#ofConnection.set(waiting.connection, of);
  }

  #remove(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    if (!this.#waiting.delete(waiting.index)) return;
    const of = this.#ofConnection.get(waiting.connection)!;
    of.count--;
    of.sizeBytes -= waiting.entry.sizeBytes;
    if (of.count === 0) this.#ofConnection.delete(waiting.connection);
    if (this.#waiting.size === 0) {
      clearInterval(this.#progressing);
      this.#progressing = undefined;
    }
  }

  #asked(waiting: Waiting, receipt: Receipt | undefined): void {
    waiting.connection.setAside(waiting.aside, receipt);
    // its sender took it back meanwhile
    if (waiting.state !== 'accepted') return;
    waiting.state = 'waiting';
    waiting.timer = setTimeout(() => this.#end(waiting, { decision: 'timed-out', how: 'recorder' }), waiting.timeoutMs);
    waiting.timer.unref();
    this.#progressing ??= setInterval(() => this.#tellProgress(), approvalProgressMs).unref();
    this.#changed();
  }

  /** Its sender took it back: nothing is answered. */
  cancel(index: number): void {
    const waiting = this.#waiting.get(index);
    if (waiting !== undefined) this.#end(waiting, { decision: 'cancelled', how: 'recorder' });
  }

  /** A connection ends: what waits of it is refused. */
  lose(connection: Connection): void {
    for (const waiting of this.#waiting.values()) if (waiting.connection === connection) this.#end(waiting, own);
  }

  /** A proxy has given up what waits of a stream, in these units: a client that left took its request back, an event's receiver is gone. */
  giveUp(connection: Connection, direction: DirectionIndex, stream: number, [first, last]: readonly [number, number], end: string | undefined): void {
    if (!this.#ofConnection.has(connection)) return;
    for (const waiting of this.#waiting.values()) {
      const { aside, entry } = waiting;
      if (waiting.connection !== connection || entry.stream !== stream || aside.direction !== direction) continue;
      const isTakenBack = direction === 0 && end !== 'proxy stopped';
      if (aside.last >= first && aside.last <= last) this.#end(waiting, isTakenBack ? { decision: 'cancelled', how: 'recorder' } : own);
    }
  }

  /** This recorder ends. */
  end(): void {
    for (const waiting of this.#waiting.values()) this.#end(waiting, own);
    for (const watcher of this.#watchers) this.#tell(watcher);
  }

  /** What an earlier recorder asked for, and nobody decided: of it there is the entry alone. */
  loseAsked(entry: MessageEntry, index: number, id: string | undefined, connection: Connection): void {
    const waiting: Waiting = {
      connection,
      entry,
      index,
      aside: asideOf(entry),
      id,
      isConcealed: entry.redacted !== undefined,
      shown: noLines.toSender,
      isCut: false,
      timeoutMs: 0,
      approvers: [],
      judged: undefined,
      isWhole: false,
      progress: undefined,
      who: {},
      sender: undefined,
      askedUs: this.#deps.clock.monotonicUs() - Math.max(0, this.#deps.clock.wallUs() - Date.parse(entry.time) * 1000),
      state: 'waiting',
      timer: undefined,
    };
    this.#add(waiting);
    connection.asides.add(waiting.aside);
    this.#end(waiting, own);
  }

  /** Content of this entry is erased: nobody is shown it any more, and whoever decides knows what the entry says. */
  forget(index: number): void {
    const waiting = this.#waiting.get(index);
    if (waiting === undefined) return;
    Object.assign(waiting, { shown: noLines.toSender, isCut: false, isWhole: false });
    this.#changed();
  }

  /** For the snapshot: the next recorder decides over these. */
  toJSON(): { index: number; entry: MessageEntry }[] {
    return [...this.#waiting.values()].filter(({ state }) => state !== 'over').map(({ index, entry }) => ({ index, entry }));
  }

  /** Nothing else is decided from now on. `done`: the index of the `approval`, or nothing where it could not be stored. */
  #end(waiting: Waiting, decided: Decided, done?: (index: number | undefined, waitedMs: number) => void): boolean {
    if (waiting.state === 'over') return false;
    const { connection, entry, index, aside } = waiting;
    const before = waiting.state;
    waiting.state = 'over';
    clearTimeout(waiting.timer);
    const { decision, reason, approver, ...who } = decided;
    const { clock } = this.#deps;
    const waitedMs = Math.max(0, Math.floor((clock.monotonicUs() - waiting.askedUs) / 1000));
    const isApproved = decision === 'approved';
    const lines = isApproved ? undefined : linesForApproval(entry, index, decision, reason, waiting.id, waiting.isConcealed);
    const approval: ApprovalEntry = {
      ...clock.common('approval'),
      connection: connection.id,
      request: index,
      rule: entry.rule!,
      decision,
      commitment: entry.commitment!,
      waitedMs,
      ...who,
    };
    const decidedAt = this.#deps.nextIndex();
    connection.asides.decide(aside, lines, connection.taken, connection.delivered);
    this.#remember(index, decided, decidedAt);
    // its reply is timed from now on; of one that is not answered nothing waits any more
    const undo = isApproved
      ? connection.exchanges.delivered(index, approval.monotonicUs)
      : lines!.toSender.length === 0
        ? connection.exchanges.answered(index)
        : (): void => undefined;
    const waiter: Waiter = {
      durable: () => {
        this.#remove(waiting);
        connection.decide(aside, lines);
        this.#changed();
        done?.(decidedAt, waitedMs);
      },
      undo,
      failed: () => {
        connection.asides.takeBack(aside);
        this.#decided.delete(index);
        waiting.state = before === 'accepted' ? 'waiting' : before;
        // a person decides again; everything else is tried until it can be stored
        const again = (): void => void this.#end(waiting, isApproved || decision === 'denied' ? { decision: 'timed-out', how: 'recorder' } : decided);
        const leftMs = waiting.timeoutMs - (clock.monotonicUs() - waiting.askedUs) / 1000;
        waiting.timer = setTimeout(again, isApproved || decision === 'denied' ? Math.max(retryMs, leftMs) : retryMs).unref();
        done?.(undefined, waitedMs);
      },
    };
    // the reserve is for what must be said of what does not go on: what is approved must find room for all that follows
    this.#deps.append(approval, { ...(reason === undefined ? {} : { reason }), ...(approver === undefined ? {} : { approver }) }, waiter, {
      urgent: true,
      essential: !isApproved,
    });
    if (lines !== undefined && lines.toSender.length > 0) this.#deps.recordAnswer(entry, index, lines, waiting.isConcealed, connection);
    this.#changed();
    return true;
  }

  #remember(index: number, { decision, by }: Decided, decidedAt: number): void {
    const word = {
      approved: 'was approved',
      denied: 'was denied',
      'timed-out': 'timed out',
      cancelled: 'was taken back by its sender',
      lost: 'was lost',
    };
    this.#decided.set(index, `${word[decision]}${by === undefined ? '' : ` by uid ${by.uid}`}: entry ${decidedAt}`);
    if (this.#decided.size > decidedApprovals) this.#decided.delete(this.#decided.keys().next().value!);
  }

  #tellProgress(): void {
    for (const { connection, entry, index, askedUs, progress, state } of this.#waiting.values()) {
      if (state !== 'waiting' || progress === undefined || connection.socket === undefined) continue;
      const params = {
        progressToken: progress,
        progress: Math.floor((this.#deps.clock.monotonicUs() - askedUs) / 1e6),
        message: `waits for a person's approval (rule ${entry.rule})`,
      };
      const line = Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params })}\n`);
      this.#deps.recordProgress(connection, entry, index, line);
    }
  }

  /** `approvals` and `decide`, from whoever may. */
  answer(what: 'approvals' | 'decide', question: Record<string, unknown>, peer: Peer, answer: Answer): (() => void) | undefined {
    const approver = approverOf(peer, this.#deps.parties());
    if (typeof approver === 'string') {
      answer.refuse('permission', approver);
      return undefined;
    }
    if (what === 'decide') {
      const decide = readDecide(question);
      if (typeof decide === 'string') answer.refuse('usage', decide);
      else this.#decide(decide, approver, answer);
      return undefined;
    }
    const isNobody = !approver.isAdministrator && !this.#isNamed(approver);
    if (isNobody) {
      answer.refuse('permission', `uid ${approver.by.uid} may not see what waits for approval`);
      return undefined;
    }
    const { since, waitMs } = question;
    const reply = (): void => answer.reply(this.#list(approver, question));
    const isWait = typeof since === 'number' && typeof waitMs === 'number' && waitMs > 0;
    if (!isWait || since !== this.#version || this.#watchers.size >= approvalsWatchers) {
      reply();
      return undefined;
    }
    const watcher: Watcher = { since, tell: reply, timer: setTimeout(() => this.#tell(watcher), Math.min(waitMs, approvalsWaitMs)) };
    this.#watchers.add(watcher);
    // whoever asked has gone
    return () => {
      clearTimeout(watcher.timer);
      this.#watchers.delete(watcher);
    };
  }

  /** Some rule in force names the account. */
  #isNamed({ by: { uid } }: Approver): boolean {
    return (
      [...this.#waiting.values()].some((waiting) => this.#askedOf(waiting).approvers.includes(uid)) ||
      this.#deps.parties().connections.some(({ judge }) => judge.compiled.rules.some(({ approvers }) => approvers?.includes(uid) === true))
    );
  }

  #decide({ request, commitment, ...said }: Decide, approver: Approver, { reply, refuse }: Answer): void {
    const waiting = this.#waiting.get(request);
    if (waiting === undefined || waiting.state !== 'waiting') {
      const became = approver.isAdministrator ? this.#decided.get(request) : undefined;
      refuse('not-found', `the request of entry ${request} does not wait for approval${became === undefined ? '' : `: it ${became}`}`);
      return;
    }
    const may = mayDecide(approver, this.#askedOf(waiting));
    if (typeof may === 'string') refuse('permission', may);
    else if (!approver.isAdministrator && said.how !== 'command')
      refuse('permission', `only the recorder's own account may say that a ${said.how} decided`);
    else if (waiting.entry.commitment !== commitment) refuse('usage', 'what you saw is not what waits: look at it again');
    else {
      const obstacle = said.decision === 'approved' ? this.#obstacleTo(waiting) : undefined;
      if (obstacle !== undefined) {
        refuse('usage', `it cannot be approved now: ${obstacle}`);
        return;
      }
      const self = may.isSelf ? { selfApproved: true as const } : {};
      this.#end(waiting, { ...said, by: approver.by, ...self }, (decided, waitedMs) => {
        if (decided === undefined) refuse('unrecordable', 'the decision could not be recorded: the request waits on');
        else reply({ decided, waitedMs, ...self });
      });
    }
  }

  #obstacleTo({ connection, index, entry, judged, shown, isWhole, isCut }: Waiting): string | undefined {
    if (judged === undefined) return undefined;
    return obstacleTo(
      { ...judged, connection, index, sizeBytes: entry.sizeBytes, bytes: isWhole && !isCut ? shown : undefined },
      this.#deps.inForce(),
    );
  }

  /** Whom a proxy that is believed saw may be on another machine; of what stands behind any other nobody knows more than the proxy's own account. */
  #askedOf({ connection, entry, approvers, sender, judged }: Waiting): Asked {
    const { compiled } = connection.judge;
    const named = approvers.length === 0 || judged?.judge.compiled === compiled ? approvers : approversNow(approvers, entry.rule, compiled);
    const askerUid = sender === undefined ? this.#deps.tapUid(connection) : sender.uid;
    return { approvers: named, askerUid, isUnknown: askerUid === undefined && sender?.isElsewhere !== true };
  }

  /** As many as fit into an answer, the oldest first: all, those behind one (`after`), or one alone (`request`). `brief`: of each only the beginning is shown. */
  #list(approver: Approver, { request, after, brief }: Record<string, unknown>): Record<string, unknown> {
    const approvals: Pending[] = [];
    let waiting = 0;
    let sizeBytes = 0;
    for (const one of this.#waiting.values()) {
      const may = one.state === 'waiting' ? mayDecide(approver, this.#askedOf(one)) : '';
      if (typeof may === 'string') continue;
      waiting++;
      const isAsked = request === undefined ? typeof after !== 'number' || one.index > after : one.index === request;
      if (!isAsked || sizeBytes > approvalsReplyBytes) continue;
      const pending = this.#pendingOf(one, may.isSelf);
      if (brief === true) pending.shown = pending.shown.slice(0, approvalBriefLength);
      sizeBytes += Buffer.byteLength(JSON.stringify(pending));
      if (sizeBytes <= approvalsReplyBytes) approvals.push(pending);
    }
    return { version: this.#version, waiting, approvals, ...(sizeBytes > approvalsReplyBytes ? { more: true } : {}) };
  }

  #pendingOf({ connection, entry, index, shown, isCut, timeoutMs, who }: Waiting, isSelf: boolean): Pending {
    const { clock } = this.#deps;
    const isCall = entry.method === 'tools/call';
    return {
      request: index,
      connection: connection.id,
      ...(entry.session === undefined ? {} : { session: entry.session }),
      server: entry.server,
      ...who,
      method: entry.method ?? '',
      ...(isCall && entry.target !== undefined ? { tool: entry.target } : {}),
      ...(entry.effect === undefined ? {} : { effect: entry.effect }),
      ...(entry.destructive === undefined ? {} : { destructive: true }),
      ...(entry.sensitive === undefined ? {} : { sensitive: true }),
      rule: entry.rule!,
      ...(entry.reason === undefined ? {} : { reason: entry.reason }),
      askedAt: entry.time,
      deadline: clock.text(Date.parse(entry.time) * 1000 + timeoutMs * 1000),
      sizeBytes: entry.sizeBytes,
      commitment: entry.commitment!,
      shown: shown.toString(),
      ...(isCut ? { isCut: true as const } : {}),
      ...(isSelf ? { selfOnly: true as const } : {}),
    };
  }

  #changed(): void {
    this.#version++;
    if (this.#watchers.size === 0) return;
    if (this.#telling !== undefined) return;
    this.#telling = setTimeout(() => {
      this.#telling = undefined;
      for (const watcher of this.#watchers) if (watcher.since !== this.#version) this.#tell(watcher);
    }, gatherMs);
  }

  #tell(watcher: Watcher): void {
    clearTimeout(watcher.timer);
    if (this.#watchers.delete(watcher)) watcher.tell();
  }
}

/** The frame of a request's entry. */
export function asideOf({ direction, tapSeq, parts = 1 }: MessageEntry): Aside {
  return { direction: direction === 'c2s' ? 0 : 1, first: tapSeq - parts + 1, last: tapSeq };
}

function senderOf({ transport, opened, principal }: Connection): Waiting['sender'] {
  if (transport !== 'http' || opened.isTrusted !== true || principal === undefined) return undefined;
  const { uid, unavailable } = principal.observed;
  return { uid, isElsewhere: uid === undefined && unavailable === undefined };
}
