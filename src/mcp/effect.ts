/**
 * What a message does (`spec/entry.md`, `effect`): from the user's overrides, else from the tool's annotations (MCP ToolAnnotations), else from a
 * table of methods. Annotations are the server's own word and are marked as such.
 */
import { utf8, utf8Text } from '../bytes/bytes.ts';
import { peekBytes, toolNamesBytes, toolsCount } from '../limits.ts';
import { anyGlobMatches, splitGlobs } from './glob.ts';
import type { Message } from './message.ts';

export type Effect = 'read' | 'write' | 'unknown';
export type EffectSource = 'override' | 'annotation' | 'default';

export interface EffectFields {
  effect: Effect;
  effectSource: EffectSource;
  sensitive?: true;
  destructive?: true;
  /** Of tool calls: what the tool answers may hold what a stranger wrote. */
  untrusted?: true;
}

/** What a `tools/list` result says of one tool. Hints are there only when they are booleans. */
export interface ToolDefinition {
  name: string;
  readOnlyHint?: boolean;
  destructiveHint?: boolean;
  openWorldHint?: boolean;
}

/** What an operator says of one tool; it goes before what a tap was started with and what the server says. */
export interface ToolWord {
  effect?: 'read' | 'write';
  sensitive?: boolean;
  destructive?: boolean;
  untrusted?: boolean;
}

/** Globs, each list also comma separated. `sensitive` is matched against tool and prompt names and resource URIs, the others against tool names. */
export interface Overrides {
  sensitive?: readonly string[];
  write?: readonly string[];
  read?: readonly string[];
}

/**
 * The tools of one connection by name: at most `limits.toolsCount` with names of `limits.toolNamesBytes` together, the last definition of a name counts.
 */
