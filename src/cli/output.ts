/**
 * All text that the reading commands show: colours, columns, sizes, durations, and the one place where untrusted text becomes harmless. Names, results and
 * URIs come from strangers: nothing of them may move the cursor, change colours, reorder a line or hide in it.
 */
import { styleText } from 'node:util';
import { beyondAscii, harmful, visible } from '../bytes/visible.ts';
import { SwornError } from '../errors.ts';

export { visible } from '../bytes/visible.ts';

export interface Output {
  /** To stdout, soon: at the latest when the event loop turns. */
  out(text: string): void;
  /** To stderr. */
  err(text: string): void;
  readonly isTTY: boolean;
  readonly color: boolean;
  /** Width of the terminal; `Infinity` where there is none. */
  readonly columns: number;
  /** Resolves when what was written is on its way, so that a slow reader slows us down. */
  drained?(): Promise<void>;
  /** Whoever read our stdout has gone: stop, without an error. */
  readonly closed?: boolean;
}

const flushLength = 16 * 1024;

/** The process's own stdout and stderr. A pipe that is closed at the other end (`sworn log | head`) only sets `closed`. */
export function terminalOutput(stdout: NodeJS.WriteStream = process.stdout, stderr: NodeJS.WriteStream = process.stderr): Output {
  let closed = false;
  let wait: Promise<void> | undefined;
  let pending = '';
  let scheduled = false;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    closed = true;
    if (error.code === 'EPIPE') return;
    // not thrown: Node would end with 1, which says of some commands that something is wrong with a ledger
    const { message, hint, exit } = new SwornError('output', `standard output cannot be written: ${error.message}`);
    stderr.write(errorText(message, hint));
    process.exit(exit);
  });
  // a system call for each line would take longer than making it
  const flush = (): void => {
    const text = pending;
    pending = '';
    if (closed || text === '' || stdout.write(text) || wait !== undefined) return;
    wait = new Promise((resolve) => {
      const done = (): void => {
        stdout.off('drain', done);
        stdout.off('close', done);
        stdout.off('error', done);
        wait = undefined;
        resolve();
      };
      stdout.on('drain', done).on('close', done).on('error', done);
    });
  };
  const isTTY = stdout.isTTY ?? false;
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  return {
    out(text) {
      pending += text;
      if (pending.length >= flushLength) flush();
      else if (!scheduled) {
        scheduled = true;
        setImmediate(() => {
          scheduled = false;
          flush();
        });
      }
    },
    err(text) {
      flush();
      stderr.write(text);
    },
    isTTY,
    color: FORCE_COLOR ? FORCE_COLOR !== '0' : isTTY && !NO_COLOR && TERM !== 'dumb',
    get columns() {
      return isTTY ? stdout.columns || 80 : Number.POSITIVE_INFINITY;
    },
    drained: () => wait ?? Promise.resolve(),
    get closed() {
      return closed;
    },
  };
}

export type Style = Parameters<typeof styleText>[0];

/** `text` in a style where the output has colours. */
export function paint(output: Output, style: Style, text: string): string {
  return output.color && text !== '' ? styleText(style, text, { validateStream: false }) : text;
}

/** Text of several lines: line ends and tabs stay, the rest as `visible`. */
export function visibleLines(text: string): string {
  return text
    .split('\n')
    .map((line) => line.split('\t').map(visible).join('  '))
    .join('\n');
}

/** JSON in which no harmful character is left bare; the same document to every JSON reader. */
export function safeJson(json: string): string {
  if (!beyondAscii.test(json)) return json;
  return json.replace(harmful, (character) =>
    [...Array(character.length).keys()].map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''),
  );
}

/** Columns that text takes: combining marks none, East Asian wide characters and emoji two. */
export function widthOf(text: string): number {
  if (!beyondAscii.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += /\p{M}/u.test(character) ? 0 : isWide(character.codePointAt(0)!) ? 2 : 1;
  return width;
}

function isWide(code: number): boolean {
  return (
    code >= 0x1100 &&
    (code <= 0x115f ||
      (code >= 0x2e80 && code <= 0xa4cf && code !== 0x303f) ||
      (code >= 0xac00 && code <= 0xd7a3) ||
      (code >= 0xf900 && code <= 0xfaff) ||
      (code >= 0xfe30 && code <= 0xfe6f) ||
      (code >= 0xff00 && code <= 0xff60) ||
      (code >= 0xffe0 && code <= 0xffe6) ||
      (code >= 0x1f300 && code <= 0x1faff) ||
      (code >= 0x20000 && code <= 0x3fffd))
  );
}

/** Untrusted text in exactly `width` columns: escaped, cut with `…`, padded. */
export function cell(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const shown = cut(visible(text), width);
  const space = ' '.repeat(Math.max(0, width - widthOf(shown)));
  return align === 'left' ? shown + space : space + shown;
}

/** At most `width` columns of text that is visible already, with `…` where something was left out. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let kept = '';
  let keptWidth = 0;
  for (const character of text) {
    keptWidth += widthOf(character);
    if (keptWidth > width - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

/** `112 B`, `1.2 KiB`, `64 MiB`: three figures at most above bytes. */
export function size(sizeBytes: number): string {
  if (sizeBytes < 1024) return `${sizeBytes} B`;
  let value = sizeBytes;
  for (const unit of ['KiB', 'MiB', 'GiB', 'TiB']) {
    value /= 1024;
    if (value < 999.5 || unit === 'TiB') return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
  }
  return '';
}

/** `850 µs`, `7.0 ms`, `1.2 s`, `2 m 05 s`, `3 h 10 m`, `2 d 4 h`. */
export function duration(us: number): string {
  if (us < 999.5) return `${us.toFixed(0)} µs`;
  const ms = us / 1000;
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  const s = ms / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${s.toFixed(0)} s`;
  const whole = Math.round(s);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} m`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** `1 call`, `12 calls`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** Cut to this many columns. */
  most?: number;
}

/** A table with a heading, columns as wide as their widest cell. Cells may be untrusted. */
export function table(output: Output, columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ title, most }, i) => {
    let widest = widthOf(title);
    for (const row of rows) widest = Math.max(widest, widthOf(visible(row[i] ?? '')));
    return Math.min(widest, most ?? widest);
  });
  const line = (cells: readonly string[]): string =>
    cells
      .map((text, i) => cell(text, widths[i]!, columns[i]!.align))
      .join('  ')
      .trimEnd();
  return [paint(output, 'dim', line(columns.map(({ title }) => title))), ...rows.map(line), ''].join('\n');
}

/** Says what nobody expected, with the stack on lines of its own: it is ours. The exit status. */
export function sayDefect(error: unknown, output: Pick<Output, 'err'>): number {
  const { exit, hint } = new SwornError('internal', '');
  output.err(`sworn: error: ${error instanceof Error ? error.stack : String(error)}\nsworn: hint: ${hint}\n`);
  return exit;
}

/** The two lines of every error. */
export function errorText(message: string, hint: string): string {
  return `sworn: error: ${visible(message)}\nsworn: hint: ${visible(hint)}\n`;
}
