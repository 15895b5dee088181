/**
 * What policy keeps from being stored, with real processes: generated messages with secrets that nobody could guess go through `sworn run`, a server says
 * them again, and then every byte of every file that sworn wrote is searched for them in many forms. A hit is a leak. The seed is printed; `SWORN_SEED`
 * sets it.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkLedger } from '../check-ledger.ts';
import { Stage, type Puppet, type Tap } from '../scenarios/stage.ts';
import { formsOf, randomOf, written } from './json-forms.ts';

const seed = Number(process.env['SWORN_SEED'] ?? randomBytes(4).readUInt32BE());
/** `npm run property` sends more. */
const messagesPerRun = Number(process.env['SWORN_PROPERTY_MESSAGES'] ?? 16);

interface Planted {
  /** Arguments of a call. */
  arguments: unknown;
  secrets: string[];
}

type Random = () => number;

const pick = <T>(random: Random, of: readonly T[]): T => of[Math.floor(random() * of.length)]!;

/** Long enough that no file has it by chance; with a digit, and with what must be escaped in some form. */
function secretOf(random: Random): string {
  return `s7${randomBytes(9).toString('hex')}${pick(random, ['', '', '"', '\\', '/', 'é', '😀', '\n', '\u0001', ' b', '+='])}z`;
}

const wordOf = (): string => `s7${randomBytes(9).toString('hex')}z`;

/** A secret as the value of a member, at some depth, in some form. */
function below(name: string, random: Random): Planted {
  const secret = secretOf(random);
  const value = pick<unknown>(random, [secret, secret, [secret, 1], { value: secret, more: [true] }, written({ inside: secret }, random)]);
  let holder: unknown = { before: 'é', [name]: value, after: 1 };
  for (let level = Math.floor(random() * 4); level > 0; level--) {
    holder = pick<() => unknown>(random, [
      () => [holder],
      () => ({ inner: holder, n: 9007199254740991 }),
      () => ({ body: written(holder, random) }),
      () => ({ body: JSON.stringify(holder) }),
    ])();
  }
  return { arguments: { payload: holder, note: 'Ω line\nend' }, secrets: [secret] };
}

/** A secret in a sentence or a line of a file. */
function inText(random: Random): Planted {
  const secret = wordOf();
  const text = pick(random, [
    `password=${secret}`,
    `export API_TOKEN=${secret}; make`,
    `GET / HTTP/1.1\r\nAuthorization: Bearer ${secret}\r\nHost: x`,
    `curl -H 'Authorization: Bearer ${secret}' https://x.example/`,
    `https://x.example/?a=1&api_token=${secret}&b=2`,
    `mysql --password ${secret} -u root`,
    `Result: ${JSON.stringify({ a: JSON.stringify({ password: secret }) })}`,
    `a:\n  password: ${secret}\n  b: 1`,
  ]);
  return { arguments: { text }, secrets: [secret] };
}

const atPath = (random: Random): Planted => {
  const secret = secretOf(random);
  return pick<() => Planted>(random, [
    () => ({ arguments: { ssn: secret, other: 1 }, secrets: [secret] }),
    () => ({ arguments: { ssn: { parts: [secret, 2] } }, secrets: [secret] }),
    () => ({ arguments: { rows: [{ pin: secret }, { a: 1 }, { pin: [secret] }] }, secrets: [secret] }),
  ])();
};

const detected = (random: Random): Planted => {
  const word = wordOf();
  return pick<() => Planted>(random, [
    () => ({ arguments: { to: `mail ${word}@example.org now` }, secrets: [`${word}@example.org`] }),
    () => ({ arguments: { text: `password="${word}"` }, secrets: [word] }),
    () => ({ arguments: { config: { client_secret: word } }, secrets: [word] }),
    () => ({ arguments: { text: JSON.stringify({ access_token: word }) }, secrets: [word] }),
  ])();
};

const named = (random: Random): Planted =>
  below(pick(random, ['password', 'PassWord', 'api_token', 'API-TOKEN', 'authorization', 'contraseña']), random);
const anything = (): Planted => {
  const secret = wordOf();
  return { arguments: { anything: [secret] }, secrets: [secret] };
};

interface Run {
  what: string;
  config: string;
  plant: (random: Random) => Planted;
  /** Answers say it again. */
  repeats?: boolean;
  kills?: boolean;
  denies?: boolean;
}

const keys = 'keys: [password, "*_token", authorization, "contraseña"]';
const runs: Run[] = [
  { what: 'keys', config: `redact: { ${keys} }\n`, plant: (random) => (random() < 0.6 ? named(random) : inText(random)), repeats: true },
  {
    what: 'keys, checkable',
    config: `redact: { ${keys}, keep: checkable }\n`,
    plant: (random) => (random() < 0.6 ? named(random) : inText(random)),
    repeats: true,
  },
  { what: 'paths', config: `redact: { paths: ["$.params.arguments.ssn", "$..pin"] }\n`, plant: atPath, repeats: true },
  { what: 'detectors', config: 'redact: { detect: [secrets, pii] }\n', plant: detected, repeats: true },
  { what: 'metadata alone', config: 'capture: { default: metadata }\n', plant: anything, repeats: true },
  { what: 'requests alone', config: `redact: { ${keys} }\ncapture: { default: request }\n`, plant: named, repeats: true },
  {
    what: 'some refused',
    config: `redact: { ${keys} }\npolicy: { rules: [ { name: no, deny: true, tool: "blocked*" }, { name: hide, on: result, deny: true, tool: "hidden*" } ] }\n`,
    plant: named,
    repeats: true,
    denies: true,
  },
  { what: 'a recorder that is killed between messages', config: `redact: { ${keys} }\n`, plant: named, kills: true },
];

