/** What the calls named: which tool touched which employee, file, table or address; and one of them, every touch in the order of time. */
import type { JSX } from 'preact';
import type { CallRow, EntityRow, TouchRow } from '../../src/analysis/rows.ts';
import type { Matrix } from '../../src/analysis/views.ts';
import { filterLine } from '../../src/analysis/filter.ts';
import { backend, useFollowing } from '../ask.ts';
import { CallName, OpenCall, Who } from '../call.tsx';
import { clock, count, counted, day, span } from '../figures.ts';
import { List, type Column } from '../list.tsx';
import { Empty, Figure, Icon, Mark, State, Waiting } from '../parts.tsx';
import { link, range, route, setQuery } from '../route.ts';
import { Narrowed } from '../search.tsx';
import { plain, Text } from '../text.tsx';

const step = 50;

export function EntitiesView(): JSX.Element {
  const within = range.value;
  const shown = Math.max(step, Math.min(1_000, Number(route.value.query['rows'] ?? step) || step));
  const answer = useFollowing(() => backend().matrix(within, { limit: shown }), ['matrix', within, shown]);
  const matrix = answer.value;
  if (matrix === undefined) return <Waiting answer={answer} />;
  return (
    <>
      <h1>What did they touch, and with which tools?</h1>
      <Narrowed />
      {matrix.entities.length === 0 ? <Empty>No call here named an entity that the rules know.</Empty> : <Grid matrix={matrix} />}
      {matrix.total > matrix.entities.length ? (
        <p class="actions">
          <span class="faint">
            {count(matrix.entities.length)} of {count(matrix.total)}
          </span>
          {shown < 1_000 ? (
            <button type="button" class="quiet" onClick={() => setQuery({ rows: String(Math.min(1_000, shown * 4)) })}>
              show more
            </button>
          ) : (
            <span class="faint">Narrow the time or the filter to see the others.</span>
          )}
        </p>
      ) : null}
    </>
  );
}

