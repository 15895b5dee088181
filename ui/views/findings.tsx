/** What an analysis wants a person to look at: the question, what was seen, why it matters, and the records that prove it. */
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { FindingRow } from '../../src/analysis/rows.ts';
import type { Range } from '../../src/analysis/views.ts';
import { CallDetails, CallName } from '../call.tsx';
import { backend, isPartial, round, useAsk, useFollowing } from '../ask.ts';
import { clock, count, counted, day, exactClock, span } from '../figures.ts';
import { Command, Copy, Effects, Empty, SeverityMark, Waiting } from '../parts.tsx';
import { Narrowed } from '../search.tsx';
import { link, narrowedLink, range, route } from '../route.ts';
import { LongText, plain, Text } from '../text.tsx';

/** As a question for the first screen. */
export function FindingLines({ range, most }: { range: Range; most: number }): JSX.Element {
  const answer = useFollowing(() => backend().findings(range, { limit: most, sort: 'severity' }), ['finding lines', range, most]);
  const page = answer.value;
  if (page === undefined) return <Waiting answer={answer} />;
  if (page.total === 0)
    return (
      <Empty>
        {`No finding${isPartial() ? ' in what is shown: there are more records, or content that is not here' : ''}. The rules that looked for one are in the documentation.`}
      </Empty>
    );
  return (
    <>
      <ol class="questions">
        {page.rows.map((finding) => (
          <li key={finding.finding} class={finding.acknowledged === undefined ? '' : 'acknowledged'}>
            <SeverityMark severity={finding.severity} />
            <div>
              <a href={link('findings', [finding.finding])}>
                <Text most={200}>{finding.title}</Text>
              </a>
              <p>
                <Text most={260}>{finding.detail}</Text>
              </p>
              <p class="faint">
                {clock(finding.firstAt)}
                {finding.server === undefined ? '' : ' · '}
                <Text most={40}>{finding.server}</Text>
                {' · '}
                <Records finding={finding} most={4} />
                {finding.acknowledged === undefined ? '' : ' · acknowledged'}
              </p>
            </div>
          </li>
        ))}
      </ol>
      {page.total > page.rows.length ? <a href={narrowedLink('findings')}>{counted(page.total, 'finding')}</a> : null}
    </>
  );
}

function Records({ finding, most }: { finding: FindingRow; most: number }): JSX.Element {
  return (
    <span class="records">
      {finding.indexes.length === 1 ? 'record ' : 'records '}
      {finding.indexes.slice(0, most).map((index, at) => (
        <span key={index}>
          {at === 0 ? '' : ', '}
          <a href={link('call', [finding.ledger, index])}>{index}</a>
        </span>
      ))}
      {finding.count > Math.min(most, finding.indexes.length) ? ` and ${count(finding.count - Math.min(most, finding.indexes.length))} more` : ''}
    </span>
  );
}

export function FindingsView(): JSX.Element {
  const within = range.value;
  const wanted = route.value.parts[0];
  const answer = useFollowing(() => backend().findings(within, { limit: 1_000, sort: 'severity' }), ['findings', within]);
  const page = answer.value;
  if (page === undefined) return <Waiting answer={answer} />;
  const open = page.rows.filter((finding) => finding.acknowledged === undefined);
  return (
    <>
      <h1>What needs a look?</h1>
      <p class="faint">
        {counted(page.total, 'finding')}
        {open.length === page.rows.length ? '' : `, ${count(page.rows.length - open.length)} acknowledged`}
        {'. Each follows from a rule and names the records that prove it; a finding is a question, not a verdict.'}
      </p>
      <Narrowed />
      {page.total === 0 ? <Empty>No rule found anything here.</Empty> : null}
      <ol class="findings">
        {page.rows.map((finding) => (
          <Finding key={`${finding.ledger} ${finding.finding}`} finding={finding} isOpen={finding.finding === wanted} />
        ))}
      </ol>
      {page.total > page.rows.length ? <p class="note">The first {count(page.rows.length)} are shown. Narrow the time to see the others.</p> : null}
    </>
  );
}

