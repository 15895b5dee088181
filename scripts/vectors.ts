/**
 * Writes sworn's own vectors for the log's formats to `spec/vectors/`, to accept and to reject. Deterministic: run it again and nothing changes.
 * Usage: node scripts/vectors.ts
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { base64, concat, hex, utf8 } from '../src/bytes/bytes.ts';
import { nodeCrypto } from '../src/crypto-node.ts';
import { formatCheckpoint } from '../src/tlog/checkpoint.ts';
import { cosign, formatCosigner } from '../src/tlog/cosignature.ts';
import { formatSkey, formatVkey, keyId, signatureLine, signNote } from '../src/tlog/note.ts';
import { formatProofFile } from '../src/tlog/proof-file.ts';
import { consistencyProof, inclusionProof, type HashReader } from '../src/tlog/proof.ts';
import { encodeBundle, tilePath } from '../src/tlog/tile.ts';
import { hashLeaf, rootOfHashes } from '../src/tlog/tree.ts';

const folder = new URL('../spec/vectors/', import.meta.url);
mkdirSync(folder, { recursive: true });
const write = (name: string, value: unknown) => writeFileSync(new URL(name, folder), `${JSON.stringify(value, null, 1)}\n`);

// Tree and proofs

const entries = Array.from({ length: 70 }, (_, i) => utf8(`{"v":1,"kind":"vector","n":${i}}`));
const leaves = entries.map((entry) => hashLeaf(nodeCrypto, entry));
const read: HashReader = (level, index) => rootOfHashes(nodeCrypto, leaves.slice(index * 2 ** level, (index + 1) * 2 ** level));
const rootAt = (size: number) => base64(rootOfHashes(nodeCrypto, leaves.slice(0, size)));
const sizes = [0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 70];

const inclusion = [];
for (const size of sizes.slice(1)) {
  for (const index of new Set([0, Math.floor(size / 2), size - 1])) {
    const proof = inclusionProof(nodeCrypto, { index, size }, read).map(base64);
    const good = { index, size, leafHash: base64(leaves[index]!), proof, root: rootAt(size) };
    inclusion.push({ ...good, accept: true });
    inclusion.push({ ...good, index: size, accept: false, why: 'index is the size' });
    inclusion.push({ ...good, proof: [...proof, base64(leaves[0]!)], accept: false, why: 'one hash too many' });
    inclusion.push({ ...good, leafHash: '', root: '', proof: [], accept: false, why: 'hashes without bytes' });
    if (proof.length > 0) inclusion.push({ ...good, proof: proof.slice(1), accept: false, why: 'one hash too few' });
    if (proof.length > 0)
      inclusion.push({ ...good, proof: [base64(concat(leaves[1]!, leaves[2]!)), ...proof.slice(1)], accept: false, why: 'a hash of 64 bytes' });
  }
}
const consistency = [];
for (const size2 of sizes.slice(1)) {
  for (const size1 of sizes.slice(1).filter((size) => size <= size2)) {
    const proof = consistencyProof(nodeCrypto, { size1, size2 }, read).map(base64);
    const good = { size1, size2, root1: rootAt(size1), root2: rootAt(size2), proof };
    consistency.push({ ...good, accept: true });
    consistency.push({ ...good, proof: [...proof, base64(leaves[0]!)], accept: false, why: 'one hash too many' });
    if (size1 < size2) consistency.push({ ...good, size1: size2, size2: size1, accept: false, why: 'sizes swapped' });
    if (size1 < size2) consistency.push({ ...good, root1: good.root2, accept: false, why: 'the old root is another' });
  }
  consistency.push({ size1: 0, size2, root1: rootAt(0), root2: rootAt(size2), proof: [], accept: false, why: 'from the empty tree' });
}
write('tree.json', {
  entries: entries.map((entry) => new TextDecoder().decode(entry)),
  roots: sizes.map((size) => ({ size, root: rootAt(size) })),
  inclusion,
  consistency,
});

// Tile paths and bundles

const paths = [
  [0, 0, 256],
  [0, 0, 1],
  [0, 999, 255],
  [0, 1000, 256],
  [1, 1234067, 256],
  [63, 1, 17],
  ['entries', 0, 256],
  ['entries', 1234067, 112],
] as const;
write('tiles.json', {
  accept: paths.map(([level, n, width]) => ({ level, n, width, path: tilePath(level, n, width) })),
  reject: [
    'tile/64/000',
    'tile/00/000',
    'tile/0/0',
    'tile/0/00',
    'tile/0/x000/000',
    'tile/0/001/000',
    'tile/0/x001/x000',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/000.p/',
    'tile/-1/000',
    'tile/entries/000/',
    '/tile/0/000',
    'tile/0/../000',
    'tile/0/000\n',
    'tile/0/x999/x999/x999/x999/x999/999',
  ],
  bundles: {
    accept: [[], [''], ['a'], ['a', '', 'bc'], ['x'.repeat(300)]].map((list) => ({
      entries: list,
      hex: hex(encodeBundle(list.map((text) => utf8(text)))),
    })),
    reject: ['00', '0001', '000161ff', '000261', 'ffff00', '0000'.repeat(257)],
  },
});

// Notes and checkpoints

const seed = nodeCrypto.sha256(utf8('a seed for vectors, never for a ledger'));
const privateKey = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]),
  format: 'der',
  type: 'pkcs8',
});
const publicKey = new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(12));
const name = 'sworn.invalid/00112233445566778899aabbccddeeff';
const signer = { name, keyId: keyId(nodeCrypto, name, publicKey), sign: (message: Uint8Array) => sign(null, message, privateKey) };
const vkey = formatVkey(nodeCrypto, name, publicKey);
const checkpointText = formatCheckpoint({ origin: name, size: 70, root: rootOfHashes(nodeCrypto, leaves) });
const note = new TextDecoder().decode(signNote(checkpointText, signer));
const signature = note.slice(note.indexOf('\u2014'));
const foreign = '\u2014 someone.example/else AAAAAAAA\n';
write('notes.json', {
  skey: formatSkey({ name, keyId: signer.keyId, seed }),
  vkey,
  accept: [
    { note, text: checkpointText, unknown: 0 },
    { note: note + foreign, text: checkpointText, unknown: 1 },
    { note: new TextDecoder().decode(signNote('one\n\ntwo\n', signer)), text: 'one\n\ntwo\n', unknown: 0 },
  ],
  reject: [
    { note: note.replace('\n70\n', '\n71\n'), problem: 'bad-signature' },
    { note: note + signature.replace(/(.)=\n/, (_, last: string) => `${last === 'A' ? 'B' : 'A'}=\n`), problem: 'either' },
    { note: '', problem: 'malformed' },
    { note: checkpointText, problem: 'malformed' },
    { note: `${checkpointText}\n`, problem: 'malformed' },
    { note: note.slice(0, -1), problem: 'malformed' },
    { note: `${note}\n`, problem: 'malformed' },
    { note: note.replace('\u2014 ', '- '), problem: 'malformed' },
    { note: note.replace('\u2014 ', '\u2014  '), problem: 'malformed' },
    { note: note.replaceAll('\n', '\r\n'), problem: 'malformed' },
    { note: note.replace('70', '7\t0'), problem: 'malformed' },
    { note: note.replace(signature, '\u2014 a+b AAAAAAAA\n'), problem: 'malformed' },
    { note: note.replace(signature, '\u2014 a\u00a0b AAAAAAAA\n'), problem: 'malformed' },
    { note: note.replace(signature, '\u2014 someone AAAA\n'), problem: 'malformed' },
    { note: note.replace(signature, '\u2014 someone AAAAAB==\n'), problem: 'malformed' },
    { note: note.replace(signature, `\u2014 someone AAAAAAAA \n`), problem: 'malformed' },
    { note: checkpointText + '\n' + foreign.repeat(101), problem: 'malformed' },
  ],
  vkeysRejected: [
    '',
    vkey.slice(0, -1),
    `${vkey} `,
    vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+'),
    vkey
      .replace(/\+([0-9a-f]{8})\+/, (_, id: string) => `+${id.toUpperCase()}+`)
      .replace(/\+([0-9A-F]*)\+/, (whole, id: string) => (/[A-F]/.test(id) ? whole : '+ABCDEF01+')),
    vkey.replace(name, 'other.example/log'),
    `${name}+${hex(keyId(nodeCrypto, name, publicKey, 4))}+${base64(concat(Uint8Array.of(4), publicKey))}`,
  ],
});
const root = rootAt(70);
write('checkpoints.json', {
  accept: [
    { text: checkpointText, origin: name, size: 70, root, extensions: 0 },
    { text: `a\n0\n${rootAt(0)}\n`, origin: 'a', size: 0, root: rootAt(0), extensions: 0 },
    { text: `a b\n9007199254740991\n${root}\n`, origin: 'a b', size: Number.MAX_SAFE_INTEGER, root, extensions: 0 },
    { text: `a\n1\n${root}\nmore\n`, origin: 'a', size: 1, root, extensions: 1 },
  ],
  reject: [
    '',
    'a\n',
    'a\n1\n',
    `a\n1\n${root}`,
    `\n1\n${root}\n`,
    `a\n01\n${root}\n`,
    `a\n00\n${root}\n`,
    `a\n+1\n${root}\n`,
    `a\n-1\n${root}\n`,
    `a\n1.0\n${root}\n`,
    `a\n1e3\n${root}\n`,
    `a\n 1\n${root}\n`,
    `a\n0x1\n${root}\n`,
    `a\n9007199254740992\n${root}\n`,
    `a\n99999999999999999999\n${root}\n`,
    `a\n1\n${root.slice(0, -4)}\n`,
    `a\n1\n${root.slice(0, -1)}\n`,
    `a\n1\n${base64(leaves[0]!.slice(1))}\n`,
    `a\n1\n${base64(concat(leaves[0]!, Uint8Array.of(0)))}\n`,
    `a\n1\n${root}\n\n`,
    `a\r\n1\r\n${root}\r\n`,
  ],
});

// Cosignatures

function witnessOf(word: string, keyName: string) {
  const seed = nodeCrypto.sha256(utf8(`a seed for the witness ${word}, never for a real one`));
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]), format: 'der', type: 'pkcs8' });
  const publicKey = new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(12));
  const signer = { name: keyName, keyId: keyId(nodeCrypto, keyName, publicKey, 4), sign: (message: Uint8Array) => sign(null, message, key) };
  return { signer, publicKey, vkey: formatCosigner(nodeCrypto, keyName, publicKey) };
}
const alice = witnessOf('alice', 'witness.alice.example/w1');
const aliceToo = witnessOf('alice too', 'witness.alice.example/w2');
const bob = witnessOf('bob', 'bob.example');
const cosigned = (witness: typeof alice, timeS: number, over = checkpointText) => signatureLine(cosign(over, witness.signer, timeS));
const aliceLine = cosigned(alice, 1795300000);
/** The same line with its decoded value changed. */
const altered = (line: string, change: (value: Uint8Array) => Uint8Array) => {
  const at = line.lastIndexOf(' ') + 1;
  return `${line.slice(0, at)}${base64(change(Uint8Array.from(Buffer.from(line.slice(at), 'base64'))))}\n`;
};
const ofType6 = `\u2014 witness.alice.example/w1 ${base64(
  concat(keyId(nodeCrypto, 'witness.alice.example/w1', new Uint8Array(1312), 6), new Uint8Array(8 + 2420)),
)}\n`;
write('cosignatures.json', {
  vkey,
  witnesses: [alice.vkey, bob.vkey],
  accept: [
    { note, cosigned: [], unknown: 0 },
    { note: note + aliceLine, cosigned: [['witness.alice.example/w1', 1795300000]], unknown: 0 },
    { note: note + cosigned(bob, 0), cosigned: [['bob.example', 0]], unknown: 0 },
    { note: note + cosigned(bob, Number.MAX_SAFE_INTEGER), cosigned: [['bob.example', Number.MAX_SAFE_INTEGER]], unknown: 0 },
    {
      note: note + aliceLine + cosigned(alice, 1795300001) + cosigned(bob, 1795300002),
      cosigned: [
        ['witness.alice.example/w1', 1795300000],
        ['witness.alice.example/w1', 1795300001],
        ['bob.example', 1795300002],
      ],
      unknown: 0,
    },
    { note: note + cosigned(aliceToo, 1795300000) + ofType6 + foreign, cosigned: [], unknown: 3, why: 'nobody that we know' },
    { note: `${checkpointText}\n${aliceLine}`, cosigned: [['witness.alice.example/w1', 1795300000]], unknown: 0, why: 'not signed by the log' },
  ],
  reject: [
    { note: note + altered(aliceLine, (value) => value.with(11, value[11]! ^ 1)), why: 'another time' },
    { note: note + altered(aliceLine, (value) => value.with(20, value[20]! ^ 1)), why: 'another signature' },
    { note: note + altered(aliceLine, (value) => value.slice(0, -1)), why: 'one byte too few' },
    { note: note + altered(aliceLine, (value) => concat(value, Uint8Array.of(0))), why: 'one byte too many' },
    { note: note + altered(aliceLine, (value) => concat(value.slice(0, 4), value.slice(12))), why: 'no time' },
    { note: note + altered(aliceLine, (value) => value.with(4, 0x80)), why: 'a time above 2^63 - 1' },
    { note: note + cosigned(alice, 1795300000, checkpointText.replace('\n70\n', '\n71\n')), why: 'of another checkpoint' },
    {
      note: `${note}\u2014 witness.alice.example/w1 ${base64(concat(alice.signer.keyId, new Uint8Array(8), alice.signer.sign(utf8(checkpointText))))}\n`,
      why: 'signed as a log signs',
    },
  ],
  vkeysRejected: [vkey, alice.vkey.replace('w1+', 'w2+'), formatVkey(nodeCrypto, 'a', alice.publicKey, 6), alice.vkey.slice(0, -4), ''],
});

