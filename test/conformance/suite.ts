/** Runs the official suite (`@modelcontextprotocol/conformance`) and reads what it wrote. */
import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { parse } from 'yaml';

const suite = join(import.meta.dirname, '..', '..', 'node_modules', '@modelcontextprotocol', 'conformance');

export const revisions = ['2025-11-25', '2026-07-28'] as const;
export type Revision = (typeof revisions)[number];
export type Side = 'server' | 'client';

/** What the suite says of one requirement in one scenario; an id may come several times. */
export interface Check {
  id: string;
  name: string;
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
  errorMessage?: string;
  timestamp?: string;
  details?: unknown;
}

/** By scenario. */
export type Results = Map<string, Check[]>;

/** A scenario's time limit; the suite's own, 30 s, is for a machine that does nothing else. */
const limitMs = 300_000;

/** All scenarios that a revision asks of one side, the unscored ones too. */
export function scenariosOf(side: Side, revision: Revision): string[] {
  const set = parse(readFileSync(join(suite, 'requirements', `${revision}.yaml`), 'utf8')) as Record<Side, string[]> & {
    not_scored: { scenario: string; leg: Side }[];
  };
  return [...set[side], ...set.not_scored.filter(({ leg }) => leg === side).map(({ scenario }) => scenario)];
}

/** Modules of this folder that the suite loads first, besides `loopback.ts`. */
export type Preload = 'patient.ts';

function run(words: readonly string[], env: NodeJS.ProcessEnv, preloads: readonly Preload[] = []): Promise<void> {
  const imports = ['loopback.ts', ...preloads].flatMap((file) => ['--import', join(import.meta.dirname, file)]);
  const command = [...imports, join(suite, 'dist', 'index.js'), ...words, '--timeout', String(limitMs)];
  const child = spawn(process.execPath, command, { env, stdio: 'ignore' });
  const stop = (): void => void child.kill('SIGKILL');
  process.on('exit', stop);
  return new Promise((done, fail) => {
    child.on('error', fail);
    // its status says whether checks failed, which is not the question here: the results are there or not
    child.on('exit', () => {
      process.off('exit', stop);
      done();
    });
  });
}

/** The suite itself would start all clients at once; here a few at a time, so that a scenario's clock measures the client. */
const atOnce = 2;

async function runEach(scenarios: readonly string[], run: (scenario: string) => Promise<void>): Promise<void> {
  const waiting = [...scenarios];
  const work = async (): Promise<void> => {
    for (let scenario = waiting.shift(); scenario !== undefined; scenario = waiting.shift()) await run(scenario);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/** Scenarios that a server at `url` must pass. */
export async function judgeServer(
  url: string,
  revision: Revision,
  scenarios: readonly string[],
  folder: string,
  env: NodeJS.ProcessEnv,
  preloads: readonly Preload[] = [],
): Promise<Results> {
  mkdirSync(folder, { recursive: true });
  const words = ['server', '--url', url, '-o', folder];
  if (scenarios.length === scenariosOf('server', revision).length) await run([...words, '--requirements', revision], env, preloads);
  else await runEach(scenarios, (scenario) => run([...words, '--scenario', scenario, '--spec-version', revision, '--force'], env, preloads));
  return complete(readResults(folder, 'server-'), scenarios);
}

/** Scenarios that a client must pass: `command`, without spaces in its words, gets the URL as its last one. */
export async function judgeClient(
  command: readonly string[],
  revision: Revision,
  scenarios: readonly string[],
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<Results> {
  mkdirSync(folder, { recursive: true });
  const words = ['client', '--command', command.join(' '), '-o', folder];
  await runEach(scenarios, (scenario) => run([...words, '--scenario', scenario, '--spec-version', revision, '--force'], env));
  return complete(readResults(folder), scenarios);
}

function complete(results: Results, scenarios: readonly string[]): Results {
  for (const scenario of scenarios) {
    if (!results.has(scenario)) throw new Error(`the suite left no result of ${scenario}`);
  }
  return results;
}

/** The suite writes `<scenario>-<time>/checks.json`, with `server-` before a server's; a name may have a slash. */
function readResults(folder: string, prefix = ''): Results {
  const results: Results = new Map();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.name !== 'checks.json') continue;
    const path = relative(folder, entry.parentPath).split(sep).join('/');
    const scenario = path.replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '').slice(prefix.length);
    const checks = JSON.parse(readFileSync(join(entry.parentPath, entry.name), 'utf8')) as Check[];
    results.set(scenario, checks);
  }
  return results;
}
