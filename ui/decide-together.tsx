/** The last look: denying asks for a reason, and several are decided together only as they are listed here. */
import type { JSX } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Signal } from '@preact/signals';
import type { ApprovalRow, ApprovalsBackend } from '../src/analysis/approval-views.ts';
import { decide, isShown, keyOf } from './approvals.ts';
import { count, counted } from './figures.ts';
import { Stepped } from './tree.tsx';
import { Text } from './text.tsx';

export interface Together {
  decision: 'approved' | 'denied';
  rows: readonly ApprovalRow[];
}

export function DecideTogether({ desk, asked }: { desk: ApprovalsBackend; asked: Signal<Together | undefined> }): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState('');
  const wanted = asked.value;
  // at once: what is typed next is a reason, and not keys of the view
  useLayoutEffect(() => {
    if (wanted !== undefined && dialog.current?.open === false) {
      setReason('');
      dialog.current.showModal();
    }
    if (wanted === undefined && dialog.current?.open === true) dialog.current.close();
  }, [wanted]);
  const isDenial = wanted?.decision === 'denied';
  const all = wanted?.rows ?? [];
  // nothing is approved that was not shown
  const rows = isDenial ? all : all.filter(isShown);
  const unseen = all.length - rows.length;
  const [first] = rows;
  const close = (): void => {
    asked.value = undefined;
    document.querySelector<HTMLElement>('.ask.open .askname')?.focus();
  };
  return (
    <dialog ref={dialog} class="deciding" aria-labelledby="deciding" onClose={() => dialog.current?.open === true || close()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (wanted !== undefined) void decide(desk, wanted.decision, rows, reason);
          close();
        }}
      >
        <h2 id="deciding">
          {isDenial ? 'Deny ' : 'Approve '}
          {rows.length === 1 ? <Text most={80}>{first!.tool ?? first!.method}</Text> : counted(rows.length, 'request')}?
        </h2>
        {rows.length < 2 ? null : (
          <ol class="scroll" tabIndex={0} aria-label="Which ones">
            <Stepped
              all={rows}
              draw={(row) => (
                <li key={keyOf(row)}>
                  <b>
                    <Text most={80}>{row.tool ?? row.method}</Text>
                  </b>{' '}
                  <span class="args">
                    <Text most={160}>{row.argumentsText}</Text>
                  </span>
                </li>
              )}
            />
          </ol>
        )}
        {unseen === 0 ? null : (
          <p class="problem">{count(unseen)} of those that are marked say more than their line shows: open each before you approve it.</p>
        )}
        {isDenial ? (
          <label class="reasonfield">
            Reason, told to whoever asked (may be empty)
            <input value={reason} maxLength={1_000} autofocus onInput={(event) => setReason(event.currentTarget.value)} />
          </label>
        ) : null}
        <p class="decide">
          <button type="submit" class={isDenial ? 'deny' : 'approve'} disabled={rows.length === 0} autofocus={!isDenial}>
            {isDenial ? 'Deny' : 'Approve'}
            {rows.length > 1 ? ` ${count(rows.length)}` : ''}
          </button>
          <button type="button" class="quiet" onClick={close}>
            cancel
          </button>
        </p>
      </form>
    </dialog>
  );
}
