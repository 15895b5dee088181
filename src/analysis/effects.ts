/** The effect of a call as its entry says it, or as whoever reads says (`--sensitive`, `--write`, `--read`, `servers:`), which is labelled so. */
import type { MessageEntry } from '../entry/entry.ts';
import { projectedTools } from '../limits.ts';
import { splitOverrides, type Effect, type ToolWord } from '../mcp/effect.ts';
import { anyGlobMatches } from '../mcp/glob.ts';
import { wordOn } from '../policy/match.ts';
import type { AnalysisOptions } from './options.ts';
import type { EffectFrom } from './rows.ts';

export interface RowEffect {
  effect: Effect;
  effectFrom: EffectFrom;
  sensitive?: true;
  destructive?: true;
}

type Said = Pick<MessageEntry, 'effect' | 'effectSource' | 'sensitive' | 'destructive'>;

export class Effects {
  readonly #globs: ReturnType<typeof splitOverrides>;
  readonly #servers: NonNullable<AnalysisOptions['servers']>;
  /** What the configuration says of a tool, by server and name. */
  readonly #words = new Map<string, ToolWord>();
  readonly #isNothing: boolean;

  constructor({ sensitive = [], write = [], read = [], servers = {} }: AnalysisOptions) {
    this.#globs = splitOverrides({ sensitive, write, read });
    this.#servers = servers;
    this.#isNothing = Object.keys(servers).length === 0 && Object.values(this.#globs).every(({ length }) => length === 0);
  }

  /** Of a request: `target` is a tool, a prompt or a resource's URI; what only concerns tools is asked of `tools/call` alone. */
  of(server: string, method: string | undefined, target: string | undefined, said: Said): RowEffect {
    const row: RowEffect = { effect: said.effect ?? 'unknown', effectFrom: said.effectSource ?? 'default' };
    if (said.sensitive) row.sensitive = true;
    if (said.destructive) row.destructive = true;
    if (this.#isNothing || target === undefined) return row;
    const isTool = method === 'tools/call';
    const word = isTool ? this.#wordOn(server, target) : {};
    const listed = !isTool
      ? undefined
      : anyGlobMatches(this.#globs.write, target)
        ? 'write'
        : anyGlobMatches(this.#globs.read, target)
          ? 'read'
          : undefined;
    const effect = word.effect ?? listed ?? row.effect;
    const isSensitive = word.sensitive ?? (row.sensitive === true || anyGlobMatches(this.#globs.sensitive, target));
    // what is only read destroys nothing
    const isDestructive = word.destructive ?? (effect !== 'read' && row.destructive === true);
    const isChanged = effect !== row.effect || isSensitive !== (row.sensitive === true) || isDestructive !== (row.destructive === true);
    if (!isChanged) return row;
    return { effect, effectFrom: 'reading', ...(isSensitive ? { sensitive: true } : {}), ...(isDestructive ? { destructive: true } : {}) };
  }
  #wordOn(server: string, tool: string): ToolWord {
    const name = `${server}\0${tool}`;
    let word = this.#words.get(name);
    if (word === undefined) {
      word = wordOn(this.#servers, server, tool);
      if (this.#words.size >= projectedTools) this.#words.clear();
      this.#words.set(name, word);
    }
    return word;
  }
}
