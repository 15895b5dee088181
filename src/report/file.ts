/** Reads the data of a report out of its file, and what stands around it. The page itself is not run, nor believed. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { ReportSource } from '../verify/report-data.ts';

const opening = Buffer.from('<script type="application/octet-stream" ');
const closing = '</script>';
const bracket = Buffer.from('<');
/** Stands for an element in the digest, so that its place counts. */
const elementMark = Uint8Array.of(0);
const headAttribute = 'id="sworn-head">';
const pieceBytes = 1024 * 1024;
/** Attributes of an element of ours are no longer. */
const attributeBytes = 64;

interface Place {
  from: number;
  to: number;
}

export interface ReportFile extends ReportSource {
  /** SHA-256 of the file, hex, with a NUL in the place of each element of the data. */
  readonly pageDigest: string;
  close(): void;
}

/**
 * Opens a file that may be a report; `undefined`: it holds no element of a report's data. Elements are found as a browser finds them: by their text alone, since base64
 * cannot end them. Whatever else stands in one is read as part of the page: a browser may see another end of the element there, and other data behind it.
 */
export function openReportFile(path: string): ReportFile | undefined {
  const fd = openSync(path, 'r');
  const { chunks, heads, pageDigest } = scan(fd);
  if (heads.length === 0 && chunks.length === 0) {
    closeSync(fd);
    return undefined;
  }
  const text = ({ from, to }: Place): string => {
    const bytes = Buffer.alloc(to - from);
    let filled = 0;
    for (let step = 1; step > 0 && filled < bytes.length; filled += step) step = readSync(fd, bytes, filled, bytes.length - filled, from + filled);
    return bytes.toString('latin1');
  };
  return {
    pageDigest,
    // of several the first, as a page takes it
    head: async () => (heads[0] ? text(heads[0]) : undefined),
    chunk: async (name) => {
      const found = chunks.find((chunk) => chunk.name === name);
      return found && text(found);
    },
    names: () => chunks.map(({ name }) => name),
    close: () => closeSync(fd),
  };
}

function scan(fd: number): { chunks: (Place & { name: string })[]; heads: Place[]; pageDigest: string } {
  const chunks: (Place & { name: string })[] = [];
  const heads: Place[] = [];
  const page = createHash('sha256');
  const { size } = fstatSync(fd);
  let buffer = Buffer.alloc(0);
  let bufferAt = 0;
  /** Bytes from `at` on, at least `wanted` of them where there are so many. */
  const view = (at: number, wanted: number): Buffer => {
    if (at < bufferAt || at + wanted > bufferAt + buffer.length) {
      buffer = Buffer.alloc(Math.min(size - at, Math.max(wanted, pieceBytes)));
      bufferAt = at;
      let filled = 0;
      for (let step = 1; step > 0 && filled < buffer.length; filled += step) step = readSync(fd, buffer, filled, buffer.length - filled, at + filled);
    }
    return buffer.subarray(at - bufferAt);
  };
  /** The next place of a text from `at` on, or the end. What is walked over is handed to `pass`. */
  const find = (text: Buffer, at: number, pass: (bytes: Buffer) => void): number => {
    for (let from = at; ;) {
      const bytes = view(from, text.length);
      const found = bytes.indexOf(text);
      if (found >= 0) {
        pass(bytes.subarray(0, found));
        return from + found;
      }
      const over = from + bytes.length >= size ? bytes.length : bytes.length - text.length + 1;
      pass(bytes.subarray(0, over));
      from += over;
      if (from >= size) return size;
    }
  };
  const nothing = (): void => undefined;
  for (let at = 0; at < size;) {
    const start = find(opening, at, (bytes) => void page.update(bytes));
    if (start >= size) break;
    const attributes = view(start + opening.length, Math.min(attributeBytes, size - start - opening.length)).toString('latin1', 0, attributeBytes);
    const name = /^data-block="([a-z]+-\d{1,9})">/.exec(attributes);
    const isHead = attributes.startsWith(headAttribute);
    if (!isHead && !name) {
      page.update(opening);
      at = start + opening.length;
      continue;
    }
    const from = start + opening.length + (isHead ? headAttribute.length : name![0].length);
    const to = find(bracket, from, nothing);
    // an element without an end was cut off: the head says with a hash of itself that it was changed, which is another thing
    if (isHead && to < size) heads.push({ from, to });
    else if (name) chunks.push({ name: name[1]!, from, to });
    page.update(elementMark);
    const isEnded = to < size && view(to, Math.min(closing.length, size - to)).toString('latin1', 0, closing.length) === closing;
    at = isEnded ? to + closing.length : to;
  }
  return { chunks, heads, pageDigest: page.digest('hex') };
}
