/**
 * A run of leaves under a root: with the hashes of the complete subtrees to its left and right, the leaves [first, end) give the root of the whole tree, so
 * that none of them can be missing, moved or changed. It takes as many hashes as two proofs, however long the run.
 */
import { utf8 } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { emptyRoot, hashBytes, hashNode } from '../tlog/tree.ts';

/** A complete subtree: 2^level leaves from index · 2^level on. */
export interface Subtree {
  level: number;
  index: number;
}

/** The largest complete subtrees that cover [0, first), left to right. */
export function leftOf(first: number): Subtree[] {
  return cover(0, first);
}

/** The largest complete subtrees that cover [end, size), left to right. */
export function rightOf(end: number, size: number): Subtree[] {
  return cover(end, size);
}

function cover(from: number, to: number): Subtree[] {
  const subtrees: Subtree[] = [];
  for (let at = from; at < to;) {
    let level = 0;
    let width = 1;
    while (at % (width * 2) === 0 && at + width * 2 <= to) {
      width *= 2;
      level++;
    }
    subtrees.push({ level, index: at / width });
    at += width;
  }
  return subtrees;
}

/** The right edge of a tree that complete subtrees are put to, each where its own size allows it: what is whole is joined. */
export class Edge {
  readonly #crypto: Crypto;
  readonly #stack: { level: number; hash: Uint8Array }[] = [];

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  push(level: number, hash: Uint8Array): void {
    let top = { level, hash };
    for (let last = this.#stack.at(-1); last?.level === top.level; last = this.#stack.at(-1)) {
      this.#stack.pop();
      top = { level: top.level + 1, hash: hashNode(this.#crypto, last.hash, top.hash) };
    }
    this.#stack.push(top);
  }

  root(): Uint8Array {
    let root: Uint8Array | undefined;
    for (const { hash } of this.#stack.toReversed()) root = root === undefined ? hash : hashNode(this.#crypto, hash, root);
    return root ?? emptyRoot(this.#crypto);
  }
}

/** Puts subtrees to an edge. False when they are not as many hashes of 32 bytes as are wanted. */
export function pushAll(edge: Edge, subtrees: readonly Subtree[], hashes: readonly Uint8Array[]): boolean {
  if (subtrees.length !== hashes.length || hashes.some((hash) => hash.length !== hashBytes)) return false;
  for (const [i, { level }] of subtrees.entries()) edge.push(level, hashes[i]!);
  return true;
}

/**
 * The entries of [first, end) that a seed draws, ascending: `SHA256(<seed>/<i>)`, its first six bytes modulo the count, for i = 0, 1, … until there are
 * `wanted` different ones. Whoever knows the seed can draw again, and sees whether the sample was chosen.
 */
export function drawSample(crypto: Crypto, seed: string, first: number, end: number, wanted: number): number[] {
  const drawn = new Set<number>();
  for (let i = 0; drawn.size < Math.min(wanted, end - first); i++) {
    const hash = crypto.sha256(utf8(`${seed}/${i}`));
    let value = 0;
    for (let k = 0; k < 6; k++) value = value * 256 + hash[k]!;
    drawn.add(first + (value % (end - first)));
  }
  return [...drawn].sort((a, b) => a - b);
}
