/** What is left of a frame, for whoever shows or reads it. */

/** A stretch that is not in a frame's bytes: never stored, erased, lost, or withheld from a report. */
export interface Gap {
  reason: 'redacted' | 'not captured' | 'erased' | 'lost' | 'withheld';
  /** In the frame. */
  offset: number;
  sizeBytes: number;
  /** Where it belongs in the bytes that are there. */
  at: number;
}

export interface Frame {
  bytes: Uint8Array;
  gaps: readonly Gap[];
}
