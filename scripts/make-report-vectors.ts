/**
 * Writes the vectors of a report's data to `spec/vectors/reports.json`, to accept and to reject. Written by hand from `spec/evidence.md`, not with the code that they test.
 * Deterministic as long as Node's zlib is: chunks stand in it as they are, so another zlib's bytes would be as good.
 * Usage: node scripts/make-report-vectors.ts
 */
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const sha256 = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest();
const byte = (value: number) => Buffer.from([value]);
const join = (...parts: Uint8Array[]) => Buffer.concat(parts);
const node = (left: Uint8Array, right: Uint8Array) => sha256(byte(1), left, right);

// A ledger of five entries

const origin = 'sworn.invalid/000102030405060708090a0b0c0d0e0f';
const key = createPrivateKey({
  key: join(Buffer.from('302e020100300506032b657004220420', 'hex'), sha256(Buffer.from('the key of the report vectors'))),
  format: 'der',
  type: 'pkcs8',
});
const typed = join(byte(1), createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12));
const keyId = sha256(Buffer.from(`${origin}\n`), typed).subarray(0, 4);
const vkey = `${origin}+${keyId.toString('hex')}+${typed.toString('base64')}`;
const connection = 'c0'.repeat(16);
const salt = (k: number) => sha256(Buffer.from(`salt ${k}`)).subarray(0, 16);
const request = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":{}}}');
const reply = Buffer.from('{"jsonrpc":"2.0","id":1,"result":{"content":[]}}');
const host = Buffer.from('{"host":"box"}');
const commitment = (k: number, bytes: Buffer) => sha256(byte(2), salt(k), bytes).toString('base64');
const common = (kind: string, k: number) => ({ v: 1, kind, time: `2026-11-20T23:45:0${k}.000000Z`, monotonicUs: k });
const frame = (k: number, more: object) => ({
  ...common('message', k),
  connection,
  stream: 0,
  seq: k - 1,
  tapSeq: 1,
  transport: 'stdio',
  id: '1',
  method: 'tools/call',
  exchange: 2,
  server: 'fs',
  verdict: 'pass',
  segments: 1,
  ...more,
});
const entries = [
  {
    ...common('start', 0),
    ledger: origin.slice(14),
    origin,
    vkey,
    recorder: { version: '0.1.0', uid: 1000, pid: 7 },
    attributes: 1,
    attributesCommitment: commitment(0, host),
  },
  {
    ...common('open', 1),
    connection,
    transport: 'stdio',
    server: 'fs',
    mode: 'commit',
    onUnrecordable: 'block',
    custody: 'same-user',
    tap: { uid: 1000, source: 'kernel' },
  },
  frame(2, { direction: 'c2s', type: 'request', target: 'read', origin: 'client', sizeBytes: request.length, commitment: commitment(1, request) }),
  frame(3, { direction: 's2c', type: 'result', origin: 'server', outcome: 'ok', sizeBytes: reply.length, commitment: commitment(2, reply) }),
  { ...common('stop', 4), reason: 'idle' },
].map((entry) => Buffer.from(JSON.stringify(entry)));
const hashes = entries.map((entry) => sha256(byte(0), entry));
const root = node(node(node(hashes[0]!, hashes[1]!), node(hashes[2]!, hashes[3]!)), hashes[4]!);
const text = `${origin}\n5\n${root.toString('base64')}\n`;
const checkpoint = `${text}\n\u2014 ${origin} ${join(keyId, sign(null, Buffer.from(text), key)).toString('base64')}\n`;

// Reports

interface Head {
  blocks: { first: number; last: number; entries: number; content: boolean }[];
  chunks: Record<string, { sizeBytes: number; sha256: string }>;
  [field: string]: unknown;
}
interface Vector {
  name: string;
  head: string;
  chunks: Record<string, string>;
  exit: number;
  code?: string;
  index?: number;
  shown?: number;
}