// Trust files (C2SP tlog-policy)

const [w1, w2, w3] = [`witness a1 ${alice.vkey}`, `witness a2 ${aliceToo.vkey}`, `witness b ${bob.vkey}`];
const type6 = `carol.example+00000000+${base64(concat(Uint8Array.of(6), new Uint8Array(1312)))}`;
const operators = [`log ${vkey}`, w1, w2, w3, 'group alice any a1 a2', 'group both all alice b', 'quorum both', ''].join('\n');
const counted = [`log ${vkey}`, w1, w2, w3, 'group some 2 a1 a2 b', 'quorum some', ''].join('\n');
write('trust-policies.json', {
  accept: [
    { text: 'quorum none\n', met: [[], ['a1']], unmet: [], warnings: 0 },
    { text: `# ours\n\n \t log\t${vkey}   https://log.example/ \n\t# more\nquorum  none`, met: [[]], unmet: [], warnings: 0 },
    { text: `log ${vkey}\n${w3} https://bob.example/w\nquorum b\n`, met: [['b'], ['a1', 'b']], unmet: [[], ['a1', 'a2']], warnings: 0 },
    {
      text: operators,
      met: [
        ['a1', 'b'],
        ['a2', 'b'],
        ['a1', 'a2', 'b'],
      ],
      unmet: [[], ['b'], ['a1', 'a2']],
      warnings: 0,
    },
    {
      text: counted,
      met: [
        ['a1', 'a2'],
        ['a1', 'b'],
      ],
      unmet: [['a1'], ['b']],
      warnings: 1,
    },
    { text: counted.replace(' 2 ', ' any '), met: [['a2'], ['b']], unmet: [[]], warnings: 0 },
    {
      text: counted.replace(' 2 ', ' all '),
      met: [['a1', 'a2', 'b']],
      unmet: [
        ['a1', 'a2'],
        ['a1', 'b'],
      ],
      warnings: 1,
    },
    { text: counted.replace('quorum some', 'quorum none'), met: [[]], unmet: [], warnings: 0 },
    {
      text: `${w1}\n${w2}\n${w3} https://w1.alice.example\ngroup g any b\ngroup all all a1 g\ngroup any any all\nquorum any\n`,
      met: [['a1', 'b']],
      unmet: [['a1', 'a2'], ['b']],
      warnings: 1,
      why: 'words of the format may be names; an address tells an operator too',
    },
    { text: `witness c ${type6}\nquorum c\n`, met: [], unmet: [[], ['c']], warnings: 1, why: 'a type that we cannot check never counts' },
    { text: `log ${type6}\nquorum none\n`, met: [[]], unmet: [], warnings: 1 },
    {
      text: `log ${formatVkey(nodeCrypto, 'x', bob.publicKey)}\n${w3}\nquorum b\n`,
      met: [['b']],
      unmet: [[]],
      warnings: 1,
      why: 'a log that witnesses itself',
    },
    {
      text: `${w3}\nlog ${formatVkey(nodeCrypto, 'x', bob.publicKey)}\nquorum b\n`,
      met: [['b']],
      unmet: [[]],
      warnings: 1,
      why: 'the same, the other way round',
    },
    {
      hex: hex(concat(utf8(`witness `), Uint8Array.of(0xe9), utf8(` ${alice.vkey}\nwitness \u00e9 ${bob.vkey}\nquorum \u00e9\n`))),
      met: [],
      unmet: [[]],
      warnings: 0,
    },
  ],
  reject: [
    { text: '', line: 0 },
    { text: '\n# quorum none\n', line: 0 },
    { text: `log ${vkey}\n`, line: 0 },
    { text: 'quorum none\nquorum none\n', line: 2 },
    { text: 'quorum\n', line: 1 },
    { text: 'quorum none none\n', line: 1 },
    { text: 'quorum none # none\n', line: 1 },
    { text: 'quorum b\n', line: 1 },
    { text: `quorum b\n${w3}\n`, line: 1 },
    { text: `\n${w3}\n${w3.replace(' b ', ' c ')}\nquorum b\n`, line: 3 },
    { text: `${w3}\n${w1.replace(' a1 ', ' b ')}\nquorum b\n`, line: 2 },
    { text: `log ${vkey}\nlog ${formatVkey(nodeCrypto, 'x', publicKey)}\nquorum none\n`, line: 2 },
    { text: `log ${alice.vkey}\nquorum none\n`, line: 1 },
    { text: `witness a ${vkey}\nquorum a\n`, line: 1 },
    { text: `witness a\nquorum none\n`, line: 1 },
    { text: `witness none ${bob.vkey}\nquorum none\n`, line: 1 },
    { text: `log\nquorum none\n`, line: 1 },
    { text: `log ${vkey} https://a https://b\nquorum none\n`, line: 1 },
    { text: `log ${vkey.replace(/\+[0-9a-f]{8}\+/, '+00000000+')}\nquorum none\n`, line: 1 },
    { text: `Log ${vkey}\nquorum none\n`, line: 1 },
    { text: `quorum none\r\n`, line: 1 },
    { text: `quorum\u00a0none\n`, line: 1 },
    { text: `\ufeffquorum none\n`, line: 1 },
    { text: `quorum none\u0000\n`, line: 1 },
    { text: `quorum none\u007f\n`, line: 1 },
    ...[
      'group g',
      'group g any',
      'group g 0 b',
      'group g 2 b',
      'group g 01 b',
      'group g +1 b',
      'group g 1.0 b',
      'group g any c',
      'group g any g',
      'group g 2 b b',
      'group b any b',
      'group none any b',
      'group g any none',
      'group g b',
    ].map((line) => ({
      text: `${w3}\n${line}\nquorum none\n`,
      line: 2,
    })),
    { text: `${w1}\n${w3}\ngroup g any a1 b\ngroup h any b\nquorum g\n`, line: 4, why: 'a name in two groups' },
  ],
});

