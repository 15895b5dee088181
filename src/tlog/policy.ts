/**
 * The trust file (C2SP tlog-policy): whose checkpoints and whose cosignatures count. Read byte for byte as the specification says; names are opaque.
 *
 * The format has no word for an operator, and one operator's several witnesses are one voice. Groups say it: put an operator's witnesses into an `any`
 * group, and count the groups. Where two witnesses look like one operator's and count separately, the file still means what it says, with a warning.
 */
import { equal, hex, utf8Text } from '../bytes/bytes.ts';
import type { Crypto } from '../bytes/crypto.ts';
import { trustPolicyBytes, trustPolicyLines } from '../limits.ts';
import { parseCheckpoint, type ParsedCheckpoint } from './checkpoint.ts';
import { cosignatureType, openCosigned, parseCosigner, type Cosignature, type Cosigner } from './cosignature.ts';
import { ed25519Type, parseVkey, vkeyParts, type NoteProblem, type Vkey } from './note.ts';
import { operatorNames, operatorsOf } from './operator.ts';

export interface PolicyLog {
  /** The key's name, which is the log's origin. */
  origin: string;
  vkeyText: string;
  /** Absent for a type that we cannot check: the line stands, and nothing is ever signed by it. */
  vkey?: Vkey;
  url?: string;
  line: number;
}

export interface PolicyWitness {
  /** Only known inside the file. */
  name: string;
  vkeyText: string;
  /** Absent for a type that we cannot check: this witness then never counts. */
  cosigner?: Cosigner;
  url?: string;
  line: number;
}

export interface PolicyGroup {
  name: string;
  /** So many members must have witnessed. */
  threshold: number;
  members: string[];
  line: number;
}

export interface PolicyWarning {
  line: number;
  message: string;
}

export interface TrustPolicy {
  logs: PolicyLog[];
  witnesses: PolicyWitness[];
  /** Each refers only to what stands before it. */
  groups: PolicyGroup[];
  /** A witness or group; `undefined` is `quorum none`. */
  quorum: string | undefined;
  warnings: PolicyWarning[];
}

export interface PolicyProblem {
  problem: 'policy';
  /** From 1; 0 for the file as a whole. */
  line: number;
  message: string;
}

export interface Quorum {
  met: boolean;
  /** The policy's witnesses that cosigned, in the file's order. */
  witnesses: PolicyWitness[];
  /** How many operators they look like. */
  operators: number;
  /** Of the quorum's own line: `have` of `need` members. With `quorum none` both are 0. */
  have: number;
  need: number;
}

export interface OpenedUnderPolicy {
  checkpoint: ParsedCheckpoint;
  /** The log that signed. */
  vkey: Vkey;
  cosignatures: Cosignature[];
  quorum: Quorum;
}

export interface UnderPolicyProblem {
  problem: 'not-checkpoint' | 'no-trusted-log';
  message: string;
}

/** A trust file, or its first mistake. Never throws. */
export function parseTrustPolicy(crypto: Crypto, bytes: Uint8Array): TrustPolicy | PolicyProblem {
  try {
    return new Reader(crypto).read(bytes);
  } catch (error) {
    if (error instanceof Mistake) return { problem: 'policy', line: error.line, message: error.message };
    throw error;
  }
}

/** Which of the policy's witnesses are among `cosigners`, each once, and whether that is enough. */
export function judgeQuorum(policy: TrustPolicy, cosigners: readonly Cosigner[]): Quorum {
  const witnesses = policy.witnesses.filter(({ cosigner }) => cosigner && cosigners.some((one) => equal(one.publicKey, cosigner.publicKey)));
  const operators = operatorsOf(witnesses);
  if (policy.quorum === undefined) return { met: true, witnesses, operators, have: 0, need: 0 };
  const witnessed = new Set(witnesses.map(({ name }) => name));
  const present = (group: PolicyGroup): number => group.members.filter((name) => witnessed.has(name)).length;
  // members stand before their group
  for (const group of policy.groups) if (present(group) >= group.threshold) witnessed.add(group.name);
  const group = policy.groups.find(({ name }) => name === policy.quorum);
  const met = witnessed.has(policy.quorum);
  return { met, witnesses, operators, have: group ? present(group) : Number(met), need: group?.threshold ?? 1 };
}

/**
 * Opens a checkpoint as the policy asks: signed by one of its logs under the origin that is that key's name (tlog-policy), every known signature good.
 * A quorum that is not met is no problem here: `quorum.met` says it. A policy without logs needs `logs` from the caller. Never throws.
 */
