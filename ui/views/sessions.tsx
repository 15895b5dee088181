/** All sessions over time, and one session: every call of it in order. */
import type { JSX } from 'preact';
import type { SessionRow } from '../../src/analysis/rows.ts';
import type { Range } from '../../src/analysis/views.ts';
import { backend, useFollowing } from '../ask.ts';
import { CallList, sessionColumns, Who } from '../call.tsx';
import { custodyWords } from '../evidence.tsx';
import { clock, count, counted, day, length, size, span, zone } from '../figures.ts';
import { List, type Column } from '../list.tsx';
import { Command, Empty, Figure, Icon, Mark, Waiting, type Shape } from '../parts.tsx';
import { link, range, route, setQuery } from '../route.ts';
import { Narrowed } from '../search.tsx';
import { plain, Text } from '../text.tsx';
import { Calls } from '../timeline.tsx';

function lengthOf(session: SessionRow): string {
  return length(Math.max(0, Date.parse(session.closedAt ?? session.lastAt) - Date.parse(session.openedAt)) * 1_000);
}

function Number({ value, shape, of }: { value: number; shape?: Shape; of: string }): JSX.Element {
  if (value === 0) return <span class="zero">0</span>;
  return shape === undefined ? (
    <>{count(value)}</>
  ) : (
    <span class={`tag ${shape}`} title={`${count(value)} ${of}`}>
      <Icon shape={shape} />
      {count(value)}
    </span>
  );
}

const columns: readonly Column<SessionRow>[] = [
  {
    name: 'when',
    title: 'Opened',
    sort: 'openedAt',
    cell: (session) => (
      <>
        <span class="faint day">{day(session.openedAt).slice(5)}</span> {clock(session.openedAt)}
      </>
    ),
  },
  {
    name: 'what',
    title: 'Session',
    sort: 'server',
    cell: (session) => (
      <>
        <span class="name">
          <Text most={60}>{session.client?.name ?? 'unnamed client'}</Text>
          <span class="faint"> → </span>
          <b>
            <Text most={60}>{session.server}</Text>
          </b>
        </span>
        <span class="args">
          {session.closedAt === undefined ? 'open' : ''}
          <Text most={60}>{session.closeReason}</Text>
        </span>
      </>
    ),
  },
  { name: 'length', title: 'Length', isNumber: true, cell: lengthOf },
  {
    name: 'calls',
    title: 'Calls',
    sort: 'calls',
    isNumber: true,
    cell: (session) => <Number value={session.calls} of="calls" />,
    titleOf: ({ calls }) => (calls === 1 ? 'call' : 'calls'),
  },
  {
    name: 'writes',
    title: 'Writes',
    sort: 'writes',
    isNumber: true,
    cell: (session) => <Number value={session.writes} shape="write" of="writes" />,
    titleOf: ({ writes }) => (writes === 1 ? 'write' : 'writes'),
  },
  {
    name: 'errors',
    title: 'Errors',
    sort: 'errors',
    isNumber: true,
    cell: (session) => <Number value={session.errors} shape="error" of="errors" />,
    titleOf: ({ errors }) => (errors === 1 ? 'error' : 'errors'),
  },
  {
    name: 'denied',
    title: 'Denied',
    sort: 'blocked',
    isNumber: true,
    cell: (session) => <Number value={session.blocked} shape="denied" of="denied" />,
  },
  { name: 'size', title: 'Size', sort: 'sizeBytes', isNumber: true, cell: (session) => size(session.sizeBytes) },
];

export function SessionList({ range, most, sort }: { range: Range; most?: number; sort?: string | undefined }): JSX.Element {
  const by = sort ?? '-openedAt';
  return (
    <List<SessionRow>
      label="Sessions"
      columns={columns}
      ask={(offset, limit) => backend().sessions(range, { offset, limit, sort: by })}
      about={['sessions', range, by]}
      keyOf={(session) => `${session.ledger} ${session.session}`}
      hrefOf={(session) => link('session', [session.ledger, session.session])}
      sort={by}
      {...(most === undefined ? { onSort: (field: string) => setQuery({ sort: field }) } : { most })}
      empty="No session is in this stretch."
    />
  );
}

export function SessionsView(): JSX.Element {
  const within = range.value;
  return (
    <>
      <h1>In which sessions did something happen?</h1>
      <Calls range={within} title="Calls over time, all sessions" />
      <Narrowed />
      <SessionList range={within} sort={route.value.query['sort']} />
    </>
  );
}

