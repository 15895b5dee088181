/** JSON in all the forms that it may have, and the forms in which a secret may turn up in a file. */

/** A JSON text of a document: any escapes, any blanks, on one line. */
export function written(value: unknown, random: () => number, blanks: readonly string[] = ['', '', '', ' ', '\t', '    ', '\r ']): string {
  const blank = (): string => blanks[Math.floor(random() * blanks.length)]!;
  if (typeof value === 'string') {
    let text = '"';
    for (let at = 0; at < value.length; at++) {
      const unit = value[at]!;
      const code = value.charCodeAt(at);
      const hex = code.toString(16).padStart(4, '0');
      if (code < 0x20 || unit === '"' || unit === '\\') text += random() < 0.5 ? JSON.stringify(unit).slice(1, -1) : `\\u${hex}`;
      // half of a pair cannot stand as it is
      else if ((code & 0xf800) === 0xd800 || random() < 0.15) text += `\\u${random() < 0.5 ? hex : hex.toUpperCase()}`;
      else if (unit === '/' && random() < 0.5) text += '\\/';
      else text += unit;
    }
    return `${text}"`;
  }
  if (Array.isArray(value)) return `[${blank()}${value.map((item) => written(item, random, blanks)).join(`${blank()},${blank()}`)}${blank()}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, inner]) => `${written(name, random, blanks)}${blank()}:${blank()}${written(inner, random, blanks)}`,
    );
    return `{${blank()}${members.join(`${blank()},${blank()}`)}${blank()}}`;
  }
  return JSON.stringify(value);
}

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** As it may stand in bytes that somebody wrote: itself, escaped once and twice, as escapes alone, in base64 wherever it begins, in hex. */
export function formsOf(secret: string): Set<string> {
  const bytes = Buffer.from(secret);
  const once = JSON.stringify(secret).slice(1, -1);
  const escapes = [...secret]
    .flatMap((character) => character.split('').map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`))
    .join('');
  const forms = new Set([
    secret,
    once,
    JSON.stringify(once).slice(1, -1),
    escapes,
    encodeURIComponent(secret),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
  ]);
  for (const before of [0, 1, 2]) {
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
    // without the characters that say something of what stands before and behind, too
    const from = [0, 2, 3][before]!;
    const until = Math.floor(((before + bytes.length) * 8) / 6);
    const sure = text.slice(from, until);
    forms.add(sure).add(sure.replaceAll('+', '-').replaceAll('/', '_'));
  }
  // as latin1, which files are read as
  return new Set([...forms].map((form) => Buffer.from(form).toString('latin1')));
}
