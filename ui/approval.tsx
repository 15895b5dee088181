/** One request that waits, opened: what it would do, which rule asks, and what the session did before. */
import type { JSX } from 'preact';
import { useLayoutEffect, useMemo } from 'preact/hooks';
import type { CallRow } from '../src/analysis/rows.ts';
import type { ApprovalDetail, ApprovalRow, ApprovalsBackend } from '../src/analysis/approval-views.ts';
import { busy, isShown, key, keyOf, wasShown } from './approvals.ts';
import { useAsk } from './ask.ts';
import { CallName } from './call.tsx';
import { clock, count, counted, day, length, short, size } from './figures.ts';
import { at, partsText, readJson, type Json } from './json.ts';
import { Effects, Icon, Mark, State, Waiting } from './parts.tsx';
import { link } from './route.ts';
import { LongText, plain, Text, Whole } from './text.tsx';
import { Tree } from './tree.tsx';

interface OpenProps {
  desk: ApprovalsBackend;
  row: ApprovalRow;
  want: (decision: 'approved' | 'denied') => void;
}

export function OpenApproval({ desk, row, want }: OpenProps): JSX.Element {
  const answer = useAsk(() => desk.detail(row.ledger, row.request), ['approval', row.ledger, row.request]);
  const detail = answer.value;
  // what is shown must be what is decided about
  const isSame = detail?.approval.commitment === row.commitment;
  useLayoutEffect(() => {
    if (isSame) wasShown(row);
  }, [isSame, row.commitment]);
  if (detail === undefined)
    return (
      <div class="askbody">
        {answer.state === 'here' ? <p class="faint">It does not wait any more.</p> : <Waiting answer={answer}>Opening it …</Waiting>}
      </div>
    );
  const isBusy = busy.value.has(keyOf(row));
  const isLocked = key.value === undefined;
  return (
    <div class="askbody">
      <div class="frames">
        <section class="frame" aria-label="What it asks for">
          <Asked detail={detail} />
          <p class="decide">
            <button type="button" class="approve" disabled={isLocked || isBusy || !(isSame && isShown(row))} onClick={() => want('approved')}>
              Approve <kbd>a</kbd>
            </button>
            <button type="button" class="deny" disabled={isLocked || isBusy} onClick={() => want('denied')}>
              Deny … <kbd>d</kbd>
            </button>
            {isBusy ? <span class="faint">being recorded …</span> : isLocked ? <span class="faint">locked</span> : null}
          </p>
        </section>
        <section class="frame" aria-label="Why it waits, and whose it is">
          <Facts detail={detail} />
        </section>
      </div>
      <Before detail={detail} />
    </div>
  );
}

function Asked({ detail: { approval, shown } }: { detail: ApprovalDetail }): JSX.Element {
  const json = useMemo(() => readJson([{ text: shown }]), [shown]);
  const { what, title } = pickedOf(json);
  return (
    <>
      <header>
        <b class="frametitle">{title}</b>
        <Effects
          row={{
            effect: approval.effect ?? 'unknown',
            ...(approval.sensitive ? { sensitive: true } : {}),
            ...(approval.destructive ? { destructive: true } : {}),
          }}
        />
      </header>
      {approval.isCut ? (
        <p class="problem">
          <Icon shape="flagged" /> Only the first {size(new TextEncoder().encode(shown).length)} of {size(approval.sizeBytes)} are shown here. All of
          it: <a href={link('call', [approval.ledger, approval.request])}>entry {approval.request}</a>
        </p>
      ) : null}
      {shown === '' ? (
        <p class="problem">
          <Icon shape="flagged" /> Its content is not stored, so nothing of it is shown.
        </p>
      ) : (
        // what somebody decides about hides nowhere behind a fold
        <Whole.Provider value={true}>
          {what === undefined ? (
            <pre class="raw whole">
              <LongText>{shown}</LongText>
            </pre>
          ) : (
            <div class="tree">
              <Tree json={what} />
            </div>
          )}
        </Whole.Provider>
      )}
    </>
  );
}

