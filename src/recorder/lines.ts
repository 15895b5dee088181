/** What is written to both sides in place of a frame that is not delivered. */

const nothing = Buffer.alloc(0);

/** Lines to be written in place of a frame. */
export interface Lines {
  toSender: Buffer;
  toReceiver: Buffer;
  /** They repeat an id that must not be written. */
  isConcealed?: boolean;
}

export const noLines: Lines = { toSender: nothing, toReceiver: nothing };

export function joined(lines: readonly Lines[]): Lines {
  return {
    toSender: Buffer.concat(lines.map((one) => one.toSender)),
    toReceiver: Buffer.concat(lines.map((one) => one.toReceiver)),
    isConcealed: lines.some((one) => one.isConcealed === true),
  };
}
