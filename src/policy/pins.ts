/**
 * Pinned tools: which definitions of which tools are trusted, what a server lists instead, and what that means for calls (`spec/policy.md`, Tools). Pure: the
 * recorder keeps one, and whoever reads a ledger makes the same from its `policy` entries.
 *
 * What must stay true: everything here follows from entries, so that it is the same after a restart and after its contents were erased; whose tools they are is the
 * server's configured name and how it is reached, never what it says of itself; what waits for acceptance waits for everybody, until a person accepts it.
 */
import type { PinChange, PinSource, PolicyEntry, Transport } from '../entry/entry.ts';
import { pinnedDefinitions, pinnedTools, targetBytes } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import type { PinFile } from './pin-file.ts';

export type PinMode = 'warn' | 'ask' | 'block';

/** `tools` of `sworn.yaml`. */
export interface PinSettings {
  mode: PinMode;
  /** How long a call waits for a person, in mode `ask`. */
  timeoutMs: number;
  /** As `sworn.yaml` names it. */
  path?: string;
  /** What the file says; absent without one. */
  file?: PinFile;
}

/** Whose tools they are. */
export interface PinPlace {
  transport: Transport;
  server: string;
}

/** A definition by its digest, and the entry that holds it. */
export interface PinnedDefinition {
  definition: string;
  index: number;
}

export interface PinnedTool {
  /** Oldest first. More than one where an administrator accepted one beside another. */
  accepted: (PinnedDefinition & { source: PinSource })[];
  /** What came since and nobody has accepted, oldest first. */
  drifts: (PinnedDefinition & { change: 'changed' | 'new' })[];
  /** The entry that says that it is not listed any more. */
  gone?: number;
}

/** A tool as a page of a list has it. */
export interface ListedTool {
  name: string;
  definition: string;
}

/** What a list changes: an entry each. `at`: which of the list's tools. */
export type PinAct = Required<Pick<PolicyEntry, 'act' | 'tool'>> &
  Pick<PolicyEntry, 'definition' | 'previous' | 'source' | 'change'> & { at?: number };

export interface Looked {
  acts: PinAct[];
  /** Names of tools whose definitions nobody has accepted, as listed. */
  drifted: string[];
}

/** Why a call is of no accepted definition. `unlisted`: its server has listed others; `unseen`: it has listed nothing yet, so there is nothing to differ from. */
export type PinProblem = PinChange | 'unlisted' | 'unseen' | 'file';

export class Pins {
  readonly #servers = new Map<string, Map<string, PinnedTool>>();
  #count = 0;

  /** What `toJSON` gave; anything else is empty. */
  static from(json: unknown): Pins {
    const pins = new Pins();
    if (!Array.isArray(json)) return pins;
    for (const [server, tools] of json as [string, [string, PinnedTool][]][]) {
      pins.#servers.set(server, new Map(tools));
      pins.#count += tools.length;
    }
    return pins;
  }

