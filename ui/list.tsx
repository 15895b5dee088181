/**
 * Long lists: 100,000 rows and more, of which the page holds those that are seen. Rows are asked for in pages when they come into sight. Every row has one height, except opened
 * ones, which are measured; the list scrolls with the page, so that a phone's and a browser's own ways of scrolling work.
 */
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Page } from '../src/analysis/views.ts';
import { useTail } from './ask.ts';
import { count } from './figures.ts';
import { Empty, Icon } from './parts.tsx';
import { Text } from './text.tsx';

const pageRows = 200;
/** Pages that are kept: 10,000 rows. */
const pagesMost = 50;
/** No browser scrolls reliably beyond some 17 million pixels. */
const rowsMost = 400_000;
const overscan = 8;

type Ask<Row> = (offset: number, limit: number) => Promise<Page<Row>>;

/** Orders in which what is new comes first. */
const newest: ReadonlySet<string> = new Set(['-beganAt', '-index', '-time', '-openedAt']);
/** So often a page is asked for again because rows came in front of it meanwhile. */
const shiftsMost = 4;

/** The rows of a list as they stood when its first page came: what comes in front of them later moves none. */
class Pages<Row> {
  total: number | undefined;
  error: Error | undefined;
  readonly #pages = new Map<number, Row[] | 'asked'>();
  /** Where each row stands that was read. */
  readonly #places = new Map<string, number>();
  readonly #ask: Ask<Row>;
  readonly #changed: () => void;
  readonly #keyOf: (row: Row) => string;
  readonly #growsAbove: boolean;
  readonly #rows: number;
  /** Rows that came in front since. */
  #shift = 0;

  /** `growsAbove`: what is new comes first. `most`: no page has more rows. */
  constructor(ask: Ask<Row>, keyOf: (row: Row) => string, changed: () => void, growsAbove: boolean, most = pageRows) {
    this.#rows = Math.min(pageRows, most);
    this.#keyOf = keyOf;
    this.#growsAbove = growsAbove;
    this.#ask = ask;
    this.#changed = changed;
  }

