/**
 * A drafted policy as the text of a `sworn.yaml` (`policy/draft.ts` says what it allows), with what it is made from as comments.
 *
 * Names in it come from strangers: in values they stand in double quotes as soon as they hold anything but letters, digits and `_ . / -`, and whatever cannot be seen stands
 * there as its number; in comments it is made visible, on one line.
 */
import { harmful, visible } from '../bytes/visible.ts';
import { celText, rulesInOrder, type Draft, type DraftGroup, type DraftRule } from '../policy/draft.ts';
import type { LeftOut, Seen, SeenItem, SeenPrincipal } from '../policy/seen.ts';

/** What the draft says of itself in its first lines. */
export interface DraftHead {
  ledgers: readonly string[];
  /** The options that chose the part of the past. */
  asked: readonly string[];
  /** Of the same past, by the draft: messages that would be refused, of those that passed without a mark and of those that were flagged. */
  refuses?: { passed: number; flagged: number };
}

const why: Record<LeftOut, string> = {
  ambiguous: 'can be read in two ways, which is refused as soon as a policy can refuse anything (spec/policy.md, Judging)',
  'too long': 'too long to be judged',
  'without a name': 'a call, prompt or resource without a name or scheme',
  'without an id': 'a request without an id',
  'name hidden': 'the name was redacted, or is longer than a rule can name',
  'name not well-formed': 'the name holds half a character (a lone surrogate), which no file can hold',
  'too many names': 'more different names than a policy file holds',
};

/** In the comment at the end. */
const notAllowedMost = 200;

export function draftText(draft: Draft, seen: Seen, head: DraftHead): string {
  const lines: string[] = [];
  const say = (text: string): void => void lines.push(text === '' ? '#' : `# ${visible(text)}`);
  say('A draft of sworn.yaml, made by `sworn policy suggest` from what was recorded:');
  for (const ledger of head.ledgers) say(`  ${ledger}`);
  if (head.asked.length > 0) say(`  ${head.asked.join(' ')}`);
  const days = seen.firstAt === undefined ? '' : `, ${period(seen.firstAt, seen.lastAt!)}`;
  say(`  ${counted(seen.requests, 'request')}${days}; ${counted(seen.passed, 'request')} passed`);
  say(
    'It allows what passed, to whom it passed, and no other request. What was seen is not what is wanted: read it line by line before it is put in force.',
  );
  say('`servers`, `redact`, `capture` and all else of a policy file is not in it: put this beside what you have.');
  if (head.refuses !== undefined) {
    const { passed, flagged } = head.refuses;
    const said = [passed === 0 ? 'nothing that passed' : `${counted(passed, 'message')} that passed`];
    if (flagged > 0) said.push(`${counted(flagged, 'message')} that ${flagged === 1 ? 'was' : 'were'} flagged`);
    say(`Checked against the same record: it would refuse ${said.join(', and ')}${passed + flagged > 0 ? ' (see the end)' : ''}.`);
  }
  lines.push('policy:', '  default: deny');
  if (draft.groups.length > 0) lines.push('  rules:');
  let group: DraftGroup | undefined;
  for (const one of rulesInOrder(draft)) {
    if (one.group !== group) {
      if (group !== undefined) lines.push('');
      lines.push(`    # ${visible(whoText(one.group))}`);
    }
    group = one.group;
    lines.push(...ruleLines(one.rule));
  }
  lines.push(...leftOutLines(draft, seen));
  return `${lines.join('\n')}\n`;
}

function ruleLines(rule: DraftRule): string[] {
  const lines = [`    - name: ${yamlText(rule.name)}`];
  const put = (key: string, value: string): void => void lines.push(`      ${key}: ${value}`);
  if (rule.action === 'ask') lines.push('      ask: true # a person decides each of them: sworn approvals');
  else lines.push(`      allow: true${rule.writes ? ' # may write: with `ask: true` in its place a person decides each call' : ''}`);
  if (rule.server !== undefined) put('server', yamlText(rule.server));
  put('direction', rule.direction);
  if (rule.client !== undefined) put('client', flow(rule.client));
  const { observed, verified } = rule.principal ?? {};
  if (observed !== undefined) put('principal', `{ observed: { uid: ${flow(observed.uid)} } }`);
  if (verified !== undefined)
    put(
      'principal',
      `{ verified: { subject: ${flow(verified.subject)}${verified.issuer === undefined ? '' : `, issuer: ${flow(verified.issuer)}`} } }`,
    );
  if (rule.isListed) {
    const key = rule.tool === undefined ? 'method' : 'tool';
    const globs = new Map(rule.items.map((item, i) => [item, rule[key]![i]!]));
    lines.push(`      ${key}:`, ...itemLines(rule, (item, text) => `        - ${yamlText(globs.get(item)!)} # ${text}`));
  } else {
    if (rule.method !== undefined) put('method', flow(rule.method));
    lines.push(...itemLines(rule, (item, text) => `      # ${visible(nameOf(item))}: ${text}`, '      '));
  }
  if (rule.when !== undefined) put('when', quoted(rule.when));
  return lines;
}

