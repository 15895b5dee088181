/**
 * What a proxy says of who sent a request (`spec/wire.md`, `principal`): read, bounded, and turned into a `principal` entry.
 *
 * What must stay true: only what a trusted proxy says is verified or observed, everything else is declared; what may name a person is an attribute, which can be
 * erased, and never a field of the entry; a subject is never cut, since a beginning of it would be somebody else.
 */
import type { PrincipalEntry } from '../entry/entry.ts';
import { bounded } from '../mcp/bounded.ts';
import { authenticationFailures, type Actor, type Principal } from '../wire/principal.ts';
import type { Attributes } from './seal.ts';

/** Bytes of UTF-8. */
const textBytes = 512;
const listMost = 64;

/** Whom the policy file names in `trustedTaps`, by uid; `self` is the recorder's own. A uid that the kernel does not tell is nobody's. */
export function isTrustedTap(trustedTaps: readonly (number | 'self')[], uid: number | undefined, ownUid: number | undefined): boolean {
  return uid !== undefined && trustedTaps.some((one) => (one === 'self' ? uid === ownUid : uid === one));
}

/** The fields of a `principal` entry beside those of every entry, and its attributes. */
export function principalEntry(
  principal: Principal,
  { trusted }: { trusted: boolean },
): { fields: Pick<PrincipalEntry, 'source' | 'reportedBy' | 'method' | 'failure' | 'unbelieved' | 'uid' | 'pid'>; attributes: Attributes } {
  const { verified, observed, declared, failure } = principal;
  const said = {
    reportedBy: 'proxy' as const,
    ...(verified === undefined ? {} : { method: verified.source }),
    ...(failure === undefined ? {} : { failure }),
  };
  const parts = { ...named('verified', verified), ...named('observed', observed), ...named('declared', declared) };
  if (!trusted) return { fields: { source: 'declared', ...said, unbelieved: true }, attributes: named('declared', parts) };
  return {
    fields: {
      source: verified === undefined ? 'observed' : 'verified',
      ...said,
      ...(observed.uid === undefined ? {} : { uid: observed.uid }),
      ...(observed.pid === undefined ? {} : { pid: observed.pid }),
    },
    attributes: parts,
  };
}

function named(name: string, part: object | undefined): Attributes {
  return part === undefined || Object.keys(part).length === 0 ? {} : { [name]: part };
}

/** A stranger's JSON as a principal. What is too long is cut, what is of a wrong kind is left out; a credential of a subject that does not fit is none. */
export function readPrincipal(json: Record<string, unknown>): Principal {
  const [verified, observed, declared] = ['verified', 'observed', 'declared'].map((part) => objectIn(json[part]));
  const { failure } = json;
  return {
    ...present({ verified: verifiedIn(verified!) }),
    observed: present({
      address: textIn(observed!['address']),
      via: textsIn(observed!['via']),
      uid: countIn(observed!['uid']),
      pid: countIn(observed!['pid']),
      startTime: textIn(observed!['startTime']),
      executable: textIn(observed!['executable']),
      unavailable: wordIn(['permission', 'gone', 'several', 'platform'], observed!['unavailable']),
    }),
    declared: present({
      userAgent: textIn(declared!['userAgent']),
      claims: claimsIn(declared!['claims']),
      forwardedFor: textIn(declared!['forwardedFor']),
    }),
    ...present({ failure: wordIn(authenticationFailures, failure) }),
  };
}

function verifiedIn(part: Record<string, unknown>): Principal['verified'] {
  const source = wordIn(['jwt', 'client-certificate', 'api-key'], part['source']);
  const subject = wholeIn(part['subject']);
  const issuer = wholeIn(part['issuer']);
  if (source === undefined || subject === undefined || (part['issuer'] !== undefined && issuer === undefined)) return undefined;
  const actors = Array.isArray(part['act']) ? part['act'].slice(0, listMost).map((one) => actorIn(objectIn(one))) : undefined;
  return {
    source,
    subject,
    ...present({
      issuer,
      clientId: textIn(part['clientId']),
      name: textIn(part['name']),
      scopes: textsIn(part['scopes']),
      audience: textsIn(part['audience']),
      act: actors?.filter((one) => one !== undefined),
      expiresAtS: countIn(part['expiresAtS']),
      also: alsoIn(part['also']),
    }),
  };
}

function actorIn(part: Record<string, unknown>): Actor | undefined {
  const subject = wholeIn(part['subject']);
  return subject === undefined ? undefined : { subject, ...present({ issuer: wholeIn(part['issuer']) }) };
}

function alsoIn(value: unknown): NonNullable<Principal['verified']>['also'] {
  const others = (Array.isArray(value) ? value.slice(0, listMost) : []).flatMap((one) => {
    const { source, subject, issuer } = verifiedIn({ ...objectIn(one), also: undefined }) ?? {};
    return source === undefined || subject === undefined ? [] : [{ source, subject, ...present({ issuer }) }];
  });
  return others.length === 0 ? undefined : others;
}

function claimsIn(value: unknown): Record<string, string> | undefined {
  const claims: Record<string, string> = {};
  for (const name of ['iss', 'sub', 'client_id', 'azp', 'scope']) {
    const text = textIn(objectIn(value)[name]);
    if (text !== undefined) claims[name] = text;
  }
  return Object.keys(claims).length === 0 ? undefined : claims;
}

function objectIn(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function wholeIn(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= textBytes ? value : undefined;
}

function textIn(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  return bounded(value, textBytes);
}

function textsIn(value: unknown): string[] | undefined {
  const texts = Array.isArray(value) ? value.slice(0, listMost).flatMap((one) => textIn(one) ?? []) : [];
  return texts.length === 0 ? undefined : texts;
}

function countIn(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

function wordIn<T extends string>(words: readonly T[], value: unknown): T | undefined {
  return words.find((word) => word === value);
}

/** The members that are there. */
function present<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
