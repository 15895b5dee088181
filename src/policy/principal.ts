/** A principal that a proxy named, as rules look at it. Of a proxy that is not trusted nothing is verified or observed. */
import type { Principal } from './match.ts';

/** What the proxy says (`wire/principal.ts`), or what its `principal` entry keeps of that. */
export interface Said {
  verified?: {
    source: string;
    subject: string;
    issuer?: string;
    clientId?: string;
    scopes?: string[];
    act?: { subject: string }[];
  };
  observed?: Principal['observed'];
  declared?: Principal['declared'];
}

export function partyOf({ verified, observed = {}, declared = {} }: Said, trusted: boolean): Principal {
  const { address, uid, pid, executable } = observed;
  const { userAgent, claims } = declared;
  return {
    observed: trusted ? present({ address, uid, pid, executable }) : {},
    verified:
      trusted && verified !== undefined
        ? present({
            method: verified.source,
            subject: verified.subject,
            issuer: verified.issuer,
            clientId: verified.clientId,
            scopes: verified.scopes,
            actors: verified.act?.map(({ subject }) => subject),
          })
        : {},
    declared: present({ userAgent, claims }),
  };
}

/** The members that are there. */
function present<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
