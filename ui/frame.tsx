/** A recorded message: as the parts that a person looks for first, as a tree, and as the text that it was. Images and audio are drawn only on request, and only from the record. */
import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import type { EntryDetail } from '../src/analysis/views.ts';
import { size } from './figures.ts';
import { at, joined, missingText, readJson, type Json } from './json.ts';
import { Copy } from './parts.tsx';
import { LongText, Text } from './text.tsx';
import { MissingMark, Parts, Stepped, Tree } from './tree.tsx';

/** Types that a browser draws without running anything of them: an SVG image could hold a script, and is left out. */
const images: ReadonlySet<string> = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp']);
const sounds: ReadonlySet<string> = new Set([
  'audio/wav',
  'audio/x-wav',
  'audio/mpeg',
  'audio/ogg',
  'audio/webm',
  'audio/flac',
  'audio/mp4',
  'audio/aac',
]);
const mediaCharsMost = 30_000_000;

/** The text of a string node that is all there. */
export function stringOf(json: Json | undefined): string | undefined {
  return json?.kind === 'string' && json.parts.length === 1 && typeof json.parts[0] === 'string' ? json.parts[0] : undefined;
}

export function rawText(detail: EntryDetail): string {
  if (detail.frame === undefined) return '';
  return detail.frame.map((stretch) => ('text' in stretch ? stretch.text : missingText(stretch))).join('');
}

type Look = 'parts' | 'tree' | 'raw';
const looks: readonly [Look, string][] = [
  ['parts', 'content'],
  ['tree', 'JSON'],
  ['raw', 'as recorded'],
];

/** `pick`: the path of what people look for first. */
export function Frame({ detail, title, pick }: { detail: EntryDetail; title: string; pick?: readonly string[] | undefined }): JSX.Element {
  const [look, setLook] = useState<Look>('parts');
  const json = useMemo(() => (detail.frame === undefined ? undefined : readJson(detail.frame)), [detail]);
  const picked = pick === undefined ? undefined : at(json, ...pick);
  return (
    <section class="frame" aria-label={title}>
      <header>
        <b class="frametitle">{title}</b>
        {json === undefined ? null : (
          <span class="choice" role="group" aria-label="how it is shown">
            {looks.map(([name, word]) => (
              <button key={name} type="button" class="quiet" aria-pressed={look === name} onClick={() => setLook(name)}>
                {word}
              </button>
            ))}
          </span>
        )}
        {detail.frame === undefined ? null : <Copy text={() => rawText(detail)}>copy</Copy>}
      </header>
      {detail.frame === undefined ? (
        <p class="faint">{detail.binary === undefined ? 'No content is here.' : 'Not text: base64 of its bytes'}</p>
      ) : json === undefined || look === 'raw' ? (
        <Raw detail={detail} />
      ) : look === 'tree' ? (
        <div class="tree">
          <Tree json={json} />
        </div>
      ) : (
        <Content json={json} picked={picked} />
      )}
      {detail.binary === undefined ? null : (
        <pre class="raw">
          <LongText>{detail.binary}</LongText>
        </pre>
      )}
    </section>
  );
}

function Raw({ detail }: { detail: EntryDetail }): JSX.Element {
  return (
    <pre class="raw">
      <Stepped
        all={detail.frame ?? []}
        draw={(stretch, index) =>
          'text' in stretch ? <LongText key={index}>{stretch.text}</LongText> : <MissingMark key={index} missing={stretch} />
        }
      />
    </pre>
  );
}

function Content({ json, picked }: { json: Json; picked: Json | undefined }): JSX.Element {
  const result = at(json, 'result');
  const error = at(json, 'error');
  const content = at(result, 'content');
  const structured = at(result, 'structuredContent');
  if (error !== undefined) {
    return (
      <div class="tree">
        <p class="errortext">
          <Text>{stringOf(at(error, 'message')) ?? 'error'}</Text>
        </p>
        <Tree json={error} />
      </div>
    );
  }
  if (content?.kind === 'array') {
    return (
      <div class="tree">
        <Stepped all={content.items} draw={(item, index) => <Item key={index} item={item} />} />
        {structured === undefined ? null : <Tree json={structured} name={<span class="key">structuredContent</span>} depth={1} />}
      </div>
    );
  }
  return (
    <div class="tree">
      <Tree json={picked ?? result ?? at(json, 'params') ?? json} />
    </div>
  );
}

/** One item of a result's content. */
function Item({ item }: { item: Json }): JSX.Element {
  const type = stringOf(at(item, 'type'));
  const text = at(item, 'text');
  if (type === 'text' && text?.kind === 'string') {
    const inner = text.parts.some((part) => typeof part === 'string' && /^\s*[[{]/.test(part))
      ? readJson(text.parts.map((part) => (typeof part === 'string' ? { text: part } : part)))
      : undefined;
    if (inner !== undefined) return <Tree json={inner} />;
    return (
      <p class="textitem">
        <Parts parts={text.parts} />
      </p>
    );
  }
  const data = stringOf(at(item, 'data'));
  const mime = stringOf(at(item, 'mimeType'));
  if ((type === 'image' || type === 'audio') && data !== undefined && mime !== undefined) return <Media kind={type} mime={mime} data={data} />;
  return <Tree json={item} />;
}

function Media({ kind, mime, data }: { kind: 'image' | 'audio'; mime: string; data: string }): JSX.Element {
  const [isShown, show] = useState(false);
  const isKnown = (kind === 'image' ? images : sounds).has(mime) && data.length <= mediaCharsMost && /^[A-Za-z0-9+/=\s]*$/.test(data);
  return (
    <div class="media">
      <span class="faint">
        {kind} <Text most={60}>{mime}</Text>, {size(Math.floor((data.length * 3) / 4))}
      </span>
      {isKnown ? (
        <button type="button" class="quiet" onClick={() => show(!isShown)}>
          {isShown ? 'hide' : kind === 'image' ? 'show the image' : 'play'}
        </button>
      ) : (
        <span class="faint"> is not shown here</span>
      )}
      {isShown && kind === 'image' ? <img src={`data:${mime};base64,${data}`} alt="from the recorded result" /> : null}
      {isShown && kind === 'audio' ? <audio controls src={`data:${mime};base64,${data}`} /> : null}
    </div>
  );
}

/** The text of a frame for comparing: JSON as indented lines, everything else as its lines. */
export function comparable(detail: EntryDetail | undefined): { text: string; json: Json | undefined } {
  if (detail?.frame === undefined) return { text: '', json: undefined };
  return { text: joined(detail.frame).text, json: readJson(detail.frame) };
}
