/**
 * The one component through which untrusted text reaches the page: always as text nodes, isolated from the direction of what surrounds it, with every control, bidirectional,
 * zero-width and private character drawn as a mark. It is never parsed as HTML, never an address, and never decides a class, a style or an attribute's name.
 */
import { createContext, type ComponentChildren, type JSX } from 'preact';
import { useContext, useState } from 'preact/hooks';
import { beyondAscii, harmful, visible } from '../src/bytes/visible.ts';
import { size } from './figures.ts';

const names: Readonly<Record<number, string>> = {
  0x00: 'NUL',
  0x07: 'BEL',
  0x08: 'BS',
  0x09: 'TAB',
  0x0a: 'LF',
  0x0d: 'CR',
  0x1b: 'ESC',
  0x7f: 'DEL',
  0xad: 'SHY',
  0x61c: 'ALM',
  0x200b: 'ZWSP',
  0x200c: 'ZWNJ',
  0x200d: 'ZWJ',
  0x200e: 'LRM',
  0x200f: 'RLM',
  0x2028: 'LS',
  0x2029: 'PS',
  0x202a: 'LRE',
  0x202b: 'RLE',
  0x202c: 'PDF',
  0x202d: 'LRO',
  0x202e: 'RLO',
  0x2060: 'WJ',
  0x2066: 'LRI',
  0x2067: 'RLI',
  0x2068: 'FSI',
  0x2069: 'PDI',
  0xfeff: 'BOM',
};

const foldAt = 240;
/** Beyond it a text is shown in steps: one text node of many megabytes holds up the page. */
const stepChars = 20_000;

function marked(text: string, keepsLines: boolean): ComponentChildren {
  if (!beyondAscii.test(text)) return text;
  const parts: ComponentChildren[] = [];
  let from = 0;
  for (const found of text.matchAll(harmful)) {
    const character = found[0];
    if (keepsLines && (character === '\n' || character === '\t')) continue;
    if (found.index > from) parts.push(text.slice(from, found.index));
    const code = character.codePointAt(0)!;
    const point = code.toString(16).toUpperCase().padStart(4, '0');
    parts.push(
      <span class="mark" title={`U+${point}${names[code] === undefined ? '' : ` ${names[code]}`}`}>
        {names[code] ?? point}
      </span>,
    );
    from = found.index + character.length;
  }
  if (from === 0) return text;
  parts.push(text.slice(from));
  return parts;
}

interface TextProps {
  /** Untrusted. */
  children: string | undefined;
  /** Line ends stay line ends: only where the element shows them. */
  lines?: boolean;
  /** At most so many characters, without a way to see the rest. */
  most?: number;
  class?: string | undefined;
}

/** Untrusted text, cut at `most`: what may be long is a `LongText`. */
export function Text({ children = '', lines = false, most = 1_000, class: name }: TextProps): JSX.Element {
  const isCut = children.length > most;
  return (
    <bdi class={name}>
      {marked(isCut ? children.slice(0, most) : children, lines)}
      {isCut ? '…' : null}
    </bdi>
  );
}

/** What is below it is drawn whole: nothing folds, and no branch is closed. For what somebody decides about, which is bounded. */
export const Whole = createContext(false);

/** Untrusted text that may be long: folds, and opens in steps. */
export function LongText({ children, lines = true, class: name }: TextProps): JSX.Element {
  const text = children ?? '';
  const isWhole = useContext(Whole);
  const [shown, show] = useState(foldAt);
  if (text.length <= foldAt || isWhole) {
    return (
      <Text lines={lines} class={name} most={Math.max(foldAt, text.length)}>
        {text}
      </Text>
    );
  }
  return (
    <span class={name}>
      <bdi>{marked(text.slice(0, shown), lines)}</bdi>
      {shown < text.length ? (
        <button type="button" class="fold" onClick={() => show(shown === foldAt ? stepChars : shown + stepChars)}>
          … {size(text.length - shown)} more
        </button>
      ) : (
        <button type="button" class="fold" onClick={() => show(foldAt)}>
          fold
        </button>
      )}
    </span>
  );
}

/** Untrusted text for an attribute (`title`, `aria-label`) or the clipboard's neighbour: one line, nothing invisible in it, bounded. */
export function plain(text: string | undefined, most = 200): string {
  const cut = (text ?? '').length > most ? `${(text ?? '').slice(0, most)}…` : (text ?? '');
  return visible(cut);
}
