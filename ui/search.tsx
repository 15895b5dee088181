/** The line in which people narrow what they see, in the words of `sworn log`'s flags, and the chips that say what a view is narrowed to. */
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { FilterProblem, parseFilter, words } from '../src/analysis/filter.ts';
import { span } from './figures.ts';
import { link, narrowedLink, range, route, setQuery } from './route.ts';
import { plain, Text } from './text.tsx';

/** What is wrong with a line; `undefined`: it is a filter. */
export function problemOf(line: string): string | undefined {
  try {
    parseFilter(line, Date.now());
    return undefined;
  } catch (error) {
    if (error instanceof FilterProblem) return error.message;
    throw error;
  }
}

export function Search(): JSX.Element {
  const { filter = '' } = range.value;
  const [text, setText] = useState(filter);
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    setText(filter);
    setProblem(filter === '' ? undefined : problemOf(filter));
  }, [filter]);
  return (
    <form
      class="search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        const line = text.trim();
        const wrong = problemOf(line);
        setProblem(wrong);
        if (wrong !== undefined) return;
        const { view } = route.peek();
        if (view === 'calls' || view === 'entries') setQuery({ filter: line === '' ? undefined : line, open: undefined }, true);
        else location.hash = narrowedLink('calls', [], { filter: line === '' ? undefined : line });
        input.current?.blur();
      }}
    >
      <label class="unseen" for="search">
        Filter of calls
      </label>
      <input
        id="search"
        ref={input}
        value={text}
        placeholder="Search: tool:get_* effect:sensitive salary"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        aria-invalid={problem !== undefined}
        aria-describedby="search-problem"
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape') {
            event.preventDefault();
            setText(filter);
            event.currentTarget.blur();
          }
        }}
      />
      <kbd aria-hidden="true">/</kbd>
      <span id="search-problem" class="problem" role="status">
        {problem === undefined ? null : <Text most={300}>{problem}</Text>}
      </span>
    </form>
  );
}

/** What everything on the page is narrowed to, each with a way to take it away. */
export function Narrowed(): JSX.Element | null {
  const { since, until, filter, ledger } = range.value;
  const chips: [string, string, Record<string, undefined>][] = [];
  if (since !== undefined || until !== undefined) {
    const words = since !== undefined && until !== undefined ? span(since, until) : since === undefined ? `until ${until}` : `since ${since}`;
    chips.push(['time', words, { since: undefined, until: undefined }]);
  }
  if (filter !== undefined) chips.push(['filter', filter, { filter: undefined }]);
  if (ledger !== undefined) chips.push(['ledger', ledger.slice(0, 8), { ledger: undefined }]);
  if (chips.length === 0) return null;
  return (
    <p class="chips">
      <span class="faint">Narrowed to</span>
      {chips.map(([name, value, without]) => (
        <span key={name} class="chip">
          <span class="faint">{name}</span> <Text most={120}>{value}</Text>
          <button type="button" class="quiet" aria-label={`no longer narrow by ${name}: ${plain(value, 60)}`} onClick={() => setQuery(without, true)}>
            ×
          </button>
        </span>
      ))}
      <a href={link(route.value.view, route.value.parts)}>show everything</a>
    </p>
  );
}

/** The words that a filter knows, for those who wonder. */
export function FilterWords(): JSX.Element {
  return (
    <details class="filterwords">
      <summary>Words of a filter</summary>
      <dl class="facts">
        {Object.entries(words).map(([word, { does, values }]) => (
          <div key={word}>
            <dt>
              <code>{word}:</code>
            </dt>
            <dd>
              {does}
              {values === undefined ? null : <span class="faint"> {values.join(' · ')}</span>}
            </dd>
          </div>
        ))}
      </dl>
      <p>
        A word may stand several times: one of its values must fit. <code>-tool:x</code> leaves out. Everything else is looked for as text, in{' '}
        <code>"…"</code> with blanks.
      </p>
    </details>
  );
}
