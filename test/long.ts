/** `npm run long`: all of what the usual run tries a part of. */
export const isLong = process.env['SWORN_LONG'] !== undefined;
