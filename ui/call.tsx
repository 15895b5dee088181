/** Calls as rows, and one call opened: request, answer, what stood between, who, the verdict, and the entries that say so. */
import type { JSX } from 'preact';
import type { CallRow, Principal } from '../src/analysis/rows.ts';
import type { CallDetail, EntryDetail, Page, Paging, Range } from '../src/analysis/views.ts';
import { approvalText, isWaiting, spanText } from '../src/analysis/approvals.ts';
import { openedLegs } from '../src/analysis/calls.ts';
import { backend, isPart, useAsk } from './ask.ts';
import { filterLine } from '../src/analysis/filter.ts';
import { clock, count, day, exactClock, length, short, sinceOpen, size, zone, counted } from './figures.ts';
import { Frame, rawText } from './frame.tsx';
import { List, type Column } from './list.tsx';
import { Copy, Effects, Icon, Mark, sourceOf, State, Waiting } from './parts.tsx';
import { link, route, setQuery } from './route.ts';
import { LongText, plain, Text } from './text.tsx';

/** What a call is of: a tool, or a method with its target. */
export function CallName({ call }: { call: Pick<CallRow, 'method' | 'target'> }): JSX.Element {
  if (call.method === 'tools/call')
    return (
      <b class="name">
        <Text most={120}>{call.target ?? 'a tool without a name'}</Text>
      </b>
    );
  return (
    <span class="name">
      <Text most={80} class="method">
        {call.method}
      </Text>
      {call.target === undefined ? null : (
        <>
          {' '}
          <Text most={120}>{call.target}</Text>
        </>
      )}
    </span>
  );
}

export function toneOf(call: CallRow): string {
  const tones: string[] = [];
  if (call.sensitive) tones.push('is-sensitive');
  if (call.effect === 'write' || call.destructive) tones.push('is-write');
  if (call.state === 'error' || call.state === 'toolError' || call.state === 'blocked') tones.push('is-error');
  if (call.method !== 'tools/call') tones.push('is-minor');
  return tones.join(' ');
}

const what: Column<CallRow> = {
  name: 'what',
  title: 'Call',
  sort: 'target',
  cell: (call) => (
    <>
      <CallName call={call} />
      <span class="args">
        <Text most={160}>{call.argumentsText}</Text>
      </span>
      {call.findings === undefined || call.findings.length === 0 ? null : (
        <Mark shape="flagged" title={call.findings.map((rule) => plain(rule, 60)).join(', ')}>
          {call.findings.length === 1 ? 'finding' : `${call.findings.length} findings`}
        </Mark>
      )}
    </>
  ),
};
const effect: Column<CallRow> = { name: 'effect', title: 'Effect', cell: (call) => <Effects row={call} /> };
const state: Column<CallRow> = { name: 'state', title: 'State', sort: 'state', cell: (call) => <State call={call} /> };
const took: Column<CallRow> = { name: 'took', title: 'Took', sort: 'durationUs', isNumber: true, cell: (call) => length(call.durationUs) };
const context: Column<CallRow> = {
  name: 'context',
  title: 'Result',
  sort: 'resultBytes',
  isNumber: true,
  cell: (call) => (
    <span title={call.contextTokens === undefined ? undefined : `about ${count(call.contextTokens)} tokens of context`}>
      {size(call.resultBytes)}
    </span>
  ),
};

/** Columns inside of one session: time since its beginning. */
export const sessionColumns: readonly Column<CallRow>[] = [
  {
    name: 'since',
    title: 'Since',
    isNumber: true,
    cell: (call) => <span title={`${day(call.beganAt)} ${exactClock(call.beganAt)} ${zone.value}`}>{sinceOpen(call.sinceOpenUs)}</span>,
  },
  { ...what, sort: undefined as never },
  effect,
  { ...state, sort: undefined as never },
  took,
  context,
];

/** Columns over all sessions. */
export const callColumns: readonly Column<CallRow>[] = [
  {
    name: 'when',
    title: 'Time',
    sort: 'beganAt',
    cell: (call) => (
      <span title={`${day(call.beganAt)} ${exactClock(call.beganAt)} ${zone.value}`}>
        <span class="faint day">{day(call.beganAt).slice(5)}</span> {clock(call.beganAt)}
      </span>
    ),
  },
  what,
  { name: 'server', title: 'Server', sort: 'server', cell: (call) => <Text most={40}>{call.server}</Text> },
  effect,
  state,
  took,
  context,
];

interface CallListProps {
  label: string;
  columns: readonly Column<CallRow>[];
  range: Range;
  sort?: string | undefined;
  empty: JSX.Element | string;
  most?: number;
  ask?: (offset: number, limit: number) => Promise<Page<CallRow>>;
}

