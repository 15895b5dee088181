/** Whether an answer says that what was asked for does not exist. */
import type { ResultView } from './message-view.ts';
import type { CallRow, TouchRow } from './rows.ts';
import { nounOfTool } from './words.ts';

/** A longer answer that is no error is about something else. */
const answerChars = 300;
/** JSON-RPC code of MCP: the resource was not found. */
const noResource = -32002;

const says =
  /\b(?:not found|no such|(?:does|do|did)(?:n['’]t| not) exist|non-?existent|unknown|could not (?:be found|find)|cannot find|can['’]?t find|no longer exists|not exist|enoent|404)\b/iu;
/** `no employee e-999`, `there is no table pay` */
const none = /\bno (?:\S{1,40} ){0,4}$/iu;
/** Of a tool that the server does not have: nothing was looked up. */
const aboutTools = /\b(?:tool|method|prompt)\b/iu;

const lack = String.raw`(?:not found|(?:does|do|did)(?:n['’]t| not) exist|non-?existent|not exist)`;
const part = String.raw`(?:column|field|function|parameter|argument|property|attribute|option|operator|constraint|key)`;
/** `column "nam" of relation "users" does not exist`, `no such column: nam`: what it is a part of is there. */
const aboutParts = new RegExp(
  String.raw`\b${part}s?\b[^.;\n]{0,120}?\b${lack}\b|\b(?:no such|unknown|invalid|cannot find|could not find)\s{1,4}${part}\b`,
  'iu',
);
const isPart = new RegExp(`(?:^|_)${part}$`, 'u');

/** The entities among what a call asked for that its answer says are not there. */
export function saysMissing(row: Readonly<CallRow>, touches: readonly TouchRow[], result: ResultView): string[] {
  let asked = touches.filter(({ path }) => path.startsWith('arguments'));
  if (asked.length === 0) return [];
  const text = result.texts.join('\n').slice(0, 4096);
  if (result.code === noResource) return asked.map(({ entity }) => entity);
  if (!result.isError && text.length > answerChars) return [];
  if (aboutParts.test(text)) asked = asked.filter(({ entity }) => isPart.test(entity.slice(0, entity.indexOf(':'))));
  if (asked.length === 0) return [];
  const named = asked.filter(({ entity }) => {
    const value = entity.slice(entity.indexOf(':') + 1);
    const at = placeOf(text, value);
    return at >= 0 && (says.test(text) || none.test(text.slice(Math.max(0, at - 120), at).replace(/["'`#]+$/u, '')));
  });
  if (named.length > 0) return aboutOnly(text, named).map(({ entity }) => entity);
  // it says so without the name: of what else could it speak, where only one thing was asked for
  const [one, ...others] = asked;
  if (others.length > 0) return [];
  if (says.test(text) && !aboutTools.test(text)) return [one!.entity];
  return !result.isError && row.effect === 'read' && isNothing(row, one!, result, text) ? [one!.entity] : [];
}

/** An empty answer to a question for one thing of a tool that is about such things. */
function isNothing(row: Readonly<CallRow>, touch: TouchRow, { structured, documents }: ResultView, text: string): boolean {
  if (touch.entity.slice(0, touch.entity.indexOf(':')) !== nounOfTool(row.target ?? '')) return false;
  const said = structured ?? (documents.length > 0 ? documents[0] : text.trim());
  return said === null || said === 'null' || said === '' || (typeof said === 'object' && said !== null && Object.keys(said).length === 0);
}

/** Of several that an answer names, those in the clause that says it. */
function aboutOnly(text: string, named: readonly TouchRow[]): readonly TouchRow[] {
  if (named.length === 1) return named;
  const clauses = text.split(/[\n.;,]\s|\n/u).filter((clause) => says.test(clause) || /\bno\b/iu.test(clause));
  const said = named.filter(({ entity }) => clauses.some((clause) => placeOf(clause, entity.slice(entity.indexOf(':') + 1)) >= 0));
  return said.length > 0 ? said : named;
}

/** Where a value stands as a word of its own. */
function placeOf(text: string, value: string): number {
  for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) {
    const before = text[at - 1] ?? ' ';
    const after = text[at + value.length] ?? ' ';
    if (!/[\p{L}\p{N}_]/u.test(before) && !/[\p{L}\p{N}_]/u.test(after)) return at;
  }
  return -1;
}
