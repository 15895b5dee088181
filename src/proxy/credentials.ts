/** Where credentials stand in the headers of a request, and which of them are the proxy's own. */

export const keyHeader = 'x-sworn-key';
export const keyPrefix = 'sworn_';

/** RFC 6750 §2.1; the scheme `DPoP` has a token too, with a proof beside it (RFC 9449). */
export function bearerIn(value: string): { token: string; isBearer: boolean } | undefined {
  const [, scheme, token] = /^[ \t]*(bearer|dpop)[ \t]+(\S+)[ \t]*$/i.exec(value) ?? [];
  return token === undefined ? undefined : { token, isBearer: scheme!.toLowerCase() === 'bearer' };
}

/** Whether it is meant to be a key of ours. */
export function isApiKey(text: string): boolean {
  return text.startsWith(keyPrefix);
}

/** Whether a header holds a key of the proxy's own. It is for nobody else: it must not be sent on. */
export function isOwnCredential(name: string, value: string): boolean {
  const lower = name.toLowerCase();
  return lower === keyHeader || (lower === 'authorization' && isApiKey(bearerIn(value)?.token ?? ''));
}
