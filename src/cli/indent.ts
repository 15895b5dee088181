/** JSON as people read it. */

/**
 * JSON text with line ends and indents between its tokens. The tokens stay as they came: duplicate keys, large numbers and escapes are what one wants to
 * see. Text that is no JSON, or only its beginning, comes out readable too, and so does a mark outside of a string.
 */
export function indented(text: string): string {
  if (!/^\s*[[{]/.test(text)) return text;
  const pieces: string[] = [];
  let depth = 0;
  const line = (): string => `\n${'  '.repeat(Math.min(depth, 40))}`;
  for (let at = 0; at < text.length;) {
    const piece = tokenAt(text, at);
    at += piece.length;
    if (piece === '{' || piece === '[') {
      depth++;
      const isEmpty = /^\s*[}\]]/.test(text.slice(at, at + 63));
      pieces.push(isEmpty ? piece : piece + line());
    } else if (piece === '}' || piece === ']') {
      depth = Math.max(0, depth - 1);
      const last = pieces.at(-1);
      pieces.push(last === '{' || last === '[' ? piece : line() + piece);
    } else if (piece === ',') pieces.push(`,${line()}`);
    else if (piece === ':') pieces.push(': ');
    else if (piece.trim() !== '') pieces.push(piece);
  }
  return pieces.join('');
}

const token = /▒▒▒[^▒]*▒▒▒|[{}[\],:]|\s+|[^\s"{}[\],:▒]+|▒/y;

function tokenAt(text: string, at: number): string {
  // by hand: an expression for a string with escapes takes stack for each of its characters
  if (text[at] === '"') {
    let end = at + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    return text.slice(at, end + 1);
  }
  token.lastIndex = at;
  return token.exec(text)![0];
}