// Proof files (C2SP tlog-proof)

const inSeventy = (index: number) => inclusionProof(nodeCrypto, { index, size: 70 }, read);
const proofOf = (index: number, extra?: Uint8Array) =>
  new TextDecoder().decode(formatProofFile({ ...(extra ? { extra } : {}), index, hashes: inSeventy(index), checkpoint: utf8(note + aliceLine) }));
const proof17 = proofOf(17, utf8('more'));
const one = new TextDecoder().decode(signNote(formatCheckpoint({ origin: name, size: 1, root: leaves[0]! }), signer));
write('proof-files.json', {
  entries: 'as in tree.json',
  accept: [
    { text: proof17, index: 17, extra: base64(utf8('more')), leafHash: base64(leaves[17]!) },
    { text: proofOf(0), index: 0, extra: null, leafHash: base64(leaves[0]!) },
    { text: proofOf(69), index: 69, extra: null, leafHash: base64(leaves[69]!) },
    { text: `c2sp.org/tlog-proof@v1\nindex 0\n\n${one}`, index: 0, extra: null, leafHash: base64(leaves[0]!) },
  ],
  reject: [
    '',
    proof17.slice(0, -1),
    `${proof17}\n`,
    `\ufeff${proof17}`,
    ` ${proof17}`,
    `\n${proof17}`,
    proof17.replaceAll('\n', '\r\n'),
    proof17.replace('@v1', '@v2'),
    proof17.replace('@v1\n', '@v1 \n'),
    proof17.replace('c2sp.org/tlog-proof@v1\n', ''),
    proof17.replace(/extra .*\n/, 'extra\n'),
    proof17.replace(/extra .*\n/, 'extra \n'),
    proof17.replace(/extra .*\n/, 'extra bW9yZR==\n'),
    proof17.replace(/extra .*\n/, 'extra bW9yZQ\n'),
    proof17.replace(/extra .*\n/, 'extra  bW9yZQ==\n'),
    proof17.replace(/extra .*\n/, 'extra bW9yZQ==\nextra bW9yZQ==\n'),
    proof17.replace(/(extra .*\n)(index 17\n)/, '$2$1'),
    proof17.replace('index 17', 'index 017'),
    proof17.replace('index 17', 'index +17'),
    proof17.replace('index 17', 'index  17'),
    proof17.replace('index 17', 'index 17 '),
    proof17.replace('index 17', 'index -1'),
    proof17.replace('index 17', 'index 70'),
    proof17.replace('index 17', 'index 9007199254740992'),
    proof17.replace('index 17\n', ''),
    proof17.replace('index 17\n', 'index 17\nindex 17\n'),
    proof17.replace('index 17\n', 'index 17\n\n'),
    proof17.replace('index 17\n', `index 17\n${base64(leaves[0]!)}\n`),
    proof17.replace(`${base64(inSeventy(17)[0]!)}\n`, ''),
    proof17.replace(`${base64(inSeventy(17)[0]!)}\n`, `${base64(inSeventy(17)[0]!.slice(1))}\n`),
    proof17.replace(`${base64(inSeventy(17)[0]!)}\n`, `${base64(inSeventy(17)[0]!)} \n`),
    proof17.replace(`${base64(inSeventy(17)[0]!)}\n`, `${base64(inSeventy(17)[0]!).replace(/.=\n?$/, (end) => (end[0] === 'B' ? 'C=' : 'B='))}\n`),
    proof17.replace('\n\n', '\n'),
    proof17.slice(0, proof17.indexOf('\n\n') + 2),
    proof17.replace('\n70\n', '\n070\n'),
    proof17.slice(0, proof17.indexOf('\u2014')),
  ],
});

