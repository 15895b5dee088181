/** What a file must keep to beyond its shape. Works on values as they were read, whatever else is wrong with them, so that one look finds everything. */
import { limitFindings } from './limits.ts';
import type { Path } from './document.ts';
import type { PlacedFinding } from './explain.ts';
import { pathText, quoted } from './problem.ts';
import { reach } from './reach.ts';
import { spanMs } from './shape.ts';
import type { Policy } from '../policy/policy.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Errors in values that may have any shape. `moved`: of `ParsedDocument`. */
export function checkValues(file: unknown, moved: WeakMap<object, string>): PlacedFinding[] {
  const findings: PlacedFinding[] = [];
  const policy = member(file, 'policy');
  const rules = list(member(policy, 'rules'));
  for (const [i, rule] of rules.entries())
    if (isMap(rule)) findings.push(...actionFindings(rule, ['policy', 'rules', i]), ...askFindings(rule, ['policy', 'rules', i]));
  findings.push(
    ...twiceNamed(
      rules.map((rule) => member(rule, 'name')),
      ['policy', 'rules'],
    ),
  );

  const redact = member(file, 'redact');
  const redactRules = list(redact);
  const redactPath = (i: number): (string | number)[] => (Array.isArray(redact) ? ['redact', i] : ['redact']);
  for (const [i, rule] of (Array.isArray(redact) ? redactRules : [redact]).entries()) {
    if (!isMap(rule)) continue;
    const finds = ['keys', 'paths', 'detect'].some((key) => rule[key] !== undefined && !(Array.isArray(rule[key]) && rule[key].length === 0));
    if (!finds) findings.push({ path: redactPath(i), message: 'a redact rule names nothing to redact', hint: 'give it keys, paths or detect' });
  }
  findings.push(
    ...twiceNamed(
      redactRules.map((rule, i) => member(rule, 'name') ?? redactName(i)),
      ['redact'],
    ),
  );

  for (const [i, rule] of rules.entries()) findings.push(...principalFindings(rule, ['policy', 'rules', i]));
  for (const [i, rule] of (Array.isArray(redact) ? redactRules : [redact]).entries()) findings.push(...principalFindings(rule, redactPath(i)));
  for (const [i, rule] of list(member(member(file, 'capture'), 'rules')).entries())
    findings.push(...principalFindings(rule, ['capture', 'rules', i]));

  const limits = member(file, 'limits');
  const limitPath = (i: number): (string | number)[] => (Array.isArray(limits) ? ['limits', i] : ['limits']);
  for (const [i, limit] of (Array.isArray(limits) ? list(limits) : [limits]).entries()) {
    if (isMap(limit)) findings.push(...limitFindings(limit, limitPath(i)), ...principalFindings(limit, limitPath(i)));
  }
  findings.push(
    ...twiceNamed(
      list(limits).map((limit) => member(limit, 'name')),
      ['limits'],
    ),
  );

  findings.push(...authFindings(member(file, 'auth')));
  const [content, entries] = ['content', 'entries'].map((name) => {
    const span = member(member(file, 'retention'), name);
    return typeof span === 'string' ? spanMs(span) : undefined;
  });
  if (content !== undefined && entries !== undefined && entries < content) {
    findings.push({
      path: ['retention', 'entries'],
      message: 'entries would go before their content',
      hint: 'keep entries as long as content, or longer',
    });
  }

  const servers = member(file, 'servers');
  findings.push(...orderFindings(servers, ['servers'], moved));
  if (isMap(servers)) {
    for (const [server, settings] of Object.entries(servers)) {
      findings.push(...orderFindings(member(settings, 'tools'), ['servers', server, 'tools'], moved));
    }
  }
  return findings;
}

/** What is allowed and probably not meant. */
export function warnings(file: unknown, policy: Policy, lineOf: (path: (string | number)[]) => number): PlacedFinding[] {
  const findings: PlacedFinding[] = [];
  if (file === undefined) findings.push({ path: [], message: 'the file says nothing: every message passes and is stored in full' });
  for (const path of [['policy', 'rules'], ['capture', 'rules'], ['redact'], ['limits']]) {
    let value = file;
    for (const step of path) value = member(value, step);
    if (Array.isArray(value) && value.length === 0)
      findings.push({ path, message: `\`${path.at(-1)}\` is an empty list`, hint: 'remove it, or add a rule' });
  }
  const matchersOf = (rules: readonly { label?: string[] }[], at: (i: number) => (string | number)[]): void => {
    for (const [i, { label }] of rules.entries()) {
      const plain = label?.find((glob) => !/[=*]/.test(glob));
      if (plain !== undefined) {
        findings.push({
          path: [...at(i), 'label'],
          message: `${quoted(plain)} fits no label: a label is key=value`,
          hint: `did you mean ${quoted(`${plain}=*`)}?`,
        });
      }
    }
  };
  matchersOf(policy.policy.rules, (i) => ['policy', 'rules', i]);
  matchersOf(policy.capture.rules, (i) => ['capture', 'rules', i]);
  matchersOf(policy.redact, (i) => (Array.isArray(member(file, 'redact')) ? ['redact', i] : ['redact']));
  matchersOf(policy.limits ?? [], (i) => (Array.isArray(member(file, 'limits')) ? ['limits', i] : ['limits']));
  for (const { rule, earlier } of reach(policy.policy.rules)) {
    findings.push({
      path: ['policy', 'rules', rule],
      message: `the rule ${quoted(policy.policy.rules[rule]!.name)} is never reached: ${quoted(policy.policy.rules[earlier]!.name)} in line ${lineOf(['policy', 'rules', earlier])} decides on all that it names`,
      hint: 'put the narrower rule first, or remove one of them',
    });
  }
  return findings;
}

