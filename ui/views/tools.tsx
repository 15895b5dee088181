/** Which tools there are, what they did, and how a tool was defined, each definition beside the one before it. */
import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { DefinitionRow, ToolRow } from '../../src/analysis/rows.ts';
import type { Range } from '../../src/analysis/views.ts';
import { backend, isPartial, useFollowing } from '../ask.ts';
import { callColumns, CallList } from '../call.tsx';
import { Diff } from '../diff.tsx';
import { clock, count, counted, day, length, short, size, span } from '../figures.ts';
import { lines, readJson } from '../json.ts';
import { List, type Column } from '../list.tsx';
import { Effects, Empty, Figure, Mark, SeverityMark, sourceOf, Waiting } from '../parts.tsx';
import { link, narrowedLink, range, route, setQuery } from '../route.ts';
import { Narrowed } from '../search.tsx';
import { LongText, plain, Text } from '../text.tsx';
import { Tree } from '../tree.tsx';
import { filterLine } from '../../src/analysis/filter.ts';

const columns: readonly Column<ToolRow>[] = [
  {
    name: 'what',
    title: 'Tool',
    sort: 'tool',
    cell: (tool) => (
      <>
        <b class="name">
          <Text most={100}>{tool.tool}</Text>
        </b>
        <span class="args">
          <Text most={60}>{tool.server}</Text>
        </span>
        {tool.isListed || isPartial() ? null : (
          <Mark shape="flagged" title="called, but in no list of tools that was recorded">
            never listed
          </Mark>
        )}
        {tool.definitions > 1 ? <Mark shape="flagged">{counted(tool.definitions, 'definition')}</Mark> : null}
        {tool.hiddenText === undefined || tool.hiddenText.length === 0 ? null : <Mark shape="error">instructions</Mark>}
      </>
    ),
  },
  { name: 'effect', title: 'Effect', cell: (tool) => <Effects row={tool} /> },
  {
    name: 'calls',
    title: 'Calls',
    sort: 'calls',
    isNumber: true,
    titleOf: ({ calls }) => (calls === 1 ? 'call' : 'calls'),
    cell: (tool) => (tool.calls === 0 ? <span class="zero">0</span> : count(tool.calls)),
  },
  {
    name: 'errors',
    title: 'Errors',
    sort: 'errors',
    isNumber: true,
    titleOf: ({ errors }) => (errors === 1 ? 'error' : 'errors'),
    cell: (tool) => (tool.errors === 0 ? <span class="zero">0</span> : <Mark shape="error">{count(tool.errors)}</Mark>),
  },
  { name: 'took', title: 'p95', sort: 'p95Us', isNumber: true, cell: (tool) => length(tool.p95Us) },
  {
    name: 'context',
    title: 'Context',
    sort: 'contextTokens',
    isNumber: true,
    cell: (tool) => <span title={`about ${count(tool.contextTokens)} tokens`}>{size(tool.resultBytes)}</span>,
  },
  { name: 'when', title: 'Last', sort: 'lastAt', cell: (tool) => (tool.lastAt === undefined ? <span class="zero">never</span> : clock(tool.lastAt)) },
];

export function ToolList({ range, most, sort }: { range: Range; most?: number; sort?: string | undefined }): JSX.Element {
  const by = sort ?? '-calls';
  return (
    <List<ToolRow>
      label="Tools"
      columns={columns}
      ask={(offset, limit) => backend().tools(range, { offset, limit, sort: by })}
      about={['tools', range, by]}
      keyOf={(tool) => `${tool.ledger} ${tool.server} ${tool.tool}`}
      hrefOf={(tool) => narrowedLink('tool', [tool.ledger, tool.server, tool.tool], { filter: undefined, ledger: undefined })}
      toneOf={(tool) => `${tool.sensitive ? 'is-sensitive' : ''} ${tool.effect === 'write' || tool.destructive ? 'is-write' : ''}`}
      sort={by}
      {...(most === undefined ? { onSort: (field: string) => setQuery({ sort: field }) } : { most })}
      empty="No tool was listed or called here."
    />
  );
}

export function ToolsView(): JSX.Element {
  return (
    <>
      <h1>Which tools were used, and what do they do?</h1>
      <Narrowed />
      <ToolList range={range.value} sort={route.value.query['sort']} />
      <p class="faint">An effect marked * was classified where this is read; the ledger says otherwise.</p>
    </>
  );
}

