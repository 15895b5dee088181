/** What `sworn verify` says of whatever it checked: the verdict in one sentence, what it is about, and what was and was not checked. */
import { styleText } from 'node:util';
import type { Exit } from '../verify/finding.ts';
import { visible, type Output } from './output.ts';

/** The sentence about evidence that somebody gave us. `holds`: what is so, if it is; `worst`: what speaks against it. */
export function headlineOf(exit: Exit, holds: string, worst: string): string {
  switch (exit) {
    case 0:
      return `HOLDS: ${holds}.`;
    case 1:
      return `TAMPERED: ${worst}.`;
    case 4:
      return `HOLDS, but the policy is not met: ${worst}; ${holds}.`;
    case 5:
      return `ROLLED BACK OR FORKED: ${worst}.`;
    default:
      return `CANNOT CONCLUDE: ${worst}.`;
  }
}

export class VerdictText {
  readonly #lines: string[];

  constructor(exit: Exit, headline: string, output: Pick<Output, 'color'>) {
    const style = exit === 0 ? 'green' : exit === 1 || exit === 5 ? 'red' : 'yellow';
    const first = visible(headline);
    this.#lines = [output.color ? styleText(style, first, { validateStream: false }) : first, ''];
  }

  say(name: string, value: string): void {
    this.#lines.push(`${name.padEnd(12)}${visible(value)}`);
  }

  /** Lines that may be shown as they are. */
  section(title: string, lines: readonly string[]): void {
    if (lines.length > 0) this.#lines.push('', title, ...lines);
  }

  /** The whole text: what was checked, and what was not, is always told. */
  end(checked: readonly string[], notChecked: readonly string[]): string {
    this.section(
      'Checked',
      (checked.length > 0 ? checked : ['nothing']).map((line) => `  ${visible(line)}`),
    );
    this.#lines.push('', 'Not checked', ...notChecked.map((line) => `  ${visible(line)}`), '');
    return this.#lines.join('\n');
  }
}
