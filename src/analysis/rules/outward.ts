/** A sensitive read, and afterwards, in the same session, something that goes outward. */
import type { Found, SeenCall } from '../events.ts';
import { commandAddress, distinctive, leavesOf, outsideAddress } from './leaves.ts';
import { firstOf, nameOf, placeOf, rule, short, silencing } from './rule.ts';
import { looking, outwardWords, subjectOf, wordsOf } from './words.ts';

interface Read {
  index: number;
  tool: string;
  /** What it is called. */
  subject?: string;
  /** Hashes of what would be known again. */
  values: number[];
}

interface Kept {
  reads: Read[];
  /** By the tool that sends: the first entry of its finding. */
  firsts: Record<string, number>;
}

/** Of one session. The first read and the newest ones stay. */
const readsMost = 12;
const toolsMost = 50;

export const sensitiveThenOutward = rule<Kept>(
  {
    id: 'sensitive-then-outward',
    sees: ['call began', 'call ended'],
    severity: 'medium',
    title: 'a sensitive read is followed, in its session, by a write that goes outward',
    why: 'What an agent has read it can pass on: a mail, a message, an upload or a request to another machine is where data leaves.',
    silence: silencing(
      'sensitive-then-outward',
      'If the tool does not send anything anywhere, call it a read: servers: { "*": { tools: { NAME: { effect: read } } } } in sworn.yaml.',
    ),
  },
  () => ({ reads: [], firsts: {} }),
  (seen, memory) => {
    if (seen.kind !== 'call') return [];
    const { call, phase } = seen;
    if (phase === 'ended') {
      if (call.sensitive && call.effect !== 'write' && call.state === 'ok') remember(seen, memory.of(call.session));
      return [];
    }
    if (phase !== 'began' || call.state === 'blocked') return [];
    const kept = memory.get(call.session);
    return kept === undefined || kept.reads.length === 0 ? [] : outward(seen, kept);
  },
);

function remember(seen: SeenCall, kept: Kept): void {
  const { result, call } = seen;
  const asked = distinctive(JSON.stringify(seen.arguments ?? ''));
  const values = result === undefined ? [] : [...distinctive(textOfResult(result))].filter((value) => !asked.has(value));
  const names = [result?.structured, ...(result?.documents ?? [])].flatMap((document) => leavesOf(document).map(({ name }) => name));
  const subject = subjectOf([...names, nameOf(seen)]);
  if (kept.reads.length >= readsMost) kept.reads.splice(1, 1);
  kept.reads.push({ index: call.index, tool: nameOf(seen), ...(subject === undefined ? {} : { subject }), values });
}

function textOfResult({ texts, structured }: NonNullable<SeenCall['result']>): string {
  return structured === undefined ? texts.join(' ') : `${texts.join(' ')} ${JSON.stringify(structured)}`;
}

function outward(seen: SeenCall, kept: Kept): Found[] {
  const { call } = seen;
  const tool = nameOf(seen);
  const leaves = leavesOf(seen.arguments);
  const whole = outsideAddress(leaves);
  const address = whole ?? (call.effect === 'read' ? undefined : commandAddress(leaves));
  const words = wordsOf(tool);
  const isSender = !words.slice(0, 2).some((word) => looking.has(word)) && words.some((word) => outwardWords.has(word));
  // a read can carry data out too, in the address that it asks for: only then it is looked at
  if (call.effect === 'read' ? address === undefined : !isSender && address === undefined) return [];
  const said = distinctive(leaves.map(({ value }) => String(value)).join(' '));
  const again = kept.reads.find(({ values }) => values.some((value) => said.has(value)));
  // commands name addresses all day
  if ((call.effect === 'read' || (!isSender && whole === undefined)) && again === undefined) return [];
  const read = again ?? kept.reads.at(-1)!;
  const first = firstOf(kept.firsts, tool, call.index, toolsMost);
  const subject = read.subject ?? 'sensitive data';
  const where = address === undefined ? '' : ` to ${short(address, 80)}`;
  return [
    {
      first,
      severity: again === undefined ? 'medium' : 'high',
      title: again === undefined ? `Why did ${tool} go outward after ${subject} was read?` : `Why did ${subject} go outward with ${tool}?`,
      detail: `${read.tool} read ${subject} (${read.index}), then ${tool} was called${where}${again === undefined ? '' : ', with a value from what was read'}`,
      indexes: [read.index, call.index],
      ...placeOf(seen),
    },
  ];
}
