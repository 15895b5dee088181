/** What was decided: by whom, how, after how long. Each is an entry of the ledger. */
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { DecisionRow } from '../src/analysis/approval-views.ts';
import { decisions } from './approvals.ts';
import { clock, count, day, length } from './figures.ts';
import { Mark, type Shape } from './parts.tsx';
import { link } from './route.ts';
import { plain, Text } from './text.tsx';

const words: Readonly<Record<DecisionRow['decision'], [Shape, string]>> = {
  approved: ['ok', 'approved'],
  denied: ['denied', 'denied'],
  'timed-out': ['unanswered', 'timed out'],
  cancelled: ['unanswered', 'cancelled'],
  lost: ['error', 'lost'],
};
const meanings: Readonly<Partial<Record<DecisionRow['decision'], string>>> = {
  'timed-out': 'nobody decided in time',
  cancelled: 'its sender took it back',
  lost: 'its connection ended, or the recorder was started again',
};

const firstMost = 10;

export function DecidedList(): JSX.Element | null {
  const [isAll, setAll] = useState(false);
  const all = decisions.value;
  if (all.length === 0) return null;
  const shown = isAll ? all : all.slice(0, firstMost);
  return (
    <section class="decided" aria-labelledby="decided">
      <h2 id="decided">What was decided?</h2>
      <ol>
        {shown.map((one) => (
          <One key={`${one.ledger} ${one.index}`} one={one} />
        ))}
      </ol>
      {all.length > shown.length ? (
        <button type="button" class="fold" onClick={() => setAll(true)}>
          … {count(all.length - shown.length)} more
        </button>
      ) : null}
    </section>
  );
}

function One({ one }: { one: DecisionRow }): JSX.Element {
  const [shape, word] = Object.hasOwn(words, one.decision) ? words[one.decision] : (['info', plain(one.decision, 20)] as const);
  return (
    <li>
      <a class="faint" href={link('entry', [one.ledger, one.index])} title={`entry ${one.index}, ${plain(day(one.at), 20)}`}>
        {clock(one.at)}
      </a>
      <Mark shape={shape}>{word}</Mark>
      <span class="did">
        <a href={link('call', [one.ledger, one.request])}>
          <b>
            <Text most={80}>{one.tool ?? one.method ?? `request ${one.request}`}</Text>
          </b>
        </a>{' '}
        <span class="args">
          <Text most={120}>{one.argumentsText}</Text>
        </span>
        {one.reason === undefined ? null : (
          <span class="reason">
            “<Text most={300}>{one.reason}</Text>”
          </span>
        )}
      </span>
      <span class="by">
        <By one={one} />
      </span>
      <span class="faint number after">
        <span class="unseen">after </span>
        {length(one.waitedMs * 1_000)}
      </span>
    </li>
  );
}

function By({ one }: { one: DecisionRow }): JSX.Element {
  const meaning = meanings[one.decision];
  if (one.how === 'recorder') return <span class="faint">{meaning ?? 'the recorder'}</span>;
  return (
    <>
      {one.how === 'webhook' ? (
        <>
          <Text most={128}>{one.approver ?? 'somebody'}</Text> <span class="faint">by webhook</span>
        </>
      ) : one.how === 'dashboard' ? (
        <>
          uid {one.uid ?? '?'} <span class="faint">here, login {plain(one.viewer?.slice(0, 4), 4)}</span>
        </>
      ) : (
        <>
          uid {one.uid ?? '?'} <span class="faint">by sworn approvals</span>
        </>
      )}
      {one.selfApproved ? (
        <>
          {' '}
          <Mark shape="flagged" title="whoever decided has the account of the agent">
            self-approved
          </Mark>
        </>
      ) : null}
    </>
  );
}