/** Those that need a second look apart from the others, each part under a line of its own. */
function itemLines(rule: DraftRule, line: (item: SeenItem, text: string) => string, indent = '        '): string[] {
  const onlyFailed = ({ failed, passed }: SeenItem): boolean => failed > 0 && failed === passed;
  const lines: string[] = [];
  const put = (title: string, items: readonly SeenItem[]): void => {
    if (items.length === 0) return;
    if (title !== '') lines.push(`${indent}# ${title}`);
    for (const item of items) lines.push(line(item, itemText(item, rule)));
  };
  put(
    '',
    rule.items.filter((item) => item.passed > 1 && !onlyFailed(item)),
  );
  put(
    'Seen only once: is it wanted?',
    rule.items.filter((item) => item.passed === 1 && !onlyFailed(item)),
  );
  put('Only ever answered with an error: is it wanted?', rule.items.filter(onlyFailed));
  return lines;
}

/** `412 calls, 3 failed, 2026-10-22 … 2026-11-20, destructive`. */
function itemText(item: SeenItem, rule: DraftRule): string {
  const parts = [counted(item.passed, item.kind === 'tool' ? 'call' : 'request')];
  if (item.failed > 0) parts.push(`${item.failed} failed`);
  if (item.approved > 0) parts.push(`${item.approved} approved by a person`);
  if (item.flagged > 0) parts.push(`${item.flagged} more flagged`);
  if (item.refused > 0) parts.push(`${item.refused} more refused`);
  parts.push(period(item.firstAt, item.lastAt));
  if (item.kind === 'tool' && rule.writes)
    parts.push(item.effect === 'unknown' ? 'nobody says what it does' : item.destructive ? 'destructive' : 'write');
  else if (item.effect === 'write') parts.push('write');
  if (item.sensitive) parts.push('sensitive');
  const name = nameOf(item);
  // oxlint-disable-next-line no-control-regex
  if (!/^[\x20-\x7e]*$/.test(name)) parts.push(`look twice, it is ${celText(name)}`);
  return parts.join(', ');
}

function leftOutLines(draft: Draft, seen: Seen): string[] {
  const lines: string[] = [];
  const put = (text: string): void => void lines.push(`# ${visible(text)}`);
  for (const [reason, { requests, first }] of seen.leftOut) put(`  ${counted(requests, 'message')}, the first with index ${first}: ${why[reason]}`);
  if (lines.length > 0) lines.unshift('', '# Passed, and is refused by this draft, since no rule could allow it:');
  if (draft.notAllowed.length > 0) {
    lines.push('', '# Not allowed, since it never passed without a mark:');
    for (const { group, item } of draft.notAllowed.slice(0, notAllowedMost)) {
      const times = [
        item.refused > 0 ? `${item.refused} refused` : '',
        item.flagged > 0 ? `${item.flagged} flagged` : '',
        item.asked > 0 ? `${item.asked} asked for and not approved` : '',
        item.rules.length > 0 ? `by ${item.rules.join(', ')}` : '',
      ].filter((text) => text !== '');
      put(`  ${group.server}: ${nameOf(item)}: ${times.join(', ')}`);
    }
    const rest = draft.notAllowed.length - notAllowedMost;
    if (rest > 0) put(`  and ${rest} more`);
  }
  return lines;
}

/** `github · client claude-desktop · uid 1000`. */
export function whoText({ server, clients, principals }: Pick<DraftGroup, 'server' | 'clients' | 'principals'>): string {
  const who = principals.map(principalText).filter((text) => text !== '');
  const few = (texts: readonly string[]): string =>
    texts.length <= 3 ? texts.join(', ') : `${texts.slice(0, 3).join(', ')} and ${texts.length - 3} more`;
  return [server, clients === undefined ? '' : `client ${few(clients)}`, few(who)].filter((text) => text !== '').join(' · ');
}

function principalText({ uid, subject, issuer }: SeenPrincipal): string {
  if (subject !== undefined) return issuer === undefined ? subject : `${subject} (${issuer})`;
  return uid === undefined ? '' : `uid ${uid}`;
}

/** A tool's name; of others with the method. */
export function nameOf({ kind, method, name }: SeenItem): string {
  return kind === 'tool' ? name : name === '' ? method : `${method} ${name}`;
}

function period(first: string, last: string): string {
  const [from, to] = [first.slice(0, 10), last.slice(0, 10)];
  return from === to ? from : `${from} … ${to}`;
}

function counted(count: number, one: string): string {
  return `${count.toLocaleString('en')} ${one}${count === 1 ? '' : 's'}`;
}

function flow(values: readonly (string | number)[]): string {
  const texts = values.map((value) => (typeof value === 'number' ? String(value) : yamlText(value)));
  return texts.length === 1 ? texts[0]! : `[${texts.join(', ')}]`;
}

/** Words that readers of YAML 1.1 take for something else than a text, too. */
const words = /^(?:true|false|null|yes|no|on|off|y|n)$/i;

/** A text as a YAML scalar. */
export function yamlText(text: string): string {
  return /^[A-Za-z_][A-Za-z0-9_./-]*$/.test(text) && !words.test(text) ? text : quoted(text);
}

function quoted(text: string): string {
  return JSON.stringify(text).replace(harmful, (char) => {
    const code = char.codePointAt(0)!.toString(16);
    return code.length <= 4 ? `\\u${code.padStart(4, '0')}` : `\\U${code.padStart(8, '0')}`;
  });
}