/** Calls of a range; which of them are open stands in the address. */
export function CallList({ label, columns, range, sort, empty, most, ask }: CallListProps): JSX.Element {
  const opened = route.value.query['open']?.split(',').filter((one) => /^[0-9a-f]*:\d+$/.test(one)) ?? [];
  const paging: Paging = sort === undefined ? {} : { sort };
  return (
    <List<CallRow>
      label={label}
      columns={columns}
      ask={ask ?? ((offset, limit) => backend().calls(range, { ...paging, offset, limit }))}
      about={['calls', range, sort]}
      keyOf={(call) => `${call.ledger.slice(0, 8)}:${call.index}`}
      toneOf={toneOf}
      sort={sort}
      opened={opened}
      onOpen={(keys) => setQuery({ open: keys.length === 0 ? undefined : keys.join(',') })}
      detail={(call) => <OpenCall ledger={call.ledger} index={call.index} />}
      empty={empty}
      {...(most === undefined ? { onSort: (by: string) => setQuery({ sort: by }) } : { most })}
    />
  );
}

export function OpenCall({ ledger, index }: { ledger: string; index: number }): JSX.Element {
  const answer = useAsk(() => backend().call(ledger, index), ['call', ledger, index]);
  if (answer.value === undefined)
    return answer.state === 'here' ? <p class="faint">Entry {index} is not among the records that this page has.</p> : <Waiting answer={answer} />;
  return <CallDetails detail={answer.value} />;
}

function isReply(leg: EntryDetail): boolean {
  const type = leafOf(leg)['type'];
  return type === 'result' || type === 'error';
}

