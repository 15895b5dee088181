/**
 * `sworn.yaml` (`spec/policy.md`, The file): from its bytes to a `Policy`, and what is wrong with it, place by place. Only what a file brings is here; what
 * it means is in `policy/`. Loaded with `await import()` where there is a file: it brings the readers of YAML and shapes with it.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { hex, lossyText, utf8, utf8Text } from '../bytes/bytes.ts';
import { SwornError } from '../errors.ts';
import { approvalWaitMs, pinFileBytes } from '../limits.ts';
import type { EntityOptions } from '../analysis/entity-rules.ts';
import type { Matchers, OnUnrecordable, Policy, PrincipalMatcher, RedactRule, Rule, ServerSettings, ToolSettings } from '../policy/policy.ts';
import { parsePins } from '../policy/pin-file.ts';
import { authOf, type AuthSettings } from './auth.ts';
import { proxyOf, type ProxySettings } from './proxy.ts';
import { limitsOf } from './limits.ts';
import { checkValues, redactName, warnings } from './check.ts';
import { parseYaml, type ParsedDocument, type Position } from './document.ts';
import { explain, type PlacedFinding } from './explain.ts';
import { pathText, type ConfigProblem } from './problem.ts';
import { fileBytes, fileShape, spanMs, type FileContent } from './shape.ts';

export type { AuthSettings, IssuerSettings } from './auth.ts';
export type { HttpUpstreamSettings, ProxySettings, StdioUpstreamSettings } from './proxy.ts';
export type { Position } from './document.ts';
export type { ConfigProblem } from './problem.ts';
export { jsonSchema } from './shape.ts';

export interface Config {
  path: string;
  text: string;
  /** SHA-256 of the file's bytes, hex. */
  digest: string;
  policy: Policy;
  findings: FindingSettings;
  entities: EntityOptions;
  anchors: AnchorSettings;
  auth: AuthSettings;
  proxy: ProxySettings;
  /** Uids of proxies whose word about who is behind a request is believed. */
  trustedTaps: (number | 'self')[];
  encryption?: EncryptionSettings;
  /** Who is told of requests that wait for a person, and may decide them. */
  webhook?: WebhookSettings;
}

export interface WebhookSettings {
  url: string;
  /** A file whose first line signs, in both directions. */
  secret: string;
  /** Whether the content of requests is told too. */
  content: boolean;
}

/** Who wraps the keys of payload segments: a file with the wrapping key, or commands. */
export type EncryptionSettings = { file: string } | { wrap: string[]; unwrap: string[] };

/** What the analyses look for (`analysis/options.ts`). */
export interface FindingSettings {
  ignore: string[];
  /** By rule. */
  rules: Record<string, Record<string, number | string[]>>;
  notify: NotifySettings[];
}

/** Who is told of new findings: one of `url` and `command` is there. */
export interface NotifySettings {
  url?: string;
  command?: string[];
  secret?: string;
  from: 'high' | 'medium' | 'low' | 'info';
}

/** Where checkpoints are kept beside the ledger. */
export interface AnchorSettings {
  witnesses: { key: string; url: string }[];
  files: string[];
  commands: string[][];
  urls: string[];
  timestamps: string[];
}

const noAnchors: AnchorSettings = { witnesses: [], files: [], commands: [], urls: [], timestamps: [] };

export interface ParsedConfig {
  /** Only without errors. */
  config?: Config;
  /** In the order of the file; at most 1,000. */
  problems: ConfigProblem[];
}

/** Further checks of a policy without errors. `at`: where the value at a path of the file begins, or the nearest thing around it. */
export type Check = (policy: Policy, at: (path: (string | number)[]) => Position) => ConfigProblem[] | Promise<ConfigProblem[]>;

const problemsCount = 1_000;

/** `~/.config/sworn/sworn.yaml`. Not under `XDG_CONFIG_HOME`: MCP clients strip it, and a recorder would then read another file than its user's shell. */
export function defaultConfigPath(): string {
  return join(homedir(), '.config', 'sworn', 'sworn.yaml');
}