export function SessionView(): JSX.Element {
  const [ledger = '', session = ''] = route.value.parts;
  const within: Range = { ...range.value, ledger, session };
  const answer = useFollowing(() => backend().sessions({ ledger, session }, { limit: 1 }), ['session', ledger, session]);
  const found = answer.value?.rows[0];
  if (answer.value === undefined) return <Waiting answer={answer} />;
  if (found === undefined)
    return (
      <Empty>
        There is no session <Text most={80}>{session}</Text> among these records.
      </Empty>
    );
  return (
    <>
      <SessionHead session={found} />
      <Calls range={within} title="Calls of this session over time" />
      <Narrowed />
      <CallList label="Calls of this session" columns={sessionColumns} range={within} empty="No call of this session is in this stretch." />
      <p class="actions">
        <a class="quiet" href={link('entries', [], { filter: `session:${found.session}` })}>
          every entry of it
        </a>
        <Command>{`sworn log --session ${found.session.slice(0, 12)}`}</Command>
      </p>
    </>
  );
}

function SessionHead({ session }: { session: SessionRow }): JSX.Element {
  const facts: [string, JSX.Element | string][] = [];
  const [who] = session.who;
  if (who !== undefined) facts.push(['Who', <Who key="who" principal={who} />]);
  facts.push([
    'Server',
    <span key="server">
      <Text most={60}>{session.serverInfo?.name ?? session.server}</Text> <Text most={40}>{session.serverInfo?.version}</Text>
      <span class="faint">
        {' '}
        over {plain(session.transport, 20)}
        {session.protocolVersion === undefined ? '' : `, MCP ${plain(session.protocolVersion, 20)}`}
      </span>
    </span>,
  ]);
  if (session.mode !== undefined)
    facts.push(['Mode', session.mode === 'commit' ? 'commit: recorded before it was delivered' : 'observe: recorded beside']);
  if (session.custody !== undefined) facts.push(['Custody', custodyWords(session.custody)]);
  const labels = Object.entries(session.labels ?? {});
  if (labels.length > 0) facts.push(['Labels', <Text key="labels">{labels.map(([name, value]) => `${name}=${value}`).join(' ')}</Text>]);
  facts.push([
    'Ended',
    <span key="ended">
      {session.closedAt === undefined ? `not yet; last message ${clock(session.lastAt)}` : `${clock(session.closedAt)}, `}
      <Text most={80}>{session.closeReason}</Text>
    </span>,
  ]);
  return (
    <header class="story">
      <h1>
        <Text most={60}>{session.client?.name ?? 'An unnamed client'}</Text>
        <span class="faint"> → </span>
        <Text most={60}>{session.server}</Text>
        {session.closedAt === undefined ? <Mark shape="running">open</Mark> : null}
      </h1>
      <p class="faint">
        {span(session.openedAt, session.closedAt ?? session.lastAt)} {zone.value} · {lengthOf(session)} ·{' '}
        <span class="mono">{plain(session.session, 60)}</span>
      </p>
      <p class="figures">
        <Figure value={count(session.calls)} name={session.calls === 1 ? 'call' : 'calls'} />
        <Figure value={count(session.writes)} name={session.writes === 1 ? 'write' : 'writes'} tone={session.writes > 0 ? 'write' : undefined} />
        <Figure value={count(session.errors)} name={session.errors === 1 ? 'error' : 'errors'} tone={session.errors > 0 ? 'error' : undefined} />
        <Figure value={count(session.blocked)} name="denied" tone={session.blocked > 0 ? 'denied' : undefined} />
        {session.asked > 0 ? <Figure value={count(session.asked)} name="asked a person" tone="asked" /> : null}
        <Figure value={count(session.unanswered)} name="unanswered" />
        {session.lost > 0 ? <Figure value={count(session.lost)} name={session.lost === 1 ? 'lost frame' : 'lost frames'} tone="error" /> : null}
        {session.anomalies > 0 ? (
          <Figure value={count(session.anomalies)} name={session.anomalies === 1 ? 'odd message' : 'odd messages'} tone="flagged" />
        ) : null}
        <Figure value={counted(session.messages, 'message')} name={size(session.sizeBytes)} />
      </p>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </header>
  );
}
