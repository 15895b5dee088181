/** Credentials and personal data that pass in arguments and results. The values themselves are not repeated: a finding says which kind, and where. */
import { detectorGroups, Detectors } from '../../policy/detect/detect.ts';
import type { Found, Rule, SeenCall } from '../events.ts';
import { hash53 } from './hash.ts';
import { nameOf, placeOf, rule, silencing } from './rule.ts';

interface Kept {
  /** By kind, tool and side: the first entry of its finding, and which values it counted, by hash. */
  found: Record<string, { first: number; values: number[] }>;
}

const placesMost = 100;
const valuesMost = 200;
/** So much of each side of a call is searched, in UTF-16 units: from its beginning. */
const searchedChars = 64 * 1024;

/** Named by what stands beside them alone: they may be anything. */
const weakSecrets: ReadonlySet<string> = new Set(['generic-secret', 'generic-token']);
/** People are found by these all day; only many at once are worth a word. */
const everyday: ReadonlySet<string> = new Set(['email', 'phone', 'ipv4', 'ipv6', 'mac-address', 'ip', 'ip-address']);
const manyEveryday = 25;

/** Keys that documentation says of themselves to be none: `AKIAIOSFODNN7EXAMPLE`. */
const example = /EXAMPLE(?:KEY)?$/;

const detectors = new Detectors(['secrets', 'pii']);
const secretKinds: ReadonlySet<string> = new Set(detectorGroups.secrets);
/** Of what was seen last: both rules look at the same, one after the other, and the search is what costs. */
let searched: { seen: SeenCall; kinds: ReadonlyMap<string, Set<number>> } | undefined;

type Side = 'arguments' | 'result';

/** What a rule of this kind makes of the hits of one side. */
type Judge = (
  kinds: ReadonlyMap<string, Set<number>>,
  side: Side,
  seen: SeenCall,
) => (Pick<Found, 'severity' | 'title'> & { kinds: string[] }) | undefined;

function valuesRule(words: Omit<Rule, 'create'>, isOurs: (kind: string) => boolean, judge: Judge): Rule {
  return rule<Kept>(
    words,
    () => ({ found: {} }),
    (seen, memory) => {
      if (seen.kind !== 'call') return [];
      const side: Side | undefined =
        seen.phase === 'began' ? 'arguments' : seen.phase === 'ended' && seen.result !== undefined ? 'result' : undefined;
      if (side === undefined) return [];
      const all = valuesIn(seen, side);
      if (all.size === 0) return [];
      const kinds = new Map([...all].filter(([kind]) => isOurs(kind)));
      if (kinds.size === 0) return [];
      const judged = judge(kinds, side, seen);
      if (judged === undefined) return [];
      const kept = memory.of(seen.call.session);
      const key = `${nameOf(seen)} ${side}`;
      if (kept.found[key] === undefined && Object.keys(kept.found).length >= placesMost) return [];
      const own = (kept.found[key] ??= { first: seen.index, values: [] });
      const fresh = judged.kinds.flatMap((kind) => [...kinds.get(kind)!]).filter((value) => !own.values.includes(value));
      if (fresh.length === 0) return [];
      own.values.push(...fresh.slice(0, valuesMost - own.values.length));
      return [
        {
          first: own.first,
          severity: judged.severity!,
          title: judged.title,
          detail: `${judged.kinds.map((kind) => `${kinds.get(kind)!.size} × ${kind}`).join(', ')} in the ${side} of ${nameOf(seen)}`,
          indexes: side === 'arguments' ? [seen.call.index] : [seen.call.index, seen.index],
          count: fresh.length,
          ...placeOf(seen),
        },
      ];
    },
  );
}

/** Hashes of what was found on this side, by kind. */
function valuesIn(seen: SeenCall, side: Side): ReadonlyMap<string, Set<number>> {
  if (searched?.seen === seen) return searched.kinds;
  const kinds = new Map<string, Set<number>>();
  const text = textOf(seen, side);
  for (const { rule: kind, start, end } of detectors.find(text)) {
    const value = text.slice(start, end);
    if (example.test(value)) continue;
    const values = kinds.get(kind) ?? new Set();
    kinds.set(kind, values.add(hash53(value)));
  }
  searched = { seen, kinds };
  return kinds;
}

function textOf({ arguments: args, result }: SeenCall, side: Side): string {
  if (side === 'arguments') return args === undefined ? '' : json(args);
  // what is structured is mostly there as text, too
  if (result!.texts.length > 0) return result!.texts.join('\n').slice(0, searchedChars);
  return result!.structured === undefined ? '' : json(result!.structured);
}

/** Texts as they are, not as JSON writes them: a line end in a file is one. */
function json(value: unknown): string {
  return typeof value === 'string'
    ? value.slice(0, searchedChars)
    : JSON.stringify(value, null, 1)
        .slice(0, searchedChars)
        .replaceAll(String.raw`\n`, '\n');
}

export const secret = valuesRule(
  {
    id: 'secret',
    sees: ['call began', 'call ended'],
    severity: 'medium',
    title: 'a credential passes in the arguments or the result of a call',
    why: 'What passes here is in the model’s context, with its provider and in this record. Who has it can use it.',
    silence: silencing('secret', 'Keep it out of the record: redact: { detect: [secrets] } in sworn.yaml.'),
  },
  (kind) => secretKinds.has(kind),
  (kinds, side, seen) => {
    const strong = [...kinds.keys()].filter((kind) => !weakSecrets.has(kind));
    const title =
      side === 'arguments'
        ? `Why was a credential handed to ${nameOf(seen)}?`
        : `Should the agent have seen the credential that ${nameOf(seen)} brought?`;
    return { severity: strong.length > 0 ? 'medium' : 'low', title, kinds: strong.length > 0 ? strong : [...kinds.keys()] };
  },
);

export const personalData = valuesRule(
  {
    id: 'personal-data',
    sees: ['call began', 'call ended'],
    severity: 'medium',
    title: 'card, account or identity numbers pass in a call, or many addresses at once',
    why: 'Numbers that identify people are rarely needed by a model, and cannot be taken back once they are in its context.',
    silence: silencing('personal-data', 'Keep them out of the record: redact: { detect: [pii] } in sworn.yaml.'),
  },
  (kind) => !secretKinds.has(kind),
  (kinds, side, seen) => {
    const numbers = [...kinds.keys()].filter((kind) => !everyday.has(kind));
    const where = side === 'arguments' ? `handed to ${nameOf(seen)}` : `brought by ${nameOf(seen)}`;
    if (numbers.length > 0) return { severity: 'medium', title: `Were personal numbers ${where} for a reason?`, kinds: numbers };
    const many = [...kinds].filter(([, values]) => values.size >= manyEveryday).map(([kind]) => kind);
    return many.length === 0 ? undefined : { severity: 'low', title: `Were so many people's addresses ${where} for a reason?`, kinds: many };
  },
);