export class Tools {
  readonly #byName = new Map<string, ToolDefinition>();
  #namesBytes = 0;

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): ToolDefinition | undefined {
    return this.#byName.get(name);
  }

  /** Adds the definitions of one page of a list. Names beyond the bound are not remembered: their effect is `unknown`. */
  add(definitions: readonly ToolDefinition[]): void {
    for (const definition of definitions) {
      if (!this.#byName.has(definition.name)) {
        const nameBytes = utf8(definition.name).length;
        if (this.#byName.size >= toolsCount || this.#namesBytes + nameBytes > toolNamesBytes) continue;
        this.#namesBytes += nameBytes;
      }
      this.#byName.set(definition.name, definition);
    }
  }

  toJSON(): ToolDefinition[] {
    return [...this.#byName.values()];
  }

  /** Tools from what `toJSON` gave; anything else is empty. */
  static from(json?: unknown): Tools {
    const tools = new Tools();
    tools.add(definitionsIn(json));
    return tools;
  }
}

/** The definitions in a `tools/list` result (the whole frame): none for anything else, and none above `limits.peekBytes`. Never throws. */
export function readToolDefinitions(frame: Uint8Array): ToolDefinition[] {
  if (frame.length > peekBytes) return [];
  const text = utf8Text(frame);
  if (text === undefined) return [];
  try {
    const document = JSON.parse(text) as { result?: { tools?: unknown } } | null;
    return definitionsIn(document?.result?.tools);
  } catch {
    return [];
  }
}

function definitionsIn(list: unknown): ToolDefinition[] {
  if (!Array.isArray(list)) return [];
  const definitions: ToolDefinition[] = [];
  for (const item of list as unknown[]) {
    if (typeof item !== 'object' || item === null) continue;
    const { name, annotations, readOnlyHint, destructiveHint, openWorldHint } = item as Record<string, unknown>;
    if (typeof name !== 'string') continue;
    // the form of the protocol, and our own of `toJSON`
    const hints =
      typeof annotations === 'object' && annotations !== null
        ? (annotations as Record<string, unknown>)
        : { readOnlyHint, destructiveHint, openWorldHint };
    const definition: ToolDefinition = { name };
    if (typeof hints['readOnlyHint'] === 'boolean') definition.readOnlyHint = hints['readOnlyHint'];
    if (typeof hints['destructiveHint'] === 'boolean') definition.destructiveHint = hints['destructiveHint'];
    if (typeof hints['openWorldHint'] === 'boolean') definition.openWorldHint = hints['openWorldHint'];
    definitions.push(definition);
    if (definitions.length === toolsCount) break;
  }
  return definitions;
}

/**
 * Methods whose effect the protocol fixes. Reads: whatever only asks, and the handshake and settings of the connection itself, which change nothing
 * that the server keeps. Writes: what ends or alters a task. All others, `sampling/createMessage` and `elicitation/create` among them, are `unknown`:
 * what they lead to is decided by a model or a person.
 */
const methodEffects = new Map<string, Effect>([
  ['initialize', 'read'],
  ['server/discover', 'read'],
  ['ping', 'read'],
  ['logging/setLevel', 'read'],
  ['completion/complete', 'read'],
  ['tools/list', 'read'],
  ['prompts/list', 'read'],
  ['prompts/get', 'read'],
  ['resources/list', 'read'],
  ['resources/templates/list', 'read'],
  ['resources/read', 'read'],
  ['resources/subscribe', 'read'],
  ['resources/unsubscribe', 'read'],
  ['subscriptions/listen', 'read'],
  ['roots/list', 'read'],
  ['tasks/get', 'read'],
  ['tasks/list', 'read'],
  ['tasks/result', 'read'],
  ['tasks/cancel', 'write'],
  ['tasks/update', 'write'],
]);

/** A pattern list that was split once, for `effectOf`. */
export interface SplitOverrides {
  sensitive: string[];
  write: string[];
  read: string[];
}

export function splitOverrides(overrides: Overrides): SplitOverrides {
  return { sensitive: splitGlobs(overrides.sensitive), write: splitGlobs(overrides.write), read: splitGlobs(overrides.read) };
}

/**
 * The effect of a request. A tool is `read` only when its definition says `readOnlyHint: true`; else it is `write`, and destructive unless
 * `destructiveHint` is `false` (the protocol's defaults). Without a definition it is `unknown`. An override of `write` beats one of `read`; a tool
 * that an override makes `write` is destructive when its definition says `destructiveHint: true`. `word`, the operator's, goes before all of it.
 * A tool's results are untrusted unless the operator or its definition (`openWorldHint: false`; the protocol's default is true) says otherwise.
 */
export function effectOf(
  message: Pick<Message, 'method' | 'target'>,
  tools: Pick<Tools, 'get'>,
  overrides: SplitOverrides,
  word: ToolWord = {},
): EffectFields {
  const { method, target } = message;
  const fields: EffectFields = { effect: 'unknown', effectSource: 'default' };
  if (method === 'tools/call') {
    const definition = target === undefined ? undefined : tools.get(target.value);
    const override =
      word.effect ??
      (target === undefined
        ? undefined
        : anyGlobMatches(overrides.write, target.value)
          ? 'write'
          : anyGlobMatches(overrides.read, target.value)
            ? 'read'
            : undefined);
    if (override !== undefined) {
      fields.effect = override;
      fields.effectSource = 'override';
      if (override === 'write' && definition?.destructiveHint === true) fields.destructive = true;
    } else if (definition !== undefined) {
      fields.effect = definition.readOnlyHint === true ? 'read' : 'write';
      fields.effectSource = 'annotation';
      if (fields.effect === 'write' && definition.destructiveHint !== false) fields.destructive = true;
    }
    if (word.destructive === true) fields.destructive = true;
    else if (word.destructive === false) delete fields.destructive;
    if (word.untrusted ?? definition?.openWorldHint !== false) fields.untrusted = true;
  } else if (method !== undefined) {
    fields.effect = methodEffects.get(method) ?? 'unknown';
  }
  if (word.sensitive ?? (target !== undefined && anyGlobMatches(overrides.sensitive, target.value))) fields.sensitive = true;
  return fields;
}
