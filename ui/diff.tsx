/** Two texts side by side, line by line: what is only in one of them is marked, with a sign and a colour. */
import type { JSX } from 'preact';
import { useMemo } from 'preact/hooks';
import { difference } from './difference.ts';
import { counted } from './figures.ts';
import { Text } from './text.tsx';

/** Same lines around a change that stay in sight. */
const context = 4;

export function Diff({ left, right, names }: { left: readonly string[]; right: readonly string[]; names: readonly [string, string] }): JSX.Element {
  const all = useMemo(() => difference(left, right), [left, right]);
  const changed = all.filter((one) => !one.isSame).length;
  const near = new Set<number>();
  all.forEach((one, index) => {
    if (!one.isSame) for (let i = index - context; i <= index + context; i++) near.add(i);
  });
  const rows: JSX.Element[] = [];
  let hidden = 0;
  const skipped = (at: number): void => {
    if (hidden > 0)
      rows.push(
        <tr key={`hidden ${at}`} class="hidden">
          <td colSpan={2}>{counted(hidden, 'equal line')}</td>
        </tr>,
      );
    hidden = 0;
  };
  all.forEach((one, index) => {
    if (changed > 0 && !near.has(index)) {
      hidden++;
      return;
    }
    skipped(index);
    rows.push(
      <tr key={index} class={one.isSame ? '' : 'changed'}>
        <Side line={one.left} sign={one.isSame ? '' : '−'} name="gone" />
        <Side line={one.right} sign={one.isSame ? '' : '+'} name="come" />
      </tr>,
    );
  });
  skipped(all.length);
  return (
    <div class="diff">
      <p class="faint">{changed === 0 ? 'They are equal.' : `${counted(changed, 'line differs', 'lines differ')}.`}</p>
      <table>
        <thead>
          <tr>
            <th scope="col">{names[0]}</th>
            <th scope="col">{names[1]}</th>
          </tr>
        </thead>
        <tbody>{rows}</tbody>
      </table>
    </div>
  );
}

function Side({ line, sign, name }: { line: string | undefined; sign: string; name: string }): JSX.Element {
  if (line === undefined) return <td class="nothing" />;
  return (
    <td class={sign === '' ? '' : name}>
      <span class="sign">{sign}</span>
      <Text most={2_000}>{line}</Text>
    </td>
  );
}
