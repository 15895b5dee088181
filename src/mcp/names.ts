/**
 * Who the two sides say they are: from `initialize` and its result (MCP 2024-11-05 to 2025-11-25), and from `_meta` of modern messages (2026-07-28).
 * All of it is self-reported and untrusted.
 */
import { utf8Text } from '../bytes/bytes.ts';
import { peekBytes } from '../limits.ts';

export interface Names {
  /** An object as the client sent it. */
  clientInfo?: Record<string, unknown>;
  serverInfo?: Record<string, unknown>;
  capabilities?: Record<string, unknown>;
  protocolVersion?: string;
}

const prefix = 'io.modelcontextprotocol/';

/** The names in a whole frame: nothing for other messages, for anything that is not JSON, and above `limits.peekBytes`. Never throws. */
export function readNames(frame: Uint8Array): Names {
  const names: Names = {};
  if (frame.length > peekBytes) return names;
  const text = utf8Text(frame);
  if (text === undefined) return names;
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return names;
  }
  const params = objectAt(document, 'params');
  const result = objectAt(document, 'result');
  const body = params ?? result;
  const meta = objectAt(body, '_meta');
  const clientInfo = objectAt(meta, `${prefix}clientInfo`) ?? objectAt(params, 'clientInfo');
  if (clientInfo !== undefined) names.clientInfo = clientInfo;
  const serverInfo = objectAt(meta, `${prefix}serverInfo`) ?? objectAt(result, 'serverInfo');
  if (serverInfo !== undefined) names.serverInfo = serverInfo;
  const capabilities = objectAt(meta, `${prefix}clientCapabilities`) ?? objectAt(body, 'capabilities');
  if (capabilities !== undefined) names.capabilities = capabilities;
  const version = meta?.[`${prefix}protocolVersion`] ?? body?.['protocolVersion'];
  if (typeof version === 'string') names.protocolVersion = version;
  return names;
}

function objectAt(holder: unknown, key: string): Record<string, unknown> | undefined {
  if (typeof holder !== 'object' || holder === null || Array.isArray(holder)) return undefined;
  const found = (holder as Record<string, unknown>)[key];
  return typeof found === 'object' && found !== null && !Array.isArray(found) ? (found as Record<string, unknown>) : undefined;
}
