/**
 * `npm run bench:judge`: what judging and redacting add to a message in the recorder, and how fast the recorded past is judged again.
 * The same frames go through the recorder's own `record` with and without a policy, in turns, so that a busy machine is busy for both.
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { compilePolicy, unruled, type CompiledPolicy } from '../src/policy/judge.ts';
import type { Policy, Rule } from '../src/policy/policy.ts';
import { record } from '../src/recorder/record.ts';
import { held } from '../src/wire/wire.ts';
import { digits, isReached, median, quantile, table, targetTable, type Target } from './figures.ts';
import { fill } from './fill.ts';
import { depsWithout, openedConnection } from './no-ledger.ts';
import { cpuMs, inWorld } from './world.ts';

const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, entries: { type: 'string' } },
});
const rounds = values.short ? 40 : 120;
const entries = Number(values.entries ?? (values.short ? 40_000 : 200_000));

const conditions = [
  'has(args.sql) && args.sql.matches("(?i)drop\\\\s+(table|database)")',
  'session.sensitiveReads > 0 && session.untrustedResults > 1000000',
  'has(args.path) && args.path.startsWith("/etc/")',
  'has(args.amount) && args.amount > 10000.0',
  'has(args.to) && !(args.to.endsWith("@example.org"))',
  'has(args.level) && args.level in [7, 8, 9]',
  'tool == "nobody" || server == "nowhere"',
  'has(labels.env) && labels.env == "production"',
  'sizeBytes > 100000000',
  'has(args.tags) && args.tags.exists(tag, tag == "secret")',
];

/** 100 rules; ten of them have a condition and are about every call. */
function rules(): Rule[] {
  const list: Rule[] = [];
  for (let i = 0; i < 100; i++) {
    const when = i % 10 === 0 ? conditions[i / 10] : undefined;
    list.push({
      name: `rule-${i}`,
      action: i % 3 === 0 ? 'deny' : i % 3 === 1 ? 'flag' : 'allow',
      on: ['request'],
      enforce: true,
      ...(when === undefined ? { tool: [`team${i}/tool_${i}_*`] } : { action: 'deny' as const, method: ['tools/call'], when }),
    });
  }
  return list;
}

const policy: Policy = {
  servers: { bench: { tools: { 'get_*': { effect: 'read' } } } },
  redact: [
    {
      name: 'redact',
      keys: ['password', '*_token', 'authorization', 'secret', 'api_key'],
      paths: ['$.params.arguments.ssn', '$..cvv'],
      detect: ['secrets', 'pii'],
      keep: 'drop',
    },
  ],
  capture: { default: 'full', rules: [] },
  policy: { default: 'allow', rules: rules() },
  onUnrecordable: {},
};

const words = 'the quick brown fox jumps over a lazy dog while 12 clerks file 4711 forms in room 3b of building 9'.split(' ');

const firstId = 1_000_000_000;
let lastId = firstId;

/** An id that is in use is refused before any rule is asked: each time the message is another one. */
function renumber(frame: Buffer): void {
  frame.write(String(++lastId), frame.indexOf(String(firstId).slice(0, 3)), 'latin1');
}

/** A call as agents make them, about `sizeBytes` long: short members, numbers, and prose. */
function call(sizeBytes: number): Buffer {
  const rows: unknown[] = [];
  const message = {
    jsonrpc: '2.0',
    id: firstId,
    method: 'tools/call',
    params: { name: 'update_records', arguments: { sql: 'select name, dept from staff where id = 7', amount: 12.5, to: 'ops@example.org', rows } },
  };
  for (let i = 0; Buffer.byteLength(JSON.stringify(message)) < sizeBytes - 120; i++) {
    const text = Array.from({ length: 12 }, (_, j) => words[(i * 7 + j * 3) % words.length]).join(' ');
    rows.push(
      sizeBytes > 10_000
        ? { id: i, name: `item ${i}`, note: `${text} ${text} ${text}`, ok: true, at: '2026-11-20T08:15:30Z' }
        : { id: i, note: text },
    );
  }
  return Buffer.from(JSON.stringify(message));
}

