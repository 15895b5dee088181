/** Segments whose content is encrypted and could not be opened in this process, by path: why. Whoever shows what was read says it once, at the end. */
export const unopened = new Map<string, string>();
