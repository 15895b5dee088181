/**
 * Where a person is, as the part of the address behind `#`: `#/session/<ledger>/<session>?since=…&open=17`. Every state that is worth sending to somebody is in it. What
 * stands there is untrusted like everything else: a part is only ever compared, looked up or shown as text.
 */
import { computed, signal } from '@preact/signals';
import type { Range } from '../src/analysis/views.ts';

export interface Route {
  view: string;
  parts: string[];
  query: Readonly<Record<string, string>>;
}

/** What narrows a view, carried from view to view. */
const carried = ['ledger', 'since', 'until', 'filter'] as const;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function readRoute(hash: string): Route {
  const [path = '', search = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [view = '', ...parts] = path.split('/').map(decoded);
  const query = new Map<string, string>();
  for (const pair of search === '' ? [] : search.split('&')) {
    const at = pair.indexOf('=');
    if (at > 0) query.set(decoded(pair.slice(0, at)), decoded(pair.slice(at + 1)));
  }
  return { view: view === '' ? 'overview' : view, parts, query: Object.fromEntries(query) };
}

/** Half of a surrogate pair has no encoding: it stands as what decoders put in its place. */
function encoded(part: string | number): string {
  return encodeURIComponent(String(part).replaceAll(/\p{Surrogate}/gu, '\uFFFD'));
}

export function link(view: string, parts: readonly (string | number)[] = [], query: Readonly<Record<string, string | undefined>> = {}): string {
  const path = [view === 'overview' ? '' : view, ...parts].map(encoded).join('/');
  const pairs = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined && pair[1] !== '');
  const search = pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&');
  return `#/${path}${search === '' ? '' : `?${search}`}`;
}

export const route = signal<Route>(readRoute(location.hash));

/** Of the page's address: what the whole view is narrowed to. */
export const range = computed<Range>(() => {
  const narrowed: Range = {};
  for (const name of carried) {
    const value = route.value.query[name];
    if (value !== undefined) narrowed[name] = value;
  }
  return narrowed;
});

/** A link that keeps what the view is narrowed to; `change` wins, `undefined` in it takes something away. */
export function narrowedLink(
  view: string,
  parts: readonly (string | number)[] = [],
  change: Readonly<Record<string, string | undefined>> = {},
): string {
  return link(view, parts, { ...range.value, ...change });
}

/** The same place with other words behind `?`. `isStep`: the back button leads back to before it. */
export function setQuery(change: Readonly<Record<string, string | undefined>>, isStep = false): void {
  const { view, parts, query } = route.peek();
  const hash = link(view, parts, { ...query, ...change });
  if (hash === location.hash) return;
  history[isStep ? 'pushState' : 'replaceState'](null, '', hash);
  route.value = readRoute(hash);
}

export function followAddress(): void {
  const read = (): void => {
    const before = route.peek();
    const now = readRoute(location.hash);
    route.value = now;
    if (before.view !== now.view || before.parts.join('/') !== now.parts.join('/')) scrollTo(0, 0);
  };
  addEventListener('hashchange', read);
  addEventListener('popstate', read);
}
