/** Redact rules as they are compiled: what they name is in the form in which names are compared. */
import { globMatches } from '../mcp/glob.ts';
import { isAscii } from './byte-text.ts';
import type { Detectors } from './detect/detect.ts';
import { compilePath, type PathStep } from './paths.ts';
import type { Keep, RedactRule } from './policy.ts';

export interface CompiledRedactRule {
  readonly rule: RedactRule;
  readonly keys: readonly CompiledKey[];
  readonly paths: readonly { steps: readonly PathStep[]; label: string }[];
  readonly detectors?: Detectors;
}

interface CompiledKey {
  /** Normalized. */
  readonly glob: string;
  readonly label: string;
  readonly isExact: boolean;
  /** What stands before the first and behind the last wildcard. */
  readonly prefix: string;
  readonly suffix: string;
}

/** A rule that a name belongs to. */
export interface KeyRule {
  label: string;
  keep: Keep;
}

/** @throws RangeError, PathError for what `config/` refuses */
export async function compileRedaction(rule: RedactRule): Promise<CompiledRedactRule> {
  return {
    rule,
    keys: rule.keys.map(compiledKey),
    paths: rule.paths.map((path) => ({ steps: compilePath(path).map(foldedStep), label: `path:${path}` })),
    ...(rule.detect.length === 0 ? {} : { detectors: new (await import('./detect/detect.ts')).Detectors(rule.detect) }),
  };
}

function compiledKey(key: string): CompiledKey {
  const glob = normalized(key);
  return { glob, label: `key:${key}`, isExact: !/[*?]/.test(glob), prefix: /^[^*?]*/.exec(glob)![0], suffix: /[^*?]*$/.exec(glob)![0] };
}

/** Hyphens and underscores count as one. */
function normalized(name: string): string {
  return name.toLowerCase().replaceAll('-', '_');
}

function foldedStep(step: PathStep): PathStep {
  return 'name' in step ? { ...step, name: step.name.toLowerCase() } : step;
}

/** Names longer than this are not matched letter by letter. */
const longNameChars = 1_024;

/** The first rule with a glob that fits a name, which is in lower case. */
export function ruleOf(rules: readonly CompiledRedactRule[], folded: string): KeyRule | undefined {
  const name = folded.includes('-') ? folded.replaceAll('-', '_') : folded;
  for (const { rule, keys } of rules) for (const key of keys) if (fitsKey(key, name)) return { label: key.label, keep: rule.keep };
  return undefined;
}

function fitsKey({ glob, isExact, prefix, suffix }: CompiledKey, name: string): boolean {
  if (isExact) return glob === name;
  if (!name.startsWith(prefix) || !name.endsWith(suffix)) return false;
  // a glob takes as many steps as both lengths together allow: nobody means anything by such a name, and nothing of it need be kept
  return name.length > longNameChars || globMatches(glob, name);
}

/** The longest part of each name that no wildcard stands for. */
export function literalsOf(rules: readonly CompiledRedactRule[]): RegExp | undefined {
  const literals = new Set<string>();
  for (const { keys, paths } of rules) {
    for (const name of [...keys.map(({ glob }) => glob), ...paths.map(({ steps }) => nameOf(steps))]) {
      // a hyphen and an underscore stand for each other: neither is part of it
      const parts = name?.split(/[*?_-]+/) ?? [];
      const longest = parts.reduce((a, b) => (b.length > a.length ? b : a), '');
      if (longest.length < 2 || !isAscii(longest)) return undefined;
      literals.add(longest);
    }
  }
  // one search for all of them: each for itself would cost more than all the detectors
  return new RegExp([...literals].map((literal) => literal.replace(/[^a-z0-9]/g, '\\$&')).join('|'), 'i');
}

/** The last member's name that a path goes through. */
function nameOf(steps: readonly PathStep[]): string | undefined {
  const step = steps.findLast((one) => 'name' in one);
  return step !== undefined && 'name' in step ? step.name : undefined;
}
