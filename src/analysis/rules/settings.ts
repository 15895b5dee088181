/** The rules by name, weightier ones first, and what may be set of each: the shape of `findings` in `sworn.yaml` is made from it, without loading a rule. */
export const ruleSettings = {
  unverifiable: {},
  'injection-then-unusual': {},
  'hidden-instructions': {},
  'sensitive-then-outward': {},
  'other-attribute': { attributes: 'words' },
  'unapproved-write': { deleted: 'count' },
  'changed-definition': {},
  enumeration: { ids: 'count' },
  'missing-entity': {},
  secret: {},
  'personal-data': {},
  'header-mismatch': {},
  gap: {},
  loop: { calls: 'count' },
  'retry-storm': { calls: 'count' },
  'never-listed': {},
  'unpinned-tool': {},
  'self-approved': {},
  slow: { afterMs: 'count' },
  hung: { afterMs: 'count' },
  burst: { calls: 'count' },
  limited: { requests: 'count' },
  'stray-stdout': {},
  'reply-to-nothing': {},
  unwitnessed: { afterMs: 'count', witnesses: 'count' },
} as const satisfies Readonly<Record<string, Readonly<Record<string, 'count' | 'words'>>>>;

export type RuleId = keyof typeof ruleSettings;

export const ruleIds = Object.keys(ruleSettings) as RuleId[];