/** Reads the text of a file; `path` is only repeated. Never rejects, for any text; of a path in it, `check` may. */
export async function parseConfig(text: string, path: string, check?: Check): Promise<ParsedConfig> {
  const bytes = utf8(text);
  if (bytes.length > fileBytes) return { problems: [tooLong(bytes.length)] };
  const yaml = parseYaml(text);
  if (yaml.errors.length > 0) {
    return {
      problems: yaml.errors.map(({ position, path: where, message, hint }) => ({
        ...position,
        path: pathText(where),
        message,
        ...hintOf(hint),
        severity: 'error' as const,
      })),
    };
  }
  const parsed = fileShape.safeParse(yaml.value ?? {});
  const findings = [...(parsed.success ? [] : explain(fileShape, yaml.value, parsed.error.issues)), ...checkValues(yaml.value, yaml.moved)];
  const conditions = await conditionFindings(yaml.value);
  const problems = [...findings, ...conditions.errors].slice(0, problemsCount).map((finding) => placed(finding, yaml, 'error'));
  let policy: Policy | undefined;
  let settings: Pick<Config, 'findings' | 'entities' | 'anchors' | 'auth' | 'proxy' | 'trustedTaps'> | undefined;
  if (parsed.success && problems.length === 0) {
    policy = policyOf(parsed.data);
    const { anchors, trustedTaps, findings: sought, entities } = parsed.data;
    settings = {
      findings: { ignore: sought?.ignore ?? [], rules: (sought?.rules ?? {}) as FindingSettings['rules'], notify: notifyOf(sought?.notify) },
      entities: (entities ?? {}) as EntityOptions,
      anchors: { ...noAnchors, ...present<AnchorSettings>(anchors ?? {}) },
      auth: authOf(parsed.data),
      proxy: proxyOf(parsed.data),
      trustedTaps: trustedTaps ?? [],
    };
    const lineOf = (where: (string | number)[]): number => yaml.at(where).line;
    for (const finding of warnings(yaml.value, policy, lineOf).slice(0, problemsCount)) problems.push(placed(finding, yaml, 'warning'));
  }
  for (const finding of conditions.warnings.slice(0, problemsCount)) problems.push(placed(finding, yaml, 'warning'));
  if (policy !== undefined && check !== undefined) problems.push(...(await check(policy, yaml.at)));
  const ordered = inOrder(problems);
  if (policy === undefined || settings === undefined || ordered.some(({ severity }) => severity === 'error')) return { problems: ordered };
  return {
    config: { path, text, digest: digestOf(bytes), policy, ...settings, ...encryptionOf(parsed.data), ...webhookOf(parsed.data) },
    problems: ordered,
  };
}

function notifyOf(notify: NonNullable<FileContent['findings']>['notify'] = []): NotifySettings[] {
  return notify.map(({ from = 'medium', ...place }) => ({ ...present<Required<Omit<NotifySettings, 'from'>>>(place), from }));
}

function encryptionOf({ encryption }: Pick<FileContent, 'encryption'> = {}): Pick<Config, 'encryption'> {
  if (encryption === undefined) return {};
  return { encryption: 'key' in encryption ? { file: encryption.key.slice('file:'.length) } : encryption };
}

function webhookOf({ approvals }: Pick<FileContent, 'approvals'> = {}): Pick<Config, 'webhook'> {
  return approvals?.webhook === undefined ? {} : { webhook: { ...approvals.webhook, content: approvals.webhook.content ?? false } };
}

/**
 * Reads a file with everything that is wrong with it.
 * @throws SwornError `config-missing` when it cannot be read
 */
export async function readConfig(path: string, check?: Check): Promise<ParsedConfig> {
  const bytes = await bytesOf(path);
  if (bytes.length > fileBytes) return { problems: [tooLong(bytes.length)] };
  const text = utf8Text(bytes);
  if (text === undefined) return { problems: [notUtf8(bytes)] };
  return parseConfig(text, path, async (policy, at) => [
    ...(await readPins(policy, dirname(resolve(path)), at)),
    ...((await check?.(policy, at)) ?? []),
  ]);
}

/** Brings in the file of pins that a policy names: what it says is in force with the file that names it. */
async function readPins({ tools }: Policy, folder: string, at: Parameters<Check>[1]): Promise<ConfigProblem[]> {
  if (tools?.path === undefined) return [];
  const where = ['tools', 'pins'];
  const wrong = (message: string): ConfigProblem[] => [
    { ...at(where), path: pathText(where), message, hint: 'sworn tools list --pins-out FILE writes one', severity: 'error' },
  ];
  try {
    tools.path = resolve(folder, tools.path);
    const bytes = await bytesOf(tools.path, pinFileBytes);
    if (bytes.length > pinFileBytes) return wrong(`${tools.path} is longer than ${pinFileBytes.toLocaleString('en')} bytes`);
    const servers = parsePins(lossyText(bytes));
    if (typeof servers === 'string') return wrong(`${tools.path} ${servers}`);
    tools.file = { digest: digestOf(bytes), servers };
    return [];
  } catch (error) {
    return wrong((error as Error).message);
  }
}

