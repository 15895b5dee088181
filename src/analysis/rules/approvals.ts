/** What people decide, and what waits for them: approvals that may be nobody's but the agent's, and tools that nobody has accepted yet. */
import { approvalText } from '../approvals.ts';
import type { Found } from '../events.ts';
import { firstOf, nameOf, placeOf, rule, short, silencing } from './rule.ts';

interface Kept {
  /** By tool: the first entry of its finding. */
  firsts: Record<string, number>;
}

const toolsMost = 100;

export const selfApproved = rule<Kept>(
  {
    id: 'self-approved',
    sees: ['call went on'],
    severity: 'low',
    title: "a call that a person was asked about was approved with the agent's own account",
    why: 'Whoever runs under the account of the agent can be the agent, or what it started. Such an approval shows that somebody was asked, and not that it was a person.',
    silence: silencing('self-approved', 'Give the recorder an account of its own: the account of the agent is refused then.'),
  },
  () => ({ firsts: {} }),
  (seen, memory) => {
    // shown once, with the decision: what the call brings later has an entry
    if (seen.kind !== 'call' || seen.phase !== 'went on' || seen.entry !== undefined) return [];
    const { call } = seen;
    const { approval } = call;
    if (approval?.selfApproved !== true || approval.decision !== 'approved') return [];
    const kept = memory.of(call.session);
    const found: Found = {
      first: firstOf(kept.firsts, nameOf(seen), approval.index, toolsMost),
      severity: call.destructive || call.sensitive ? 'medium' : 'low',
      title: `Did a person approve ${short(nameOf(seen), 80)}, or the agent itself?`,
      detail: `${nameOf(seen)} ${short(call.argumentsText ?? '', 120)}: ${short(approvalText(approval), 160)}`,
      indexes: [call.index, approval.index],
      ...placeOf(seen),
    };
    return [found];
  },
);

/** What changes in a definition is `changed-definition`, whether or not tools are pinned. */
export const unpinnedTool = rule<Kept>(
  {
    id: 'unpinned-tool',
    sees: ['entry'],
    severity: 'low',
    title: 'a server whose tools are pinned lists one that it did not list before',
    why: 'Nobody has looked at this tool yet. A server that is trusted for some tools can be given others later.',
    silence: silencing('unpinned-tool', 'Look at it, and accept it: sworn tools diff TOOL; sworn tools accept TOOL.'),
  },
  () => ({ firsts: {} }),
  (seen, memory) => {
    if (seen.kind !== 'entry' || seen.entry.kind !== 'policy' || seen.entry.act !== 'drift' || seen.entry.change !== 'new') return [];
    const { entry, index, session } = seen;
    const { server = '', tool = '' } = entry;
    return [
      {
        first: firstOf(memory.of(session?.session ?? server).firsts, tool, index, toolsMost),
        subject: tool,
        title: `Who added the tool ${short(tool, 80)}?`,
        detail: `${short(server, 60)} lists ${short(tool, 120)}, which was not there when its tools were pinned`,
        indexes: [index],
        server,
        tool,
        ...(session === undefined ? {} : { session: session.session }),
      },
    ];
  },
);
