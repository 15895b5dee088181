/**
 * `sworn run --url`: from its options to the program that the tap starts in place of a server. Nothing that may be a credential goes into that program's
 * command line, which is recorded and which everybody on the machine can read: it is told in a variable that it takes out of its environment at once.
 */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { wholeNumber } from '../bytes/typed.ts';
import { SwornError } from '../errors.ts';

/** What was given on the command line, by option, unread. */
export type RemoteOptions = ReadonlyMap<string, readonly string[]>;

/** What the bridge is told. Files and variables are its to read. */
export interface BridgeSettings {
  url: string;
  headers: readonly (readonly [name: string, value: string])[];
  headerFiles: readonly string[];
  headerVariables: readonly (readonly [name: string, variable: string])[];
  ca?: string;
  connectTimeoutMs: number;
  answerTimeoutMs: number;
}

export const settingsVariable = 'SWORN_BRIDGE';

const defaultConnectTimeoutS = 30;
/** Some tools work for minutes before they say the first byte. */
const defaultAnswerTimeoutS = 600;
const maxTimeoutS = 86_400;

/** They are how MCP is spoken over HTTP, or how HTTP is. */
const own = /^(?:accept|connection|content-(?:type|length|encoding)|last-event-id|mcp-.*|te|trailer|transfer-encoding|upgrade)$/i;

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'run' });
}

/** @throws SwornError `usage`; no message repeats a header's value */
export function headerOf(name: string, value: string, where: string): readonly [name: string, value: string] {
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)) throw usage(`${where} is \`Name: value\`, with a name of letters, digits and hyphens`);
  if (own.test(name)) throw usage(`${where}: ${name} is set by sworn itself`);
  // oxlint-disable-next-line no-control-regex -- what HTTP does not allow in a value
  if (/[^\t\x20-\x7e\x80-\xff]/.test(value)) throw usage(`${where}: the value of ${name} has characters that no header can have`);
  return [name, value];
}

/** @throws SwornError `usage` */
export function readHeaderLine(line: string, where: string): readonly [name: string, value: string] {
  const colon = line.indexOf(':');
  return headerOf(line.slice(0, Math.max(colon, 0)).trim(), line.slice(colon + 1).trim(), where);
}

/** What the record, a process list and messages may say of an address: a user, a password and parameters are credentials as often as not. */
function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`;
}

function timeoutMs(given: string | undefined, name: string, defaultS: number): number {
  if (given === undefined) return defaultS * 1000;
  const seconds = wholeNumber(given);
  if (seconds === undefined || seconds < 1 || seconds > maxTimeoutS) throw usage(`${name} is a number of seconds from 1 to ${maxTimeoutS}`);
  return seconds * 1000;
}

/** @throws SwornError `usage` */
function readUrl(given: string): URL {
  const url = URL.parse(given);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw usage('--url is the http:// or https:// address of an MCP server');
  return url;
}

/** @throws SwornError `usage` */
export function bridgeSettings(given: RemoteOptions): BridgeSettings {
  const all = (name: string): readonly string[] => given.get(name) ?? [];
  const last = (name: string): string | undefined => all(name).at(-1);
  const ca = last('--ca');
  return {
    url: readUrl(last('--url') ?? '').href,
    headers: all('--header').map((line) => readHeaderLine(line, '--header')),
    headerFiles: all('--header-file').map((path) => resolve(path)),
    headerVariables: all('--header-env').map((pair) => {
      const equals = pair.indexOf('=');
      if (equals < 1 || equals === pair.length - 1) throw usage('--header-env is Name=VARIABLE');
      headerOf(pair.slice(0, equals), '', '--header-env');
      return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
    }),
    ...(ca === undefined ? {} : { ca: resolve(ca) }),
    connectTimeoutMs: timeoutMs(last('--connect-timeout'), '--connect-timeout', defaultConnectTimeoutS),
    answerTimeoutMs: timeoutMs(last('--answer-timeout'), '--answer-timeout', defaultAnswerTimeoutS),
  };
}

/**
 * The command that the tap starts. What else that command must know is in our environment from now on, and our own command line, which the recorder reads from
 * the system, says no more than theirs.
 * @throws SwornError `usage`
 */
export function bridgeCommand(options: RemoteOptions): string[] {
  const settings = bridgeSettings(options);
  process.env[settingsVariable] = JSON.stringify(settings);
  const shown = shownUrl(new URL(settings.url));
  process.title = `sworn run --url ${shown}`;
  return [process.execPath, fileURLToPath(new URL('../bridge.mjs', import.meta.url)), shown];
}
