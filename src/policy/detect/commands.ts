/**
 * Passwords in command lines that no name announces: `curl -u me:x`, `mysql -px`, `sshpass -p x`. Those with a name (`--password=x`, `PGPASSWORD=x psql`) are found by
 * `assignments.ts`. What an option means depends on the program before it, so a few programs are known.
 */
import { Kind, kinds, setOf, type Scan } from './scan.ts';
import { isPlaceholder } from './values.ts';

interface Command {
  /** From the first dash to the value. */
  option: RegExp;
  /** `pair`: `name:secret`; `word`: any; `next`: stands apart, so that it may be the next word of a sentence. */
  value: 'pair' | 'word' | 'next';
  /** In what stands before the option in the same command, in lower case. */
  before: RegExp;
}

const program = (names: string): RegExp => new RegExp(String.raw`(?:^|[^\w.-])(?:${names})(?:\.exe)?["'\x60]?[\s,]`);
/** In a list the option and its value are texts of their own. */
const apart = String.raw`(?:["'\x60]?,?[ \t]{1,4}|["'],)`;

const sshpass = /(?:^|[^\w.-])sshpass["']?[\s,]{1,4}["']?$/;
const commands: readonly Command[] = [
  { option: new RegExp(`(?:-[A-Za-z]{0,6}?[uU]|--(?:proxy-)?user)(?:${apart}|=)?`, 'y'), value: 'pair', before: program('curl') },
  { option: new RegExp(`(?:-a|--auth)(?:${apart}|=)`, 'y'), value: 'pair', before: program('https?') },
  { option: /-p/y, value: 'word', before: program(String.raw`mysql[\w-]*|mariadb[\w-]*|mycli`) },
  { option: new RegExp(`-p(?:${apart})?`, 'y'), value: 'word', before: sshpass },
  { option: new RegExp(`-p${apart}`, 'y'), value: 'next', before: program('mongo(?:sh|dump|restore|export|import)?|(?:docker|podman) login') },
  { option: new RegExp(`-a${apart}`, 'y'), value: 'next', before: program('redis-cli|valkey-cli') },
  { option: new RegExp(`-w${apart}`, 'y'), value: 'next', before: program('ldap(?:search|modify|add|delete|passwd|whoami)') },
];

/** So far back the program is looked for, and so long is a value, in UTF-16 units. */
const lookBack = 512;
const longest = 256;
const shortest = 4;

const beforeOption = setOf(' \t\n\r"\'`([,');
const bareEnds = setOf(' \t\n\r"\'`|;<>()\\');
const closing = setOf('.,:]}');
const pair = /^[\w.@%+~-]{1,64}:(?!\/\/)/;
/** A port, or two of them. */
const ports = /^[\d.]*:[\d.:]+(?:\/\w+)?$/;

/** At one dash or two, where an option may begin. */
export function commandOption(scan: Scan, dash: number): void {
  const { text, units } = scan;
  if ((dash > 0 && beforeOption[units[dash - 1]!] !== 1) || !mayBeOption(units, dash)) return;
  let own: string | undefined;
  for (const { option, value, before } of commands) {
    option.lastIndex = dash;
    if (!option.test(text)) continue;
    const found = valueAt(scan, option.lastIndex);
    if (found === undefined) continue;
    const shown = text.slice(found.start, found.end);
    const name = value === 'pair' ? (pair.exec(shown)?.[0].length ?? 0) : 0;
    if (value === 'pair' && name === 0) continue;
    const secret = shown.slice(name);
    if (secret.length < shortest || isPlaceholder(secret) || /^[A-Z][A-Z_]*$/.test(secret)) continue;
    if (value === 'next' && !found.quoted && /^[a-z]+$/.test(secret)) continue;
    if (value !== 'pair' && ports.test(secret)) continue;
    own ??= text.slice(commandStart(scan, dash), dash).toLowerCase();
    if (!before.test(own)) continue;
    scan.add('password', found.start + name, found.end);
    return;
  }
}

const begins = setOf('apw');
const longBegins = setOf('apu');

/** At a glance: nearly all options are none of these. What must stay true: no option of `commands` is left out. */
function mayBeOption(units: Uint8Array, dash: number): boolean {
  if (units[dash + 1] === 45) return longBegins[units[dash + 2]!] === 1;
  if (begins[units[dash + 1]!] === 1) return true;
  // `u` may stand behind other letters
  for (let at = dash + 1; at < dash + 8 && kinds[units[at]!] === Kind.letter; at++) if ((units[at]! | 32) === 117) return true;
  return false;
}

/** Behind the last `;`, `|`, `&&` or line end without a backslash. */
function commandStart({ units }: Scan, dash: number): number {
  const from = Math.max(0, dash - lookBack);
  let at = dash;
  for (; at > from; at--) {
    const code = units[at - 1]!;
    if (code === 59 || code === 124 || (code === 38 && units[at] === 38)) break;
    if (code === 10 && units[at - 2] !== 92 && !(units[at - 2] === 13 && units[at - 3] === 92)) break;
  }
  return at;
}

function valueAt({ text, units }: Scan, at: number): { start: number; end: number; quoted: boolean } | undefined {
  const limit = Math.min(text.length, at + longest);
  const quote = units[at]!;
  if (quote === 34 || quote === 39) {
    let end = at + 1;
    while (end < limit && units[end] !== quote && units[end] !== 10) end++;
    return units[end] === quote ? { start: at + 1, end, quoted: true } : undefined;
  }
  let end = at;
  while (end < limit && bareEnds[units[end]!] === 0) end++;
  while (end > at && closing[units[end - 1]!] === 1) end--;
  return end === at ? undefined : { start: at, end, quoted: false };
}