/** @throws SwornError `config-missing` when the file cannot be read, `config-invalid` when it has errors: the first one is in the message */
export async function loadConfig(path: string): Promise<Config> {
  const { config, problems } = await readConfig(path);
  if (config !== undefined) return config;
  const [first, ...others] = problems.filter(({ severity }) => severity === 'error');
  const more = others.length === 0 ? '' : ` (and ${others.length === 1 ? 'one error' : `${others.length} errors`} more)`;
  const { line, column, message } = first!;
  throw new SwornError('config-invalid', `${path}:${line}:${column}: ${message}${more}`, { path });
}

async function bytesOf(path: string, most = fileBytes): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      // one more than allowed: whoever gives us /dev/zero is told that it is too long
      const buffer = new Uint8Array(most + 1);
      let length = 0;
      for (;;) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        length += bytesRead;
        if (bytesRead === 0 || length === buffer.length) return buffer.subarray(0, length);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : code === 'EACCES' ? 'permission denied' : message;
    throw new SwornError('config-missing', `cannot read ${path}: ${why}`, { path }, { cause: error });
  }
}

function digestOf(bytes: Uint8Array): string {
  return hex(createHash('sha256').update(bytes).digest());
}

const hintOf = (hint: string | undefined): { hint?: string } => (hint === undefined ? {} : { hint });

function tooLong(bytes: number): ConfigProblem {
  const size = bytes > fileBytes ? `more than ${fileBytes.toLocaleString('en')}` : bytes.toLocaleString('en');
  return { line: 1, column: 1, path: '', message: `the file has ${size} bytes, which is the most that is allowed`, severity: 'error' };
}

function notUtf8(bytes: Uint8Array): ConfigProblem {
  // decoding is exact up to the first bad byte, where the texts begin to differ
  const lines = lossyText(bytes).split('\ufffd')[0]!.split('\n');
  return {
    line: lines.length,
    column: lines.at(-1)!.replace(/^\ufeff/, '').length + 1,
    path: '',
    message: 'the file is not UTF-8',
    hint: 'save it as UTF-8',
    severity: 'error',
  };
}

/** In the order of the file; what several aliases of one place have in common is said once. At most 1,000, errors rather than warnings. */
function inOrder(problems: readonly ConfigProblem[]): ConfigProblem[] {
  const different = new Map<string, ConfigProblem>();
  for (const problem of problems) {
    const key = `${problem.line}:${problem.column}:${problem.message}`;
    if (!different.has(key)) different.set(key, problem);
  }
  const isWarning = ({ severity }: ConfigProblem): number => (severity === 'warning' ? 1 : 0);
  return [...different.values()]
    .sort((a, b) => isWarning(a) - isWarning(b))
    .slice(0, problemsCount)
    .sort((a, b) => a.line - b.line || a.column - b.column);
}

function placed(finding: PlacedFinding, yaml: ParsedDocument, severity: ConfigProblem['severity']): ConfigProblem {
  const { path, key, offset, message, hint } = finding;
  const position = key === true ? yaml.atKey(path) : offset === undefined ? yaml.at(path) : yaml.inside(path, offset);
  return { ...position, path: pathText(path), message, ...hintOf(hint), severity };
}

/** What is wrong with the conditions of the file; those that are alike are looked at once. */
async function conditionFindings(file: unknown): Promise<{ errors: PlacedFinding[]; warnings: PlacedFinding[] }> {
  const found: { errors: PlacedFinding[]; warnings: PlacedFinding[] } = { errors: [], warnings: [] };
  const rules = (file as { policy?: { rules?: unknown } } | null | undefined)?.policy?.rules;
  const whens: { path: (string | number)[]; text: string }[] = [];
  for (const [i, rule] of (Array.isArray(rules) ? (rules as unknown[]) : []).entries()) {
    const when = (rule as { when?: unknown } | null)?.when;
    if (typeof when === 'string' && when.trim() !== '') whens.push({ path: ['policy', 'rules', i, 'when'], text: when });
  }
  if (whens.length === 0) return found;
  const { ConditionError, conditionWarnings } = await import('../policy/condition.ts');
  const known = new Map<string, { error?: { message: string; offset: number }; warnings: readonly { message: string; offset: number }[] }>();
  for (const { path, text } of whens) {
    let said = known.get(text);
    if (said === undefined) {
      try {
        said = { warnings: conditionWarnings(text) };
      } catch (error) {
        if (!(error instanceof ConditionError)) throw error;
        said = { error: { message: error.message, offset: error.offset }, warnings: [] };
      }
      known.set(text, said);
    }
    if (said.error) found.errors.push({ path, offset: said.error.offset, message: `\`when\`: ${said.error.message}` });
    for (const { message, offset } of said.warnings) found.warnings.push({ path, offset, message: `\`when\`: ${message}` });
  }
  return found;
}