function Finding({ finding, isOpen }: { finding: FindingRow; isOpen: boolean }): JSX.Element {
  return (
    <li class={`finding ${finding.severity} ${finding.acknowledged === undefined ? '' : 'acknowledged'}`}>
      <SeverityMark severity={finding.severity} />
      <div>
        <h2>
          <a href={link('findings', isOpen ? [] : [finding.finding])} aria-expanded={isOpen}>
            <Text most={300}>{finding.title}</Text>
          </a>
        </h2>
        <p>
          <LongText lines={false}>{finding.detail}</LongText>
        </p>
        <p class="faint">
          {finding.firstAt === finding.lastAt ? `${day(finding.firstAt)} ${clock(finding.firstAt)}` : span(finding.firstAt, finding.lastAt)}
          {finding.tool === undefined && finding.server === undefined ? null : ' · '}
          <Text most={60}>{finding.tool ?? finding.server}</Text>
          {' · '}
          <Records finding={finding} most={8} />
          {finding.session === undefined ? null : (
            <>
              {' · '}
              <a href={link('session', [finding.ledger, finding.session])}>session</a>
            </>
          )}
        </p>
        {finding.acknowledged === undefined ? null : (
          <p class="faint">
            Acknowledged {day(finding.acknowledged.at)} {clock(finding.acknowledged.at)}, entry {finding.acknowledged.index}
            {finding.acknowledged.note === undefined ? '' : ': '}
            <Text most={300}>{finding.acknowledged.note}</Text>
          </p>
        )}
        {isOpen ? <Opened finding={finding} /> : null}
      </div>
    </li>
  );
}

function Opened({ finding }: { finding: FindingRow }): JSX.Element {
  return (
    <div class="opened">
      <dl class="facts">
        <div>
          <dt>Why it matters</dt>
          <dd>
            <LongText>{finding.why}</LongText>
          </dd>
        </div>
        <div>
          <dt>To silence it</dt>
          <dd>
            <LongText>{finding.silence}</LongText>
          </dd>
        </div>
        <div>
          <dt>Rule</dt>
          <dd class="mono">
            <Text most={200}>{finding.rule}</Text> <span class="faint">{plain(finding.finding, 20)}</span>
          </dd>
        </div>
      </dl>
      <Proof finding={finding} />
      <p class="actions">
        <Copy text={() => JSON.stringify(finding, null, 2)}>copy JSON</Copy>
        <Copy text={() => location.href}>copy link</Copy>
        <a class="quiet" href={link('calls', [], { filter: `finding:${finding.finding}` })}>
          all its calls
        </a>
      </p>
      {finding.acknowledged === undefined ? <Acknowledge finding={finding} /> : null}
    </div>
  );
}

/** Entries that are looked at, and calls that are shown of them at once. */
const entriesMost = 12;
const callsMost = 4;

/** The calls behind a finding, each once, however many of its entries are named. */
function Proof({ finding }: { finding: FindingRow }): JSX.Element {
  const { ledger, indexes } = finding;
  // as it was opened: what comes later is content that nobody asked for
  const [wanted] = useState(() => indexes.slice(0, entriesMost));
  const answer = useAsk(() => Promise.all(wanted.map((index) => backend().call(ledger, index))), ['proof', ledger, wanted]);
  if (answer.value === undefined) return <Waiting answer={answer} />;
  const calls = new Map(answer.value.flatMap((detail) => (detail === undefined ? [] : [[detail.call.index, detail] as const])));
  const shown = [...calls.values()].slice(0, callsMost);
  return (
    <>
      {shown.map((detail) => (
        <section key={detail.call.index} class="proof">
          <h3>
            <CallName call={detail.call} /> <Effects row={detail.call} /> <span class="faint">{exactClock(detail.call.beganAt)}</span>
          </h3>
          <CallDetails detail={detail} within={finding.finding} />
        </section>
      ))}
      {calls.size === 0 || indexes.length > entriesMost || calls.size > callsMost ? (
        <p>
          <Records finding={finding} most={100} />
        </p>
      ) : null}
    </>
  );
}

function Acknowledge({ finding }: { finding: FindingRow }): JSX.Element {
  const [note, setNote] = useState('');
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const to = backend();
  if (to.acknowledge === undefined)
    return (
      <p class="faint">
        To say that somebody looked at it: <Command>{`sworn findings ack ${finding.finding} --note '…'`}</Command>
      </p>
    );
  return (
    <form
      class="acknowledge"
      onSubmit={(event) => {
        event.preventDefault();
        to.acknowledge!(finding.ledger, finding.finding, note).then(
          () => {
            round.value++;
          },
          (error: unknown) => setProblem(error instanceof Error ? error.message : String(error)),
        );
      }}
    >
      <label>
        Note <input value={note} maxLength={1_000} onInput={(event) => setNote(event.currentTarget.value)} />
      </label>
      <button type="submit">Acknowledge</button>
      <span class="faint">This becomes an entry of the ledger.</span>
      {problem === undefined ? null : (
        <span role="alert" class="problem">
          <Text>{problem}</Text>
        </span>
      )}
    </form>
  );
}
