/** The second secret: typed once, exchanged for a key, and kept nowhere. */
import type { JSX } from 'preact';
import { useRef, useState } from 'preact/hooks';
import type { ApprovalsBackend } from '../src/analysis/approval-views.ts';
import { key, unlock } from './approvals.ts';
import { Icon } from './parts.tsx';
import { Text } from './text.tsx';

/** Somebody wants to decide, and may not yet. */
export function wantSecret(): void {
  document.querySelector<HTMLInputElement>('#secret')?.focus();
}

export function Unlock({ desk, mayUnlock, isSelf }: { desk: ApprovalsBackend; mayUnlock: boolean; isSelf: boolean }): JSX.Element {
  const [problem, setProblem] = useState<string | undefined>(undefined);
  const field = useRef<HTMLInputElement>(null);
  if (key.value !== undefined)
    return (
      <div class="unlock">
        <p>
          <Icon shape="unlocked" /> You can decide: <kbd>a</kbd> approves what is open, <kbd>d</kbd> denies it.
          {isSelf ? ' You have the account of the agent, so it is recorded as self-approved.' : ''}{' '}
          <button type="button" class="quiet" onClick={() => (key.value = undefined)}>
            lock
          </button>
        </p>
      </div>
    );
  if (!mayUnlock)
    return (
      <p class="unlock faint">
        <Icon shape="locked" /> A token only reads. To decide, open the address that `sworn serve` printed.
      </p>
    );
  return (
    <form
      class="unlock"
      onSubmit={(event) => {
        event.preventDefault();
        const secret = field.current?.value ?? '';
        if (secret.trim() === '') return;
        // whatever becomes of it, it does not stay in the page
        field.current!.value = '';
        void unlock(desk, secret).then((found) => {
          setProblem(found);
          if (found === undefined) document.querySelector<HTMLElement>('.ask.open .askname')?.focus();
          else field.current?.focus();
        });
      }}
    >
      <label for="secret">
        <Icon shape="locked" /> Read only. To decide, type the secret that `sworn serve` printed:
      </label>
      <input
        id="secret"
        ref={field}
        type="password"
        autocomplete="off"
        spellcheck={false}
        maxLength={256}
        onKeyDown={(event) => {
          if (event.key === 'Escape') event.currentTarget.blur();
        }}
      />
      <button type="submit">Unlock</button>
      {problem === undefined ? null : (
        <span role="alert" class="problem">
          <Text>{problem}</Text>
        </span>
      )}
    </form>
  );
}
