/** `sworn verify <file.tlog-proof>`: one entry's proof, checked without the ledger, and what happened in words. */
import { existsSync, readFileSync } from 'node:fs';
import { base64, lossyText, utf8Text } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import type { Entry } from '../entry/entry.ts';
import { peekBytes } from '../limits.ts';
import { parseProofFile } from '../tlog/proof-file.ts';
import type { Content, ContentItem } from '../verify/content.ts';
import { verifyProof, type ProofVerification } from '../verify/proof.ts';
import { addFindings } from '../verify/finding.ts';
import { indented } from './indent.ts';
import { safeJson, size, visible, visibleLines, type Output } from './output.ts';
import { judgeKnownNote, trustOf, type Trust, type TrustOptions } from './trust-files.ts';
import { headlineOf, VerdictText } from './verdict.ts';
import { piecesOf } from './verify-files.ts';
import { controlText, effectText, notesOf, subjectOf } from './words.ts';

export interface VerifyProofOptions extends TrustOptions {
  file: string;
  json: boolean;
}

type VerifyOutput = Pick<Output, 'out' | 'err' | 'isTTY' | 'color'>;

/** Shown of a payload. */
const shownBytes = 16 * 1024;

/** The sidecar of a proof: content that did not fit into it. */
export function sidecarOf(file: string): string {
  return `${file.replace(/\.tlog-proof$/, '')}.payload`;
}

/** @returns the exit status, as of `verifyCommand` */
export async function verifyProofCommand(options: VerifyProofOptions, output: VerifyOutput): Promise<number> {
  const { file } = options;
  const bytes = readFileSync(file);
  const parsed = parseProofFile(bytes);
  const trust = trustOf(options, 'problem' in parsed ? undefined : parsed.parsed);
  const sidecar = sidecarOf(file);
  const result = await verifyProof({
    crypto: nodeCrypto,
    bytes,
    ...(existsSync(sidecar) ? { sidecar: () => piecesOf(sidecar) } : {}),
    vkeys: trust.vkeys,
    ...(trust.known ? { known: trust.known } : {}),
    wanted: trust.wanted,
  });
  const { finding } = judgeKnownNote(trust, options.known, result.vkey === undefined ? [] : [result.vkey]);
  if (finding) addFindings(result, [finding]);
  output.out(options.json ? `${safeJson(JSON.stringify(asJson(file, result)))}\n` : asText(file, result, trust, output));
  return result.exit;
}

function headline(result: ProofVerification): string {
  const { index, size, exit, findings, cosigned } = result;
  const worst = findings.find(({ severity }) => severity !== 'warning' && severity !== 'note')?.message ?? '';
  const witnesses = cosigned.length > 0 ? `, cosigned by ${cosigned.map(({ witness }) => witness).join(', ')}` : '';
  const holds = `entry ${index} is what was recorded, under a signed checkpoint of ${size} entries${witnesses}`;
  return headlineOf(exit, holds, worst);
}

function asText(file: string, result: ProofVerification, trust: Trust, output: VerifyOutput): string {
  const { exit, index, entry, origin, vkey, findings, checked, notChecked } = result;
  const text = new VerdictText(exit, headline(result), output);
  text.say('proof', file);
  if (origin !== undefined) text.say('origin', origin);
  if (vkey !== undefined) text.say('key', `${vkey.slice((origin?.length ?? 0) + 1)}, ${trust.keySource ?? ''}`);
  if (result.root) text.say('checkpoint', `${result.size} entries, root ${base64(result.root)}`);
  if (entry !== undefined && index !== undefined)
    text.section(exit === 0 || exit === 4 ? 'Recorded' : 'What the proof says; it is NOT proven', entryLines(output, index, entry, result.content));
  text.section(
    'Findings',
    findings.map(({ severity, message }) => `  ${severity.padEnd(9)} ${visible(message)}`),
  );
  return text.end(checked, notChecked);
}

