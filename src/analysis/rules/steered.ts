/** Text in a result that speaks to the model, and then a call that looks as if the model had listened. */
import type { Found, SeenCall } from '../events.ts';
import { folded } from '../folded.ts';
import { instructionsIn } from './instructions.ts';
import { leavesOf, outsideAddress } from './leaves.ts';
import { msOf, nameOf, placeOf, rule, short, silencing } from './rule.ts';
import { actOf, destructions, outwardWords, wordsOf } from './words.ts';

interface Heard {
  index: number;
  /** Of the call whose result it was, and what it said. */
  reply: number;
  tool: string;
  said: string;
  /** The text around it. */
  text: string;
  atMs: number;
  callsLeft: number;
  /** Tools that the session had used until then. */
  used: string[];
  /** The first entry of the finding. */
  first?: number;
}

interface Kept {
  heard: Heard[];
  used: string[];
}

const heardMost = 4;
const toolsMost = 200;
/** After so many calls, or so long, what follows is no consequence any more. */
const callsMost = 10;
const windowMs = 15 * 60_000;
/** Of the text that is remembered, in UTF-16 units. */
const keptChars = 4_000;
const valueChars = { least: 6, most: 512 };

export const injectionThenUnusual = rule<Kept>(
  {
    id: 'injection-then-unusual',
    sees: ['call began', 'call ended'],
    severity: 'high',
    title:
      'a result holds text that reads as instructions to a model, and one of the next calls uses a tool or a value that the session had not used before',
    why: 'Whoever can write what an agent reads can try to steer it. That it then did something unusual is how such an attack looks in the record.',
    silence: silencing('injection-then-unusual'),
  },
  () => ({ heard: [], used: [] }),
  (seen, memory) => {
    if (seen.kind !== 'call' || (seen.call.method !== 'tools/call' && seen.call.method !== 'resources/read')) return [];
    if (seen.phase === 'went on') return [];
    const kept = memory.of(seen.call.session);
    if (seen.phase === 'ended') {
      listen(seen, kept);
      return [];
    }
    const found = kept.heard.flatMap((heard) => follow(seen, heard));
    kept.heard = kept.heard.filter(({ callsLeft }) => callsLeft > 0);
    const name = nameOf(seen);
    if (!kept.used.includes(name) && kept.used.length < toolsMost) kept.used.push(name);
    return found;
  },
);

function listen(seen: SeenCall, kept: Kept): void {
  const { result, call } = seen;
  if (result === undefined) return;
  const texts = result.structured === undefined ? result.texts : [...result.texts, JSON.stringify(result.structured)];
  const found = texts.find((one) => instructionsIn(one).length > 0);
  if (found === undefined) return;
  const text = folded(found);
  const [said] = instructionsIn(text);
  const at = Math.max(0, text.indexOf(said!.slice(0, 20)) - keptChars / 4);
  if (kept.heard.length >= heardMost) kept.heard.shift();
  kept.heard.push({
    index: call.index,
    reply: seen.index,
    tool: nameOf(seen),
    said: short(said!, 100),
    text: text.slice(at, at + keptChars),
    atMs: msOf(seen.at),
    callsLeft: callsMost,
    used: [...kept.used],
  });
}

function follow(seen: SeenCall, heard: Heard): Found[] {
  heard.callsLeft--;
  if (msOf(seen.at) - heard.atMs > windowMs) {
    heard.callsLeft = 0;
    return [];
  }
  const tool = nameOf(seen);
  const leaves = leavesOf(seen.arguments);
  const named = leaves.find(
    ({ value }) => typeof value === 'string' && value.length >= valueChars.least && value.length <= valueChars.most && heard.text.includes(value),
  );
  const isNew = !heard.used.includes(tool);
  const isToolNamed = isNew && new RegExp(`(?<![\\w-])${tool.replaceAll(/[^\w-]/g, '\\$&')}(?![\\w-])`).test(heard.text);
  const words = wordsOf(tool);
  const isGrave =
    seen.call.effect !== 'read' &&
    (actOf(tool) !== undefined ||
      seen.call.destructive === true ||
      words.some((word) => outwardWords.has(word) || Object.hasOwn(destructions, word)));
  // a page is read, and then the next one that it names: that alone is what pages are for
  const isLed =
    named !== undefined && (isNew || seen.call.effect !== 'read' || outsideAddress(leaves) === undefined) && !isPlainNext(seen, heard, tool);
  if (!isToolNamed && !isLed && !(isNew && isGrave && outsideAddress(leaves) !== undefined)) return [];
  heard.first ??= seen.call.index;
  const what = isToolNamed
    ? 'it names the tool'
    : named === undefined
      ? 'the tool was not used before'
      : `it names ${short(String(named.value), 60)}`;
  const outcome = seen.call.state === 'blocked' ? ', and was refused' : '';
  return [
    {
      first: heard.first,
      severity: isGrave || seen.call.sensitive ? 'high' : 'medium',
      title: `Did text in a result of ${heard.tool} make the agent call ${tool}?`,
      detail: `“${heard.said}” came with ${heard.reply}, then ${tool} was called (${what})${outcome}`,
      indexes: [heard.index, heard.reply, seen.call.index],
      ...placeOf(seen),
    },
  ];
}

/** The same reading tool goes on. */
function isPlainNext(seen: SeenCall, heard: Heard, tool: string): boolean {
  return seen.call.effect === 'read' && tool === heard.tool && !seen.call.sensitive;
}
