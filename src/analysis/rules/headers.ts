/** HTTP headers that say something else than the message that they stand beside. */
import { headerText } from '../../mcp/headers.ts';
import type { SeenMessage } from '../events.ts';
import { rule, short, silencing } from './rule.ts';

interface First {
  first?: number;
}

export const headerMismatch = rule<First>(
  {
    id: 'header-mismatch',
    sees: ['odd message'],
    severity: 'medium',
    title: 'HTTP headers of a request say something else than its message',
    why: 'Gateways route and allow by such headers, servers do what the message says: what was let pass is not what was done.',
    silence: silencing('header-mismatch'),
  },
  () => ({}),
  (seen, memory) => {
    if (seen.kind !== 'message' || !seen.entry.anomalies?.includes('header-mismatch')) return [];
    const { index, entry, session } = seen;
    const own = memory.of(session.session);
    own.first ??= index;
    const { method, target, protocolVersion } = entry.kind === 'message' ? entry : {};
    const said = [method, target, protocolVersion].filter((word) => word !== undefined);
    return [
      {
        first: own.first,
        title: 'Why do HTTP headers say something else than the message?',
        detail: `${headersOf(seen)}, the message ${said.length === 0 ? 'says otherwise' : said.map((word) => short(word, 80)).join(' ')}`,
        indexes: [index],
        session: session.session,
        server: entry.server,
        ...(method === 'tools/call' && target !== undefined ? { tool: target } : {}),
      },
    ];
  },
);

const standard = /^mcp-(?:method|name|protocol-version)$/i;

function headersOf({ attributes }: SeenMessage): string {
  const said = Array.isArray(attributes['headers']) ? (attributes['headers'] as unknown[]) : [];
  const words = said.flatMap((pair) => {
    const [name, value] = Array.isArray(pair) ? (pair as unknown[]) : [];
    return typeof name === 'string' && typeof value === 'string' && standard.test(name) ? [`${name}: ${short(headerText(value), 80)}`] : [];
  });
  return words.length === 0 ? 'headers that were not kept' : words.slice(0, 3).join(', ');
}
