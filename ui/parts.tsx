/** Small parts of every page: marks with a shape and a word, buttons that copy, and what stands where nothing is. */
import type { ComponentChildren, JSX } from 'preact';
import { useState } from 'preact/hooks';
import { approvalText, isLimited, isWaiting } from '../src/analysis/approvals.ts';
import type { CallRow, Severity } from '../src/analysis/rows.ts';
import type { Answer } from './ask.ts';
import { plain, Text } from './text.tsx';

/** Shapes of 12 × 12, drawn by hand so that they look the same in every font. `-`: as a line. */
const shapes = {
  read: 'M6 2a4 4 0 1 1 0 8 4 4 0 0 1 0-8',
  write: 'M2.5 2.5h7v7h-7z',
  sensitive: 'M6 .8 11.2 6 6 11.2.8 6z',
  destructive: 'M6 1 11.4 10.6H.6z',
  unknown: '-M6 2a4 4 0 1 1 0 8 4 4 0 0 1 0-8',
  error: '-M2.5 2.5l7 7m0-7l-7 7',
  denied: '-M6 1.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9M3 9l6-6',
  unanswered: '-M6 1.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9M6 3.4V6l1.8 1.4',
  flagged: '-M3 11V1.5h6.5L8 4l1.5 2.5H3',
  asked: '-M6 1.6a2.1 2.1 0 1 1 0 4.2 2.1 2.1 0 0 1 0-4.2M1.8 10.8a4.2 3.6 0 0 1 8.4 0',
  ok: '-M2 6.5 4.8 9.2 10 3',
  high: 'M6 .8 11.6 10.8H.4z',
  medium: 'M6 1.2a4.8 4.8 0 1 1 0 9.6 4.8 4.8 0 0 1 0-9.6',
  low: '-M6 1.8a4.2 4.2 0 1 1 0 8.4 4.2 4.2 0 0 1 0-8.4',
  info: '-M6 5.2V9.6M6 2.2v1',
  chevron: '-M4 2.2 8 6 4 9.8',
  locked: '-M3 5.4h6v5H3zM4.4 5.4V3.8a1.6 1.6 0 0 1 3.2 0v1.6',
  unlocked: '-M3 5.4h6v5H3zM4.4 5.4V3.8a1.6 1.6 0 0 1 3-.8',
  paused: 'M3 2.4h2.2v7.2H3zM6.8 2.4H9v7.2H6.8z',
  running: '-M6 1.5a4.5 4.5 0 1 1-4.5 4.5',
} as const;

export type Shape = keyof typeof shapes;

