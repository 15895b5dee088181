/** Where a verifier reads from: a directory, a web server, a bundle of evidence. Every method gives one stored file as it is, or `undefined` when there is none. */

export interface SegmentName {
  /** Index in the file's name: that of its first entry record. */
  first: number;
  /** Path relative to the ledger, for people. */
  path: string;
}

export interface Source {
  checkpoint(): Promise<Uint8Array | undefined>;
  /** The tile file of exactly this width (1..256). */
  tile(level: number, n: number, width: number): Promise<Uint8Array | undefined>;
  /** The entry bundle file of exactly this width (1..256). */
  bundle(n: number, width: number): Promise<Uint8Array | undefined>;
  /** Widths of all files of this tile or bundle. A source that cannot list leaves it out; then only the files that the checkpoint needs are read. */
  widths?(level: number | 'entries', n: number): Promise<number[]>;
  /** Payload segments in the order of their first index; left out by a source that has no payload to give. */
  segments?(): Promise<SegmentName[]>;
  /** The bytes of a segment from one offset on, its beginning by default, in pieces of any size. A piece is not written to again by the source. */
  segment?(name: SegmentName, from?: number): AsyncIterable<Uint8Array>;
}
