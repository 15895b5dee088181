/** A JSON value as a tree that opens on demand. Deep and long values are drawn only as far as somebody looks. */
import type { JSX } from 'preact';
import { useContext, useState } from 'preact/hooks';
import { count } from './figures.ts';
import { missingText, type Json, type Missing, type Part } from './json.ts';
import { LongText, Text, Whole } from './text.tsx';

const childrenStep = 100;

export function MissingMark({ missing }: { missing: Missing }): JSX.Element {
  return (
    <span class="missing">
      <Text>{missingText(missing)}</Text>
    </span>
  );
}

/** Of very many things first some, and more when somebody asks: a server may send any number. */
export function Stepped<One>({ all, draw }: { all: readonly One[]; draw: (one: One, index: number) => JSX.Element }): JSX.Element {
  const isWhole = useContext(Whole);
  const [shown, show] = useState(isWhole ? all.length : childrenStep);
  return (
    <>
      {all.slice(0, shown).map(draw)}
      {shown < all.length ? (
        <button type="button" class="fold" onClick={() => show(shown + childrenStep * 10)}>
          … {count(all.length - shown)} more
        </button>
      ) : null}
    </>
  );
}

export function Parts({ parts }: { parts: readonly Part[] }): JSX.Element {
  return (
    <Stepped
      all={parts}
      draw={(part, index) => (typeof part === 'string' ? <LongText key={index}>{part}</LongText> : <MissingMark key={index} missing={part} />)}
    />
  );
}

export function Tree({ json, depth = 0, name }: { json: Json; depth?: number; name?: JSX.Element | undefined }): JSX.Element {
  if (json.kind === 'object' || json.kind === 'array') return <Branch json={json} depth={depth} name={name} />;
  return (
    <div class="leaf">
      {name}
      {json.kind === 'string' ? (
        <span class="string">
          <Parts parts={json.parts} />
        </span>
      ) : json.kind === 'missing' ? (
        <MissingMark missing={json.missing} />
      ) : (
        <span class="literal">
          <Text most={400}>{json.text}</Text>
        </span>
      )}
    </div>
  );
}

function Branch({
  json,
  depth,
  name,
}: {
  json: Extract<Json, { kind: 'object' | 'array' }>;
  depth: number;
  name: JSX.Element | undefined;
}): JSX.Element {
  const many = json.kind === 'object' ? json.members.length : json.items.length;
  const isWhole = useContext(Whole);
  const [isOpen, open] = useState(isWhole || (depth < 3 && many <= 40));
  const [shown, show] = useState(isWhole ? many : childrenStep);
  const [left, right] = json.kind === 'object' ? '{}' : '[]';
  if (many === 0)
    return (
      <div class="leaf">
        {name}
        <span class="punctuation">
          {left}
          {right}
        </span>
      </div>
    );
  const what = json.kind === 'object' ? (many === 1 ? 'key' : 'keys') : many === 1 ? 'item' : 'items';
  return (
    <div class={`branch ${depth === 0 ? 'root' : ''}`}>
      {depth === 0 && name === undefined ? null : (
        <button type="button" class="twist" aria-expanded={isOpen} onClick={() => open(!isOpen)}>
          {name}
          {isOpen ? null : <span class="punctuation">{`${left} ${count(many)} ${what} ${right}`}</span>}
        </button>
      )}
      {isOpen || (depth === 0 && name === undefined) ? (
        <div class="twigs">
          {json.kind === 'object'
            ? json.members
                .slice(0, shown)
                .map((member, index) => <Tree key={index} json={member.value} depth={depth + 1} name={<Key parts={member.key} />} />)
            : json.items
                .slice(0, shown)
                .map((item, index) => <Tree key={index} json={item} depth={depth + 1} name={<span class="key">{index}</span>} />)}
          {shown < many ? (
            <button type="button" class="fold" onClick={() => show(shown + childrenStep * 10)}>
              … {count(many - shown)} more
            </button>
          ) : null}
        </div>
      ) : null}
    </div>
  );
}

function Key({ parts }: { parts: readonly Part[] }): JSX.Element {
  const isWhole = useContext(Whole);
  return (
    <span class="key">
      <Stepped
        all={parts}
        draw={(part, index) =>
          typeof part === 'string' ? (
            <Text key={index} most={isWhole ? part.length : 120}>
              {part}
            </Text>
          ) : (
            <MissingMark key={index} missing={part} />
          )
        }
      />
    </span>
  );
}
