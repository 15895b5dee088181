/** Reads the logical tool calls of a ledger. Held in memory: the calls that are not over, and those that began after the oldest of them. */
import { abandon, advance, begin, decide, isFirst, type Begun, type Call } from '../analysis/calls.ts';
import type { Located } from './entries.ts';

export { isLegOf, type Call, type Leg } from '../analysis/calls.ts';
export type { CallState } from '../analysis/rows.ts';

/** Calls that are remembered; beyond it the oldest is given out as it is. */
const callsMost = 10_000;

/** The calls in the order of their beginning. `isWanted`: of the first request. */
export async function* readCalls(entries: AsyncIterable<Located>, isWanted: (located: Located) => boolean = () => true): AsyncGenerator<Call> {
  const begun = new Map<number, Begun>();
  for await (const located of entries) {
    add(begun, located, isWanted);
    for (const [index, { call, isOver }] of begun) {
      if (!isOver && begun.size <= callsMost) break;
      begun.delete(index);
      yield call;
    }
  }
  for (const { call } of begun.values()) yield call;
}

function add(begun: Map<number, Begun>, located: Located, isWanted: (located: Located) => boolean): void {
  const { index, entry } = located;
  if (entry.kind === 'close') {
    for (const one of begun.values()) if (one.call.connection === entry.connection) abandon(one);
  }
  if (entry.kind === 'approval') {
    const one = begun.get(entry.request) ?? [...begun.values()].find(({ call }) => call.legs.includes(entry.request));
    if (one !== undefined) decide(one, index, entry, located.content?.attributes);
    return;
  }
  if (entry.kind !== 'message' || entry.repeats !== undefined) return;
  if (isFirst(entry)) {
    if (entry.method === 'tools/call' && isWanted(located)) begun.set(index, begin(index, entry));
    return;
  }
  const first = entry.call ?? entry.exchange;
  const one = first === undefined ? undefined : begun.get(first);
  if (one !== undefined) advance(one, index, entry);
}
