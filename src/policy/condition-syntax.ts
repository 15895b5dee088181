/**
 * From the text of a condition to its expression, or to what is wrong with the text, in words for who wrote it.
 */
import { parse } from '@bufbuild/cel';

/** An expression that cannot be a condition. The message says what is wrong and where, in characters from 1. */
export class ConditionError extends Error {
  override readonly name = 'ConditionError';
  /** In UTF-16 units from the start of the expression. */
  readonly offset: number;

  constructor(message: string, text: string, offset: number) {
    const before = text.slice(0, offset).split('\n');
    const column = before.at(-1)!.length + 1;
    super(`${message} (${before.length > 1 ? `line ${before.length}, ` : ''}character ${column})`);
    this.offset = offset;
  }
}

/** Of an expression, in UTF-16 units. */
const conditionChars = 8_192;

export type Expr = ReturnType<typeof parse>['expr'];
export type Parsed = ReturnType<typeof parse>;

export function parsed(text: string): Parsed {
  if (text.length > conditionChars) throw new ConditionError(`a condition has at most ${conditionChars} characters`, text, conditionChars);
  let result: Parsed;
  try {
    result = parse(text);
  } catch (error) {
    throw syntaxError(text, error as Error & { location?: { start: { offset: number } }; rawMessage?: string });
  }
  return result;
}

/** The parser tells where the last thing that it understood ends, which for a missing quote or bracket is far from the cause. */
function syntaxError(text: string, error: Error & { location?: { start: { offset: number } }; rawMessage?: string }): ConditionError {
  if (text.trim() === '') return new ConditionError('syntax: the condition is empty', text, 0);
  const open = unclosed(text);
  if (open !== undefined) return new ConditionError(`syntax: ${text[open]} has no partner`, text, open);
  if (error instanceof RangeError) return new ConditionError('syntax: too deeply nested', text, 0);
  const offset = error.location?.start.offset ?? 0;
  const raw = error.rawMessage ?? error.message;
  // "expecting" names every token that the grammar knows
  if (!raw.startsWith('found ')) return new ConditionError(`syntax: ${raw}`, text, offset);
  const rest = text.slice(offset, offset + 20).split('\n')[0]!;
  const hint = /^\s*=(?!=)/.test(rest) ? '; CEL compares with ==' : /^\s*(?:and|or|not)\b/i.test(rest) ? '; CEL writes &&, || and !' : '';
  return new ConditionError(
    rest.trim() === '' ? 'syntax: the expression ends too early' : `syntax: cannot be read from "${rest}" on${hint}`,
    text,
    offset,
  );
}

/** The first bracket or quote without a partner. */
function unclosed(text: string): number | undefined {
  const open: number[] = [];
  // a comment, a text between one or three quotes with escapes or, after r, without, or a bracket
  const token = /\/\/[^\n]*|[rR][bB]?("""|'''|["'])|[bB]?("""|'''|["'])|[()[\]{}]/g;
  for (let found = token.exec(text); found; found = token.exec(text)) {
    const quote = found[1] ?? found[2];
    const at = found.index;
    if (quote !== undefined) {
      let end = token.lastIndex;
      while (end < text.length && !text.startsWith(quote, end)) {
        if (quote.length === 1 && text[end] === '\n') return at;
        end += text[end] === '\\' && found[1] === undefined ? 2 : 1;
      }
      if (end >= text.length) return at;
      token.lastIndex = end + quote.length;
    } else if ('([{'.includes(found[0])) {
      open.push(at);
    } else if (found[0].length === 1) {
      const partner = open.pop();
      if (partner === undefined || '([{'.indexOf(text[partner]!) !== ')]}'.indexOf(found[0])) return partner ?? at;
    }
  }
  return open.at(-1);
}
