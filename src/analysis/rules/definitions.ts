/** What servers say their tools are: definitions that change, that speak to the model, and tools that no list names. */
import { canonicalJson } from '../../mcp/definition.ts';
import type { Found } from '../events.ts';
import { hash53 } from './hash.ts';
import { firstOf, placeOf, rule, short, silencing } from './rule.ts';

interface Version {
  /** As the server said it with the definition. */
  version?: string;
  first?: number;
}

const toolsMost = 2_000;

export const changedDefinition = rule<Version>(
  {
    id: 'changed-definition',
    sees: ['definition'],
    severity: 'medium',
    title: 'a server lists a tool with another definition than before',
    why: 'Somebody approved the tool as it was. A description that changes afterwards is how a tool is turned against its users.',
    silence: silencing('changed-definition'),
  },
  () => ({}),
  (seen, memory) => {
    if (seen.kind !== 'definition') return [];
    const { definition, previous, session, index } = seen;
    const own = memory.of(`${definition.server} ${definition.tool}`);
    const before = own.version;
    const version = session?.serverInfo?.version;
    if (version === undefined) delete own.version;
    else own.version = version;
    if (previous === undefined) return [];
    const changes = changesOf(previous.text, definition.text);
    if (changes.length === 0) return [];
    own.first ??= index;
    const isUpdate = before !== undefined && version !== undefined && before !== version;
    return [
      {
        first: own.first,
        subject: definition.tool,
        // whoever installed another version has seen that it changed
        severity: isUpdate ? 'low' : 'medium',
        title: `Why did the definition of ${definition.tool} change?`,
        detail: `${changes.join(', ')}${isUpdate ? `, with version ${short(before, 20)} → ${short(version, 20)}` : ''}`,
        indexes: [previous.lastIndex, index],
        server: definition.server,
        tool: definition.tool,
        ...(session === undefined ? {} : { session: session.session }),
      },
    ];
  },
  toolsMost,
);

/** The members that differ; the order in which they stand says nothing. */
function changesOf(before: string, after: string): string[] {
  try {
    const [one, other] = [JSON.parse(before) as Record<string, unknown>, JSON.parse(after) as Record<string, unknown>];
    return [...new Set([...Object.keys(one), ...Object.keys(other)])]
      .filter((name) => canonicalJson(one[name]) !== canonicalJson(other[name]))
      .slice(0, 8);
  } catch {
    return ['its text'];
  }
}

export const hiddenInstructions = rule<Record<string, never>>(
  {
    id: 'hidden-instructions',
    sees: ['definition'],
    severity: 'high',
    title: "a tool's definition holds text that reads as instructions to a model",
    why: 'A description is read by the model and mostly by nobody else. One that says what else to do, and not to tell, is an attack on every agent that lists it.',
    silence: silencing('hidden-instructions'),
  },
  () => ({}),
  (seen) => {
    if (seen.kind !== 'definition') return [];
    const { definition, session, index } = seen;
    const { hiddenText: said = [] } = seen;
    if (said.length === 0) return [];
    return [
      {
        first: index,
        subject: definition.tool,
        title: `Does the definition of ${definition.tool} give the model orders?`,
        detail: said
          .slice(0, 3)
          .map((one) => `“${short(one, 90)}”`)
          .join(', '),
        indexes: [index],
        server: definition.server,
        tool: definition.tool,
        ...(session === undefined ? {} : { session: session.session }),
      },
    ];
  },
);

interface Listed {
  /** Names that the server has listed, by hash; none: it has listed nothing. */
  tools: number[];
  /** By session and tool: the first entry of its finding. */
  firsts: Record<string, number>;
}

const unlistedMost = 200;

export const neverListed = rule<Listed>(
  {
    id: 'never-listed',
    sees: ['definition', 'call ended'],
    severity: 'low',
    title: 'a tool is called that its server had not listed',
    why: 'A model that makes up tools makes up more. A server that answers all the same has tools that nobody was shown.',
    silence: silencing('never-listed'),
  },
  () => ({ tools: [], firsts: {} }),
  (seen, memory) => {
    if (seen.kind === 'definition') {
      const { tools } = memory.of(seen.definition.server);
      const hash = hash53(seen.definition.tool);
      if (tools.length < toolsMost && !tools.includes(hash)) tools.push(hash);
      return [];
    }
    if (seen.kind !== 'call' || seen.phase !== 'ended' || seen.call.method !== 'tools/call' || seen.call.target === undefined) return [];
    const { call } = seen;
    const tool = seen.call.target;
    const own = memory.get(call.server);
    // of a server with more tools than are remembered nothing is known
    if (own === undefined || own.tools.length === 0 || own.tools.length >= toolsMost || own.tools.includes(hash53(tool))) return [];
    const first = firstOf(own.firsts, `${call.session} ${tool}`, call.index, unlistedMost);
    const found: Found = {
      first,
      title: `Where does the agent know ${short(tool, 80)} from?`,
      detail: `${call.server} had not listed it${call.state === 'ok' ? ', and answered' : ''}`,
      indexes: [call.index],
      ...placeOf(seen),
    };
    return [found];
  },
  100,
);
