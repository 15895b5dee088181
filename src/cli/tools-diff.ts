/** Two definitions of a tool for the eyes of a person who is to accept one of them. Every character comes from a stranger: what cannot be seen is shown escaped. */
import { definitionChanges, type DefinitionChange } from '../mcp/definition-changes.ts';
import { paint, visible, visibleLines, type Output } from './output.ts';

/** Of one line that changed in part, so much is shown around the part. */
const aroundChars = 60;
/** Of one field, unless all is asked for. */
const fieldChars = 8_000;

/** Field by field: what was (`-`), and what is (`+`). `undefined` for `before`: all of it is new. */
export function definitionDiff(output: Output, before: unknown, after: unknown, isFull = false): string {
  const changes = definitionChanges(before, after);
  if (changes.length === 0) return paint(output, 'dim', '  no field differs in what is stored: a rule left out what does\n');
  return changes.map((change) => changeText(output, change, isFull)).join('');
}

function changeText(output: Output, { path, before, after }: DefinitionChange, isFull: boolean): string {
  const [gone, come] = before === undefined || after === undefined ? [before, after] : differing(before, after);
  const note = before === undefined ? ' (new)' : after === undefined ? ' (gone)' : '';
  const lines = [`  ${paint(output, 'bold', visible(path))}${note}`];
  for (const [sign, text, style] of [
    ['-', gone, 'red'],
    ['+', come, 'green'],
  ] as const) {
    if (text === undefined) continue;
    const isCut = !isFull && text.length > fieldChars;
    for (const one of visibleLines(isCut ? text.slice(0, fieldChars) : text).split('\n')) lines.push(`  ${paint(output, style, `${sign} ${one}`)}`);
    if (isCut) lines.push(paint(output, 'dim', `    … ${text.length - fieldChars} more characters: --full`));
  }
  return `${lines.join('\n')}\n`;
}

/** Without the lines that are the same before and behind what differs, and of one long line without what is far from it. */
function differing(before: string, after: string): [string, string] {
  const old = before.split('\n');
  const now = after.split('\n');
  let same = 0;
  while (same < old.length - 1 && same < now.length - 1 && old[same] === now[same]) same++;
  let behind = 0;
  while (behind < old.length - same - 1 && behind < now.length - same - 1 && old.at(-1 - behind) === now.at(-1 - behind)) behind++;
  const part = (lines: string[]): string => lines.slice(same, lines.length - behind).join('\n');
  const [one, other] = [part(old), part(now)];
  if (one.includes('\n') || other.includes('\n')) return [one, other];
  let head = 0;
  while (head < one.length && head < other.length && one[head] === other[head]) head++;
  let tail = 0;
  while (tail < one.length - head && tail < other.length - head && one.at(-1 - tail) === other.at(-1 - tail)) tail++;
  const from = Math.max(0, head - aroundChars);
  const shown = (text: string): string => {
    const to = text.length - Math.max(0, tail - aroundChars);
    return `${from > 0 ? '…' : ''}${text.slice(from, to)}${to < text.length ? '…' : ''}`;
  };
  return [shown(one), shown(other)];
}