// Entries

const common = { v: 1, time: '2026-11-20T23:45:01.123456Z', monotonicUs: 81234567890 };
const connection = '5f'.repeat(16);
const commitment = base64(leaves[0]!);
const frame = {
  connection,
  stream: 0,
  seq: 1,
  tapSeq: 1,
  direction: 'c2s',
  transport: 'stdio',
  server: 'fs',
  verdict: 'pass',
  origin: 'client',
  sizeBytes: 2,
};
const message = { ...common, kind: 'message', ...frame, type: 'request', id: '17', method: 'tools/call', segments: 1, commitment };
const item = { ...common, kind: 'message', ...frame, type: 'notification', batch: 4, item: 0, range: [1, 2] };
const open = {
  ...common,
  kind: 'open',
  connection,
  transport: 'stdio',
  server: 'fs',
  mode: 'commit',
  onUnrecordable: 'block',
  custody: 'same-user',
  tap: { source: 'kernel' },
};
const close = { ...common, kind: 'close', connection, reason: 'signal', signal: 'SIGTERM', frames: { c2s: 1, s2c: 0 }, delivered: [1, 0] };
const hold = { ...common, kind: 'policy', act: 'hold', session: '5f5f', since: common.time };
const erasure = {
  ...common,
  kind: 'erasure',
  scope: 'index',
  fields: true,
  targets: [
    { index: 3, to: 9, attributes: 'all', segments: 'all' },
    { index: 17, segments: [0, 2] },
  ],
  unfinished: [connection],
  rest: [
    {
      index: 17,
      segment: 0,
      ranges: [
        [0, 5],
        [8, 9],
      ],
    },
  ],
  sizeBytes: 6,
  segments: 1,
  commitment,
};
const pin = { ...common, kind: 'policy', server: 'fs', transport: 'stdio', tool: 'read_file', definition: 'ab'.repeat(32) };
const limited = { ...common, kind: 'policy', act: 'limited', connection, rule: 'sworn:limit/few', count: 7, since: common.time, until: common.time };
const approval = { ...common, kind: 'approval', connection, request: 3, rule: 'pay', decision: 'approved', commitment, waitedMs: 12, how: 'command' };
const lines = (value: object) => JSON.stringify(value);
const changed = (value: object, change: object) => lines({ ...value, ...change });
const text = lines(message);
write('entries.json', {
  accept: [
    text,
    lines(item),
    lines(open),
    lines(close),
    lines({ ...common, kind: 'start', ledger: connection, origin: 'a', vkey: 'b', recorder: { version: '0.1.0', uid: 1000, pid: 1 } }),
    lines({ ...common, kind: 'stop', reason: 'asked', by: { uid: 0, pid: 1 }, selfAdministered: true }),
    lines({ ...common, kind: 'principal', connection, source: 'observed', uid: 1, pid: 2, attributes: 1, attributesCommitment: commitment }),
    lines({ ...common, kind: 'batch', ...frame, items: 0, segments: 1, commitment }),
    lines({ ...common, kind: 'recovery', reason: 'torn-record', cutBytes: 3 }),
    lines({ ...common, kind: 'gap', connection, reason: 'x', lost: { c2s: 1, s2c: 0 } }),
    lines(hold),
    lines({ ...common, kind: 'policy', act: 'release', hold: 5 }),
    lines({ ...pin, act: 'pin', source: 'list', connection }),
    lines(limited),
    changed(message, { verdict: 'block', rule: 'sworn:limit', retryAfterMs: 0 }),
    lines({ ...pin, act: 'drift', change: 'changed', previous: '0'.repeat(64) }),
    lines({ ...pin, definition: undefined, act: 'drift', change: 'gone' }),
    lines({ ...pin, act: 'accept', also: true, by: { uid: 0, pid: 1 } }),
    lines(erasure),
    lines({ ...common, kind: 'erasure', scope: 'age', targets: [{ index: 0, attributes: 'all' }] }),
    changed(message, { verdict: 'ask', rule: 'pay' }),
    changed(approval, { by: { uid: 1000, pid: 2 }, selfApproved: true }),
    changed(approval, { decision: 'denied', how: 'dashboard', viewer: '0123456789abcdef', by: { uid: 0, pid: 2 } }),
    changed(approval, { how: 'webhook', attributes: 2, attributesCommitment: commitment }),
    ...['timed-out', 'cancelled', 'lost'].map((decision) => changed(approval, { decision, how: 'recorder' })),
    lines({ ...common, kind: 'seal', whatever: [{ deep: { a: 1 } }, { deep: { a: 1 } }] }),
    changed(message, { unknownField: { problem: true, 'a:b': '"c":"d"', e: '\\' } }),
    text.replace('"v":1', '"v":1, "a" : { } '),
    text.replace('{"v"', '{"__proto__":1,"v"'),
  ],
  reject: [
    { text: '', problem: 'not-object' },
    { text: '[]', problem: 'not-object' },
    { text: '{}', problem: 'unsupported' },
    { text: `${text}\n`, problem: 'not-object' },
    { text: ` ${text}`, problem: 'not-object' },
    { text: `\ufeff${text}`, problem: 'not-object' },
    { text: `${text}${text}`, problem: 'not-json' },
    { text: text.replace(',', ',\n'), problem: 'not-json' },
    { text: text.replace('"v":1', "'v':1"), problem: 'not-json' },
    { text: text.replace('{"v":1', '{"v":1,"v":1'), problem: 'duplicate-key' },
    { text: text.replace('{"v":1', '{"v":1,"\\u0076":1'), problem: 'duplicate-key' },
    { text: text.replace('{"v":1', '{"x":{"y":[{"z":1,"z":1}]},"v":1'), problem: 'duplicate-key' },
    { text: text.replace('{"v":1', '{"__proto__":1,"__proto__":1,"v":1'), problem: 'duplicate-key' },
    { text: text.replace('{"v":1', `{"x":${'['.repeat(600)}${']'.repeat(600)},"v":1`), problem: 'too-deep' },
    { text: changed(message, { x: 'x'.repeat(65_536) }), problem: 'too-large' },
    { text: changed(message, { v: 2 }), problem: 'unsupported' },
    { text: changed(message, { v: '1' }), problem: 'unsupported' },
    { text: changed(message, { kind: 'novelty' }), problem: 'unsupported' },
    { text: changed(message, { kind: 'toString' }), problem: 'unsupported' },
    ...[
      { time: undefined },
      { time: '2026-11-20T23:45:01Z' },
      { time: '2026-13-20T23:45:01.123456Z' },
      { time: '2026-11-20T23:45:01.123456+00:00' },
      { monotonicUs: -1 },
      { monotonicUs: 1.5 },
      { monotonicUs: 2 ** 53 },
      { connection: connection.slice(1) },
      { connection: connection.toUpperCase() },
      { seq: 0 },
      { seq: '1' },
      { tapSeq: null },
      { direction: 'up' },
      { type: 'reply' },
      { commitment: undefined },
      { commitment: commitment.slice(1) },
      { commitment: commitment.replace(/.=$/, 'B=') },
      { segments: 0 },
      { parts: 2 },
      { delivered: [1] },
      { delivered: [1, -1] },
      { sensitive: false },
      { attributes: 1 },
      { attributesCommitment: commitment },
      { batch: 1 },
      { item: 1 },
      { range: [2, 1] },
    ].map((change) => ({ text: changed(message, change), problem: 'field' })),
    ...[
      { act: 'pin' },
      { act: 'pin', source: 'rumour' },
      { act: 'pin', source: 'list', tool: undefined },
      { act: 'accept', server: undefined },
      { act: 'accept', definition: 'ab' },
      { act: 'accept', also: false },
      { act: 'accept', definition: undefined },
      { act: 'drift', change: 'gone' },
      { act: 'drift' },
      { act: 'drift', change: 'changed', source: 'list' },
    ].map((change) => ({ text: changed(pin, change), problem: 'field' })),
    { text: changed(message, { verdict: 'ask', type: 'notification' }), problem: 'field' },
    { text: changed(message, { verdict: 'ask', type: 'result' }), problem: 'field' },
    { text: changed(message, { kind: 'batch', items: 1, verdict: 'ask' }), problem: 'field' },
    ...[
      { connection: undefined },
      { request: undefined },
      { request: -1 },
      { rule: undefined },
      { decision: 'maybe' },
      { commitment: undefined },
      { waitedMs: -1 },
      { how: 'telepathy' },
      { how: 'recorder' },
      { decision: 'timed-out' },
      { decision: 'lost', how: 'recorder', by: { uid: 1000, pid: 2 } },
      { decision: 'cancelled', how: 'recorder', selfApproved: true },
      { viewer: 'me' },
      { selfApproved: false },
      { by: { uid: 1000 } },
    ].map((change) => ({ text: changed(approval, change), problem: 'field' })),
    ...[
      { targets: undefined },
      { targets: [] },
      { targets: [{ segments: 'all' }] },
      { targets: [{ index: -1, segments: 'all' }] },
      { targets: [{ index: 3, to: 2, segments: 'all' }] },
      { targets: [{ index: 3, segments: 'some' }] },
      { targets: [{ index: 3, segments: [] }] },
      { targets: [{ index: 3, segments: [1, 0] }] },
      { targets: [{ index: 3, attributes: [0, 0] }] },
      { unfinished: ['5f'] },
      { rest: undefined },
      { rest: [] },
      { rest: [{ index: 17, segment: 0, ranges: [] }] },
      { rest: [{ index: 17, segment: 0, ranges: [[5, 5]] }] },
      {
        rest: [
          {
            index: 17,
            segment: 0,
            ranges: [
              [5, 8],
              [7, 9],
            ],
          },
        ],
      },
      { segments: 2 },
      { commitment: undefined },
      { sizeBytes: undefined },
    ].map((change) => ({ text: changed(erasure, change), problem: 'field' })),
    { text: changed(hold, { act: 'keep' }), problem: 'field' },
    ...[
      { count: 0 },
      { count: undefined },
      { rule: undefined },
      { connection: undefined },
      { since: undefined },
      { until: undefined },
      { act: 'hold' },
    ].map((change) => ({ text: changed(limited, change), problem: 'field' })),
    { text: changed(message, { retryAfterMs: -1 }), problem: 'field' },
    { text: changed(hold, { since: 'yesterday' }), problem: 'field' },
    { text: changed(item, { commitment, segments: 1 }), problem: 'field' },
    { text: changed(open, { custody: 'mine' }), problem: 'field' },
    { text: changed(open, { tap: {} }), problem: 'field' },
    { text: changed(open, { tap: [] }), problem: 'field' },
    { text: changed(open, { labels: { a: 1 } }), problem: 'field' },
    { text: changed(close, { frames: { c2s: 1 } }), problem: 'field' },
  ],
});
