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
  ['esc', 'leave the search, close this'],
  ['?', 'this help'],
];

const places: Readonly<Record<string, string>> = { o: 'overview', s: 'sessions', c: 'calls', t: 'tools', n: 'entities', f: 'findings', v: 'verify' };

export function followKeys(): void {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target as Element | null;
    if (target?.closest('input,textarea,select') !== null && target !== null) return;
    if (event.key === 'Escape' || isHelpOpen.value) {
      if (event.key === 'Escape' || event.key === '?') isHelpOpen.value = false;
      return;
    }
    if (event.key === '/') document.querySelector<HTMLInputElement>('#search')?.focus();
    else if (event.key === 'j' || event.key === 'k') movable()?.move(event.key === 'j' ? 1 : -1);
    else if (event.key === 'e') movable()?.openAll();
    else if (event.key === '?') isHelpOpen.value = true;
    else if (Object.hasOwn(places, event.key)) location.hash = narrowedLink(places[event.key]!);
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
        {keys.map(([key, does]) => (
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
