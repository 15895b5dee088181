/** Search: calls and entries that fit a filter; one call or entry alone; two calls beside each other. */
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import type { EntryRow } from '../../src/analysis/rows.ts';
import type { CallDetail, EntryDetail, Range } from '../../src/analysis/views.ts';
import { backend, newestFirst, useAsk } from '../ask.ts';
import { callColumns, CallDetails, CallList, CallName, leafOf } from '../call.tsx';
import { Diff } from '../diff.tsx';
import { clock, count, day, exactClock, length, size, zone } from '../figures.ts';
import { comparable, Frame } from '../frame.tsx';
import { lines, readJson } from '../json.ts';
import { List, type Column } from '../list.tsx';
import { Command, Copy, Effects, Empty, Icon, Mark, Waiting } from '../parts.tsx';
import { link, narrowedLink, range, route, setQuery } from '../route.ts';
import { FilterWords, Narrowed, problemOf } from '../search.tsx';
import { plain, Text } from '../text.tsx';
import { Tree } from '../tree.tsx';

function Tabs({ view }: { view: 'calls' | 'entries' }): JSX.Element {
  return (
    <p class="tabs">
      <a href={narrowedLink('calls')} aria-current={view === 'calls' ? 'page' : undefined}>
        calls
      </a>
      <a href={narrowedLink('entries')} aria-current={view === 'entries' ? 'page' : undefined}>
        every entry
      </a>
    </p>
  );
}

export function CallsView(): JSX.Element {
  const within = range.value;
  const problem = within.filter === undefined ? undefined : problemOf(within.filter);
  return (
    <>
      <h1>Which calls fit?</h1>
      <Tabs view="calls" />
      <Narrowed />
      {problem === undefined ? (
        <CallList
          label="Calls"
          columns={callColumns}
          range={within}
          sort={route.value.query['sort'] ?? newestFirst('beganAt')}
          empty={
            <>
              <p>No call fits. Take a word away, or look through every entry:</p>
              <a href={narrowedLink('entries')}>every entry</a>
            </>
          }
        />
      ) : (
        <Wrong problem={problem} />
      )}
      <FilterWords />
    </>
  );
}

function Wrong({ problem }: { problem: string }): JSX.Element {
  return (
    <div class="broken" role="alert">
      <Icon shape="error" /> This is no filter: <Text most={400}>{problem}</Text>
    </div>
  );
}

const columns: readonly Column<EntryRow>[] = [
  { name: 'index', title: 'Entry', sort: 'index', isNumber: true, cell: (entry) => entry.index },
  {
    name: 'instant',
    title: 'Time',
    sort: 'time',
    cell: (entry) => (
      <>
        <span class="faint day">{day(entry.time).slice(5)}</span> {exactClock(entry.time)}
      </>
    ),
  },
  {
    name: 'what',
    title: 'What',
    cell: (entry) =>
      entry.kind === 'message' || entry.kind === 'batch' ? (
        <>
          <span class="faint arrow" title={entry.direction === 's2c' ? 'from the server' : 'from the client'}>
            {entry.direction === 's2c' ? '←' : '→'}
          </span>{' '}
          <span class="name">
            <Text most={80} class="method">
              {entry.method ?? entry.type ?? entry.kind}
            </Text>{' '}
            <Text most={120}>{entry.target}</Text>
          </span>
          <span class="args">{plain(entry.type, 20)}</span>
          {entry.anomalies === undefined || entry.anomalies.length === 0 ? null : (
            <Mark shape="flagged">{entry.anomalies.map((one) => plain(one, 40)).join(', ')}</Mark>
          )}
        </>
      ) : (
        <>
          <span class="name method">{plain(entry.kind, 20)}</span>
          <span class="args">
            <Text most={160}>{entry.summary}</Text>
          </span>
        </>
      ),
  },
  { name: 'server', title: 'Server', cell: (entry) => <Text most={40}>{entry.server}</Text> },
  { name: 'effect', title: 'Effect', cell: (entry) => (entry.effect === undefined ? null : <Effects row={{ ...entry, effect: entry.effect }} />) },
  {
    name: 'state',
    title: 'State',
    cell: (entry) =>
      entry.verdict === 'block' ? (
        <Mark shape="denied">denied</Mark>
      ) : entry.verdict === 'ask' ? (
        <Mark shape="asked" title="a person is asked">
          asked
        </Mark>
      ) : entry.outcome === undefined ? null : entry.outcome === 'ok' ? (
        <span class="ok">ok</span>
      ) : (
        <Mark shape="error">{entry.outcome === 'toolError' ? 'tool error' : 'error'}</Mark>
      ),
  },
  { name: 'took', title: 'Took', isNumber: true, cell: (entry) => length(entry.durationUs) },
  { name: 'size', title: 'Size', sort: 'sizeBytes', isNumber: true, cell: (entry) => size(entry.sizeBytes) },
];

