/** Calls over time, stacked by what they did, with a brush: what is drawn over narrows everything below it. Also by keyboard: arrows move it, with shift its end alone. */
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Bucket, Range } from '../src/analysis/views.ts';
import { backend, useFollowing } from './ask.ts';
import { clock, counted, count, day, length, span, zone } from './figures.ts';
import { Icon, Waiting, type Shape } from './parts.tsx';
import { setQuery } from './route.ts';

const height = 72;
/** From the bottom up. A call is in one of them: the worst that is true of it. */
const layers = ['reads', 'other', 'writes', 'sensitive', 'errors', 'blocked'] as const;
type Layer = (typeof layers)[number];
const legend: readonly [Layer, string, Shape][] = [
  ['reads', 'read', 'read'],
  ['writes', 'write', 'write'],
  ['sensitive', 'sensitive', 'sensitive'],
  ['errors', 'error', 'error'],
  ['blocked', 'denied', 'denied'],
  ['other', 'unknown', 'unknown'],
];

const total = (bucket: Bucket): number => layers.reduce((sum, layer) => sum + bucket[layer], 0);

export function Calls({ range, title }: { range: Range; title: string }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(600);
  useLayoutEffect(() => {
    const { current } = box;
    if (current === null) return undefined;
    const observer = new ResizeObserver(() => setWidth(Math.max(200, current.clientWidth)));
    observer.observe(current);
    setWidth(Math.max(200, current.clientWidth));
    return () => observer.disconnect();
  }, []);
  // the whole time stays in sight while a part of it is chosen
  const { since, until, ...whole } = range;
  const wanted = Math.max(24, Math.min(240, Math.floor(width / 8)));
  const answer = useFollowing(() => backend().timeline(whole, wanted), ['timeline', whole, wanted]);
  const timeline = answer.value;
  const [drag, setDrag] = useState<{ from: number; to: number } | undefined>(undefined);
  /** Where the pointer went down; events may come faster than the page is drawn. */
  const start = useRef<number | undefined>(undefined);
  useEffect(() => setDrag(undefined), [since, until]);

  const beginMs = timeline?.buckets[0] === undefined ? 0 : Date.parse(timeline.buckets[0].at);
  const endMs = timeline === undefined ? 0 : beginMs + timeline.buckets.length * timeline.bucketMs;
  const timeAt = (x: number): number => beginMs + (Math.max(0, Math.min(width, x)) / width) * (endMs - beginMs);
  const xOf = (ms: number): number => Math.max(0, Math.min(width, ((ms - beginMs) / Math.max(1, endMs - beginMs)) * width));
  const choose = (from: number, to: number): void => {
    const [low, high] = from < to ? [from, to] : [to, from];
    if (high - low < 4 || timeline === undefined) {
      setQuery({ since: undefined, until: undefined }, true);
      setDrag(undefined);
      return;
    }
    // whole buckets, so that what is counted is what is seen
    const step = timeline.bucketMs;
    const start = beginMs + Math.floor((timeAt(low) - beginMs) / step) * step;
    const end = beginMs + Math.ceil((timeAt(high) - beginMs) / step) * step;
    setQuery({ since: new Date(start).toISOString(), until: new Date(Math.min(end, endMs)).toISOString() }, true);
  };
  const place = (event: PointerEvent): number => event.clientX - (event.currentTarget as Element).getBoundingClientRect().left;

  const most = Math.max(1, ...(timeline?.buckets.map(total) ?? []));
  const buckets = timeline?.buckets ?? [];
  const bar = width / Math.max(1, buckets.length);
  // few bars stay bars, in the middle of their stretch
  const thick = Math.max(1, Math.min(12, bar > 4 ? bar - 1 : bar));
  const chosen =
    drag ??
    (since === undefined && until === undefined
      ? undefined
      : { from: since === undefined ? 0 : xOf(Date.parse(since)), to: until === undefined ? width : xOf(Date.parse(until)) });
  const step = (by: number, isEndAlone: boolean): void => {
    if (timeline === undefined || buckets.length === 0) return;
    const ms = timeline.bucketMs;
    // nothing is chosen yet: the first or the last bar
    const [from, to] =
      since === undefined && until === undefined
        ? by > 0
          ? [beginMs - ms, beginMs]
          : [endMs, endMs + ms]
        : [since === undefined ? beginMs : Date.parse(since), until === undefined ? endMs : Date.parse(until)];
    const end = Math.min(endMs, Math.max(beginMs + ms, to + by * ms));
    const begin = isEndAlone ? Math.min(from, end - ms) : Math.min(endMs - ms, Math.max(beginMs, from + by * ms));
    setQuery({ since: new Date(begin).toISOString(), until: new Date(Math.max(end, begin + ms)).toISOString() });
  };
  const all = buckets.reduce((sum, bucket) => sum + total(bucket), 0);

  return (
    <section class="timeline" aria-label={title}>
      <div class="caption">
        <span class="legend">
          {legend
            .filter(([layer]) => buckets.some((bucket) => bucket[layer] > 0))
            .map(([layer, word, shape]) => (
              <span key={layer} class={`tag ${shape}`}>
                <Icon shape={shape} />
                {count(buckets.reduce((sum, bucket) => sum + bucket[layer], 0))} {word}
              </span>
            ))}
        </span>
        <span class="faint">{timeline === undefined || buckets.length === 0 ? '' : `one bar is ${length(timeline.bucketMs * 1_000)}`}</span>
      </div>
      <div class="chart" ref={box}>
        {answer.value === undefined ? <Waiting answer={answer} /> : null}
        {timeline === undefined ? null : (
          <svg
            width={width}
            height={height}
            viewBox={`0 0 ${width} ${height}`}
            role="slider"
            tabindex={0}
            aria-valuemin={0}
            aria-valuemax={buckets.length}
            aria-valuenow={since === undefined ? 0 : Math.round((Date.parse(since) - beginMs) / timeline.bucketMs)}
            aria-valuetext={
              since === undefined && until === undefined
                ? 'all of it'
                : span(since ?? new Date(beginMs).toISOString(), until ?? new Date(endMs).toISOString())
            }
            onKeyDown={(event) => {
              if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') step(event.key === 'ArrowLeft' ? -1 : 1, event.shiftKey);
              else if (event.key === 'Backspace' || event.key === 'Delete') setQuery({ since: undefined, until: undefined });
              else return;
              event.preventDefault();
            }}
            aria-label={`${counted(all, 'call')} between ${buckets.length === 0 ? 'no time and no time' : span(new Date(beginMs).toISOString(), new Date(endMs).toISOString())}; drag, or use the arrow keys, to choose a stretch`}
            onPointerDown={(event) => {
              if (event.button !== 0) return;
              event.currentTarget.setPointerCapture(event.pointerId);
              start.current = place(event);
              setDrag({ from: start.current, to: start.current });
            }}
            onPointerMove={(event) => {
              if (start.current !== undefined) setDrag({ from: start.current, to: place(event) });
            }}
            onPointerUp={(event) => {
              const from = start.current;
              start.current = undefined;
              if (from !== undefined) choose(from, place(event));
            }}
            onPointerCancel={() => {
              start.current = undefined;
              setDrag(undefined);
            }}
          >
            {buckets.map((bucket, index) => {
              let y = height;
              return layers.map((layer) => {
                const value = bucket[layer];
                if (value === 0) return null;
                // one call among thousands is still to be seen
                const tall = Math.max(2, (value / most) * (height - 6));
                y -= tall;
                return (
                  <rect
                    key={`${index} ${layer}`}
                    class={`bar ${layer}`}
                    x={index * bar + (bar - thick) / 2}
                    y={Math.max(0, y)}
                    width={thick}
                    height={tall}
                  />
                );
              });
            })}
            {chosen === undefined ? null : (
              <>
                <rect class="shade" x={0} y={0} width={Math.min(chosen.from, chosen.to)} height={height} />
                <rect
                  class="shade"
                  x={Math.max(chosen.from, chosen.to)}
                  y={0}
                  width={Math.max(0, width - Math.max(chosen.from, chosen.to))}
                  height={height}
                />
                <line class="edge" x1={chosen.from} x2={chosen.from} y1={0} y2={height} />
                <line class="edge" x1={chosen.to} x2={chosen.to} y1={0} y2={height} />
              </>
            )}
          </svg>
        )}
      </div>
      {buckets.length === 0 ? null : (
        <div class="axis" aria-hidden="true">
          <span>
            {day(new Date(beginMs).toISOString())} {clock(new Date(beginMs).toISOString())}
          </span>
          <span class="faint">{chosen === undefined ? `drag to choose a stretch · times are ${zone.value}` : `times are ${zone.value}`}</span>
          <span>
            {day(new Date(endMs).toISOString()) === day(new Date(beginMs).toISOString()) ? '' : `${day(new Date(endMs).toISOString())} `}
            {clock(new Date(endMs).toISOString())}
          </span>
        </div>
      )}
    </section>
  );
}