/** Fields of a leaf; one that cannot be read has none. */
export function leafOf({ leaf }: EntryDetail): Readonly<Record<string, unknown>> {
  try {
    const found: unknown = JSON.parse(leaf);
    return typeof found === 'object' && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function legTitle(leg: EntryDetail): string {
  const { type, direction, method, origin } = leafOf(leg);
  const from = origin === 'sworn' ? 'answer of sworn' : direction === 's2c' ? 'server' : 'client';
  return `entry ${leg.index} · ${from} · ${typeof type === 'string' ? plain(type, 30) : 'message'}${typeof method === 'string' ? ` ${plain(method, 60)}` : ''}`;
}

/** `within`: a finding that is already named where this stands. */
export function CallDetails({ detail, within }: { detail: CallDetail; within?: string }): JSX.Element {
  const { call, legs } = detail;
  const [request] = legs;
  const answers = legs.filter((leg, at) => at > 0 && isReply(leg));
  const answer = answers.at(-1);
  const between = legs.filter((leg) => leg !== request && leg !== answer);
  const unopened = call.legs.length - openedLegs(call.legs).length;
  const picked = route.value.query['with'];
  return (
    <div class="call">
      {detail.findings
        .filter(({ finding }) => finding !== within)
        .map((finding) => (
          <p key={finding.finding} class="callfinding">
            <Mark shape={finding.severity}>{finding.severity}</Mark>{' '}
            <a href={link('findings', [finding.finding])}>
              <Text most={300}>{finding.title}</Text>
            </a>
          </p>
        ))}
      <div class="frames">
        {request === undefined ? null : (
          <Frame detail={request} title="Request" pick={call.method === 'tools/call' ? ['params', 'arguments'] : ['params']} />
        )}
        {answer === undefined ? (
          <section class="frame" aria-label="Answer">
            <header>
              <b class="frametitle">Answer</b>
            </header>
            <p class="faint">
              {isPart() ? 'No answer is among the records of this file.' : call.state === 'open' ? 'None yet.' : 'No answer was recorded.'}
            </p>
          </section>
        ) : (
          <Frame detail={answer} title={leafOf(answer)['origin'] === 'sworn' ? 'Answer of sworn, in the place of the server' : 'Answer'} />
        )}
      </div>
      {between.length === 0 ? null : (
        <details class="between">
          <summary>{counted(between.length + unopened, 'message')} in between</summary>
          {between.slice(0, 50).map((leg) => (
            <Frame key={leg.index} detail={leg} title={legTitle(leg)} />
          ))}
          {between.length + unopened > 50 ? (
            <p class="faint">{`and ${count(between.length + unopened - Math.min(50, between.length))} more, among the entries of this session`}</p>
          ) : null}
        </details>
      )}
      <dl class="facts">
        <div>
          <dt>Verdict</dt>
          <dd>
            {plain(call.verdict, 20)}
            {call.rule === undefined ? ' (no rule)' : null}
            {call.rule === undefined ? null : (
              <>
                {' by '}
                <Text most={200}>{call.rule}</Text>
              </>
            )}
            {call.reason === undefined ? null : (
              <>
                {': '}
                <LongText lines={false}>{call.reason}</LongText>
              </>
            )}
          </dd>
        </div>
        {call.retryAfterMs === undefined ? null : (
          <div>
            <dt>Limit</dt>
            <dd>{`it could pass after ${spanText(call.retryAfterMs)} at the soonest`}</dd>
          </div>
        )}
        <div>
          <dt>Effect</dt>
          <dd>{`${plain(call.effect, 20)}: ${sourceOf(call)}`}</dd>
        </div>
        {call.definition === undefined ? null : (
          <div>
            <dt>Defined as</dt>
            <dd>
              <a
                class="mono"
                href={link('calls', [], { filter: filterLine([{ word: 'definition', value: call.definition.slice(0, 16), isNot: false }]) })}
                title="every call that was made while the tool was defined so"
              >
                {plain(short(call.definition))}
              </a>
            </dd>
          </div>
        )}
        <Approved call={call} />
        {detail.principal === undefined ? null : (
          <div>
            <dt>Who</dt>
            <dd>
              <Who principal={detail.principal} />
            </dd>
          </div>
        )}
        {detail.touches.length === 0 ? null : (
          <div>
            <dt>Named</dt>
            <dd class="touches">
              {detail.touches.slice(0, 12).map((touch) => (
                <a key={`${touch.entity} ${touch.path}`} href={link('entity', [touch.ledger, touch.entity])} title={plain(touch.path)}>
                  <Text most={60}>{touch.entity}</Text>
                </a>
              ))}
              {detail.touches.length > 12 ? ` and ${count(detail.touches.length - 12)} more` : null}
            </dd>
          </div>
        )}
        <div>
          <dt>Entries</dt>
          <dd class="touches">
            {legs.slice(0, 20).map((leg) => (
              <a key={leg.index} href={link('entry', [leg.ledger, leg.index])}>
                {leg.index}
                {leg.isVerified ? <Icon shape="ok" /> : null}
              </a>
            ))}
          </dd>
        </div>
        {request === undefined ? null : (
          <div>
            <dt>Leaf</dt>
            <dd class="mono" title={plain(request.leafHash)}>
              {plain(request.leafHash.slice(0, 16))}…
            </dd>
          </div>
        )}
      </dl>
      <p class="actions">
        <Copy text={() => legs.map((leg) => rawText(leg)).join('\n')}>copy JSON</Copy>
        <Copy text={`sworn show ${call.index}`}>copy sworn show {call.index}</Copy>
        <Copy text={() => `${location.href.split('#')[0]}${link('call', [call.ledger, call.index])}`}>copy link</Copy>
        <a class="quiet" href={link('call', [call.ledger, call.index])}>
          open alone
        </a>
        {picked !== undefined && /^\d+$/.test(picked) && Number(picked) !== call.index ? (
          <a class="quiet" href={link('compare', [call.ledger, picked, call.index])}>
            compare with {picked}
          </a>
        ) : null}
        <button type="button" class="quiet" onClick={() => setQuery({ with: picked === String(call.index) ? undefined : String(call.index) })}>
          {picked === String(call.index) ? 'open another call to compare …' : 'compare …'}
        </button>
      </p>
    </div>
  );
}

/** Who let a call happen: of those that write always, of others where a person was asked. */
function Approved({ call }: { call: CallRow }): JSX.Element | null {
  const { approval, approvedBy, ledger } = call;
  if (approval === undefined) {
    const waits = isWaiting(call);
    if (!waits && approvedBy === undefined) return null;
    return (
      <div>
        <dt>Approved by</dt>
        <dd>{waits ? <Mark shape="asked">nobody yet: it waits for a person</Mark> : approvedBy === 'rule' ? 'a rule' : 'nobody'}</dd>
      </div>
    );
  }
  return (
    <div>
      <dt>{approval.decision === 'approved' ? 'Approved by' : 'Not approved'}</dt>
      <dd>
        {approval.decision === 'approved' ? 'a person: ' : ''}
        <a href={link('entry', [ledger, approval.index])}>
          <Text most={300}>{approvalText(approval)}</Text>
        </a>
        {approval.reason === undefined ? null : (
          <>
            {': '}
            <LongText lines={false}>{approval.reason}</LongText>
          </>
        )}
        {approval.selfApproved ? <Mark shape="flagged">it may have been the agent itself</Mark> : null}
      </dd>
    </div>
  );
}

export function Who({ principal }: { principal: Principal }): JSX.Element {
  const parts: string[] = [];
  if (principal.name !== undefined) parts.push(principal.name);
  if (principal.user !== undefined) parts.push(principal.user);
  if (principal.uid !== undefined) parts.push(`uid ${principal.uid}`);
  if (principal.pid !== undefined) parts.push(`pid ${principal.pid}`);
  if (principal.executable !== undefined) parts.push(principal.executable);
  return (
    <span>
      {parts.map((part, at) => (
        <span key={part}>
          {at === 0 ? '' : ' · '}
          <LongText lines={false}>{part}</LongText>
        </span>
      ))}
      <span class="faint"> ({plain(principal.source, 20)})</span>
    </span>
  );
}