const lines = (runs: number[][], which: number[]) => join(Buffer.from(`${JSON.stringify(runs)}\n`), ...which.flatMap((k) => [entries[k]!, byte(10)]));
const content = (sizes: unknown[], secrets: Buffer[], bytes: Buffer[]) => {
  const json = Buffer.from(JSON.stringify(sizes));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return join(length, json, ...secrets, ...bytes);
};
/** A report of these chunks, as they are before they are zipped. */
function report(chunks: Record<string, Buffer>, fields: object): { head: Head; zipped: Record<string, Buffer> } {
  const zipped = Object.fromEntries(Object.entries(chunks).map(([name, bytes]) => [name, name.startsWith('hashes') ? bytes : gzipSync(bytes)]));
  const listed = Object.entries(chunks).map(([name, bytes]) => [name, { sizeBytes: bytes.length, sha256: sha256(zipped[name]!).toString('base64') }]);
  const made = { later: 0, madeAt: '2026-11-21T00:00:00.000Z', version: '0.1.0', name: 'ledger' };
  const head = { sworn: 1, checkpoint, first: 0, end: 5, context: [], vkey, witnesses: [], isWithheld: false, filter: '', ...made, ...fields };
  return { head: { ...head, chunks: Object.fromEntries(listed) } as unknown as Head, zipped };
}
function vector(name: string, made: { head: Head; zipped: Record<string, Buffer> }, expected: Omit<Vector, 'name' | 'head' | 'chunks'>): Vector {
  const json = Buffer.from(JSON.stringify(made.head));
  const chunks = Object.fromEntries(Object.entries(made.zipped).map(([chunk, bytes]) => [chunk, bytes.toString('base64')]));
  return { name, head: join(sha256(json), json).toString('base64'), chunks, ...expected };
}

const all = {
  'hashes-0': join(...hashes),
  'entries-0': lines([[0, 5, 0]], [0, 1, 2, 3, 4]),
  'content-0': content([[host.length], [], [request.length], [reply.length], []], [salt(0), salt(1), salt(2)], [host, request, reply]),
};
const whole = { blocks: [{ first: 0, last: 4, entries: 5, content: true }] };
// the request alone was asked for; its answer, and who it was, are context; the last two of the tree are one subtree each
const some = {
  'hashes-0': join(...hashes),
  'entries-0': lines(
    [
      [0, 2, 1],
      [2, 3, 0],
      [3, 4, 1],
    ],
    [0, 1, 2, 3],
  ),
  'content-0': content([[host.length], [], [request.length], [reply.length]], [salt(0), salt(1), salt(2)], [host, request, reply]),
};
const someHead = {
  first: 2,
  end: 3,
  filter: 'tool:read direction:c2s',
  context: [
    [0, 2],
    [3, 4],
  ],
  blocks: [{ first: 0, last: 3, entries: 4, content: true }],
};
const changed = (bytes: Buffer, from: string, to: string) => {
  const at = bytes.indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error(`no ${from}`);
  const copy = Buffer.from(bytes);
  copy.write(to, at);
  return copy;
};
const erased = content(
  [[host.length], [], [[2, request.length]], [reply.length], []],
  [salt(0), sha256(byte(2), salt(1), request), salt(2)],
  [host, reply],
);
const dropped = content(
  [[host.length], [], [[1, request.length]], [reply.length], []],
  [salt(0), sha256(byte(2), salt(1), request), salt(2)],
  [host, reply],
);
const withheld = content(
  [[host.length], [], [[3, request.length]], [reply.length], []],
  [salt(0), sha256(byte(2), salt(1), request), salt(2)],
  [host, reply],
);
const lacking = content([[host.length], [], null, [reply.length], []], [salt(0), salt(2)], [host, reply]);
const other = report(all, whole);
const gone = report(all, whole);
delete gone.zipped['entries-0'];