  toJSON(): unknown {
    return [...this.#servers].map(([server, tools]) => [server, [...tools]]);
  }

  /** Some tool of this server is known. */
  has(place: PinPlace): boolean {
    return (this.#servers.get(keyOf(place))?.size ?? 0) > 0;
  }

  of(place: PinPlace, tool: string): PinnedTool | undefined {
    return this.#servers.get(keyOf(place))?.get(bounded(tool, targetBytes));
  }

  /** All of them, servers in the order in which they were seen. */
  *all(): Generator<PinPlace & { tool: string; pinned: PinnedTool }> {
    for (const [key, tools] of this.#servers) {
      const place = placeOf(key);
      for (const [tool, pinned] of tools) yield { ...place, tool, pinned };
    }
  }

  /**
   * What a page of a server's list says. Changes nothing. `isFirst`: of its first list, which is trusted where no file says what to trust; a name that it
   * has twice with two definitions is trusted once.
   */
  look(place: PinPlace, listed: readonly ListedTool[], isFirst: boolean, file?: PinFile): Looked {
    const found: Looked = { acts: [], drifted: [] };
    const known = this.#servers.get(keyOf(place));
    const here = new Map<string, string>();
    const told = new Set<string>();
    let count = this.#count;
    for (const [at, { name, definition }] of listed.entries()) {
      const tool = bounded(name, targetBytes);
      const pinned = known?.get(tool);
      const trusts = isTrusted(place, tool, definition, pinned, file);
      const isNew = pinned === undefined && !here.has(tool);
      if (isNew && count < pinnedTools) count++;
      else if (isNew) {
        // there is no room to remember it, nor what it was: it is never accepted
        found.drifted.push(name);
        continue;
      }
      if (trusts || (isNew && isFirst && file === undefined)) {
        if (pinned?.accepted.some((one) => one.definition === definition) !== true && here.get(tool) !== definition)
          found.acts.push({ act: 'pin', tool, definition, source: trusts ? 'file' : 'list', at });
        here.set(tool, definition);
        continue;
      }
      if (!isNew && here.get(tool) === definition) continue;
      found.drifted.push(name);
      const waits = pinned?.drifts ?? [];
      if (waits.some((one) => one.definition === definition) || waits.length >= pinnedDefinitions || told.has(`${tool}\0${definition}`)) continue;
      told.add(`${tool}\0${definition}`);
      const previous =
        file === undefined ? (pinned?.accepted.at(-1)?.definition ?? here.get(tool)) : file.servers.get(place.server)?.get(tool)?.at(-1);
      const change = previous === undefined ? 'new' : 'changed';
      found.acts.push({ act: 'drift', tool, definition, change, ...(previous === undefined ? {} : { previous }), at });
    }
    return found;
  }

  /** Tools that were listed once, and are not in a whole list of the server: noted once. */
  gone(place: PinPlace, listed: ReadonlySet<string>): PinAct[] {
    const acts: PinAct[] = [];
    for (const [tool, { accepted, gone }] of this.#servers.get(keyOf(place)) ?? []) {
      const previous = accepted.at(-1)?.definition;
      if (gone === undefined && previous !== undefined && !listed.has(tool)) acts.push({ act: 'drift', tool, change: 'gone', previous });
    }
    return acts;
  }

  /** What is wrong with a call of this tool; nothing where its definition is accepted. `undefined` for `tool`: the call names none that can be read. */
  problem(place: PinPlace, tool: string | undefined, file?: PinFile): PinProblem | undefined {
    const name = tool === undefined ? undefined : bounded(tool, targetBytes);
    const known = this.#servers.get(keyOf(place));
    const pinned = name === undefined ? undefined : known?.get(name);
    const filed = name === undefined ? undefined : file?.servers.get(place.server)?.get(name);
    if (pinned === undefined) {
      if (file !== undefined && filed === undefined) return 'file';
      return known === undefined || known.size === 0 ? 'unseen' : 'unlisted';
    }
    const waits = pinned.drifts.find(({ definition }) => filed?.includes(definition) !== true);
    if (waits !== undefined) return waits.change;
    if (file === undefined) return pinned.accepted.length === 0 && pinned.drifts.length === 0 ? 'unlisted' : undefined;
    const isAccepted = pinned.accepted.some(({ definition, source }) => source === 'accept' || filed?.includes(definition) === true);
    return isAccepted || pinned.drifts.length > 0 ? undefined : 'file';
  }

  /** Brings the pins up to an entry; the answer takes it back, last first. */
  apply(entry: PolicyEntry, index: number): () => void {
    const { act, server, tool, definition, transport = 'stdio' } = entry;
    if ((act !== 'pin' && act !== 'drift' && act !== 'accept') || server === undefined || tool === undefined) return () => undefined;
    const key = keyOf({ transport, server });
    let tools = this.#servers.get(key);
    if (tools === undefined) this.#servers.set(key, (tools = new Map()));
    const before = tools.get(tool);
    if (before === undefined) this.#count++;
    tools.set(tool, applied(before ?? { accepted: [], drifts: [] }, entry, definition, index));
    return () => {
      if (before !== undefined) {
        tools.set(tool, before);
        return;
      }
      this.#count--;
      tools.delete(tool);
      if (tools.size === 0) this.#servers.delete(key);
    };
  }
}

/** As a new value: who undoes puts the old one back. */
function applied(
  { accepted, drifts, gone }: PinnedTool,
  { act, change, source = 'list', also }: PolicyEntry,
  definition: string | undefined,
  index: number,
): PinnedTool {
  /** In its place where it is there already: said again, it is not newer than it was. */
  const withOne = <T extends PinnedDefinition>(all: readonly T[], one: T): T[] =>
    all.some((other) => other.definition === one.definition)
      ? all.map((other) => (other.definition === one.definition ? one : other))
      : [...all, one].slice(-pinnedDefinitions);
  const kept = gone === undefined ? {} : { gone };
  if (act === 'drift' && change === 'gone') return { accepted, drifts, gone: index };
  if (definition === undefined) return { accepted, drifts, ...kept };
  if (act === 'pin') {
    const left = drifts.filter((one) => one.definition !== definition);
    return { accepted: withOne(accepted, { definition, index, source }), drifts: left, ...kept };
  }
  if (act === 'drift') return { accepted, drifts: withOne(drifts, { definition, index, change: change === 'new' ? 'new' : 'changed' }), ...kept };
  const left = also === true ? accepted.filter((one) => one.definition !== definition) : [];
  return { accepted: [...left, { definition, index, source: 'accept' as const }].slice(-pinnedDefinitions), drifts: [] };
}

/** A file says what is trusted, beside what an administrator accepts; without one whatever was pinned is. */
function isTrusted(place: PinPlace, tool: string, definition: string, pinned: PinnedTool | undefined, file: PinFile | undefined): boolean {
  if (file?.servers.get(place.server)?.get(tool)?.includes(definition) === true) return true;
  return pinned?.accepted.some((one) => one.definition === definition && (file === undefined || one.source === 'accept')) === true;
}

function keyOf({ transport, server }: PinPlace): string {
  return `${transport} ${server}`;
}

function placeOf(key: string): PinPlace {
  const end = key.indexOf(' ');
  return { transport: key.slice(0, end) as Transport, server: key.slice(end + 1) };
}