export function openUnderPolicy(
  crypto: Crypto,
  policy: TrustPolicy,
  bytes: Uint8Array,
  logs: readonly Vkey[] = [],
): OpenedUnderPolicy | NoteProblem | UnderPolicyProblem {
  const vkeys = [...policy.logs.flatMap(({ vkey }) => vkey ?? []), ...logs];
  const cosigners = policy.witnesses.flatMap(({ cosigner }) => cosigner ?? []);
  const opened = openCosigned(crypto, bytes, vkeys, cosigners);
  if ('problem' in opened) return opened;
  const checkpoint = parseCheckpoint(opened.text);
  if (!checkpoint) return { problem: 'not-checkpoint', message: 'the note is signed but is no checkpoint' };
  const vkey = opened.logs.find(({ name }) => name === checkpoint.origin);
  if (!vkey) return { problem: 'no-trusted-log', message: `no log of the policy signed this checkpoint of ${checkpoint.origin}` };
  const quorum = judgeQuorum(
    policy,
    opened.cosignatures.map(({ cosigner }) => cosigner),
  );
  return { checkpoint, vkey, cosignatures: opened.cosignatures, quorum };
}

class Mistake extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** The bytes as a text in which each character is one byte: names, keys and URLs are only told apart, and turned into UTF-8 where they leave. */
function octets(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return text;
}

/** UTF-8 where it is; otherwise each byte above 0x7f becomes a lone surrogate, which no UTF-8 gives, so that two names never become one. */
function shown(octets: string): string {
  const text = utf8Text(Uint8Array.from(octets, (character) => character.charCodeAt(0)));
  return text ?? octets.replace(/[\u0080-\u00ff]/g, (character) => String.fromCharCode(0xdc00 + character.charCodeAt(0)));
}

class Reader {
  readonly #crypto: Crypto;
  readonly #policy: TrustPolicy = { logs: [], witnesses: [], groups: [], quorum: undefined, warnings: [] };
  /** Every name, with the line that defines it. */
  readonly #names = new Map<string, number>();
  /** Names that are a member already, with the line: each only once (tlog-policy), so a witness counts in one way only. */
  readonly #used = new Map<string, number>();
  readonly #keys = { log: new Map<string, number>(), witness: new Map<string, number>() };
  #quorumLine = 0;

  constructor(crypto: Crypto) {
    this.#crypto = crypto;
  }

  read(bytes: Uint8Array): TrustPolicy {
    if (bytes.length > trustPolicyBytes) throw new Mistake(0, `a trust file has at most ${trustPolicyBytes} bytes`);
    const lines = octets(bytes).split('\n');
    // The last line's end may be missing: editors leave it out.
    if (lines.at(-1) === '') lines.pop();
    if (lines.length > trustPolicyLines) throw new Mistake(0, `a trust file has at most ${trustPolicyLines} lines`);
    for (const [i, line] of lines.entries()) this.#line(i + 1, line);
    if (this.#quorumLine === 0) throw new Mistake(0, 'no `quorum` line (`quorum none` asks for no witness)');
    for (const [key, line] of this.#keys.witness) {
      const log = this.#keys.log.get(key);
      if (log !== undefined) this.#warning(line, `this witness has the key of the log in line ${log}: that log witnesses itself`);
    }
    this.#warnOfOperators();
    return this.#policy;
  }

  #line(at: number, line: string): void {
    const bad = /[^\t\u0020-\u007e\u0080-\u00ff]/.exec(line);
    if (bad) throw new Mistake(at, bad[0] === '\r' ? 'a carriage return: lines end with a line feed alone' : 'a control character');
    const [keyword, ...words] = line.split(/[ \t]+/).filter((word) => word !== '');
    if (keyword === undefined || keyword.startsWith('#')) return;
    if (keyword === 'log') this.#log(at, words);
    else if (keyword === 'witness') this.#witness(at, words);
    else if (keyword === 'group') this.#group(at, words);
    else if (keyword === 'quorum') this.#quorum(at, words);
    else throw new Mistake(at, `\`${shown(keyword)}\` is none of log, witness, group and quorum`);
  }

