/**
 * A file of pins, which a team shares: server → tool → digest of the definition. Sorted, one tool a line, so that a change is one line of a diff; a tool that a server
 * defines differently for different people has a list of digests.
 */
export interface PinFile {
  /** SHA-256 of its bytes, hex. */
  digest: string;
  /** By the server's configured name. */
  servers: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
}

/** What the file of pins says; a text says what is wrong with it. */
export function parsePins(text: string): PinFile['servers'] | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return `is no JSON: ${(error as Error).message}`;
  }
  if (!isObject(json) || json['version'] !== 1) return 'is no file of pins: it begins with "version": 1';
  if (!isObject(json['servers'])) return 'has no "servers"';
  const servers = new Map<string, Map<string, string[]>>();
  for (const [server, tools] of Object.entries(json['servers'])) {
    if (!isObject(tools)) return `has no tools for ${JSON.stringify(server)}`;
    const digests = new Map<string, string[]>();
    for (const [tool, value] of Object.entries(tools)) {
      const list = Array.isArray(value) ? (value as unknown[]) : [value];
      if (list.length === 0 || !list.every((one) => typeof one === 'string' && /^[0-9a-f]{64}$/.test(one)))
        return `has no SHA-256 (64 hex digits) for ${JSON.stringify(tool)} of ${JSON.stringify(server)}`;
      digests.set(tool, list as string[]);
    }
    servers.set(server, digests);
  }
  return servers;
}

/** The text of a file: the same for the same pins, whatever order they come in. */
export function pinFileText(servers: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>): string {
  const indent = (levels: number): string => '  '.repeat(levels);
  const members = (lines: string[], levels: number): string =>
    lines.length === 0 ? '{}' : `{\n${lines.map((line) => indent(levels + 1) + line).join(',\n')}\n${indent(levels)}}`;
  const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted(servers).map(([server, tools]) => {
    const pins = sorted(tools).map(([tool, digests]) => {
      const all = [...new Set(digests)].sort();
      return `${JSON.stringify(tool)}: ${all.length === 1 ? JSON.stringify(all[0]) : `[${all.map((one) => JSON.stringify(one)).join(', ')}]`}`;
    });
    return `${JSON.stringify(server)}: ${members(pins, 2)}`;
  });
  return `${members([`"version": 1`, `"servers": ${members(lines, 1)}`], 0)}\n`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
