/**
 * `sworn demo --story cover-up`: an agent drops a table during a freeze and then tries to hide it in four ways, each on a copy of the ledger. All of it happens: a real
 * witness cosigns, the forger really signs with the stolen key, and every exit status is that of a real `sworn verify`, also where it is 0 and nothing is noticed.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { installation, swornPath } from '../cli/installation.ts';
import { paint, visible } from '../cli/output.ts';
import { cutFrom, editContent, indexOf, rewriteHistory } from './forger.ts';
import { call, chapter, connected, expect, quoted, say, sworn, type Stage } from './stage.ts';

interface RunningWitness {
  readonly url: string;
  readonly vkey: string;
  readonly child: ChildProcess;
}

/** With what somebody checks, in the order of the last table. */
const sights = ['nothing', 'pin', 'policy', 'known'] as const;
type Sight = (typeof sights)[number];
type Statuses = readonly [nothing: number, pin: number, policy: number, known: number];

const drop = 'DROP TABLE customers';
const witnessName = 'witness.example';
const trustFile = 'trust.policy';
const seenFile = 'seen.checkpoint';

const sightNames: Readonly<Record<Sight, string>> = {
  nothing: 'nothing kept',
  pin: 'a pin on another machine',
  policy: `--policy ${trustFile}`,
  known: `--known ${seenFile}`,
};

/** `keepsLedger`: somebody asked for the ledger at a place of his own. */
export async function coverUpStory(stage: Stage, keepsLedger: boolean): Promise<number> {
  let witness: RunningWitness | undefined;
  try {
    witness = await begin(stage);
    await deed(stage);
    await coverUp(stage, witness);
  } catch (error) {
    stage.failures.push((error as Error).message);
  } finally {
    for (const ledger of [stage.ledger, join(stage.folder, 'forged'), restoredLedger(stage)])
      await sworn(stage, ['recorder', 'stop', '--ledger', ledger]);
    if (witness) await stopped(witness.child);
  }
  if (stage.failures.length > 0) {
    say(stage, `\nThis did not come out as told:\n${stage.failures.map((failure) => `  ${failure}`).join('\n')}\nEverything is in ${stage.folder}`);
    return 1;
  }
  rmSync(stage.folder, { recursive: true, force: true });
  if (keepsLedger) say(stage, `  look at the record: sworn log --ledger ${quoted(stage.ledger)}`);
  return 0;
}

/** A ledger, a witness that knows its key, and a configuration that asks this witness. */
async function begin(stage: Stage): Promise<RunningWitness> {
  const { folder, home, ledger } = stage;
  say(stage, 'An agent drops a table during a code freeze, then tries to hide it. It all really happens, in a temporary folder.');
  await quietly(stage, ['recorder', 'start', '--ledger', ledger]);
  await quietly(stage, ['recorder', 'stop', '--ledger', ledger]);
  const vkey = readFileSync(join(keysOf(home), 'vkey'), 'utf8').trim();
  const witness = await startWitness(stage, vkey);
  const { url } = witness;
  writeFileSync(join(folder, trustFile), `log ${vkey}\nwitness w1 ${witness.vkey} ${url}\nquorum w1\n`);
  // JSON is YAML
  writeFileSync(join(home, '.config', 'sworn', 'sworn.yaml'), JSON.stringify({ anchors: { witnesses: [{ key: witness.vkey, url }] } }));
  return witness;
}

async function deed(stage: Stage): Promise<void> {
  const { folder, home, ledger } = stage;
  chapter(stage, '1. Last week: ordinary work. A witness, another process with a key of its own, cosigns the record');
  await session(stage, [['execute_sql', 'ANALYZE orders', /analyzed/]]);
  await stopCosigned(stage);
  cpSync(ledger, restoredLedger(stage), { recursive: true });
  cpSync(home, join(folder, 'last-week-home'), { recursive: true });

  chapter(stage, '2. Today: a freeze, and a way around it');
  const freeze = ['freeze', '--server', 'db', '--reason', 'code freeze'];
  say(stage, `  $ sworn ${freeze.map(quoted).join(' ')}`);
  const { text } = await quietly(stage, [...freeze, '--ledger', ledger]);
  say(stage, `    ${text.split('\n')[0]!}`);
  await session(stage, [
    ['execute_sql', drop, /sworn:freeze: code freeze/, true],
    ['query', drop, /customers dropped, 4021 rows/],
  ]);
  await stopCosigned(stage);
  say(stage, '  Told no, the agent sent the same words through `query`. A freeze lets reads pass, and that `query` reads was the');
  say(stage, "  server's own word, its annotation (`sworn run --write query` overrules it). But the record has both:");
  const log = await quietly(stage, ['log', '--ledger', ledger, '--method', 'tools/call', '--json', '--payload']);
  const calls = log.text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string | number>)
    .filter(({ type, payload }) => type === 'request' && String(payload).includes(drop));
  for (const { index, target, effect, effectSource, verdict } of calls) {
    const word = verdict === 'block' ? 'blocked' : 'delivered';
    say(stage, `    entry ${index}  ${word.padEnd(9)}  ${String(target).padEnd(11)}  "${drop}"  ${effect}, by ${effectSource}`);
  }
  expect(stage, calls.map(({ verdict }) => verdict).join() === 'block,pass', 'the record has the refused DROP and the other one');
}