/** Who, what, when, server, tool, verdict, content. */
function entryLines(output: VerifyOutput, index: number, entry: Entry, content: Content | undefined): string[] {
  const words: Output = { ...output, columns: Number.POSITIVE_INFINITY };
  const lines = [`  entry ${index}  ${entry.time.slice(0, 10)} ${entry.time.slice(11, -1)} UTC`];
  if (entry.kind === 'message') {
    const way = entry.direction === 'c2s' ? '→ client to server' : '← server to client';
    const parts = [`${way}, ${entry.type}`, visible(subjectOf(entry))];
    if (entry.type === 'request' && entry.effect !== undefined) parts.push(effectText(entry));
    if (entry.outcome !== undefined) parts.push(entry.outcome === 'toolError' ? 'tool error' : entry.outcome);
    const notes = notesOf(words, entry);
    if (notes !== '') parts.push(notes);
    lines.push(`  ${parts.join('  ')}`);
  } else lines.push(`  ${controlText(words, entry)}`);
  lines.push('');
  const said = new Set(['v', 'kind', 'time', 'direction', 'type', 'anomalies']);
  const fields = Object.entries(entry)
    .filter(([name]) => !said.has(name))
    .map(([name, value]): [string, string] => [name, typeof value === 'string' ? value : JSON.stringify(value)]);
  for (const [name, value] of Object.entries(attributesOf(content)))
    fields.push([`† ${name}`, typeof value === 'string' ? value : JSON.stringify(value)]);
  const width = Math.max(...fields.map(([name]) => name.length));
  for (const [name, value] of fields) lines.push(`  ${visible(name).padEnd(width)}  ${visible(value)}`);
  if (entry.kind !== 'message' && entry.kind !== 'batch') return lines;
  if (content === undefined) return [...lines, '', '  content: not in this proof'];
  const { text, unopenedBytes, cutBytes } = frameText(content.segments);
  const facts = [size(entry.sizeBytes)];
  if (unopenedBytes > 0) facts.push(`${size(unopenedBytes)} not opened`);
  if (cutBytes > 0) facts.push(`the first ${size(shownBytes)} shown`);
  return [...lines, '', `  content, ${facts.join(', ')}`, ...visibleLines(indented(text)).trimEnd().split('\n')];
}

/** Attributes by name, as far as they are opened. */
function attributesOf(content: Content | undefined): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const { bytes } of content?.attributes ?? []) {
    try {
      const attribute = bytes && (JSON.parse(lossyText(bytes)) as unknown);
      if (typeof attribute !== 'object' || attribute === null) continue;
      // defined, not assigned: an attribute may be called `__proto__`
      for (const [name, value] of Object.entries(attribute))
        Object.defineProperty(values, name, { value, enumerable: true, configurable: true, writable: true });
    } catch {
      // bound as it is, but not of the format
    }
  }
  return values;
}

/** The beginning of a frame as text, with a mark where it is not opened: a stranger's `▒` shows as `\u{2592}`. */
function frameText(segments: readonly ContentItem[]): { text: string; unopenedBytes: number; cutBytes: number } {
  let text = '';
  let shown = 0;
  let unopenedBytes = 0;
  let cutBytes = 0;
  for (const { opened, bytes, sizeBytes } of segments) {
    if (!opened) {
      unopenedBytes += sizeBytes;
      if (cutBytes === 0) text += `▒▒▒ not opened ${size(sizeBytes)} ▒▒▒`;
      continue;
    }
    const taken = Math.max(0, Math.min(bytes?.length ?? 0, shownBytes - shown));
    if (bytes && taken > 0) text += lossyText(bytes.subarray(0, taken)).replaceAll('▒', '\\u{2592}');
    shown += taken;
    cutBytes += sizeBytes - taken;
  }
  return { text, unopenedBytes, cutBytes };
}

function asJson(file: string, result: ProofVerification): object {
  const { root, leafHash, content, contentHolds, ...rest } = result;
  const fields: Record<string, unknown> = { headline: headline(result), proof: file, ...rest };
  if (root) fields['root'] = base64(root);
  if (leafHash) fields['leafHash'] = base64(leafHash);
  if (content === undefined || !contentHolds) return fields;
  const attributes = attributesOf(content);
  if (Object.keys(attributes).length > 0) fields['attributeValues'] = attributes;
  if (content.segments.length === 0) return fields;
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  let unopenedBytes = 0;
  let cutBytes = 0;
  for (const item of content.segments) {
    if (!item.opened) unopenedBytes += item.sizeBytes;
    else if (item.bytes && sizeBytes + item.sizeBytes <= peekBytes) {
      pieces.push(item.bytes);
      sizeBytes += item.sizeBytes;
    } else cutBytes += item.sizeBytes;
  }
  if (pieces.length > 0) {
    const bytes = Buffer.concat(pieces);
    const text = utf8Text(bytes);
    Object.assign(fields, text === undefined ? { payloadBase64: base64(bytes) } : { payload: text });
  }
  if (unopenedBytes > 0) fields['payloadUnopenedBytes'] = unopenedBytes;
  if (cutBytes > 0) fields['payloadCutBytes'] = cutBytes;
  return fields;
}
