/**
 * The live tail: what is new shows by itself as long as that moves nothing that somebody reads; whoever wants stillness pauses it, and is told how much there is.
 */
import { effect, signal } from '@preact/signals';
import { followNews, isFollowed, isNews, news, trouble } from './ask.ts';
import { route } from './route.ts';

/** By a person. */
export const isPaused = signal(false);
/** What is new waits, although nobody paused: somebody reads something that it would move. */
export const isHeld = signal(false);

/** So long after a hand moved nothing moves below it. */
const stillMs = 2_000;
/** How often it is looked whether nobody reads any more. */
const lookMs = 250;
/** What counts as the top or the bottom of a page, in CSS pixels. */
const edge = 40;
/** Of the dashboard's time a page takes one part in six at most, unless that made it wait for more than a second; nobody sees what changes more often than ten times a second. */
const restPerAnswer = 5;
const restMsLeast = 100;
const restMsMost = 1_000;

/** Before what failed is asked again. */
const failedMs = 2_000;

let movedAt = Number.NEGATIVE_INFINITY;
let isPressed = false;

function atTop(): boolean {
  return scrollY <= edge;
}

function atBottom(): boolean {
  return scrollY + innerHeight >= document.documentElement.scrollHeight - edge;
}

/** A row or a finding is open, text is marked, something is typed or drawn over, or the page stands somewhere in its middle. Or nothing on it would show what is new. */
function isRead(): boolean {
  const { view, parts, query } = route.peek();
  return (
    document.hidden ||
    isPressed ||
    !isFollowed() ||
    (query['open'] ?? '') !== '' ||
    (view === 'findings' && parts.length > 0) ||
    getSelection()?.isCollapsed === false ||
    document.querySelector('dialog[open]') !== null ||
    document.activeElement?.closest('main .row[data-at], main form, main .chart') != null ||
    !(atTop() || atBottom())
  );
}

/** Follows from now on. */
export function followTail(): void {
  const moved = (event: Event): void => {
    movedAt = performance.now();
    // also where it was let go and nobody heard it
    if (event instanceof PointerEvent) isPressed = event.buttons !== 0;
  };
  for (const name of ['pointermove', 'pointerdown', 'pointerup', 'pointercancel', 'keydown', 'wheel', 'touchmove'])
    addEventListener(name, moved, { passive: true });
  addEventListener('blur', () => (isPressed = false));
  let timer: number | undefined;
  let isShowing = false;
  let readyAt = 0;

  const look = (inMs: number): void => {
    if (isShowing) return;
    clearTimeout(timer);
    timer = setTimeout(step, inMs);
  };

  const step = (): void => {
    if (!isNews() || isPaused.peek()) {
      isHeld.value = false;
      return;
    }
    isHeld.value = isRead();
    if (isHeld.peek() || performance.now() - movedAt < stillMs) return look(lookMs);
    const now = performance.now();
    if (now < readyAt) return look(readyAt - now);
    isShowing = true;
    // who is at the end of what happened stays there
    const isEnd = atBottom() && !atTop();
    followNews()
      .then((tookMs) => {
        if (isEnd) scrollTo(0, document.documentElement.scrollHeight);
        readyAt = performance.now() + Math.max(trouble.peek() === undefined ? restMsLeast : failedMs, Math.min(restMsMost, tookMs * restPerAnswer));
      })
      .catch(console.error)
      .finally(() => {
        isShowing = false;
        look(0);
      });
  };

  effect(() => {
    if (!isPaused.value && news.value !== undefined) look(0);
  });
  document.addEventListener('visibilitychange', () => look(0));
}
