/** What happened, and what of it needs a look: the first screen, which has to tell the story in ten seconds. */
import type { JSX } from 'preact';
import type { Overview as Figures } from '../../src/analysis/views.ts';
import type { SessionRow } from '../../src/analysis/rows.ts';
import { askWhole, backend, isPartial, useFollowing } from '../ask.ts';
import { callColumns, CallList } from '../call.tsx';
import { count, counted, length, percent, span, zone } from '../figures.ts';
import { Command, Figure, Waiting } from '../parts.tsx';
import { narrowedLink, link, range } from '../route.ts';
import { Text } from '../text.tsx';
import { Calls } from '../timeline.tsx';
import { Narrowed } from '../search.tsx';
import { FindingLines } from './findings.tsx';
import { SessionList } from './sessions.tsx';
import { ToolList } from './tools.tsx';

export function OverviewView(): JSX.Element {
  const within = range.value;
  const isWhole = Object.keys(within).length === 0;
  const overview = useFollowing(() => (isWhole ? askWhole() : backend().overview(within)), ['overview', within]);
  const sessions = useFollowing(() => backend().sessions(within, { offset: 0, limit: 5, sort: '-openedAt' }), ['overview sessions', within]);
  const figures = overview.value;
  if (figures === undefined) return <Waiting answer={overview} />;
  if (figures.behind > 0 && figures.calls === 0) return <Waiting answer={{ state: 'asking' }} />;
  if (figures.sessions === 0 && figures.calls === 0) return <Nothing isNarrowed={Object.keys(within).length > 0} />;
  return (
    <>
      <Story figures={figures} sessions={sessions.value?.rows ?? []} />
      <Narrowed />
      <div class="two">
        <section aria-labelledby="look">
          <h2 id="look">What needs a look?</h2>
          <FindingLines range={within} most={6} />
        </section>
        <section aria-labelledby="happened">
          <h2 id="happened">What happened?</h2>
          <Calls range={within} title="Calls over time" />
          <Numbers figures={figures} />
        </section>
      </div>
      {backend().kind === 'live' && figures.calls > 0 ? (
        <section aria-labelledby="last">
          <h2 id="last">
            <a href={narrowedLink('calls')}>What was done last?</a>
          </h2>
          <CallList label="The last calls" columns={callColumns} range={within} sort="-beganAt" most={8} empty="No call is in this stretch." />
        </section>
      ) : null}
      <section aria-labelledby="tools">
        <h2 id="tools">
          <a href={narrowedLink('tools')}>Which tools?</a>
        </h2>
        <ToolList range={within} most={8} />
      </section>
      <section aria-labelledby="sessions">
        <h2 id="sessions">
          <a href={narrowedLink('sessions')}>In which sessions?</a>
        </h2>
        <SessionList range={within} most={5} />
      </section>
    </>
  );
}

/** Who did how much where, in one sentence. */
function Story({ figures, sessions }: { figures: Figures; sessions: readonly SessionRow[] }): JSX.Element {
  const clients = [...new Set(sessions.map((session) => session.client?.name ?? ''))].filter((name) => name !== '');
  const servers = [...new Set(sessions.map((session) => session.server))];
  const isAll = sessions.length >= figures.sessions;
  const wantLook = figures.findings.high + figures.findings.medium + figures.findings.low;
  return (
    <header class="story">
      <h1>
        {clients.length === 1 && isAll ? (
          <Text most={60}>{clients[0]}</Text>
        ) : clients.length > 1 && isAll ? (
          `${count(clients.length)} clients`
        ) : (
          'Agents'
        )}
        {` made ${counted(figures.calls, 'call')} to `}
        {isAll && servers.length > 0 && servers.length <= 3
          ? servers.map((server, at) => (
              <span key={server}>
                {at === 0 ? '' : at === servers.length - 1 ? ' and ' : ', '}
                <Text most={40}>{server}</Text>
              </span>
            ))
          : 'their servers'}
        {figures.firstAt === undefined || figures.lastAt === undefined
          ? ''
          : ` in ${length(Math.max(0, Date.parse(figures.lastAt) - Date.parse(figures.firstAt)) * 1_000)}`}
        {'. '}
        <span class={wantLook > 0 && figures.behind === 0 ? 'wants' : 'faint'}>
          {figures.behind > 0
            ? 'Still reading …'
            : wantLook === 0
              ? `Nothing in ${isPartial() ? 'what is shown of it' : 'it'} was found to need a look.`
              : `${counted(wantLook, 'question')} to answer.`}
        </span>
      </h1>
      <p class="faint">
        {figures.firstAt === undefined || figures.lastAt === undefined ? 'No record has a time.' : `${span(figures.firstAt, figures.lastAt)} `}
        {`(all times are ${zone.value})`}
        {figures.behind > 0 ? ` · ${counted(figures.behind, 'record')} not yet in these figures` : ''}
      </p>
    </header>
  );
}

function Numbers({ figures }: { figures: Figures }): JSX.Element {
  const calls = (filter: string): string => narrowedLink('calls', [], { filter });
  return (
    <p class="figures">
      <Figure value={count(figures.calls)} name={figures.calls === 1 ? 'call' : 'calls'} href={narrowedLink('calls')} />
      {backend().kind === 'live' ? <Figure value={count(figures.callsToday)} name={`today (${zone.value})`} /> : null}
      <Figure
        value={count(figures.sensitive)}
        name="sensitive"
        href={calls('effect:sensitive')}
        tone={figures.sensitive > 0 ? 'sensitive' : undefined}
      />
      <Figure
        value={count(figures.writes)}
        name={figures.writes === 1 ? 'write' : 'writes'}
        href={calls('effect:write')}
        tone={figures.writes > 0 ? 'write' : undefined}
      />
      <Figure
        value={count(figures.errors)}
        name={`${figures.errors === 1 ? 'error' : 'errors'}${figures.errorRate === undefined ? '' : ` (${percent(figures.errorRate)})`}`}
        href={calls('outcome:error outcome:toolError')}
        tone={figures.errors > 0 ? 'error' : undefined}
      />
      <Figure value={count(figures.blocked)} name="denied" href={calls('outcome:blocked')} tone={figures.blocked > 0 ? 'denied' : undefined} />
      <Figure value={count(figures.unanswered)} name="unanswered" href={calls('outcome:unanswered')} />
      {figures.p50Us === undefined ? null : <Figure value={length(figures.p50Us)} name="median" />}
      {figures.p95Us === undefined ? null : <Figure value={length(figures.p95Us)} name="p95" />}
      {backend().kind === 'live' && figures.openSessions > 0 ? (
        <Figure value={count(figures.openSessions)} name={figures.openSessions === 1 ? 'open session' : 'open sessions'} />
      ) : null}
    </p>
  );
}

function Nothing({ isNarrowed }: { isNarrowed: boolean }): JSX.Element {
  return (
    <div class="empty first">
      {isNarrowed ? (
        <>
          <Narrowed />
          <h1>Nothing in this stretch</h1>
          <p>
            No session and no call is in what you have narrowed it to. <a href={link('overview')}>Show everything</a>
          </p>
        </>
      ) : (
        <>
          <h1>No session yet</h1>
          <p>Put the command in front of an MCP server, and what passes is recorded before it is delivered:</p>
          <p>
            <Command>sworn run -- npx -y @modelcontextprotocol/server-everything</Command>
          </p>
          <p>
            For the configuration of a client: <Command>{'sworn run --print-config -- <server command>'}</Command>
          </p>
        </>
      )}
    </div>
  );
}