/** The name of a redact rule without one, by its place in the list from 0. */
export function redactName(index: number): string {
  return index === 0 ? 'redact' : `redact-${index + 1}`;
}

function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function member(value: unknown, key: string): unknown {
  return isMap(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const actions = ['allow', 'deny', 'flag', 'ask'];

function actionFindings(rule: Fields, path: (string | number)[]): PlacedFinding[] {
  const given = actions.filter((action) => rule[action] !== undefined && rule[action] !== false);
  // `action: deny` has an error of its own
  if (given.length === 1 || (given.length === 0 && rule['action'] !== undefined)) return [];
  const called = typeof rule['name'] === 'string' ? `the rule ${quoted(rule['name'])}` : 'a rule';
  if (given.length === 0)
    return [{ path, message: `${called} does not say what it does`, hint: 'add `allow: true`, `deny: true`, `flag: true` or `ask: true`' }];
  return [
    {
      path: [...path, given[1]!],
      key: true,
      message: `${called} has ${given.map((one) => `\`${one}\``).join(' and ')}`,
      hint: 'a rule does one of them',
    },
  ];
}

/** Nobody can be asked about what needs no answer, or is one already. */
function askFindings(rule: Fields, path: (string | number)[]): PlacedFinding[] {
  if (rule['ask'] === true) {
    const on = [rule['on'] ?? 'request'].flat();
    if (on.every((type) => type === 'request')) return [];
    return [{ path: [...path, 'on'], message: 'a rule with `ask` is about requests alone', hint: 'remove `on`, or use `deny` or `flag`' }];
  }
  return ['timeout', 'approvers']
    .filter((field) => rule[field] !== undefined)
    .map((field) => ({
      path: [...path, field],
      key: true,
      message: `\`${field}\` belongs to a rule with \`ask\``,
      hint: 'add `ask: true`, or remove it',
    }));
}

function twiceNamed(names: readonly unknown[], path: (string | number)[]): PlacedFinding[] {
  const firsts = new Map<unknown, number>();
  const findings: PlacedFinding[] = [];
  for (const [i, name] of names.entries()) {
    if (typeof name !== 'string') continue;
    const first = firsts.get(name);
    if (first === undefined) firsts.set(name, i);
    else
      findings.push({
        path: [...path, i, 'name'],
        message: `the name ${quoted(name)} is there twice`,
        hint: `${pathText([...path, first])} has it already`,
      });
  }
  return findings;
}

function principalFindings(rule: unknown, path: (string | number)[]): PlacedFinding[] {
  const principal = member(rule, 'principal');
  if (!isMap(principal)) return [];
  const empty = (value: unknown, at: (string | number)[], hint: string): PlacedFinding[] =>
    isMap(value) && Object.keys(value).length === 0 ? [{ path: at, message: `\`${at.at(-1)}\` is an empty map`, hint }] : [];
  return [
    ...empty(principal, [...path, 'principal'], 'name a part: observed, verified or declared'),
    ...empty(principal['observed'], [...path, 'principal', 'observed'], 'name uid or executable'),
    ...empty(principal['verified'], [...path, 'principal', 'verified'], 'name subject or issuer'),
    ...empty(principal['declared'], [...path, 'principal', 'declared'], 'name name'),
  ];
}

function authFindings(auth: unknown): PlacedFinding[] {
  const findings: PlacedFinding[] = [];
  const issuers = list(member(auth, 'issuers'));
  const names = issuers.map((one) => member(one, 'issuer'));
  for (const [i, name] of names.entries()) {
    const first = names.indexOf(name);
    if (typeof name === 'string' && first < i)
      findings.push({
        path: ['auth', 'issuers', i, 'issuer'],
        message: `the issuer ${quoted(name)} is there twice`,
        hint: `auth.issuers[${first}] has it already: give that one several audiences`,
      });
  }
  const ways = issuers.length > 0 || ['apiKeys', 'clientCertificates'].some((one) => member(auth, one) !== undefined);
  if (member(auth, 'required') === true && !ways)
    findings.push({ path: ['auth', 'required'], message: 'nobody could ever be verified', hint: 'name issuers, apiKeys or clientCertificates' });
  return findings;
}

/** Of patterns that fit, the first one counts: a file whose order JavaScript does not keep would be read in another way than it is written. */
function orderFindings(patterns: unknown, path: Path, moved: WeakMap<object, string>): PlacedFinding[] {
  const late = isMap(patterns) ? moved.get(patterns) : undefined;
  if (late === undefined) return [];
  return [
    { path: [...path, late], key: true, message: `the pattern ${quoted(late)} stands behind others`, hint: 'patterns of digits alone come first' },
  ];
}