  #log(at: number, [vkeyText, url, ...rest]: string[]): void {
    if (vkeyText === undefined || rest.length > 0) throw new Mistake(at, 'wanted: log <vkey> [<url>]');
    const text = shown(vkeyText);
    const parts = this.#key(at, text, 'log');
    const vkey = parseVkey(this.#crypto, text);
    if (!vkey && parts.type === ed25519Type) throw new Mistake(at, `the key id of ${parts.name} does not belong to its key`);
    if (parts.type === cosignatureType) throw new Mistake(at, `${parts.name} is the key of a witness (type 0x04), not of a log`);
    if (!vkey) this.#warning(at, `the log ${parts.name} has a key of type ${typeText(parts.type)}, which is not checked here: it signs nothing`);
    this.#policy.logs.push({
      origin: parts.name,
      vkeyText: text,
      line: at,
      ...(vkey ? { vkey } : {}),
      ...(url === undefined ? {} : { url: shown(url) }),
    });
  }

  #witness(at: number, [name, vkeyText, url, ...rest]: string[]): void {
    if (name === undefined || vkeyText === undefined || rest.length > 0) throw new Mistake(at, 'wanted: witness <name> <vkey> [<url>]');
    this.#define(at, name);
    const text = shown(vkeyText);
    const parts = this.#key(at, text, 'witness');
    const cosigner = parseCosigner(this.#crypto, text);
    if (!cosigner && parts.type === cosignatureType) throw new Mistake(at, `the key id of ${parts.name} does not belong to its key`);
    // tlog-cosignature knows 0x04 and 0x06; another type is a key for something else
    if (!cosigner && parts.type !== 0x06) throw new Mistake(at, `${parts.name} has a key of type ${typeText(parts.type)}; a witness's has 0x04`);
    if (!cosigner) this.#warning(at, `the witness ${shown(name)} has a key of type 0x06 (ML-DSA-44), which is not checked here: it never counts`);
    this.#policy.witnesses.push({
      name: shown(name),
      vkeyText: text,
      line: at,
      ...(cosigner ? { cosigner } : {}),
      ...(url === undefined ? {} : { url: shown(url) }),
    });
  }

  #group(at: number, [name, count, ...members]: string[]): void {
    if (name === undefined || count === undefined || members.length === 0)
      throw new Mistake(at, 'wanted: group <name> all|any|<number> <member>…, with at least one member');
    for (const member of members) {
      this.#known(at, member);
      const used = this.#used.get(member);
      if (used !== undefined) throw new Mistake(at, `${shown(member)} is a member in line ${used} already; it can count in one place only`);
      this.#used.set(member, at);
    }
    this.#define(at, name);
    const threshold = count === 'any' ? 1 : count === 'all' ? members.length : /^[1-9][0-9]{0,3}$/.test(count) ? Number(count) : 0;
    if (threshold < 1 || threshold > members.length)
      throw new Mistake(at, `\`${shown(count)}\` is not all, any or a number from 1 to ${members.length}, of so many members`);
    this.#policy.groups.push({ name: shown(name), threshold, members: members.map(shown), line: at });
  }

  #quorum(at: number, [name, ...rest]: string[]): void {
    if (name === undefined || rest.length > 0) throw new Mistake(at, 'wanted: quorum <name>, or: quorum none');
    if (this.#quorumLine > 0) throw new Mistake(at, `a second \`quorum\` line; the first is line ${this.#quorumLine}`);
    this.#quorumLine = at;
    if (name === 'none') return;
    this.#known(at, name);
    this.#policy.quorum = shown(name);
  }

  /** A key of the file: well-formed, and not there twice, whatever its name (tlog-policy). */
  #key(at: number, text: string, kind: 'log' | 'witness'): { name: string; type: number; publicKey: Uint8Array } {
    const parts = vkeyParts(text);
    if (!parts) throw new Mistake(at, `\`${text}\` is not a verifier key (name+id+key)`);
    const key = hex(parts.publicKey);
    const before = this.#keys[kind].get(key);
    if (before !== undefined) throw new Mistake(at, `the key of line ${before} again`);
    this.#keys[kind].set(key, at);
    return parts;
  }

  #define(at: number, name: string): void {
    if (name === 'none') throw new Mistake(at, '`none` cannot be a name');
    const before = this.#names.get(name);
    if (before !== undefined) throw new Mistake(at, `the name ${shown(name)} is defined in line ${before} already`);
    this.#names.set(name, at);
  }

  #known(at: number, name: string): void {
    if (!this.#names.has(name)) throw new Mistake(at, `${shown(name)} is not defined before this line`);
  }

  #warning(line: number, message: string): void {
    this.#policy.warnings.push({ line, message });
  }

  /** Two witnesses count separately where the group that first holds both of them asks for more than one member. */
  #warnOfOperators(): void {
    const { groups, witnesses, quorum } = this.#policy;
    const below = new Map<string, PolicyWitness[]>(witnesses.map((witness) => [witness.name, [witness]]));
    const relevant = new Set<string>(quorum === undefined ? [] : [quorum]);
    for (const group of groups.toReversed()) if (relevant.has(group.name)) for (const member of group.members) relevant.add(member);
    for (const group of groups) {
      const members = group.members.map((name) => below.get(name)!);
      below.set(group.name, members.flat());
      if (group.threshold < 2 || !relevant.has(group.name)) continue;
      const seen = new Map<string, { witness: PolicyWitness; member: number }>();
      const warned = new Set<string>();
      for (const [i, list] of members.entries()) {
        for (const witness of list) {
          for (const operator of operatorNames(witness)) {
            const first = seen.get(operator);
            if (!first) seen.set(operator, { witness, member: i });
            else if (first.member !== i && !warned.has(witness.name)) {
              warned.add(witness.name);
              this.#warning(
                group.line,
                `${first.witness.name} and ${witness.name} look like one operator (${operator}) and count separately in ${group.name}; ` +
                  "put one operator's witnesses into an `any` group of their own",
              );
            }
          }
        }
      }
    }
  }
}

function typeText(type: number): string {
  return `0x${type.toString(16).padStart(2, '0')}`;
}
