/** `sworn tools check`: what a server lists against a file of pins, for CI. Needs no recorder and no ledger. */
import { nodeCrypto } from '../crypto-node.ts';
import { SwornError } from '../errors.ts';
import { definitionDigest } from '../mcp/definition.ts';
import { nameOf } from '../tap/options.ts';
import { count, paint, safeJson, visible, type Output, type Style } from './output.ts';
import { listTools } from './server-tools.ts';
import { readPinFile, writePinFile } from './tools-pin-file.ts';

interface CheckOptions {
  words?: string[];
  server?: string;
  pins?: string;
  pinsOut?: string;
  json?: boolean;
}

interface Difference {
  tool: string;
  change: 'changed' | 'new' | 'gone';
  pinned?: readonly string[];
  listed?: string;
}

const styles: Record<Difference['change'], Style> = { changed: 'red', new: 'red', gone: 'yellow' };
const digits = 12;
const drifted = 1;

/**
 * 0, or 1 when a tool is there that the file does not have, or with another definition. A pinned tool that is not listed any more is named, and no failure.
 * @throws SwornError `usage`, `pin-file`, and what `listTools` throws
 */
export async function toolsCheck({ words: command = [], pins: path, pinsOut, server: given, json }: CheckOptions, output: Output): Promise<number> {
  if (command.length === 0) throw usage('the server command goes behind `--`: sworn tools check --pins FILE -- npx my-server');
  if (path === undefined && pinsOut === undefined) throw usage('against which file? --pins FILE; --pins-out FILE writes one');
  const server = given ?? nameOf(command[0]!);
  const file = path === undefined ? undefined : readPinFile(path);
  const definitions = await listTools(command);
  const listed = definitions.map(({ name, value }) => ({ name, digest: digestOf(value) }));
  if (pinsOut !== undefined) {
    const servers = new Map(file);
    const pins = new Map<string, string[]>();
    for (const { name, digest } of listed) pins.set(name, [...(pins.get(name) ?? []), digest]);
    writePinFile(pinsOut, servers.set(server, pins), output);
    if (path === undefined) return 0;
  }
  const pinned = file?.get(server) ?? new Map<string, readonly string[]>();
  const differences: Difference[] = [];
  for (const { name, digest } of listed) {
    const known = pinned.get(name);
    if (known?.includes(digest) !== true)
      differences.push({
        tool: name,
        change: known === undefined ? 'new' : 'changed',
        ...(known === undefined ? {} : { pinned: known }),
        listed: digest,
      });
  }
  for (const [tool, known] of pinned) if (!listed.some(({ name }) => name === tool)) differences.push({ tool, change: 'gone', pinned: known });
  const isDrift = differences.some(({ change }) => change !== 'gone');
  if (json === true) output.out(`${safeJson(JSON.stringify({ server, tools: listed.length, differences }))}\n`);
  else if (pinsOut !== '-') output.out(resultText(output, server, path!, listed.length, differences));
  return isDrift ? drifted : 0;
}

/** @throws SwornError `server-unlisted` for one that is nested so deep that nobody can follow */
function digestOf(value: unknown): string {
  try {
    return definitionDigest(nodeCrypto, value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SwornError('server-unlisted', 'a definition is nested too deep', {}, { cause: error });
  }
}

function resultText(output: Output, server: string, path: string, tools: number, differences: readonly Difference[]): string {
  const short = (digests: readonly string[] = []): string => digests.map((one) => one.slice(0, digits)).join(' or ');
  const lines = differences.map(({ tool, change, pinned, listed }) => {
    const what = [change === 'new' ? 'not pinned' : `pinned ${short(pinned)}`, listed === undefined ? 'not listed' : `listed ${short([listed])}`];
    return `${paint(output, styles[change], change.padEnd(7))}  ${visible(tool)}: ${what.join(', ')}\n`;
  });
  const end = differences.length === 0 ? `as in ${path}` : `${differences.length} of them differ from ${path}, or are gone`;
  return `${lines.join('')}${visible(`${server}: ${count(tools, 'tool')}, ${end}`)}\n`;
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'tools' });
}
