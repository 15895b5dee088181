/**
 * Names that look alike. A server may take `DELETE_file`, `delete＿file` or a Cyrillic `dеlete_file` for its tool `delete_file`, and a person who reads the record
 * will: so a rule that restricts is about all of them. A rule that allows is about the very name alone.
 */

/** Letters of other scripts that are drawn like ASCII ones, after NFKD (Unicode TR 39, confusables; those of the scripts that are met in identifiers). */
const lookAlikes = new Map<string, string>();
const pairs: readonly (readonly [latin: string, others: string])[] = [
  ['a', 'аɑαᴀ'],
  ['b', 'ЬƄʙвВβΒ'],
  ['c', 'сϲⅽСᴄ'],
  ['d', 'ԁɗⅾᴅ'],
  ['e', 'еҽɛεЕΕᴇ'],
  ['f', 'ƒϝꜰ'],
  ['g', 'ɡցԍɢ'],
  ['h', 'һհНΗʜ'],
  ['i', 'іıɩιІΙɪ'],
  ['j', 'јϳЈᴊ'],
  ['k', 'кκКΚᴋ'],
  ['l', 'ⅼℓǀӏӀʟ'],
  ['m', 'мМΜⅿᴍ'],
  ['n', 'ոпηΝɴ'],
  ['o', 'оοօσОΟᴏ'],
  ['p', 'рρРΡᴘ'],
  ['q', 'ԛգ'],
  ['r', 'гᴦʀ'],
  ['s', 'ѕꜱЅ'],
  ['ss', 'ßẞ'],
  ['t', 'тτТΤᴛ'],
  ['u', 'υսцᴜ'],
  ['v', 'ѵνᴠ'],
  ['w', 'ԝѡᴡω'],
  ['x', 'хχХΧ'],
  ['y', 'уүγУΥʏ'],
  ['z', 'ᴢΖ'],
  ['0', '𐓂'],
  ['-', '‐‑‒–—−﹘'],
  ['_', 'ˍ‗'],
  ['/', '∕⁄⧸'],
  ['.', '․﹒'],
  [':', 'ː∶꞉'],
];
for (const [latin, others] of pairs) for (const other of others) if (!lookAlikes.has(other)) lookAlikes.set(other, latin);

// what is not drawn: format characters, controls, variation selectors, fillers; and marks above and below letters
const undrawn = /[\p{C}\p{M}\u115f\u1160\u3164\uffa0]/gu;
// oxlint-disable-next-line no-control-regex
const ascii = /^[\x20-\x7e]*$/;

/** Looks of short names that are no ASCII: a rule file asks for the same ones over and over. */
const looks = new Map<string, string>();
const rememberedLooks = 4_096;
const rememberedLength = 1_024;

/** What a name looks like: equal for names that a reader takes for the same. */
export function lookOf(name: string): string {
  if (ascii.test(name)) return name.trim().toLowerCase();
  let look = looks.get(name);
  if (look !== undefined) return look;
  const drawn = latin(name.normalize('NFKD').replace(undrawn, ''));
  // a capital may be drawn like another letter than its small one (Η and η), or have only that one in the table
  look = latin(drawn.toLowerCase()).trim();
  if (name.length <= rememberedLength) {
    if (looks.size >= rememberedLooks) looks.clear();
    looks.set(name, look);
  }
  return look;
}

function latin(text: string): string {
  return text.replace(/[^ -~]/gu, (character) => lookAlikes.get(character) ?? character);
}