async function coverUp(stage: Stage, witness: RunningWitness): Promise<void> {
  const index = indexOf(stage.ledger, drop);
  const origin = readFileSync(join(stage.ledger, 'log', 'checkpoint'), 'utf8').split('\n')[0]!;
  const address = `/${createHash('sha256').update(origin).digest('hex')}/checkpoint`;
  writeFileSync(join(stage.folder, seenFile), await (await fetch(`${witness.url}${address}`)).text());

  chapter(stage, '3. An auditor checks the record, on a machine of hers, where she keeps three things: what verify pins, and');
  say(stage, `  ${trustFile} has the keys, and asks for the cosignature of the witness`);
  say(stage, `  ${seenFile} is the last one that the witness cosigned, GET ${address.slice(0, 7)}…/checkpoint, open to anybody`);
  await tried(stage, 'ledger', [0, 0, 0, 0], { shows: ['pin', 'policy', 'known'] });

  chapter(stage, "4. The cover-up. The agent runs under the recorder's account (custody: same-user), and has its files and its key");
  const edited = copyOf(stage, 'edited');
  editContent(edited.ledger, index, drop, 'TRIM TABLE customers');
  say(stage, `  a) It edits: "${drop}" becomes "TRIM TABLE customers", and the checksum is put right.`);
  const a = await tried(stage, 'edited', [1, 1, 1, 1], { shows: ['nothing'], names: index });

  const shorter = copyOf(stage, 'cut');
  cutFrom(shorter.ledger, index);
  say(stage, `  b) It cuts: entry ${index} and all behind it are gone, content and tree.`);
  const b = await tried(stage, 'cut', [3, 3, 3, 3], { shows: ['nothing'], names: index });

  const forged = copyOf(stage, 'forged');
  await rewriteHistory(forged.ledger, keysOf(forged.home), index, {
    [drop]: 'SELECT count(*) FROM customers',
    'customers dropped, 4021 rows': '4021 rows',
  });
  await lengthen(forged);
  say(stage, '  c) It writes all of history anew, with a SELECT where the DROP was, and signs that with the stolen key.');
  const c = await tried(stage, 'forged', [0, 5, 4, 5], { shows: sights });
  await goesOnForged(forged);
  expect(stage, keepsEvidence(stage), 'the witness refuses the other history and keeps it');
  say(stage, '     Asked to cosign that, the witness refused, and keeps what it was sent as evidence.');

  say(stage, "  d) It puts last week's copy of everything back, ledger and keys. Not a byte of it is false.");
  const d = await tried(stage, 'last-week', [0, 5, 0, 5], { shows: sights });
  await goesOn(stage);

  chapter(stage, '5. Exit status of `sworn verify`: what notices what');
  const columns = { 'a) edited': a, 'b) cut': b, 'c) re-signed': c, 'd) restored': d };
  say(
    stage,
    `  ${''.padEnd(26)}${Object.keys(columns)
      .map((title) => title.padEnd(14))
      .join('')}`.trimEnd(),
  );
  for (const [i, sight] of sights.entries()) {
    const cells = Object.values(columns).map((statuses) => {
      const cell = statuses[i] === 0 ? '0 unnoticed' : String(statuses[i]);
      return paint(stage.output, statuses[i] === 0 ? 'red' : 'green', cell) + ' '.repeat(14 - cell.length);
    });
    say(stage, `  ${sightNames[sight].padEnd(26)}${cells.join('')}`.trimEnd());
  }
  chapter(stage, 'So that nothing of this goes unnoticed');
  say(stage, "  a witness on somebody else's machine (`sworn witness`), or copies of log/checkpoint where the agent cannot write");
  say(stage, '  `sworn verify` with --policy and --known; with --max-age, since an old copy has honest cosignatures, too');
  say(stage, '  the recorder under an account of its own (custody: separate-user): then the agent reaches neither files nor key');
}

