/** The first line of every page: what was checked here and now, in one calm sentence, and the details behind it. Nothing is said before it is computed. */
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { EvidenceState } from '../src/analysis/views.ts';
import { backend, evidence, evidenceError } from './ask.ts';
import { ago, count, counted, exactClock, day, short } from './figures.ts';
import { Command, Icon, type Shape } from './parts.tsx';
import { link, narrowedLink } from './route.ts';
import { plain, Text } from './text.tsx';

const shapes: Readonly<Record<EvidenceState['state'], Shape>> = {
  verifying: 'running',
  holds: 'ok',
  tampered: 'error',
  inconclusive: 'unanswered',
  policy: 'flagged',
  fork: 'error',
  unverified: 'unknown',
};
const words: Readonly<Record<EvidenceState['state'], string>> = {
  verifying: 'Verifying',
  holds: 'Verified',
  tampered: 'Tampered',
  inconclusive: 'Cannot conclude',
  policy: 'Policy not met',
  fork: 'Fork or rollback',
  unverified: 'Not verified',
};

const custodies: Readonly<Record<string, string>> = {
  'same-user': 'same user',
  'separate-user': 'separate user',
  remote: 'remote',
  'in-process': 'in process',
};

export function custodyWords(custody: string): string {
  return custodies[custody] ?? plain(custody, 40);
}

export function shapeOf(state: EvidenceState['state']): Shape {
  return shapes[state] ?? 'unknown';
}

export function stateWords(state: EvidenceState['state']): string {
  return words[state] ?? 'Not verified';
}

export function EvidenceLine(): JSX.Element {
  const states = evidence.value;
  const error = evidenceError.value;
  if (error !== undefined && states === undefined)
    return (
      <div class="evidence inconclusive" role="status">
        <Icon shape="unanswered" />
        <p>
          <b>Not verified.</b> <Text>{error}</Text>
        </p>
      </div>
    );
  if (states === undefined)
    return (
      <div class="evidence verifying" role="status">
        <Icon shape="running" />
        <p>Reading the evidence …</p>
      </div>
    );
  if (states.length === 0)
    return (
      <div class="evidence unverified" role="status">
        <Icon shape="unknown" />
        <p>There is no ledger here yet.</p>
      </div>
    );
  return (
    <>
      {states.map((one) => (
        <Line key={one.ledger} one={one} isOnly={states.length === 1} />
      ))}
    </>
  );
}

function Line({ one, isOnly }: { one: EvidenceState; isOnly: boolean }): JSX.Element {
  const [isOpen, open] = useState(false);
  const facts: string[] = [];
  if (one.keyFingerprint !== undefined) facts.push(`key ${short(one.keyFingerprint)}${one.isPinned ? ', known before' : ''}`);
  if (one.custody !== undefined) facts.push(`custody: ${custodyWords(one.custody)}`);
  const seen = one.witnesses.filter((witness) => witness.isVerified).length;
  const isReport = backend().kind === 'report';
  // anybody can be a witness of a name of their choice: a file that brings its witnesses' keys proves no more
  if (one.state !== 'verifying')
    facts.push(
      one.witnesses.length === 0
        ? 'no witness'
        : seen === 0
          ? `${counted(one.witnesses.length, 'witness', 'witnesses')}, whose signature was not checked`
          : `${counted(seen, 'witness', 'witnesses')}${isReport ? ' by keys in this file' : ''}`,
    );
  if (one.later > 0) facts.push(`${counted(one.later, 'later record')} not yet signed${isReport ? ', says who made this file' : ''}`);
  return (
    <div class={`evidence ${one.state}`}>
      <Icon shape={shapeOf(one.state)} />
      <p role="status">
        {isOnly ? null : (
          <>
            <Text>{one.name}</Text>
            {': '}
          </>
        )}
        <b>
          <Text>{one.sentence}</Text>
        </b>
        {one.shown < one.size ? <span> {`${count(one.shown)} of ${count(one.size)} records shown`}</span> : null}
        {facts.map((fact) => (
          <span key={fact} class="fact">
            {fact}
          </span>
        ))}
        {one.firstBad === undefined ? null : (
          <a class="fact" href={link('entry', [one.ledger, one.firstBad])}>
            record {one.firstBad}
          </a>
        )}
      </p>
      <button type="button" class="quiet" aria-expanded={isOpen} aria-label={`What was checked in ${plain(one.name)}`} onClick={() => open(!isOpen)}>
        {isOpen ? 'less' : 'what was checked'}
      </button>
      {one.state === 'verifying' ? <progress max={1} value={one.progress ?? 0} aria-label="checked so far" /> : null}
      {isOpen ? <Details one={one} /> : null}
    </div>
  );
}

function Details({ one }: { one: EvidenceState }): JSX.Element {
  return (
    <div class="evidence-details">
      <Custody one={one} />
      {one.notChecked.length === 0 ? null : (
        <div>
          <h3>Not checked</h3>
          <ul>
            {one.notChecked.map((what) => (
              <li key={what}>
                <Text most={400}>{what}</Text>
              </li>
            ))}
          </ul>
        </div>
      )}
      <div>
        <h3>Repeat it elsewhere</h3>
        <Commands one={one} />
      </div>
      <a href={narrowedLink('verify')}>All steps</a>
    </div>
  );
}

export function Custody({ one }: { one: EvidenceState }): JSX.Element | null {
  if (one.custody === undefined && one.witnesses.length === 0) return null;
  return (
    <div>
      <h3>Who could have rewritten it</h3>
      <p>
        {one.custody === undefined ? null : <b>Custody: {custodyWords(one.custody)}: </b>}
        <Text>{one.custodyMeans}</Text>
      </p>
      {one.witnesses.length === 0 ? null : (
        <ul>
          {one.witnesses.map((witness) => (
            <li key={`${witness.name} ${witness.at}`}>
              Witness <Text>{witness.name}</Text>
              {`, ${day(witness.at)} ${exactClock(witness.at)} (${ago(witness.at)}): `}
              {!witness.isVerified
                ? 'named in the record; its signature was not checked'
                : backend().kind === 'report'
                  ? 'its signature was checked with a key that stands in this file; whose key that is was not'
                  : 'its signature was checked'}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function Commands({ one }: { one: EvidenceState }): JSX.Element {
  return (
    <dl class="commands">
      {one.commands.map(({ does, command }) => (
        <div key={command}>
          <dt>
            <Text most={300}>{does}</Text>
          </dt>
          <dd>
            <Command>{command}</Command>
          </dd>
        </div>
      ))}
    </dl>
  );
}
