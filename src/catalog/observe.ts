/**
 * What a catalog may know of an entry: what a reader gives, less what the ledger says is erased. An erasure is an entry first and a file later, so the entry's word
 * counts, whatever is still there.
 */
import type { Observed } from '../analysis/projection.ts';
import type { Entry, ErasureTarget } from '../entry/entry.ts';
import { analysedBytes } from '../limits.ts';
import type { Located } from '../readers/entries.ts';
import { readPayload, type Content } from '../readers/payload.ts';
import { whyDropped } from '../entry/dropped.ts';

/** What is erased. */
export class Erased {
  readonly #known = new Set<number>();
  readonly #single = new Map<number, ErasureTarget[]>();
  readonly #ranges: ErasureTarget[] = [];
  /** Entries before it are pruned. */
  pruned = 0;

  /** Learns from entry `index`; says what is gone by it that was not known to be. */
  learn(index: number, entry: Entry): readonly ErasureTarget[] {
    if ((entry.kind !== 'erasure' && entry.kind !== 'prune') || this.#known.has(index)) return [];
    this.#known.add(index);
    if (entry.kind === 'prune') {
      this.pruned = Math.max(this.pruned, entry.end);
      return [{ index: 0, to: entry.end - 1 }];
    }
    for (const target of entry.targets) {
      if (target.to !== undefined) this.#ranges.push(target);
      else this.#single.set(target.index, [...(this.#single.get(target.index) ?? []), target]);
    }
    return entry.targets;
  }

  /** Content without what is erased. */
  without(index: number, content: Content): Content {
    const targets = [...(this.#single.get(index) ?? []), ...this.#ranges.filter((one) => index >= one.index && index <= one.to!)];
    if (targets.length === 0) return content;
    const isGone = (field: 'attributes' | 'segments', position: number): boolean =>
      targets.some((target) => {
        const positions = target[field];
        return positions === 'all' || positions?.includes(position) === true;
      });
    const attributes = { ...content.attributes };
    for (const [position, item] of content.attributeItems.entries()) {
      if (item.state !== 'kept' || !isGone('attributes', position)) continue;
      for (const name of namesIn(item.bytes)) delete attributes[name];
    }
    const frame = content.frame.map((item, position) =>
      item.state === 'dropped' || item.state === 'erased' || !isGone('segments', position)
        ? item
        : { state: 'erased' as const, hash: noHash, sizeBytes: item.state === 'kept' ? item.bytes.length : item.sizeBytes },
    );
    return { ...content, attributes, frame };
  }
}

const noHash = new Uint8Array(32);

function namesIn(bytes: Uint8Array): string[] {
  try {
    return Object.keys(JSON.parse(Buffer.from(bytes).toString()) as object);
  } catch {
    return [];
  }
}

/** Entries whose content was read, one bit each. */
export class ReadMarks {
  #bits = new Uint8Array(1 << 16);
  /** Below it all count as read. */
  readonly #from: number;

  constructor(from: number) {
    this.#from = from;
  }

  add(index: number): void {
    const at = index - this.#from;
    if (at < 0) return;
    if (at >> 3 >= this.#bits.length) {
      const wider = new Uint8Array(Math.max(this.#bits.length * 2, (at >> 3) + 1));
      wider.set(this.#bits);
      this.#bits = wider;
    }
    this.#bits[at >> 3]! |= 1 << (at & 7);
  }

  /** Any of [first, last]. */
  hasAny(first: number, last: number): boolean {
    if (first < this.#from) return true;
    const bytesEnd = this.#bits.length * 8 - 1;
    for (let at = first - this.#from; at <= Math.min(last - this.#from, bytesEnd); at++) {
      if (this.#bits[at >> 3]! & (1 << (at & 7))) return true;
    }
    return false;
  }
}

/** An entry for the projection; `undefined`: it cannot be read. */
export function observe(ledger: string, located: Located, erased: Erased, mostBytes = analysedBytes): Observed | undefined {
  const { index, entry } = located;
  if (entry.kind === 'unreadable') return undefined;
  if (located.content === undefined) return { index, entry, attributes: {} };
  const content = erased.without(index, located.content);
  const observed: Observed = { index, entry, attributes: content.attributes };
  if ((entry.kind === 'message' || entry.kind === 'batch') && content.frame.length > 0) {
    const { bytes, gaps } = readPayload(ledger, content.frame, mostBytes, { dropped: whyDropped(entry) });
    observed.frame = { bytes, gaps };
  }
  return observed;
}

/** Whether anything is known of it that could be erased. */
export function hasContent({ attributes, frame }: Observed): boolean {
  return Object.keys(attributes).length > 0 || (frame?.bytes.length ?? 0) > 0;
}