interface Sent {
  line: string;
  secrets: string[];
  /** Of its calls, in order. */
  calls: { id: string; tool: string; arguments: unknown; secrets: string[] }[];
  isDenied: boolean;
}

/** A carriage return makes a message ambiguous, and refused where anything is. */
function blanksOf(run: Run): readonly string[] | undefined {
  return run.denies ? ['', ' ', '\t'] : undefined;
}

function messageOf(at: number, run: Run, random: Random): Sent {
  const call = (id: string): { text: string; secrets: string[]; call: Sent['calls'][number] } => {
    const planted = run.plant(random);
    const tool = run.denies ? pick(random, ['open', 'open', 'blocked-one', 'hidden-one']) : 'open';
    const filling = at % 16 === 7 ? 'é'.repeat(200_000) : at % 32 === 9 ? 'x'.repeat(1_500_000) : undefined;
    const args = filling === undefined ? planted.arguments : { filling, ...(planted.arguments as object) };
    const text = written(
      { jsonrpc: '2.0', id: JSON.parse(id) as unknown, method: 'tools/call', params: { name: tool, arguments: args } },
      filling === undefined ? random : () => 0.9,
      blanksOf(run),
    );
    return { text, secrets: planted.secrets, call: { id, tool, arguments: args, secrets: planted.secrets } };
  };
  const id = at % 5 === 0 ? `"id-${at}"` : String(at);
  if (at % 8 === 3) {
    const items = [call(id), call(`"${at}-second"`)];
    return {
      line: `[${items.map(({ text }) => text).join(' , ')}]`,
      secrets: items.flatMap(({ secrets }) => secrets),
      calls: items.map((item) => item.call),
      isDenied: items.some((item) => item.call.tool.startsWith('blocked')),
    };
  }
  const one = call(id);
  if (at % 16 === 5 && run.denies !== true)
    return { line: one.text.slice(0, -2), secrets: run.what === 'paths' || run.what === 'keys' ? one.secrets : [], calls: [], isDenied: false };
  return { line: one.text, secrets: one.secrets, calls: [one.call], isDenied: one.call.tool.startsWith('blocked') };
}

/** What an echo server says, in one of several forms. */
function answerTo({ id, arguments: args, secrets }: Sent['calls'][number], random: Random, blanks?: readonly string[]): string {
  const said = pick<() => unknown>(random, [
    () => ({ content: [{ type: 'text', text: `you said ${secrets.join(', ')}.` }] }),
    () => ({ content: [{ type: 'text', text: JSON.stringify({ you: { said: secrets } }) }] }),
    () => ({ content: [{ type: 'text', text: `Answer: ${JSON.stringify({ again: JSON.stringify(args) })}` }] }),
    () => ({ content: [], structuredContent: { arguments: args, [secrets[0] ?? 'none']: true } }),
  ])();
  const reply = `"id":${id},${random() < 0.8 ? `"result":${written(said, random, blanks)}` : `"error":{"code":1,"message":${written(`no ${secrets.join(' ')}`, random)}}`}`;
  return `{"jsonrpc":"2.0",${reply}}`;
}

function everyFile(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** `undefined` for one that was renamed meanwhile. */
function existing(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return undefined;
  }
}

/** So much of a form is looked for: nobody's secret has it by chance. */
const beginning = 16;

function leaksIn(folders: readonly string[], secrets: readonly string[]): string[] {
  const forms = new Map<string, string>();
  const pairs = new Uint8Array(65_536);
  for (const secret of secrets)
    for (const form of formsOf(secret)) {
      expect(form.length).toBeGreaterThanOrEqual(beginning);
      forms.set(form.slice(0, beginning), secret);
      pairs[(form.charCodeAt(0) << 8) | form.charCodeAt(1)] = 1;
    }
  const leaks: string[] = [];
  const files = folders.flatMap(everyFile);
  expect(files.length).toBeGreaterThan(4);
  for (const file of files) {
    const bytes = existing(file);
    if (bytes === undefined) continue;
    for (let at = 0; at + beginning <= bytes.length; at++) {
      if (pairs[(bytes.charCodeAt(at) << 8) | bytes.charCodeAt(at + 1)] === 0) continue;
      if (forms.has(bytes.slice(at, at + beginning))) leaks.push(`${file} at ${at}: ${JSON.stringify(bytes.slice(Math.max(0, at - 200), at + 60))}`);
    }
  }
  return leaks;
}

interface World {
  stage: Stage;
  tap: Tap;
  server: Puppet;
}