  get(index: number): Row | undefined {
    const page = this.#pages.get(Math.floor(index / this.#rows));
    return page === undefined || page === 'asked' ? undefined : page[index % this.#rows];
  }

  placeOf(key: string): number | undefined {
    return this.#places.get(key);
  }

  /** Whether all rows are here that are there between two places. */
  has(from: number, to: number): boolean {
    if (this.total === undefined) return false;
    for (let index = from; index < Math.min(to, this.total); index++) if (this.get(index) === undefined) return false;
    return true;
  }

  /** A page as it was when the first one came. */
  async #read(number: number): Promise<Row[]> {
    const offset = number * this.#rows;
    for (let tries = 0; ; tries++) {
      const { rows, total } = await this.#ask(offset + this.#shift, this.#rows);
      this.total ??= total;
      const shift = this.#growsAbove ? Math.max(0, total - this.total) : 0;
      if (shift === this.#shift || tries === shiftsMost) return rows;
      this.#shift = shift;
    }
  }

  want(from: number, to: number): void {
    const rows = this.#rows;
    for (let number = Math.floor(from / rows); number <= Math.floor(Math.max(from, to - 1) / rows); number++) {
      if (this.#pages.has(number)) continue;
      this.#pages.set(number, 'asked');
      this.#read(number).then(
        (page) => {
          this.#pages.set(number, page);
          for (const [at, row] of page.entries()) this.#places.set(this.#keyOf(row), number * rows + at);
          for (const old of this.#pages.keys()) {
            if (this.#pages.size <= pagesMost) break;
            const rows = this.#pages.get(old)!;
            if (old === number || rows === 'asked') continue;
            for (const row of rows) this.#places.delete(this.#keyOf(row));
            this.#pages.delete(old);
          }
          this.#changed();
        },
        (error: unknown) => {
          this.#pages.delete(number);
          this.error = error instanceof Error ? error : new Error(String(error));
          this.#changed();
        },
      );
    }
  }
}

export interface Column<Row> {
  /** Stable, and the name of its CSS class. */
  name: string;
  title: string;
  /** Behind a number on a phone, where it reads otherwise than the title: `1 call`. */
  titleOf?: (row: Row) => string;
  /** Field to sort by; absent: not sortable. */
  sort?: string;
  isNumber?: true;
  cell: (row: Row) => ComponentChildren;
}

interface ListProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  ask: Ask<Row>;
  /** What the question depends on. */
  about: readonly unknown[];
  /** Another one: the same is asked again. */
  edition?: number;
  keyOf: (row: Row) => string;
  /** Where enter leads; absent: it opens `detail`. */
  hrefOf?: (row: Row) => string;
  detail?: (row: Row) => ComponentChildren;
  opened?: readonly string[];
  onOpen?: (keys: string[]) => void;
  sort?: string | undefined;
  onSort?: (sort: string) => void;
  toneOf?: (row: Row) => string;
  empty: ComponentChildren;
  /** At most so many rows, for the first screen. */
  most?: number;
}

/** What j, k and e move: the list that was drawn last or touched last. */
export interface Movable {
  move(step: number): void;
  openAll(): void;
}
/** Lists on the page whose newest rows come first. */
let growingAbove = 0;
export function growsAbove(): boolean {
  return growingAbove > 0;
}

const lists = new Set<Movable>();
let touched: Movable | undefined;
export function movable(): Movable | undefined {
  return touched !== undefined && lists.has(touched) ? touched : [...lists].at(-1);
}

/** What this view's j, k and e move, while it is drawn. */
export function useMovable(now: Movable): void {
  const latest = useRef(now);
  latest.current = now;
  useEffect(() => {
    const mine: Movable = { move: (step) => latest.current.move(step), openAll: () => latest.current.openAll() };
    lists.add(mine);
    return () => void lists.delete(mine);
  }, []);
}

const cardHeight = 76;
const lineHeight = 32;

function heightOfRows(): number {
  return matchMedia('(max-width: 720px)').matches ? cardHeight : lineHeight;
}

export function List<Row>(props: ListProps<Row>): JSX.Element {
  const { columns, keyOf, hrefOf, detail, opened = [], onOpen, label, empty, most } = props;
  const [, redraw] = useState(0);
  const again = (): void => redraw((n) => n + 1);
  const about = JSON.stringify(props.about);
  const tail = useTail(props.ask);
  const isNewestFirst = newest.has(props.sort ?? '');
  const pages = useMemo(() => new Pages(tail.ask, keyOf, again, isNewestFirst, most), [about, tail.key, props.edition]);
  const shownBefore = useRef<Pages<Row> | undefined>(undefined);
  const body = useRef<HTMLDivElement>(null);
  /** Of opened details, by the key of their row. */
  const heights = useRef(new Map<string, number>());
  const [rowHeight, setRowHeight] = useState(heightOfRows);
  const [top, setTop] = useState(0);
  const [current, setCurrent] = useState(-1);
  /** Whose row that is: it stays the current one where others come in front of it. */
  const currentKey = useRef<string | undefined>(undefined);
  /** What was in sight when this was drawn last. */
  const sight = useRef({ first: 0, last: 1 });
  const focusWanted = useRef(false);

  // another question: what was scrolled to is no more, and its answer begins at the top
  const asked = useRef(about);
  if (asked.current !== about) sight.current = { first: 0, last: sight.current.last - sight.current.first };
  // until all that is seen is there, of which the new answer may have less, the rows of the old one stay; also where the new one fails
  const isReady = pages.has(sight.current.first, sight.current.last);
  const source = !isReady && shownBefore.current !== undefined ? shownBefore.current : pages;
  if (source === pages && pages.total !== undefined && shownBefore.current !== pages) {
    shownBefore.current = pages;
    const place = currentKey.current === undefined ? undefined : pages.placeOf(currentKey.current);
    if (place !== undefined && place !== current) setCurrent(place);
  }
  const total = Math.min(source.total ?? 0, rowsMost, most ?? rowsMost);

  useEffect(() => {
    pages.want(sight.current.first, sight.current.last);
  }, [pages]);
  useEffect(() => {
    if (!isNewestFirst) return undefined;
    growingAbove++;
    return () => void growingAbove--;
  }, [isNewestFirst]);

  useEffect(() => {
    if (asked.current === about) return;
    asked.current = about;
    currentKey.current = undefined;
    heights.current.clear();
    const above = body.current?.getBoundingClientRect().top ?? 0;
    if (above < 0) scrollBy(0, above - 120);
  }, [about]);

  useEffect(() => {
    const onScroll = (): void => setTop(Math.max(0, -(body.current?.getBoundingClientRect().top ?? 0)));
    const onSize = (): void => {
      setRowHeight(heightOfRows());
      onScroll();
    };
    onScroll();
    addEventListener('scroll', onScroll, { passive: true });
    addEventListener('resize', onSize);
    return () => {
      removeEventListener('scroll', onScroll);
      removeEventListener('resize', onSize);
    };
  }, []);

  const openRows = useMemo(() => new Set(opened), [opened.join(' ')]);
  const extras = [...openRows]
    .map((name) => [source.placeOf(name) ?? total, heights.current.get(name) ?? 0] as const)
    .filter(([index, height]) => index < total && height > 0)
    .sort((a, b) => a[0] - b[0]);
  const startOf = (index: number): number => {
    let start = index * rowHeight;
    for (const [at, extra] of extras) if (at < index) start += extra;
    return start;
  };
  const height = startOf(total);
  const indexAt = (offset: number): number => {
    let low = 0;
    let high = total;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (startOf(middle) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  const first = Math.max(0, indexAt(top) - overscan);
  const last = Math.min(total, indexAt(top + innerHeight) + overscan);
  sight.current = { first, last: Math.max(last, first + 1) };

  useEffect(() => {
    if (total > 0) source.want(first, last);
  }, [source, first, last, total]);

  const choose = (index: number): void => {
    setCurrent(index);
    const row = source.get(index);
    currentKey.current = row === undefined ? undefined : keyOf(row);
  };
  const toggle = (row: Row): void => {
    const name = keyOf(row);
    if (openRows.has(name)) {
      heights.current.delete(name);
      // nobody reads it any more
      (document.activeElement as HTMLElement | null)?.blur();
    }
    onOpen?.(openRows.has(name) ? opened.filter((one) => one !== name) : [...opened, name]);
  };

  const self = useRef<Movable>({ move: () => {}, openAll: () => {} });
  self.current.move = (step) => {
    if (total === 0) return;
    const next = Math.max(0, Math.min(total - 1, current + step));
    focusWanted.current = true;
    choose(next);
    const list = body.current?.getBoundingClientRect().top ?? 0;
    const at = list + startOf(next);
    if (at < 90) scrollBy(0, at - 90);
    else if (at + rowHeight > innerHeight - 20) scrollBy(0, at + rowHeight - innerHeight + 20);
  };
  self.current.openAll = () => {
    if (detail === undefined) return;
    const keys: string[] = [];
    for (let index = first; index < Math.min(last, first + 50); index++) {
      const row = source.get(index);
      if (row !== undefined) keys.push(keyOf(row));
    }
    const isAllOpen = keys.every((name) => openRows.has(name));
    if (isAllOpen) heights.current.clear();
    onOpen?.(isAllOpen ? [] : keys);
  };
  useEffect(() => {
    const mine = self.current;
    lists.add(mine);
    return () => void lists.delete(mine);
  }, []);
  useLayoutEffect(() => {
    if (!focusWanted.current) return;
    const row = body.current?.querySelector<HTMLElement>(`[data-at="${current}"]`);
    if (row === null || row === undefined) return;
    focusWanted.current = false;
    row.focus({ preventScroll: true });
  });

  if (source.error !== undefined && source.total === undefined)
    return (
      <div class="broken" role="alert">
        <Icon shape="error" /> <Text>{source.error.message}</Text>
      </div>
    );
  if (source.total === undefined)
    return (
      <div class="waiting" role="status">
        Reading the records …
      </div>
    );
  if (total === 0) return <Empty>{empty}</Empty>;

  const rows: JSX.Element[] = [];
  for (let index = first; index < last; index++) {
    const row = source.get(index);
    const at = startOf(index);
    const place = { transform: `translateY(${at}px)` };
    if (row === undefined) {
      rows.push(
        <div key={`gap ${index}`} class="row pending" style={place} role="row" aria-rowindex={index + 2}>
          <span role={detail === undefined ? 'cell' : 'gridcell'} class="unseen">
            being read
          </span>
        </div>,
      );
      continue;
    }
    const name = keyOf(row);
    const isOpen = detail !== undefined && openRows.has(name);
    const href = hrefOf?.(row);
    const act = (): void => {
      choose(index);
      touched = self.current;
      if (href !== undefined) location.hash = href;
      else toggle(row);
    };
    rows.push(
      <div key={name} class={`item ${isOpen ? 'open' : ''}`} style={place} role="presentation">
        <div
          class={`row ${props.toneOf?.(row) ?? ''}`}
          role="row"
          aria-rowindex={index + 2}
          aria-expanded={detail === undefined ? undefined : isOpen}
          data-at={index}
          tabIndex={index === current || (current < first && index === first) || (current >= last && index === first) ? 0 : -1}
          onFocus={() => {
            choose(index);
            touched = self.current;
          }}
          onClick={(event) => {
            if ((event.target as Element).closest('a,button') === null && getSelection()?.isCollapsed !== false) act();
          }}
          onKeyDown={(event) => {
            if ((event.key === 'Enter' || event.key === ' ') && event.target === event.currentTarget) {
              event.preventDefault();
              act();
            }
          }}
        >
          {columns.map((column) => (
            <div
              key={column.name}
              role={detail === undefined ? 'cell' : 'gridcell'}
              class={`cell ${column.name} ${column.isNumber ? 'number' : ''}`}
              data-title={column.titleOf?.(row) ?? column.title}
            >
              {column.cell(row)}
            </div>
          ))}
        </div>
        {isOpen ? (
          <Measured
            onHeight={(measured) => {
              if (heights.current.get(name) === measured) return;
              heights.current.set(name, measured);
              again();
            }}
          >
            {detail(row)}
          </Measured>
        ) : null}
      </div>,
    );
  }

  return (
    <div
      class={`list ${detail === undefined ? '' : 'opens'}`}
      role={detail === undefined ? 'table' : 'treegrid'}
      aria-label={label}
      aria-rowcount={(source.total ?? 0) + 1}
    >
      <div class="head" role="rowgroup">
        <div class="row" role="row" aria-rowindex={1}>
          {columns.map((column) => (
            <Head key={column.name} column={column} sort={props.sort} onSort={props.onSort} />
          ))}
        </div>
      </div>
      <div class="body" role="rowgroup" ref={body} style={{ height: `${height}px` }}>
        {rows}
      </div>
      {source.error === undefined ? null : (
        <p class="broken" role="alert">
          <Icon shape="error" /> <Text>{source.error.message}</Text>
        </p>
      )}
      {source.total > rowsMost ? <p class="note">The first {count(rowsMost)} are shown. Narrow the time or the filter to see the others.</p> : null}
    </div>
  );
}

function Head<Row>({
  column,
  sort,
  onSort,
}: {
  column: Column<Row>;
  sort: string | undefined;
  onSort: ((sort: string) => void) | undefined;
}): JSX.Element {
  const { name, title, sort: field, isNumber } = column;
  const by = sort?.replace(/^-/, '') === field && field !== undefined ? (sort?.startsWith('-') ? 'descending' : 'ascending') : undefined;
  return (
    <div role="columnheader" class={`cell ${name} ${isNumber ? 'number' : ''}`} aria-sort={by}>
      {field === undefined || onSort === undefined ? (
        title
      ) : (
        <button
          type="button"
          class="sort"
          onClick={() => onSort(by === 'descending' ? field : by === 'ascending' ? `-${field}` : isNumber ? `-${field}` : field)}
        >
          {title}
          <span aria-hidden="true">{by === undefined ? '' : by === 'descending' ? ' ↓' : ' ↑'}</span>
        </button>
      )}
    </div>
  );
}

/** Says how high its content is, whenever that changes. */
function Measured({ children, onHeight }: { children: ComponentChildren; onHeight: (height: number) => void }): JSX.Element {
  const element = useRef<HTMLDivElement>(null);
  const said = useRef(onHeight);
  said.current = onHeight;
  useLayoutEffect(() => {
    const { current } = element;
    if (current === null) return undefined;
    const observer = new ResizeObserver(() => said.current(current.offsetHeight));
    observer.observe(current);
    said.current(current.offsetHeight);
    return () => observer.disconnect();
  }, []);
  return (
    <div class="detail" role="row" ref={element}>
      <div role="gridcell">{children}</div>
    </div>
  );
}