function stage(compiled: CompiledPolicy): (bytes: Buffer) => void {
  const connection = openedConnection(compiled);
  const deps = depsWithout();
  let unit = 0;
  return (bytes) => record({ direction: 0, flags: held, stream: 0, unit: ++unit, delivered: [0, 0], seenUs: unit, bytes }, connection, deps);
}

const load = loadavg()[0]!;
const targets: Target[] = [];
const rows: (string | number)[][] = [];
const figures: Record<string, number> = {};
const compiled = await compilePolicy(policy);
for (const [label, sizeBytes, each, limitUs] of [
  ['1 KiB', 1024, 400, 60],
  ['100 KiB', 100 * 1024, 8, 1000],
] as const) {
  const plain = stage(unruled);
  const ruled = stage(compiled);
  const without: number[] = [];
  const with_: number[] = [];
  const frames = Array.from({ length: each }, () => call(sizeBytes));
  for (let round = 0; round < rounds; round++) {
    for (const [take, samples] of round % 2 === 0
      ? ([
          [plain, without],
          [ruled, with_],
        ] as const)
      : ([
          [ruled, with_],
          [plain, without],
        ] as const)) {
      for (const frame of frames) {
        renumber(frame);
        const from = performance.now();
        take(frame);
        // the first tenth warms up
        if (round > rounds / 10) samples.push((performance.now() - from) * 1000);
      }
    }
  }
  const added = median(with_) - median(without);
  figures[`added ${label}`] = added;
  rows.push([label, median(without), median(with_), added, quantile(with_, 0.99) - quantile(without, 0.99)]);
  targets.push({ name: `${label}: judging and redacting add, median`, figure: added, limit: limitUs, want: 'at most', unit: 'µs' });
}

await inWorld(async (world) => {
  process.stderr.write(`simulate: ${entries.toLocaleString('en-US')} entries…\n`);
  const { ledger } = await fill(world, 'observe', entries);
  const file = join(world.folder, 'sworn.yaml');
  writeFileSync(file, JSON.stringify({ ...policy, redact: policy.redact, policy: { default: 'allow', rules: policy.policy.rules.map(ruleText) } }));
  const from = performance.now();
  const child = world.start([
    process.execPath,
    join(import.meta.dirname, '..', 'bin', 'sworn.mjs'),
    'policy',
    'simulate',
    '--policy',
    file,
    '--ledger',
    ledger,
    '--json',
  ]);
  let text = '';
  child.stdout!.setEncoding('utf8').on('data', (part: string) => (text += part));
  let busyMs = 0;
  const watch = setInterval(() => (busyMs = cpuMs(child.pid!) || busyMs), 20);
  const status = await new Promise<number | null>((done) => child.on('close', done));
  clearInterval(watch);
  const seconds = (performance.now() - from) / 1000;
  if (status !== 0) throw new Error(`policy simulate ended with ${status}: ${text.slice(0, 400)}`);
  const callsPerS = entries / 2 / seconds;
  figures['simulated calls/s'] = callsPerS;
  rows.push([`simulate, ${entries.toLocaleString('en-US')} entries`, seconds * 1000, busyMs, callsPerS, 0]);
  targets.push({ name: 'simulate, calls a second (a call is two messages)', figure: callsPerS, limit: 10_000, want: 'at least', unit: '/s' });
});

/** As a file says it. */
function ruleText({ action, on, ...rule }: Rule): object {
  return { ...rule, on, [action]: true };
}

if (values.json) console.log(JSON.stringify({ figures, targets: targets.map((one) => ({ ...one, reached: isReached(one) })) }));
else {
  console.log(
    `\nNode ${process.version}, ${availableParallelism()} cores, load ${digits(load)} before; 100 rules, 10 conditions, full redaction\n\n${table(
      ['a message, µs', 'without', 'with', 'added', 'added p99'],
      rows.filter(([label]) => !String(label).startsWith('simulate')),
    )}\n\n${targetTable(targets)}`,
  );
}
