/**
 * Which rule a name belongs to, that of a member or one in a text. Names repeat, so what was found is remembered; they come from strangers, so only so much of it.
 */
import { lossyText } from '../bytes/bytes.ts';
import { judgedKeys } from '../limits.ts';
import { bytesOf, isAscii, type Decoded } from './byte-text.ts';
import { literalsOf, ruleOf, type CompiledRedactRule, type KeyRule } from './redact-rules.ts';
import { unescaped } from './unescape.ts';

export interface Member {
  /** Decoded. */
  readonly name: string;
  readonly folded: string;
  readonly rule: KeyRule | undefined;
  /** What it is of a pair such as `{"name":"Authorization","value":"x"}`. */
  readonly role: 'name' | 'value' | undefined;
  /** Nothing that is looked for is in the name itself; not known before it is asked. */
  isHarmless: boolean | undefined;
}

const roles: Readonly<Record<string, Member['role']>> = Object.assign(Object.create(null), {
  name: 'name',
  key: 'name',
  header: 'name',
  field: 'name',
  value: 'value',
  values: 'value',
});

/** Longer names are not remembered. */
const rememberedChars = 256;

/** The names that some rules look for. */
export class Names {
  /** Rules look for names at all. */
  readonly any: boolean;
  readonly #rules: readonly CompiledRedactRule[];
  /** Each name that rules look for holds one of these; `undefined` where that cannot be said. */
  readonly #literals: RegExp | undefined;
  /** By member name: which rule's glob fits it. */
  readonly #keys = new Map<string, KeyRule | 'none'>();
  /** By name as it stands in a text. */
  readonly #texts = new Map<string, KeyRule | 'none'>();
  /** By member name as it stands in a frame. */
  readonly #members = new Map<string, Member>();

  constructor(rules: readonly CompiledRedactRule[]) {
    this.#rules = rules;
    this.any = rules.some(({ keys, paths }) => keys.length > 0 || paths.length > 0);
    this.#literals = literalsOf(rules);
  }

  /** Whether a frame without escapes has any of the names in it that rules look for, in whatever place. */
  mayStandIn({ text, isAscii: isPlain }: Decoded): boolean {
    if (!this.any) return false;
    // other letters may become one of ours when they are made small
    if (this.#literals === undefined || !isPlain) return true;
    return this.#literals.test(text);
  }

  /** The first rule with a glob that fits a member's name, letters' case aside; hyphens and underscores count as one. */
  ruleFor(name: string): KeyRule | undefined {
    const known = this.#keys.get(name);
    if (known !== undefined) return known === 'none' ? undefined : known;
    const found = this.#ruleOf(name.toLowerCase());
    if (this.#keys.size >= judgedKeys) this.#keys.clear();
    if (name.length <= rememberedChars) this.#keys.set(name, found ?? 'none');
    return found;
  }

  #ruleOf(folded: string): KeyRule | undefined {
    if (!this.any) return undefined;
    const found = ruleOf(this.#rules, folded);
    if (found !== undefined || !/^\s|[\s\]]$/.test(folded)) return found;
    const plain = folded.trim();
    return ruleOf(this.#rules, /\[["']?([^[\]"']+)["']?\]$/.exec(plain)?.[1] ?? plain);
  }

  /** Of the text behind `--name` or `-name` in a list, with one unit for each byte. */
  ruleForOption(text: string): KeyRule | undefined {
    const name = optionName(text);
    if (name === undefined) return undefined;
    return this.ruleForText(name) ?? this.ruleForText(name.split(/[./]/).at(-1)!);
  }

  /** As `ruleFor`, for a name with one unit for each byte. */
  ruleForText(key: string): KeyRule | undefined {
    if (isAscii(key)) return this.ruleFor(key);
    const known = this.#texts.get(key);
    if (known !== undefined) return known === 'none' ? undefined : known;
    const found = this.ruleFor(lossyText(bytesOf(key)));
    if (this.#texts.size >= judgedKeys) this.#texts.clear();
    this.#texts.set(key, found ?? 'none');
    return found;
  }

  /** The name that stands from `start` to `end`, and what is known of it; `undefined` for an escape that JSON has not. */
  member(text: string, bytes: Uint8Array, start: number, end: number, hasEscapes: boolean, nested: number): Member | undefined {
    const raw = text.slice(start, end);
    const known = this.#members.get(raw);
    if (known !== undefined) return known;
    let name = raw;
    if (hasEscapes) {
      const plain = unescaped(bytes, start, end, nested);
      if (plain === undefined) return undefined;
      name = lossyText(plain.bytes);
    } else if (!isAscii(raw)) name = lossyText(bytes.subarray(start, end));
    const folded = name.toLowerCase();
    const member: Member = { name, folded, rule: this.#ruleOf(folded), role: roles[folded], isHarmless: undefined };
    if (this.#members.size >= judgedKeys) this.#members.clear();
    if (raw.length <= rememberedChars) this.#members.set(raw, member);
    return member;
  }
}

/** What an option names that stands apart from its value. */
export function optionName(text: string): string | undefined {
  return /^--?([^\s=:-][^\s=:]*)$/.exec(text)?.[1];
}
