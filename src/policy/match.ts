/** Which messages a rule is about (`spec/policy.md`, Matchers). Pure, and linear in the length of names and globs. */
import type { EffectFields } from '../mcp/effect.ts';
import { globMatches } from '../mcp/glob.ts';
import type { Anomaly, Direction, Target } from '../mcp/message.ts';
import { lookOf } from './look-alike.ts';
import type { Matchers, PrincipalMatcher, ServerSettings, ToolSettings } from './policy.ts';

/** Who is behind a connection, in the three ways that are never mixed. */
export interface Principal {
  observed: { uid?: number; pid?: number; executable?: string; address?: string };
  /** `actors`: subjects that act for this one, the nearest first (RFC 8693). */
  verified: { method?: string; subject?: string; issuer?: string; clientId?: string; scopes?: string[]; actors?: string[] };
  /** `claims`: of a token that nobody verified. */
  declared: { name?: string; userAgent?: string; claims?: Record<string, string> };
}

/** What is known of a connection beside its messages. */
export interface Party {
  connection?: string;
  server: string;
  /** The name that was given with `--client`. */
  client?: string;
  /** What the client says of itself. */
  clientInfo?: { name?: string; version?: string };
  labels: Readonly<Record<string, string>>;
  principal: Principal;
}

/** One message as matchers see it. A reply has the method, target and effects of its request. */
export interface Subject {
  type: 'request' | 'notification' | 'result' | 'error' | 'opaque';
  direction: Direction;
  method?: string;
  target?: Target;
  effects: Partial<EffectFields>;
  /** Of a reply: which request it answers is not known, so it may be any. Who waits for an answer may take it for one: `"1"` is 1 for some. */
  isUnasked?: true;
  /** Of its method or target only a beginning is known, or it is longer than globs are held against. */
  isCut?: true;
}

/** A message to be judged, with what was found out about it. */
export interface Judged extends Subject {
  anomalies: readonly Anomaly[];
  /** The message alone: of a batch, the item. */
  bytes: Uint8Array | undefined;
  sizeBytes: number;
  /** It is no message, and nobody takes it for one (`no-message.ts`): it is not ambiguous. */
  isNoMessage?: boolean;
}

/** Globs are held against names of at most so many characters: tools and methods have far shorter ones. */
const nameLength = 1_024;

/** Whether it is to be done. A request that is sent without an id is done by many a server, and only the answer is left out. */
export function asks({ type, method }: Pick<Subject, 'type' | 'method'>): boolean {
  return type === 'request' || (type === 'notification' && method !== undefined && !method.startsWith(notices));
}

/** Whether it is to be taken note of. With an id, or with one that is null, many a server takes note of it all the same. */
export function tells({ type, method }: Pick<Subject, 'type' | 'method'>): boolean {
  return type === 'notification' || (type === 'request' && method?.startsWith(notices) === true);
}

const notices = 'notifications/';

export function isLong(name: string | undefined): boolean {
  return name !== undefined && name.length > nameLength;
}

/** `restricts`: the matchers of a rule that denies, flags or redacts, which is also about names that only look like those it names. */
export function isAbout(matchers: Matchers, subject: Subject, party: Party, restricts: boolean): boolean {
  const { server, tool, method, effect, direction, sensitive, destructive } = matchers;
  if (direction !== undefined && direction !== subject.direction) return false;
  if (server !== undefined && !fits(server, party.server, restricts)) return false;
  if (restricts && subject.isUnasked === true)
    return (tool === undefined || tool.some((glob) => isOfServer(glob, party.server))) && isOf(matchers, party, restricts);
  if (effect !== undefined && !effect.includes(subject.effects.effect ?? 'unknown')) return false;
  if (sensitive !== undefined && sensitive !== (subject.effects.sensitive ?? false)) return false;
  if (destructive !== undefined && destructive !== (subject.effects.destructive ?? false)) return false;
  if (method !== undefined && (subject.method === undefined || !fits(method, subject.method, restricts))) return false;
  if (tool !== undefined && !tool.some((glob) => fitsTool(glob, subject, party.server, restricts))) return false;
  return isOf(matchers, party, restricts);
}

/** The matchers that are about who is behind a connection. */
function isOf({ client, label, principal }: Matchers, party: Party, restricts: boolean): boolean {
  if (client !== undefined) {
    const names = [party.client, party.clientInfo?.name].filter((name) => name !== undefined);
    if (!names.some((name) => fits(client, name, restricts))) return false;
  }
  if (label !== undefined) {
    const pairs = Object.entries(party.labels).map(([key, value]) => `${key}=${value}`);
    if (!pairs.some((pair) => fits(label, pair, restricts))) return false;
  }
  return principal === undefined || fitsPrincipal(principal, party.principal, restricts);
}

function fits(globs: readonly string[], name: string, restricts: boolean): boolean {
  return globs.some((glob) => fitsOne(glob, name, restricts));
}

function fitsOne(glob: string, name: string, restricts: boolean): boolean {
  return globMatches(glob, name) || (restricts && globMatches(lookOf(glob), lookOf(name)));
}

function isOfServer(glob: string, server: string): boolean {
  const slash = glob.indexOf('/');
  return slash < 0 || fitsOne(glob.slice(0, slash), server, true);
}

/** `tool`, or `server/tool` cut at the first slash: a tool's own name may hold slashes, too. */
function fitsTool(glob: string, subject: Subject, server: string, restricts: boolean): boolean {
  if (subject.method !== 'tools/call') return false;
  const slash = glob.indexOf('/');
  if (slash >= 0 && !fitsOne(glob.slice(0, slash), server, restricts)) return false;
  // a name that is no text (`["delete"]`) becomes one in many a server: it may be any
  if (subject.target?.kind !== 'tool') return restricts;
  return fitsOne(glob.slice(slash + 1), subject.target.value, restricts);
}

function fitsPrincipal({ observed, verified, declared }: PrincipalMatcher, principal: Principal, restricts: boolean): boolean {
  const one = (globs: string[] | undefined, value: string | undefined): boolean =>
    globs === undefined || (value !== undefined && fits(globs, value, restricts));
  if (observed !== undefined) {
    if (observed.uid !== undefined && (principal.observed.uid === undefined || !observed.uid.includes(principal.observed.uid))) return false;
    if (!one(observed.executable, principal.observed.executable)) return false;
  }
  if (verified !== undefined && !(one(verified.subject, principal.verified.subject) && one(verified.issuer, principal.verified.issuer))) return false;
  return declared === undefined || one(declared.name, principal.declared.name);
}

/** What the operator says of a tool of a server. Of several patterns that fit, for each field the first one that says something of it. */
export function wordOn(servers: Readonly<Record<string, ServerSettings>>, server: string, tool: string): ToolSettings {
  const word: ToolSettings = {};
  for (const [serverGlob, { tools }] of Object.entries(servers)) {
    if (!globMatches(serverGlob, server)) continue;
    for (const [toolGlob, settings] of Object.entries(tools)) {
      // a word that makes a tool harmless is about the very name alone
      if (!globMatches(toolGlob, tool) && !(isCautious(settings) && globMatches(lookOf(toolGlob), lookOf(tool)))) continue;
      for (const [field, value] of Object.entries(settings))
        if (value !== undefined && !(field in word)) Object.assign(word, { [field]: value as unknown });
    }
  }
  return word;
}

function isCautious({ effect, sensitive, destructive, untrusted }: ToolSettings): boolean {
  return effect !== 'read' && sensitive !== false && destructive !== false && untrusted !== false;
}
