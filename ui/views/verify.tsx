/** How the evidence was checked, step by step, what was not checked, and how to check it elsewhere. */
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import type { EvidenceState } from '../../src/analysis/views.ts';
import { backend, evidence } from '../ask.ts';
import { Commands, Custody, shapeOf, stateWords } from '../evidence.tsx';
import { count, day, exactClock, zone } from '../figures.ts';
import { Empty, Icon, Mark, type Shape } from '../parts.tsx';
import { link } from '../route.ts';
import { LongText, Text } from '../text.tsx';

const results: Readonly<Record<string, [Shape, string]>> = {
  ok: ['ok', 'holds'],
  bad: ['error', 'does not hold'],
  unknown: ['unanswered', 'cannot be concluded'],
  running: ['running', 'under way'],
};

export function VerifyView(): JSX.Element {
  const states = evidence.value;
  if (states === undefined) return <Empty>The evidence is being read.</Empty>;
  return (
    <>
      <h1>Does the record still hold?</h1>
      {backend().kind === 'report' ? (
        <p class="lead">
          Your browser checks the records in this file, now. Whoever could forge the records could also forge this page with its verifier: compare the
          key with one that you have from elsewhere, and repeat the check with a verifier of your own.
        </p>
      ) : (
        <p class="lead">Checked on the machine that serves this page. Whoever rules that machine rules what it says: repeat the check elsewhere.</p>
      )}
      {states.length === 0 ? <Empty>There is no ledger here yet.</Empty> : null}
      {states.map((one) => (
        <Ledger key={one.ledger} one={one} />
      ))}
    </>
  );
}

function Ledger({ one }: { one: EvidenceState }): JSX.Element {
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const again = (): void => {
    setProblem(undefined);
    backend()
      .verify(one.ledger)
      .catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)));
  };
  return (
    <section class="ledger" aria-label={`Evidence of ${one.ledger.slice(0, 8)}`}>
      <h2>
        <span class={`tag ${one.state}`}>
          <Icon shape={shapeOf(one.state)} />
          {stateWords(one.state)}
        </span>{' '}
        {backend().kind === 'report' ? null : <Text most={120}>{one.name}</Text>}
      </h2>
      <p>
        <Text>{one.sentence}</Text>
        {one.shown < one.size ? ` ${count(one.shown)} of ${count(one.size)} records are shown in this page.` : ''}
      </p>
      <p class="actions">
        <button type="button" class="quiet" disabled={one.state === 'verifying'} onClick={again}>
          check it again
        </button>
        <span class="faint">{one.verifiedAt === undefined ? '' : `checked ${day(one.verifiedAt)} ${exactClock(one.verifiedAt)} ${zone.value}`}</span>
        {problem === undefined ? null : (
          <span role="alert" class="problem">
            <Text>{problem}</Text>
          </span>
        )}
      </p>
      <h3>Steps</h3>
      <table class="steps">
        <colgroup>
          <col />
          <col />
          <col />
          <col />
        </colgroup>
        <thead class="unseen">
          <tr>
            <th scope="col">Result</th>
            <th scope="col">Step</th>
            <th scope="col">What was found</th>
            <th scope="col">Time</th>
          </tr>
        </thead>
        <tbody>
          {one.steps.map((step) => {
            const [shape, word] = results[step.result] ?? results['unknown']!;
            return (
              <tr key={step.name}>
                <td>
                  <Mark shape={shape}>{word}</Mark>
                </td>
                <th scope="row">
                  <Text most={80}>{step.name}</Text>
                </th>
                <td>
                  <LongText lines={false}>{step.detail}</LongText>
                </td>
                <td class="number">{step.tookMs === undefined ? '' : `${step.tookMs < 10 ? step.tookMs.toFixed(1) : Math.round(step.tookMs)} ms`}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {one.findings.length === 0 ? null : (
        <>
          <h3>What was found</h3>
          <ul class="found">
            {one.findings.map((finding, at) => (
              <li key={at}>
                <Mark shape={finding.severity === 'tampered' || finding.severity === 'fork' ? 'error' : 'flagged'}>
                  <Text most={30}>{finding.severity}</Text>
                </Mark>{' '}
                <LongText lines={false}>{finding.message}</LongText>
                {finding.index === undefined ? null : (
                  <>
                    {' '}
                    <a href={link('entry', [one.ledger, finding.index])}>record {count(finding.index)}</a>
                  </>
                )}
                <span class="faint mono">
                  {' '}
                  <Text most={60}>{finding.code}</Text> <Text most={120}>{finding.path}</Text>
                </span>
              </li>
            ))}
          </ul>
        </>
      )}
      <div class="two">
        <Sentences title="What was checked" all={one.checked} />
        <Sentences title="What was not checked" all={one.notChecked} />
      </div>
      <Custody one={one} />
      <h3>The key</h3>
      <p class="mono">
        <Text>{one.keyFingerprint ?? 'none was named'}</Text>
      </p>
      <p class="faint">
        {one.isPinned
          ? 'It is the key that was known here before.'
          : 'This page cannot know whose key it is. Compare it with what `sworn keys` says on the machine that recorded, or with what you were given apart from this file.'}
      </p>
      <h3>Repeat it elsewhere</h3>
      <Commands one={one} />
    </section>
  );
}

function Sentences({ title, all }: { title: string; all: readonly string[] }): JSX.Element {
  return (
    <div>
      <h3>{title}</h3>
      {all.length === 0 ? <p class="faint">Nothing yet.</p> : null}
      <ul>
        {all.map((what) => (
          <li key={what}>
            <LongText lines={false}>{what}</LongText>
          </li>
        ))}
      </ul>
    </div>
  );
}