/** Arguments alone where nothing but the tool's name stands beside them; the whole message where a member stands twice: who reads it may take either. */
function pickedOf(json: Json | undefined): { what: Json | undefined; title: string } {
  const params = at(json, 'params');
  const args = at(params, 'arguments');
  if (!isOnce(json) || !isOnce(params)) return { what: json, title: 'Request, with members that stand twice' };
  if (params?.kind !== 'object' || args === undefined) return { what: params ?? json, title: 'Request' };
  return params.members.length === 2 ? { what: args, title: 'Arguments' } : { what: params, title: 'Parameters' };
}

function isOnce(json: Json | undefined): boolean {
  return json?.kind !== 'object' || new Set(json.members.map(({ key: name }) => partsText(name))).size === json.members.length;
}

function Facts({ detail: { approval } }: { detail: ApprovalDetail }): JSX.Element {
  return (
    <>
      <header>
        <b class="frametitle">
          <Text most={64}>{approval.rule}</Text> asks
        </b>
        <span class="faint">the rule</span>
      </header>
      <p class="says">
        {approval.reason === undefined ? <span class="faint">It gives no reason.</span> : <LongText lines={false}>{approval.reason}</LongText>}
      </p>
      <dl class="facts one">
        <div>
          <dt>Who</dt>
          <dd>
            <Text most={200}>{approval.principal ?? 'not known'}</Text>
          </dd>
        </div>
        <div>
          <dt>Where</dt>
          <dd>
            <Text most={60}>{approval.client ?? 'a client without a name'}</Text> → <Text most={60}>{approval.server}</Text>
            {approval.method === 'tools/call' ? null : (
              <>
                {', '}
                <Text most={60} class="method">
                  {approval.method}
                </Text>
              </>
            )}
          </dd>
        </div>
        <div>
          <dt>Asked</dt>
          <dd>
            {day(approval.askedAt)} {clock(approval.askedAt)}; denied at {clock(approval.deadline)} without a decision
          </dd>
        </div>
        <div>
          <dt>Record</dt>
          <dd>
            <a href={link('entry', [approval.ledger, approval.request])}>entry {approval.request}</a>, {size(approval.sizeBytes)}{' '}
            <span class="faint mono" title={`commitment ${plain(approval.commitment, 60)}: the decision names it`}>
              {short(approval.commitment)}
            </span>
          </dd>
        </div>
      </dl>
    </>
  );
}

/** What else this session did. */
function Before({ detail: { approval, session, before } }: { detail: ApprovalDetail }): JSX.Element {
  const id = session?.session ?? approval.connection;
  return (
    <section class="before" aria-label="What this session did before">
      <header>
        <b>What this session did before</b>{' '}
        <a href={link('session', [approval.ledger, id])}>{session === undefined ? 'the session' : `${counted(session.calls, 'call')} in all`}</a>
        {session === undefined ? null : (
          <span class="faint">
            {[
              session.writes > 0 ? counted(session.writes, 'write') : '',
              session.errors > 0 ? counted(session.errors, 'error') : '',
              session.blocked > 0 ? `${count(session.blocked)} denied` : '',
            ]
              .filter((word) => word !== '')
              .map((word) => ` · ${word}`)
              .join('')}
          </span>
        )}
      </header>
      {before.length === 0 ? <p class="faint">It called nothing before.</p> : null}
      <ol>
        {before.map((call) => (
          <Did key={call.index} call={call} until={approval.askedAt} />
        ))}
      </ol>
    </section>
  );
}

function Did({ call, until }: { call: CallRow; until: string }): JSX.Element {
  const ago = Date.parse(until) - Date.parse(call.beganAt);
  return (
    <li>
      <span class="faint number">{ago < 1_000 ? 'just before' : `${length(ago * 1_000)} before`}</span>
      <span class="did">
        <a href={link('call', [call.ledger, call.index])}>
          <CallName call={call} />
        </a>{' '}
        <span class="args">
          <Text most={120}>{call.argumentsText}</Text>
        </span>
      </span>
      <span class="tags">
        {call.sensitive ? <Mark shape="sensitive">sensitive</Mark> : call.effect === 'write' ? <Mark shape="write">write</Mark> : null}
        <State call={call} />
      </span>
    </li>
  );
}