/** Stops the recorder with a last checkpoint that the witness has cosigned: on a machine with much to do it may not answer within its second. */
async function stopCosigned(stage: Stage): Promise<void> {
  for (let tries = 1; ; tries++) {
    await quietly(stage, ['recorder', 'stop', '--ledger', stage.ledger]);
    if (readFileSync(join(stage.ledger, 'log', 'checkpoint'), 'utf8').includes(`\u2014 ${witnessName} `)) return;
    if (tries === 5) throw new Error('the witness did not cosign');
    await quietly(stage, ['recorder', 'start', '--ledger', stage.ledger]);
  }
}

/**
 * The recorder takes the forged ledger for its own, and records that it starts and stops, without a witness, until there is more than was there when it was stolen: the
 * forger left the witness's cosignatures out, how many those are depends on the machine, and of a history that is only shorter everybody says no more than that.
 */
async function lengthen(forged: Stage): Promise<void> {
  const configuration = join(forged.home, '.config', 'sworn', 'sworn.yaml');
  const withWitness = readFileSync(configuration);
  rmSync(configuration);
  const stolen = sizeIn(join(forged.folder, seenFile));
  while (sizeIn(join(forged.ledger, 'log', 'checkpoint')) <= stolen) {
    await quietly(forged, ['recorder', 'start', '--ledger', forged.ledger]);
    await quietly(forged, ['recorder', 'stop', '--ledger', forged.ledger]);
  }
  writeFileSync(configuration, withWitness);
}

/** With the forged ledger the recorder asks the witness, as ever. */
async function goesOnForged(forged: Stage): Promise<void> {
  for (let tries = 1; tries <= 5 && !keepsEvidence(forged); tries++) {
    await quietly(forged, ['recorder', 'start', '--ledger', forged.ledger]);
    await quietly(forged, ['recorder', 'stop', '--ledger', forged.ledger]);
  }
}

/** The size that a checkpoint is of: its second line. */
function sizeIn(checkpoint: string): number {
  return Number(readFileSync(checkpoint, 'utf8').split('\n')[1]);
}

function keepsEvidence({ folder }: Stage): boolean {
  return readdirSync(join(folder, 'witness', 'kept', 'evidence')).some((name) => name.endsWith('.submitted'));
}

/** Under the restored ledger the agent works on: the recorder asks the witness, as ever, and records what that says. */
async function goesOn(stage: Stage): Promise<void> {
  const restored = { ...stage, home: join(stage.folder, 'last-week-home'), ledger: restoredLedger(stage) };
  const db = await connected(restored, ['--name', 'db'], [process.execPath, dbServer()], true);
  await db.close();
  let line: string | undefined;
  for (const until = Date.now() + 10_000; line === undefined && Date.now() < until; await sleep(100)) {
    line = (await quietly(restored, ['log', '--ledger', restored.ledger])).text.split('\n').find((one) => one.includes('REFUSES'));
  }
  const [, index, said] = /^ *(\d+) .*?anchor: (.*)$/.exec(line ?? '') ?? [];
  say(stage, '     The agent works on, and its own recorder, which asks the witness as ever, has to note:');
  say(stage, `       entry ${index}  ${visible(said ?? '')}`);
  expect(stage, /REFUSES .* it has cosigned more than this ledger has/.test(said ?? ''), 'the restored ledger notes that the witness has seen more');
}

type Line = [tool: string, sql: string, answers: RegExp, isRefused?: boolean];

async function session(stage: Stage, lines: Line[]): Promise<void> {
  const db = await connected(stage, ['--name', 'db'], [process.execPath, dbServer()]);
  // with it the recorder learns what the server says of its tools
  await db.listTools();
  for (const [tool, sql, answers, isRefused] of lines) await call(stage, db, tool, { sql }, answers, isRefused);
  await db.close();
}

function dbServer(): string {
  return join(installation(), 'dist', 'demo', 'db-server.mjs');
}