export function Icon({ shape }: { shape: Shape }): JSX.Element {
  const path = shapes[shape];
  const isLine = path.startsWith('-');
  return (
    <svg class={`icon ${isLine ? 'line' : ''}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      <path d={isLine ? path.slice(1) : path} />
    </svg>
  );
}

/** A word with its shape and colour. */
export function Mark({ shape, children, title }: { shape: Shape; children: ComponentChildren; title?: string | undefined }): JSX.Element {
  return (
    <span class={`tag ${shape}`} title={title}>
      <Icon shape={shape} />
      {children}
    </span>
  );
}

const sources: Readonly<Record<string, string>> = {
  override: 'said by the configuration',
  annotation: "said by the server's own annotation",
  default: 'nobody says what it does',
  reading: 'reclassified where this is read; the ledger says otherwise',
};

/** Where it is known from what a call or a tool does. */
export function sourceOf({ effectFrom }: Pick<CallRow, 'effectFrom'>): string {
  return sources[effectFrom] ?? plain(effectFrom, 40);
}

type Marked = Pick<CallRow, 'effect' | 'sensitive' | 'destructive'> & { effectFrom?: CallRow['effectFrom'] };

/** What a call or tool does: each word with its shape. */
export function Effects({ row }: { row: Marked }): JSX.Element {
  const from = row.effectFrom === undefined ? undefined : sources[row.effectFrom];
  return (
    <span class="tags">
      {row.effect === 'read' || row.effect === 'write' || row.effect === 'unknown' ? (
        <Mark shape={row.effect} title={from}>
          {row.effect}
          {row.effectFrom === 'reading' ? '*' : ''}
        </Mark>
      ) : null}
      {row.sensitive ? <Mark shape="sensitive">sensitive</Mark> : null}
      {row.destructive ? <Mark shape="destructive">destructive</Mark> : null}
    </span>
  );
}

const states: Readonly<Record<CallRow['state'], [Shape, string]>> = {
  ok: ['ok', 'ok'],
  open: ['running', 'open'],
  error: ['error', 'error'],
  toolError: ['error', 'tool error'],
  blocked: ['denied', 'denied'],
  cancelled: ['unanswered', 'cancelled'],
  unanswered: ['unanswered', 'unanswered'],
};

/** Words in a column are few; what stands behind them is said under a pointer, and on the call's own page. */
const decisions: Readonly<Record<string, string>> = { 'timed-out': 'timed out', lost: 'lost' };

function stateOf({ state, verdict, rule, approval }: StateOf): readonly [Shape, string] {
  if (isWaiting({ verdict, state, ...(approval === undefined ? {} : { approval }) })) return ['asked', 'waiting'];
  if (approval !== undefined && state === 'blocked') return ['denied', decisions[approval.decision] ?? 'denied'];
  if (state === 'blocked' && isLimited(rule)) return ['denied', 'limited'];
  return Object.hasOwn(states, state) ? states[state] : ['info', 'unknown'];
}

/** What became of the question to a person, where there was one. */
function whyOf({ state, verdict, rule, approval }: StateOf): string | undefined {
  if (approval !== undefined) return approvalText(approval);
  return isWaiting({ verdict, state }) ? `waits for a person: the rule ${plain(rule)}` : undefined;
}

type StateOf = Pick<CallRow, 'state' | 'code' | 'verdict' | 'rule' | 'approval'>;

export function State({ call }: { call: StateOf }): JSX.Element {
  const [shape, word] = stateOf(call);
  const { approval } = call;
  return (
    <span class="tags">
      {call.state === 'ok' ? (
        <span class="ok">ok</span>
      ) : (
        <Mark shape={shape} title={whyOf(call)}>
          {call.code === undefined ? word : `${word} ${call.code}`}
        </Mark>
      )}
      {call.verdict === 'flag' ? (
        <Mark shape="flagged" title={call.rule === undefined ? undefined : `by the rule ${plain(call.rule)}`}>
          flagged
        </Mark>
      ) : null}
      {approval?.decision === 'approved' ? (
        <Mark shape={approval.selfApproved ? 'flagged' : 'asked'} title={approvalText(approval)}>
          {approval.selfApproved ? 'by itself?' : 'approved'}
        </Mark>
      ) : null}
    </span>
  );
}

const severities: ReadonlySet<string> = new Set(['high', 'medium', 'low', 'info']);

export function SeverityMark({ severity }: { severity: Severity }): JSX.Element {
  return <Mark shape={severities.has(severity) ? severity : 'info'}>{severity}</Mark>;
}

/** Of what a row says, given to the clipboard. */
export function Copy({ text, children, title }: { text: string | (() => string); children: ComponentChildren; title?: string }): JSX.Element {
  const [said, say] = useState('');
  const copy = async (event: Event): Promise<void> => {
    event.stopPropagation();
    const value = typeof text === 'string' ? text : text();
    say((await toClipboard(value)) ? 'copied' : 'not copied');
    setTimeout(() => say(''), 1_500);
  };
  return (
    <button type="button" class="quiet" title={title} onClick={(event) => void copy(event)}>
      {said === '' ? children : said}
      <span class="unseen" role="status">
        {said}
      </span>
    </button>
  );
}

async function toClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // an opened attachment may have no clipboard of its own
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    const isCopied = document.execCommand('copy');
    area.remove();
    return isCopied;
  }
}

/** A command that a person can take along. */
export function Command({ children }: { children: string }): JSX.Element {
  return (
    <span class="command">
      <code>
        <Text>{children}</Text>
      </code>
      <Copy text={children}>copy</Copy>
    </span>
  );
}

export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <div class="empty">{children}</div>;
}

/** What stands in a view's place while it is asked for, and where it could not be had. */
export function Waiting({ answer, children }: { answer: Answer<unknown>; children?: ComponentChildren }): JSX.Element | null {
  if (answer.state === 'failed')
    return (
      <div class="broken" role="alert">
        <Icon shape="error" /> <Text>{answer.error.message}</Text>
      </div>
    );
  if (answer.value !== undefined) return null;
  return (
    <div class="waiting" role="status">
      {children ?? 'Reading the records …'}
    </div>
  );
}

/** A number with its name below; a link where there are rows behind it. */
export function Figure({ value, name, href, tone }: { value: string; name: string; href?: string; tone?: Shape | undefined }): JSX.Element {
  const inner = (
    <>
      <b class={tone ?? ''}>{value}</b> <span>{name}</span>
    </>
  );
  return href === undefined ? (
    <span class="figure">{inner}</span>
  ) : (
    <a class="figure" href={href}>
      {inner}
    </a>
  );
}