export function EntriesView(): JSX.Element {
  const within: Range = range.value;
  const problem = within.filter === undefined ? undefined : problemOf(within.filter);
  const sort = route.value.query['sort'] ?? newestFirst('index');
  return (
    <>
      <h1>Which entries fit?</h1>
      <Tabs view="entries" />
      <Narrowed />
      {problem === undefined ? (
        <List<EntryRow>
          label="Entries"
          columns={columns}
          ask={(offset, limit) => backend().entries(within, { offset, limit, ...(sort === undefined ? {} : { sort }) })}
          about={['entries', within, sort]}
          keyOf={(entry) => `${entry.ledger} ${entry.index}`}
          hrefOf={(entry) => link('entry', [entry.ledger, entry.index])}
          sort={sort}
          onSort={(by) => setQuery({ sort: by })}
          empty="No entry fits."
        />
      ) : (
        <Wrong problem={problem} />
      )}
      <FilterWords />
    </>
  );
}

function numbered(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

export function EntryView(): JSX.Element {
  const [ledger = '', text] = route.value.parts;
  const index = numbered(text);
  const answer = useAsk(() => (index === undefined ? Promise.resolve(undefined) : backend().entry(ledger, index)), ['entry', ledger, index]);
  if (answer.value === undefined)
    return answer.state === 'here' ? (
      <Empty>
        Entry <Text most={40}>{text}</Text> is not among the records that this page has.
      </Empty>
    ) : (
      <Waiting answer={answer} />
    );
  return <EntryPage detail={answer.value} />;
}

function EntryPage({ detail }: { detail: EntryDetail }): JSX.Element {
  const leaf = leafOf(detail);
  const json = useMemo(() => readJson([{ text: detail.leaf }]), [detail]);
  const attributes = useMemo(() => readJson([{ text: JSON.stringify(detail.attributes) }]), [detail]);
  const { kind, time, call, exchange, method, request } = leaf;
  const first = [call, exchange, kind === 'approval' ? request : undefined].find((one) => typeof one === 'number');
  return (
    <>
      <header class="story">
        <h1>
          Entry {count(detail.index)}
          <span class="faint"> {typeof kind === 'string' ? plain(kind, 20) : ''}</span>{' '}
          <Text most={80}>{typeof method === 'string' ? method : ''}</Text>
        </h1>
        <p class="faint">
          {typeof time === 'string' ? `${day(time)} ${exactClock(time)} ${zone.value}` : ''}
          {first === undefined ? null : (
            <>
              {' · '}
              <a href={link('call', [detail.ledger, first])}>the call that it belongs to</a>
            </>
          )}
        </p>
        <p>
          {detail.isVerified ? (
            <Mark shape="ok">its leaf and what is stored of its content were checked here</Mark>
          ) : (
            <Mark shape="unknown">not checked by this page</Mark>
          )}
        </p>
      </header>
      {detail.frame === undefined && detail.binary === undefined ? null : <Frame detail={detail} title="Content" />}
      {attributes?.kind === 'object' && attributes.members.length > 0 ? (
        <section aria-labelledby="attributes">
          <h2 id="attributes">Attributes</h2>
          <div class="tree">
            <Tree json={attributes} />
          </div>
        </section>
      ) : null}
      <section aria-labelledby="leaf">
        <h2 id="leaf">Leaf, as stored</h2>
        <div class="tree">{json === undefined ? <Text>{detail.leaf}</Text> : <Tree json={json} />}</div>
        <dl class="facts">
          <div>
            <dt>Leaf hash</dt>
            <dd class="mono">
              <Text>{detail.leafHash}</Text>
            </dd>
          </div>
        </dl>
        <p class="actions">
          <Copy text={detail.leaf}>copy leaf</Copy>
          <Copy text={() => location.href}>copy link</Copy>
          <Command>{`sworn show ${detail.index}`}</Command>
          <Command>{`sworn prove ${detail.index}`}</Command>
        </p>
      </section>
    </>
  );
}

export function CallView(): JSX.Element {
  const [ledger = '', text] = route.value.parts;
  const index = numbered(text);
  const answer = useAsk(() => (index === undefined ? Promise.resolve(undefined) : backend().call(ledger, index)), ['call alone', ledger, index]);
  if (answer.value === undefined)
    // a record that is no call's: a close, a notification
    return answer.state === 'here' ? <EntryView /> : <Waiting answer={answer} />;
  const { call } = answer.value;
  return (
    <>
      <header class="story">
        <h1>
          <CallName call={call} /> <Effects row={call} />
        </h1>
        <p class="faint">
          {day(call.beganAt)} {exactClock(call.beganAt)} {zone.value} · to <Text most={60}>{call.server}</Text>
          {' · '}
          <a href={link('session', [call.ledger, call.session], { open: `${call.ledger.slice(0, 8)}:${call.index}` })}>in its session</a>
          {call.durationUs === undefined ? '' : ` · ${length(call.durationUs)}`}
        </p>
      </header>
      <CallDetails detail={answer.value} />
    </>
  );
}

export function CompareView(): JSX.Element {
  const [ledger = '', one, other] = route.value.parts;
  const [a, b] = [numbered(one), numbered(other)];
  const left = useAsk(() => (a === undefined ? Promise.resolve(undefined) : backend().call(ledger, a)), ['compare', ledger, a]);
  const right = useAsk(() => (b === undefined ? Promise.resolve(undefined) : backend().call(ledger, b)), ['compare', ledger, b]);
  if (left.value === undefined || right.value === undefined)
    return left.state === 'here' && right.state === 'here' ? (
      <Empty>One of these calls is not among the records that this page has.</Empty>
    ) : (
      <Waiting answer={left.value === undefined ? left : right} />
    );
  return <Compared left={left.value} right={right.value} />;
}

function linesOf(detail: EntryDetail | undefined): string[] {
  const { text, json } = comparable(detail);
  return json === undefined ? text.split('\n') : lines(json);
}

function answerOf({ legs }: CallDetail): EntryDetail | undefined {
  return legs.findLast((leg, at) => at > 0 && ['result', 'error'].includes(String(leafOf(leg)['type'])));
}

function Compared({ left, right }: { left: CallDetail; right: CallDetail }): JSX.Element {
  const names: readonly [string, string] = [
    `${left.call.index}, ${day(left.call.beganAt)} ${clock(left.call.beganAt)}`,
    `${right.call.index}, ${day(right.call.beganAt)} ${clock(right.call.beganAt)}`,
  ];
  const requests = useMemo(() => [linesOf(left.legs[0]), linesOf(right.legs[0])] as const, [left, right]);
  const answers = useMemo(() => [linesOf(answerOf(left)), linesOf(answerOf(right))] as const, [left, right]);
  return (
    <>
      <h1>What differs between two calls?</h1>
      <p>
        <a href={link('call', [left.call.ledger, left.call.index])}>{left.call.index}</a> <CallName call={left.call} />
        <span class="faint"> and </span>
        <a href={link('call', [right.call.ledger, right.call.index])}>{right.call.index}</a> <CallName call={right.call} />
      </p>
      <h2>Request</h2>
      <Diff left={requests[0]} right={requests[1]} names={names} />
      <h2>Answer</h2>
      <Diff left={answers[0]} right={answers[1]} names={names} />
    </>
  );
}