export function ToolView(): JSX.Element {
  const [ledger = '', server = '', name = ''] = route.value.parts;
  const answer = useFollowing(() => backend().tool(ledger, server, name), ['tool', ledger, server, name]);
  if (answer.value === undefined)
    return answer.state === 'here' ? (
      <Empty>
        There is no tool <Text most={80}>{name}</Text> among these records.
      </Empty>
    ) : (
      <Waiting answer={answer} />
    );
  const { tool, definitions, findings } = answer.value;
  const within: Range = {
    ...range.value,
    ledger,
    filter: filterLine([
      { word: 'tool', value: tool.tool, isNot: false },
      { word: 'server', value: tool.server, isNot: false },
    ]),
  };
  return (
    <>
      <header class="story">
        <h1>
          <Text most={120}>{tool.tool}</Text> <Effects row={tool} />
        </h1>
        <p class="faint">
          of <Text most={60}>{tool.server}</Text>
          {tool.firstAt === undefined || tool.lastAt === undefined ? ', never called' : `, called ${span(tool.firstAt, tool.lastAt)}`}
          {tool.isListed || isPartial() ? '' : ' · called, but in no list of tools that was recorded'}
          {` · ${plain(tool.effect, 20)}: ${sourceOf(tool)}`}
        </p>
        <p class="figures">
          <Figure value={count(tool.calls)} name={tool.calls === 1 ? 'call' : 'calls'} />
          <Figure value={count(tool.errors)} name={tool.errors === 1 ? 'error' : 'errors'} tone={tool.errors > 0 ? 'error' : undefined} />
          <Figure value={count(tool.blocked)} name="denied" tone={tool.blocked > 0 ? 'denied' : undefined} />
          <Figure value={count(tool.unanswered)} name="unanswered" />
          {tool.p50Us === undefined ? null : <Figure value={length(tool.p50Us)} name="median" />}
          {tool.p95Us === undefined ? null : <Figure value={length(tool.p95Us)} name="p95" />}
          {tool.longestUs === undefined ? null : <Figure value={length(tool.longestUs)} name="longest" />}
          <Figure value={size(tool.resultBytes)} name={`of results, about ${count(tool.contextTokens)} tokens`} />
        </p>
      </header>
      {findings.map((finding) => (
        <p key={finding.finding}>
          <SeverityMark severity={finding.severity} />{' '}
          <a href={link('findings', [finding.finding])}>
            <Text>{finding.title}</Text>
          </a>
        </p>
      ))}
      {tool.hiddenText === undefined || tool.hiddenText.length === 0 ? null : (
        <section aria-labelledby="hidden">
          <h2 id="hidden">Words in its definition that look like instructions to a model</h2>
          <ul>
            {tool.hiddenText.map((text) => (
              <li key={text}>
                <LongText>{text}</LongText>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section aria-labelledby="definitions">
        <h2 id="definitions">How was it defined?</h2>
        <Definitions all={definitions} />
      </section>
      <section aria-labelledby="calls">
        <h2 id="calls">Every call</h2>
        <CallList
          label="Calls of this tool"
          columns={callColumns}
          range={within}
          empty="It was not called in this stretch."
          sort={route.value.query['sort']}
        />
      </section>
    </>
  );
}

function linesOf(text: string): string[] {
  const json = readJson([{ text }]);
  return json === undefined ? text.split('\n') : lines(json);
}

function nameOf(definition: DefinitionRow): string {
  return `${plain(short(definition.digest))} · since ${day(definition.firstAt)} ${clock(definition.firstAt)}, entry ${definition.firstIndex}`;
}

/** Where every call leads that was made while the tool was defined so. */
function CallsUnder({ definition: { digest } }: { definition: DefinitionRow }): JSX.Element {
  return (
    <a href={link('calls', [], { filter: filterLine([{ word: 'definition', value: digest.slice(0, 16), isNot: false }]) })}>
      calls under {plain(short(digest))}
    </a>
  );
}

function Definitions({ all }: { all: readonly DefinitionRow[] }): JSX.Element {
  const sorted = useMemo(() => all.toSorted((a, b) => a.firstIndex - b.firstIndex), [all]);
  const [left, setLeft] = useState(Math.max(0, sorted.length - 2));
  const [right, setRight] = useState(sorted.length - 1);
  const a = sorted[left];
  const b = sorted[right];
  const leftLines = useMemo(() => (a === undefined ? [] : linesOf(a.text)), [a]);
  const rightLines = useMemo(() => (b === undefined ? [] : linesOf(b.text)), [b]);
  if (a === undefined || b === undefined) return <Empty>No definition of it was recorded.</Empty>;
  if (sorted.length === 1) {
    const json = readJson([{ text: a.text }]);
    return (
      <>
        <p class="faint">
          {nameOf(a)}; it did not change. <CallsUnder definition={a} />
        </p>
        <div class="tree">{json === undefined ? <LongText>{a.text}</LongText> : <Tree json={json} />}</div>
      </>
    );
  }
  const choose = (value: number, set: (value: number) => void, label: string): JSX.Element => (
    <label>
      <span class="faint">{label}</span>{' '}
      <select value={value} onChange={(event) => set(Number(event.currentTarget.value))}>
        {sorted.map((definition, index) => (
          <option key={definition.digest} value={index}>
            {nameOf(definition)}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <>
      <p class="chosen">
        <Mark shape="flagged">{counted(sorted.length, 'definition')}</Mark>
        {choose(left, setLeft, 'before')}
        {choose(right, setRight, 'after')}
      </p>
      <p class="faint">
        <CallsUnder definition={a} />
        {a === b ? null : (
          <>
            {' · '}
            <CallsUnder definition={b} />
          </>
        )}
      </p>
      <Diff left={leftLines} right={rightLines} names={[nameOf(a), nameOf(b)]} />
    </>
  );
}