async function begin(config: string): Promise<World> {
  const stage = new Stage();
  // among the files of the test, which are not searched
  mkdirSync(join(stage.folder, 'given'));
  const file = join(stage.folder, 'given', 'sworn.yaml');
  writeFileSync(file, config);
  const { tap, server } = await stage.puppet({ options: ['--config', file, '--name', 'echo'] });
  return { stage, tap, server };
}

async function verified({ stage, tap }: World, secrets: readonly string[]): Promise<void> {
  const log = tap.errors.text;
  await tap.close();
  const folders = [stage.ledger, stage.home];
  // once while the recorder lives, with its snapshot as it is, and once when it has ended in order
  const before = leaksIn(folders, secrets);
  await stage.stopRecorder();
  checkLedger(stage.ledger, join(stage.home, '.config', 'sworn'));
  const { code, stdout, stderr } = await stage.command('verify', stage.ledger);
  expect(code, stdout + stderr).toBe(0);
  expect([...before, ...leaksIn(folders, secrets)]).toEqual([]);
  for (const secret of secrets) expect(log).not.toContain(secret);
}

describe('nothing that is redacted is in any file, and everything is delivered as it was sent:', () => {
  test.for(runs.map((run, at) => [run.what, run, at] as const))('%s', { timeout: 240_000 }, async ([what, run, at]) => {
    const random = randomOf(seed + at);
    console.log(`${what}: SWORN_SEED=${seed}`);
    const world = await begin(run.config);
    const { stage, tap, server } = world;
    const sent = Array.from({ length: messagesPerRun }, (_, index) => messageOf(index, run, random));
    const secrets = sent.flatMap((message) => message.secrets);
    expect(new Set(secrets).size).toBeGreaterThan(messagesPerRun / 2);
    let toServer = '';
    let toClient = 0;
    let answers = '';
    const step = 8;
    for (let from = 0; from < sent.length; from += step) {
      const some = sent.slice(from, from + step);
      await tap.write(some.map(({ line }) => `${line}\n`).join(''));
      const passing = some.filter(({ isDenied }) => !isDenied);
      toServer += passing.map(({ line }) => `${line}\n`).join('');
      await server.input.size(Buffer.byteLength(toServer));
      const replies = passing.flatMap((message) =>
        message.calls.map((call) => ({
          isDenied: call.tool.startsWith('hidden'),
          line: `${run.repeats ? answerTo(call, random, blanksOf(run)) : `{"jsonrpc":"2.0","id":${call.id},"result":{}}`}\n`,
        })),
      );
      answers += replies
        .filter(({ isDenied }) => !isDenied)
        .map(({ line }) => line)
        .join('');
      await server.write(replies.map(({ line }) => line).join(''));
      // what is refused is answered in its receiver's place
      toClient += replies.length + some.filter(({ isDenied }) => isDenied).reduce((sum, { calls }) => sum + Math.max(1, calls.length), 0);
      await tap.output.count(toClient);
      if (run.kills && from === 3 * step) await stage.stopRecorder('SIGKILL');
    }
    expect(server.input.text).toBe(toServer);
    if (run.denies) {
      const lines = new Set(tap.output.lines);
      for (const line of answers.split('\n').slice(0, -1)) expect(lines.has(line)).toBe(true);
      expect(tap.output.lines.filter((line) => line.includes('"code":4030')).length).toBe(toClient - (answers.split('\n').length - 1));
    } else expect(tap.output.text).toBe(answers);
    await verified(world, secrets);
  });
});

test('a recorder that is killed before the answer: what a request held is not in what answers it', { timeout: 120_000 }, async () => {
  const world = await begin(`redact: { ${keys} }\n`);
  const { stage, tap, server } = world;
  const secret = wordOf();
  const asked = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"password":"${secret}"}}}\n`;
  await tap.write(asked);
  await server.input.size(asked.length);
  await stage.stopRecorder('SIGKILL');
  const answer = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"you said ${secret}."}]}}\n`;
  await server.write(answer);
  expect((await tap.output.count(1)).text).toBe(answer);
  await verified(world, [secret]);
});

test('what the connection was opened with: arguments, labels, and the names of files', { timeout: 120_000 }, async () => {
  const stage = new Stage();
  mkdirSync(join(stage.folder, 'given'));
  const file = join(stage.folder, 'given', 'sworn.yaml');
  writeFileSync(file, `redact: { ${keys.replace(']', ', p]')} }\n`);
  const secrets = Array.from({ length: 5 }, wordOf);
  const command = ['cat', '--', `--api-token=${secrets[0]}`];
  const script = `${command.join(' ')} || cat`;
  const options = ['--config', file, '--name', 'echo', '--label', `api_token=${secrets[1]}`, '--label', `note=password=${secrets[2]}`];
  const tap = stage.tap(['sh', '-c', script, '--password', secrets[3]!, '-p', secrets[4]!], { options });
  await tap.write('{"jsonrpc":"2.0","method":"a"}\n');
  await tap.output.count(1);
  // a recorder that ends in order writes its snapshot: also while a connection is open
  await stage.stopRecorder();
  expect(leaksIn([stage.ledger, stage.home], secrets)).toEqual([]);
});
