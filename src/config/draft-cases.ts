/**
 * Cases for `sworn policy test` beside a drafted policy: what was seen passes, what was not seen is refused. They hold names and who asked, never arguments: nothing of what
 * messages said is in them.
 */
import { utf8 } from '../bytes/bytes.ts';
import type { Draft, DraftGroup, DraftRule } from '../policy/draft.ts';
import type { SeenItem, SeenPrincipal } from '../policy/seen.ts';
import { casesCount } from './cases.ts';
import { nameOf, whoText, yamlText } from './draft-text.ts';
import { fileBytes } from './shape.ts';

const nameChars = 200;

/** `policy`: the path of the draft, as seen from the file of cases. Of more cases than such a file holds the first. */
export function draftCases(draft: Draft, policy: string): { text: string; cases: number; leftOut: number } {
  const lines = [
    '# Made by `sworn policy suggest` beside its draft: what was seen passes, what was not seen is refused.',
    `policy: ${yamlText(policy)}`,
    'cases:',
  ];
  let sizeBytes = utf8(lines.join('\n')).length;
  let cases = 0;
  let leftOut = 0;
  for (const line of casesOf(draft)) {
    sizeBytes += utf8(line).length + 1;
    if (cases >= casesCount || sizeBytes > fileBytes) leftOut++;
    else {
      lines.push(line);
      cases++;
    }
  }
  return { text: `${lines.join('\n')}\n`, cases, leftOut };
}

type Fields = Record<string, unknown>;

/** First what must be refused: of very many cases they are the ones that must not be missing. */
function* casesOf({ groups }: Draft): Generator<string> {
  const names = { tools: new Set<string>(), servers: new Set<string>(), methods: new Set<string>() };
  for (const { server, rules } of groups) {
    names.servers.add(server);
    for (const { items } of rules) {
      for (const { name, method } of items) {
        names.tools.add(name);
        names.methods.add(method);
      }
    }
  }
  const clients = new Set(groups.flatMap((group) => group.clients ?? []));
  const tool = unlike(names.tools, 'never_seen');
  // a file of cases has at least one
  if (groups.length === 0) yield line({ name: 'a tool that was never seen', message: callOf(tool), expect: 'block', rule: 'sworn:default' });
  for (const group of groups) {
    const seen = group.rules[0]?.items[0];
    const whose = whoText(group);
    const refused = (what: string, fields: Fields, direction?: 'c2s' | 's2c'): string =>
      line({ name: cut(`${whose}: ${what}`), ...fields, ...(direction === 's2c' ? { direction } : {}), expect: 'block', rule: 'sworn:default' });
    const who = partyOf(group);
    yield refused('a tool that was never seen', { ...who, message: callOf(tool) });
    yield refused('a method that was never seen', { ...who, message: { method: unlike(names.methods, 'never/seen') } });
    yield refused('a prompt that was never seen', { ...who, message: { method: 'prompts/get', params: { name: tool } } });
    yield refused('a resource that was never seen', { ...who, message: { method: 'resources/read', params: { uri: 'never-seen:it' } } });
    yield refused('a request of the server that was never seen', { ...who, message: callOf(tool) }, 's2c');
    if (seen === undefined) continue;
    const message = messageOf(seen);
    yield refused(`another server: ${nameOf(seen)}`, { ...who, server: unlike(names.servers, 'never-seen'), message }, seen.direction);
    if (group.rules.some(({ client, when }) => client !== undefined || when?.includes('client.') === true))
      yield refused(`another client: ${nameOf(seen)}`, { ...who, client: unlike(clients, 'never-seen'), message }, seen.direction);
    if (group.rules.some(({ principal, when }) => principal !== undefined || when?.includes('principal.') === true))
      yield refused(
        `somebody else: ${nameOf(seen)}`,
        { ...who, principal: { verified: { subject: 'never-seen@nowhere.invalid', issuer: 'never-seen' } }, message },
        seen.direction,
      );
  }
  for (const group of groups) {
    for (const rule of group.rules) for (const item of rule.items) yield passing(group, rule, item);
  }
}

function passing(group: DraftGroup, rule: DraftRule, item: SeenItem): string {
  const expect = rule.action === 'ask' ? 'ask' : 'pass';
  const direction = item.direction === 's2c' ? { direction: 's2c' } : {};
  return line({
    name: cut(`${whoText(group)}: ${nameOf(item)}`),
    ...partyOf(group),
    ...direction,
    message: messageOf(item),
    expect,
    rule: rule.name,
  });
}

function partyOf({ server, clients, principals }: DraftGroup): Fields {
  const [principal = {}] = principals;
  const who = whoOf(principal);
  return { server, ...(clients === undefined ? {} : { client: clients[0]! }), ...(who === undefined ? {} : { principal: who }) };
}

function whoOf({ uid, subject, issuer }: SeenPrincipal): Fields | undefined {
  if (subject !== undefined) return { verified: { subject, ...(issuer === undefined ? {} : { issuer }) } };
  return uid === undefined ? undefined : { observed: { uid } };
}

function messageOf({ kind, method, name }: SeenItem): Fields {
  if (kind === 'tool') return callOf(name);
  if (kind === 'prompt') return { method, params: { name } };
  // what stands behind the scheme is content
  return kind === 'resource' ? { method, params: { uri: `${name}x` } } : { method };
}

function callOf(name: string): Fields {
  return { method: 'tools/call', params: { name } };
}

/** A name that is none of these. */
function unlike(names: ReadonlySet<string>, name: string): string {
  let other = name;
  while (names.has(other)) other += '_';
  return other;
}

function cut(name: string): string {
  const chars = [...name];
  return chars.length <= nameChars / 2 ? name : `${chars.slice(0, nameChars / 2 - 1).join('')}…`;
}

function line(one: Fields): string {
  return `  - ${flow(one)}`;
}

function flow(value: unknown): string {
  if (typeof value === 'string') return yamlText(value);
  if (typeof value !== 'object' || value === null) return String(value);
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${key}: ${flow(inner)}`)
    .join(', ')} }`;
}
