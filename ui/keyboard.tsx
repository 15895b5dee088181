/** Everything can be done from the keyboard; `?` says how. */
import type { JSX } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { signal } from '@preact/signals';
import { movable } from './list.tsx';
import { narrowedLink } from './route.ts';

export const isHelpOpen = signal(false);

const keys: readonly [string, string][] = [
  ['/', 'search'],
  ['j  k', 'next row, previous row'],
  ['enter', 'open the row'],
  ['e', 'open all that is seen, or close it'],
  ['o  s  c  t  n  f', 'overview, sessions, calls, tools, entities, findings'],
  ['v', 'verify'],
  ['esc', 'leave the search, leave the row, close this'],
  ['?', 'this help'],
];

/** A key of one view, or of a place. */
export interface Key {
  key: string;
  does: string;
  act: () => void;
}

const more = signal<readonly Key[]>([]);

/** Keys that count while a component is drawn, and stand in the help as long. */
export function useKeys(keys: readonly Key[]): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const mine = latest.current.map(({ key, does }) => ({ key, does, act: () => latest.current.find((one) => one.key === key)?.act() }));
    more.value = [...more.peek(), ...mine];
    return () => {
      more.value = more.peek().filter((one) => !mine.includes(one));
    };
  }, [keys.map(({ key }) => key).join(' ')]);
}

const places: Readonly<Record<string, string>> = { o: 'overview', s: 'sessions', c: 'calls', t: 'tools', n: 'entities', f: 'findings', v: 'verify' };

export function followKeys(): void {
  addEventListener('keydown', (event) => {
    const own = more.value.find(({ key }) => key === event.key);
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target as Element | null;
    if (target?.closest('input:not([type=checkbox]),textarea,select,dialog[open]:not([aria-labelledby=help])') !== null && target !== null) return;
    if (event.key === 'Escape' || isHelpOpen.value) {
      // a row that nobody is at any more is held for nobody
      if (!isHelpOpen.value) (document.activeElement as HTMLElement | null)?.blur();
      if (event.key === 'Escape' || event.key === '?') isHelpOpen.value = false;
      return;
    }
    if (event.key === '/') document.querySelector<HTMLInputElement>('#search')?.focus();
    else if (event.key === 'j' || event.key === 'k') movable()?.move(event.key === 'j' ? 1 : -1);
    else if (event.key === 'e') movable()?.openAll();
    else if (event.key === '?') isHelpOpen.value = true;
    else if (own !== undefined) {
      // a key that is held down is one word, not many
      if (!event.repeat) own.act();
    } else if (Object.hasOwn(places, event.key)) location.hash = narrowedLink(places[event.key]!);
    else return;
    event.preventDefault();
  });
}

export function Help(): JSX.Element | null {
  const dialog = useRef<HTMLDialogElement>(null);
  const isOpen = isHelpOpen.value;
  useEffect(() => {
    if (isOpen && dialog.current?.open === false) dialog.current.showModal();
    if (!isOpen && dialog.current?.open === true) dialog.current.close();
  }, [isOpen]);
  return (
    <dialog ref={dialog} aria-labelledby="help" onClose={() => (isHelpOpen.value = false)}>
      <h2 id="help">Keyboard</h2>
      <dl class="facts">
        {[...more.value.map(({ key, does }) => [key, does] as const), ...keys].map(([key, does]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p class="actions">
        <button type="button" class="quiet" onClick={() => (isHelpOpen.value = false)}>
          close
        </button>
      </p>
    </dialog>
  );
}