/** Verifies a copy with each sight and shows some of them; the exit statuses. `names`: the entry that the words must name. */
async function tried(
  stage: Stage,
  ledger: string,
  expected: Statuses,
  { shows, names }: { shows: readonly Sight[]; names?: number },
): Promise<Statuses> {
  say(stage, `     $ sworn verify ${ledger}`);
  const found: number[] = [];
  for (const [i, sight] of sights.entries()) {
    const { status, said } = await check(stage, ledger, sight, expected[i]!, shows.includes(sight));
    found.push(status ?? -1);
    if (names !== undefined) expect(stage, new RegExp(`\\bentry ${names}\\b`).test(said), `sworn verify ${ledger} names entry ${names}`);
  }
  return found as unknown as Statuses;
}

/** Runs `sworn verify` as somebody with a home of their own, and shows its exit status and what it says foremost. */
async function check(stage: Stage, ledger: string, sight: Sight, expected: number, isShown = true): Promise<{ status: number | null; said: string }> {
  const home = sight === 'pin' ? join(stage.folder, 'auditor') : mkdtempSync(join(stage.folder, 'stranger-'));
  mkdirSync(home, { recursive: true });
  const options = sight === 'policy' ? ['--policy', trustFile] : sight === 'known' ? ['--known', seenFile] : [];
  const { status, text } = await sworn(stage, ['verify', ledger === 'ledger' ? stage.ledger : ledger, ...options], home);
  const said = foremost(text);
  if (isShown) {
    const exit = paint(stage.output, status === 0 && ledger !== 'ledger' ? 'red' : 'green', `exit ${status}`);
    say(stage, `       ${sightNames[sight].padEnd(26)}${exit}  ${clause(visible(said))}`);
  }
  expect(
    stage,
    status === expected,
    `sworn verify ${[ledger, ...options].join(' ')} (${sightNames[sight]}) ends with status ${expected}, not ${status}`,
  );
  return { status, said };
}

/** Of what `verify` prints: the last grave finding, which names the entry; without one the first line, up to who recorded it. */
function foremost(text: string): string {
  const finding = [...text.matchAll(/^ {2}(?:tampered|missing|rollback|policy) +(.*?)(?: \[[^\]]*\])?$/gm)].at(-1)?.[1];
  return finding ?? text.split('\n')[0]!.replace(/, recorded under .*$/, '');
}

/** A long sentence as far as a comma. */
function clause(text: string): string {
  const comma = text.lastIndexOf(', ', 76);
  return text.length <= 77 ? text : `${text.slice(0, comma < 0 ? 76 : comma)}…`;
}

/** A copy of the ledger, and of the home with its key. */
function copyOf(stage: Stage, name: string): Stage {
  const copy = { ...stage, ledger: join(stage.folder, name), home: join(stage.folder, `${name}-home`) };
  cpSync(stage.ledger, copy.ledger, { recursive: true });
  cpSync(stage.home, copy.home, { recursive: true });
  return copy;
}

function restoredLedger({ folder }: Stage): string {
  return join(folder, 'last-week');
}

/** Where the key of the one ledger of this home is. */
function keysOf(home: string): string {
  const config = join(home, '.config', 'sworn');
  const id = readdirSync(config).find((name) => /^[0-9a-f]{32}$/.test(name));
  if (id === undefined) throw new Error(`no key below ${config}`);
  return join(config, id);
}

/** A command whose output is not part of the story. */
async function quietly(stage: Stage, words: string[]): Promise<{ text: string }> {
  const { status, text } = await sworn(stage, words);
  if (status !== 0) throw new Error(`sworn ${words.join(' ')} ends with status ${status}\n${text}`);
  return { text };
}

async function startWitness(stage: Stage, vkey: string): Promise<RunningWitness> {
  const home = join(stage.folder, 'witness');
  mkdirSync(home);
  const words = ['witness', '--log', vkey, '--listen', '127.0.0.1:0', '--dir', join(home, 'kept'), '--name', witnessName, '--json'];
  const child = spawn(process.execPath, [swornPath(), ...words], { env: { ...process.env, HOME: home }, stdio: ['ignore', 'pipe', 'ignore'] });
  const line = await new Promise<string>((done, fail) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) done(text);
    });
    child.on('error', fail);
    child.on('close', (status) => fail(new Error(`the witness ended with status ${status}`)));
  });
  return { ...(JSON.parse(line) as { url: string; vkey: string }), child };
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((done) => child.once('close', done));
  child.kill();
  await closed;
}