const accept = [
  vector('all entries', report(all, whole), { exit: 0, shown: 5 }),
  vector('a filter, and what is needed by what it shows', report(some, someHead), { exit: 0, shown: 1 }),
  vector('content that was not given to the report', report({ ...all, 'content-0': withheld }, whole), { exit: 0, shown: 5 }),
  vector(
    'no content at all',
    report({ 'hashes-0': all['hashes-0'], 'entries-0': all['entries-0'] }, { isWithheld: true, blocks: [{ ...whole.blocks[0], content: false }] }),
    { exit: 0, shown: 5 },
  ),
];
const reject = [
  vector('an entry was changed', report({ ...all, 'entries-0': changed(all['entries-0'], '"outcome":"ok"', '"outcome":"no"') }, whole), {
    exit: 1,
    code: 'leaf',
    index: 3,
  }),
  vector('content was changed', report({ ...all, 'content-0': changed(all['content-0'], '"name":"read"', '"name":"rear"') }, whole), {
    exit: 1,
    code: 'content',
    index: 2,
  }),
  vector('a hash was changed', report({ ...all, 'hashes-0': join(hashes[0]!, hashes[0]!, ...hashes.slice(2)) }, whole), {
    exit: 1,
    code: 'proof',
    index: 1,
  }),
  vector('a hash is missing', report({ ...all, 'hashes-0': join(...hashes.slice(1)) }, whole), { exit: 1, code: 'proof' }),
  vector('a hash of a subtree was changed', report({ ...some, 'hashes-0': join(...hashes.slice(0, 4), hashes[0]!) }, someHead), {
    exit: 1,
    code: 'range',
  }),
  vector('the root was changed', report(all, { ...whole, checkpoint: checkpoint.replace(root.toString('base64'), hashes[0]!.toString('base64')) }), {
    exit: 1,
    code: 'signature',
  }),
  vector('the key was changed', report(all, { ...whole, vkey: vkey.replace(/.=?$/, 'A') }), { exit: 1, code: 'key' }),
  vector('content is called erased, and no entry says so', report({ ...all, 'content-0': erased }, whole), {
    exit: 3,
    code: 'erased-unstated',
    index: 2,
  }),
  vector('content is called never stored, and its entry does not say so', report({ ...all, 'content-0': dropped }, whole), {
    exit: 1,
    code: 'dropped',
    index: 2,
  }),
  vector('content is missing', report({ ...all, 'content-0': lacking }, whole), { exit: 3, code: 'record-missing' }),
  vector(
    'an entry is missing, and no filter left it out',
    report(
      {
        ...all,
        'entries-0': lines(
          [
            [0, 3, 0],
            [4, 5, 0],
          ],
          [0, 1, 2, 4],
        ),
      },
      { blocks: [{ ...whole.blocks[0], entries: 4 }] },
    ),
    {
      exit: 1,
      code: 'record-missing',
      index: 3,
    },
  ),
  vector('a chunk is missing', gone, { exit: 3, code: 'record-missing', index: 0 }),
  vector(
    'a chunk is not the one that the head lists',
    { head: other.head, zipped: { ...other.zipped, 'entries-0': gzipSync(all['entries-0'], { level: 0 }) } },
    { exit: 1, code: 'record' },
  ),
  vector('a range beyond the checkpoint', report(all, { ...whole, end: 6 }), { exit: 1, code: 'manifest' }),
  vector('another version', report(all, { ...whole, sworn: 2 }), { exit: 1, code: 'manifest' }),
];
const good = accept[0]!;
const damaged = Buffer.from(good.head, 'base64');
damaged[50]! ^= 1;
reject.push({ ...good, name: 'the head was changed', head: damaged.toString('base64'), exit: 1, code: 'manifest' });
for (const one of reject) delete one.shown;
writeFileSync(new URL('../spec/vectors/reports.json', import.meta.url), `${JSON.stringify({ vkey, accept, reject }, null, 1)}\n`);