function Grid({ matrix }: { matrix: Matrix }): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Tools by entities">
      <table class="matrix">
        <thead>
          <tr>
            <th scope="col">Entity</th>
            {matrix.tools.map((tool) => (
              <th
                key={`${tool.server} ${tool.tool}`}
                scope="col"
                class={tool.sensitive ? 'is-sensitive' : ''}
                title={`${plain(tool.server)}: ${plain(tool.tool)}`}
              >
                <span>
                  <Text most={40}>{tool.tool}</Text>
                </span>
              </th>
            ))}
            <th scope="col">Last</th>
          </tr>
        </thead>
        <tbody>
          {matrix.entities.map((entity, row) => (
            <tr key={`${entity.ledger} ${entity.entity}`}>
              <th scope="row">
                <a href={link('entity', [entity.ledger, entity.entity])}>
                  <EntityName entity={entity} />
                </a>
                {Object.entries(entity.attributes ?? {}).map(([name, value]) => (
                  <span key={name} class="attribute" title={plain(name)}>
                    <Text most={40}>{value}</Text>
                  </span>
                ))}
                {entity.isMissing ? <Mark shape="flagged">does not exist</Mark> : null}
              </th>
              {(matrix.cells[row] ?? []).map((cell, column) => (
                <td key={column}>
                  <Touches cell={cell} />
                </td>
              ))}
              <td class="number">{clock(entity.lastAt)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function EntityName({ entity }: { entity: Pick<EntityRow, 'type' | 'value'> }): JSX.Element {
  return (
    <>
      <span class="faint">
        <Text most={40}>{entity.type}</Text>{' '}
      </span>
      <Text most={100}>{entity.value}</Text>
    </>
  );
}

function Touches({ cell }: { cell: Matrix['cells'][number][number] }): JSX.Element | null {
  const { reads, writes, sensitive } = cell;
  if (reads + writes === 0) return <span class="unseen">none</span>;
  const spoken = [
    reads === 0 ? '' : counted(reads, 'read'),
    writes === 0 ? '' : counted(writes, 'write'),
    sensitive === 0 ? '' : `${count(sensitive)} sensitive`,
  ]
    .filter((word) => word !== '')
    .join(', ');
  return (
    <span class="touch" title={spoken}>
      {reads === 0 ? null : (
        <span class={`tag ${sensitive > 0 ? 'sensitive' : 'read'}`}>
          <Icon shape={sensitive > 0 ? 'sensitive' : 'read'} />
          {reads === 1 ? '' : count(reads)}
        </span>
      )}
      {writes === 0 ? null : (
        <span class="tag write">
          <Icon shape="write" />
          {writes === 1 ? '' : count(writes)}
        </span>
      )}
      <span class="unseen">{spoken}</span>
    </span>
  );
}

interface Touched extends TouchRow {
  of?: CallRow;
}

const columns: readonly Column<Touched>[] = [
  {
    name: 'when',
    title: 'Time',
    cell: (touch) => (
      <>
        <span class="faint day">{day(touch.at).slice(5)}</span> {clock(touch.at)}
      </>
    ),
  },
  {
    name: 'what',
    title: 'Call',
    cell: (touch) => (
      <>
        {touch.of === undefined ? (
          <b class="name">
            <Text most={100}>{touch.tool}</Text>
          </b>
        ) : (
          <CallName call={touch.of} />
        )}
        <span class="args">
          <Text most={120}>{touch.of?.argumentsText ?? touch.path}</Text>
        </span>
      </>
    ),
  },
  { name: 'server', title: 'Server', cell: (touch) => <Text most={40}>{touch.server}</Text> },
  {
    name: 'effect',
    title: 'Touch',
    cell: (touch) => (
      <span class="tags">
        <Mark shape={touch.kind === 'read' || touch.kind === 'write' ? touch.kind : 'unknown'} title={plain(touch.path)}>
          {plain(touch.kind, 20)}
        </Mark>
        {touch.sensitive ? <Mark shape="sensitive">sensitive</Mark> : null}
      </span>
    ),
  },
  { name: 'state', title: 'State', cell: (touch) => (touch.of === undefined ? null : <State call={touch.of} />) },
  {
    name: 'path',
    title: 'Where',
    cell: (touch) => (
      <Text most={60} class="mono">
        {touch.path}
      </Text>
    ),
  },
];

export function EntityView(): JSX.Element {
  const [ledger = '', name = ''] = route.value.parts;
  const answer = useFollowing(() => backend().entity(ledger, name), ['entity', ledger, name]);
  const opened = route.value.query['open']?.split(',') ?? [];
  if (answer.value === undefined)
    return answer.state === 'here' ? (
      <Empty>
        Nothing here touched <Text most={80}>{name}</Text>.
      </Empty>
    ) : (
      <Waiting answer={answer} />
    );
  const { entity, touches, calls, principals } = answer.value;
  const named = new Map(principals.map((principal) => [principal.index, principal]));
  const byIndex = new Map(calls.map((call) => [call.index, call]));
  const rows = touches.map((touch): Touched => {
    const of = byIndex.get(touch.call);
    return of === undefined ? touch : { ...touch, of };
  });
  const filter = (word: 'entity', value: string): string => filterLine([{ word, value, isNot: false }]);
  const tools = [...new Set(touches.map((touch) => touch.tool))];
  return (
    <>
      <header class="story">
        <h1>
          <EntityName entity={entity} />
          {entity.isMissing ? <Mark shape="flagged">does not exist, said a lookup</Mark> : null}
        </h1>
        <p class="faint">{span(entity.firstAt, entity.lastAt)}</p>
        <p class="figures">
          <Figure value={count(entity.reads)} name={entity.reads === 1 ? 'read' : 'reads'} />
          <Figure value={count(entity.writes)} name={entity.writes === 1 ? 'write' : 'writes'} tone={entity.writes > 0 ? 'write' : undefined} />
          <Figure value={count(entity.sensitive)} name="sensitive" tone={entity.sensitive > 0 ? 'sensitive' : undefined} />
          <Figure value={count(entity.sessions)} name={entity.sessions === 1 ? 'session' : 'sessions'} />
        </p>
        <dl class="facts">
          {Object.entries(entity.attributes ?? {}).map(([key, value]) => (
            <div key={key}>
              <dt>
                <Text most={40}>{key}</Text>
              </dt>
              <dd>
                <a href={link('calls', [], { filter: `"${value.replaceAll(/["\\]/g, '\\$&')}"` })}>
                  <Text most={80}>{value}</Text>
                </a>
              </dd>
            </div>
          ))}
          <div>
            <dt>By tool</dt>
            <dd class="touches">
              {tools.slice(0, 20).map((tool) => (
                <a
                  key={tool}
                  href={link('calls', [], {
                    filter: filterLine([
                      { word: 'entity', value: entity.entity, isNot: false },
                      { word: 'tool', value: tool, isNot: false },
                    ]),
                  })}
                >
                  <Text most={60}>{tool}</Text>
                </a>
              ))}
            </dd>
          </div>
          <div>
            <dt>By principal</dt>
            <dd class="touches">
              {[...new Set(touches.flatMap((touch) => touch.who ?? []))].slice(0, 20).map((who) => (
                <a
                  key={who}
                  href={link('calls', [], {
                    filter: filterLine([
                      { word: 'entity', value: entity.entity, isNot: false },
                      { word: 'who', value: String(who), isNot: false },
                    ]),
                  })}
                >
                  {named.has(who) ? <Who principal={named.get(who)!} /> : `entry ${who}`}
                </a>
              ))}
            </dd>
          </div>
        </dl>
      </header>
      <h2>Every touch, in the order of time</h2>
      <List<Touched>
        label="Touches"
        columns={columns}
        ask={(offset, limit) => Promise.resolve({ rows: rows.slice(offset, offset + limit), offset, total: rows.length })}
        about={['touches', ledger, name]}
        edition={rows.length}
        keyOf={(touch) => `${touch.call}:${touch.path}`}
        toneOf={(touch) => `${touch.sensitive ? 'is-sensitive' : ''} ${touch.kind === 'write' ? 'is-write' : ''}`}
        opened={opened}
        onOpen={(keys) => setQuery({ open: keys.length === 0 ? undefined : keys.join(',') })}
        detail={(touch) => <OpenCall ledger={touch.ledger} index={touch.call} />}
        empty="No touch is in these records."
      />
      <p class="actions">
        <a class="quiet" href={link('calls', [], { filter: filter('entity', entity.entity) })}>
          its calls
        </a>
        <a class="quiet" href={link('calls', [], { filter: `"${entity.value.replaceAll(/["\\]/g, '\\$&')}"` })}>
          its value, anywhere
        </a>
      </p>
    </>
  );
}