/** A checked file with every default in its place. */
function policyOf(file: FileContent): Policy {
  const redact = file.redact === undefined ? [] : Array.isArray(file.redact) ? file.redact : [file.redact];
  return {
    servers: Object.fromEntries(
      Object.entries(file.servers ?? {}).map(([glob, { tools }]) => [
        glob,
        { tools: { ...tools } as Record<string, ToolSettings> } satisfies ServerSettings,
      ]),
    ),
    redact: redact.map((rule, i): RedactRule => ({
      name: rule.name ?? redactName(i),
      ...matchersOf(rule),
      keys: listOf(rule.keys) ?? [],
      paths: listOf(rule.paths) ?? [],
      detect: listOf(rule.detect) ?? [],
      keep: rule.keep ?? 'drop',
    })),
    capture: {
      default: file.capture?.default ?? 'full',
      rules: (file.capture?.rules ?? []).map((rule) => ({ ...matchersOf(rule), level: rule.level })),
    },
    policy: {
      default: file.policy?.default ?? 'allow',
      rules: (file.policy?.rules ?? []).map((rule): Rule => ({
        name: rule.name,
        action: rule.allow ? 'allow' : rule.deny ? 'deny' : rule.flag ? 'flag' : 'ask',
        on: [...new Set(listOf(rule.on) ?? ['request' as const])],
        ...matchersOf(rule),
        ...(rule.when === undefined ? {} : { when: rule.when }),
        ...(rule.reason === undefined ? {} : { reason: rule.reason }),
        enforce: rule.enforce ?? true,
        ...(rule.ask ? { timeoutMs: spanMs(rule.timeout ?? file.approvals?.timeout ?? '') ?? approvalWaitMs.usual } : {}),
        ...(rule.approvers === undefined ? {} : { approvers: listOf(rule.approvers.uid)! }),
      })),
    },
    ...limitsOf(file.limits, matchersOf),
    onUnrecordable:
      typeof file.onUnrecordable === 'string'
        ? { default: file.onUnrecordable }
        : present<Record<'default' | 'read' | 'write' | 'unknown', OnUnrecordable>>(file.onUnrecordable ?? {}),
    ...(file.approvals?.timeout === undefined ? {} : { approvals: { timeoutMs: spanMs(file.approvals.timeout)! } }),
    ...retentionOf(file),
    ...pinsOf(file),
  };
}

function pinsOf({ tools, approvals }: FileContent): Pick<Policy, 'tools'> {
  if (tools === undefined) return {};
  const timeoutMs = spanMs(approvals?.timeout ?? '') ?? approvalWaitMs.usual;
  return { tools: { mode: tools.pin, timeoutMs, ...(tools.pins === undefined ? {} : { path: tools.pins }) } };
}

function retentionOf({ retention: { content, entries } = {} }: FileContent): Pick<Policy, 'retention'> {
  if (content === undefined && entries === undefined) return {};
  return {
    retention: {
      ...(content === undefined ? {} : { contentMs: spanMs(content)! }),
      ...(entries === undefined ? {} : { entriesMs: spanMs(entries)! }),
    },
  };
}

type FileMatchers = NonNullable<NonNullable<FileContent['capture']>['rules']>[number];

function matchersOf(rule: Omit<FileMatchers, 'level'>): Matchers {
  const { server, tool, method, client, label, principal, effect, direction, sensitive, destructive } = rule;
  return present<Required<Matchers>>({
    server: listOf(server),
    tool: listOf(tool),
    method: listOf(method),
    client: listOf(client),
    label: listOf(label),
    principal: principal === undefined ? undefined : principalOf(principal),
    effect: listOf(effect),
    direction,
    sensitive,
    destructive,
  });
}

function principalOf({ observed, verified, declared }: NonNullable<FileMatchers['principal']>): PrincipalMatcher {
  return present<Required<PrincipalMatcher>>({
    observed: observed && present<{ uid: number[]; executable: string[] }>({ uid: listOf(observed.uid), executable: listOf(observed.executable) }),
    verified: verified && present<{ subject: string[]; issuer: string[] }>({ subject: listOf(verified.subject), issuer: listOf(verified.issuer) }),
    declared: declared && present<{ name: string[] }>({ name: listOf(declared.name) }),
  });
}

function listOf<T>(value: T | T[] | undefined): T[] | undefined {
  return value === undefined ? undefined : Array.isArray(value) ? value : [value];
}

/** The members that are there. */
function present<T extends object>(members: { [K in keyof T]?: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Partial<T>;
}
