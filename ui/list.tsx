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

class Pages<Row> {
  total: number | undefined;
  error: Error | undefined;
  readonly #pages = new Map<number, Row[] | 'asked'>();
  readonly #ask: Ask<Row>;
  readonly #changed: () => void;
  readonly #rows: number;

  /** `most`: no page has more rows. */
  constructor(ask: Ask<Row>, changed: () => void, most = pageRows) {
    this.#rows = Math.min(pageRows, most);
    this.#ask = ask;
    this.#changed = changed;
  }

  get(index: number): Row | undefined {
    const page = this.#pages.get(Math.floor(index / this.#rows));
    return page === undefined || page === 'asked' ? undefined : page[index % this.#rows];
  }

  want(from: number, to: number): void {
    const rows = this.#rows;
    for (let number = Math.floor(from / rows); number <= Math.floor(Math.max(from, to - 1) / rows); number++) {
      if (this.#pages.has(number)) continue;
      this.#pages.set(number, 'asked');
      this.#ask(number * rows, rows).then(
        (page) => {
          this.#pages.set(number, page.rows);
          this.total = page.total;
          for (const old of this.#pages.keys()) {
            if (this.#pages.size <= pagesMost) break;
            if (old !== number && this.#pages.get(old) !== 'asked') this.#pages.delete(old);
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
  const pages = useMemo(() => new Pages(tail.ask, again, most), [about, tail.key]);
  const shownBefore = useRef<Pages<Row> | undefined>(undefined);
  const body = useRef<HTMLDivElement>(null);
  const heights = useRef(new Map<number, number>());
  const [rowHeight, setRowHeight] = useState(heightOfRows);
  const [top, setTop] = useState(0);
  const [current, setCurrent] = useState(-1);
  const focusWanted = useRef(false);

  // until the new answer is there the rows of the old one stay
  const source = pages.total === undefined && pages.error === undefined && shownBefore.current !== undefined ? shownBefore.current : pages;
  if (source === pages && pages.total !== undefined) shownBefore.current = pages;
  const total = Math.min(source.total ?? 0, rowsMost, most ?? rowsMost);

  useEffect(() => {
    pages.want(0, 1);
  }, [pages]);

  // another question: what was scrolled to is no more, and its answer begins at the top
  const asked = useRef(about);
  useEffect(() => {
    if (asked.current === about) return;
    asked.current = about;
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
  // heights of opened details, by the position of their row
  const extras = [...heights.current].filter(([index]) => index < total).sort((a, b) => a[0] - b[0]);
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

  useEffect(() => {
    if (total > 0) source.want(first, last);
  }, [source, first, last, total]);

  const toggle = (row: Row, index: number): void => {
    const name = keyOf(row);
    if (openRows.has(name)) heights.current.delete(index);
    onOpen?.(openRows.has(name) ? opened.filter((one) => one !== name) : [...opened, name]);
  };

  const self = useRef<Movable>({ move: () => {}, openAll: () => {} });
  self.current.move = (step) => {
    if (total === 0) return;
    const next = Math.max(0, Math.min(total - 1, current + step));
    focusWanted.current = true;
    setCurrent(next);
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

  if (source.error !== undefined)
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
      setCurrent(index);
      touched = self.current;
      if (href !== undefined) location.hash = href;
      else toggle(row, index);
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
            setCurrent(index);
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
              if (heights.current.get(index) === measured) return;
              heights.current.set(index, measured);
              again();
            }}
          >
            {detail(row)}
          </Measured>
        ) : null}
      </div>,
    );
    if (!isOpen && heights.current.has(index)) heights.current.delete(index);
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
