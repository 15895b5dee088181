/**
 * Every parser of bytes that come from somebody else, with seeds and with what must be true of a result: nothing but what is declared is thrown, what is
 * accepted and has one form only is written again as the same bytes, and nothing that nobody signed opens as signed.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, crc32, deflateSync, gunzipSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { base64, concat, equal, fromBase64, fromHex, hex, utf8, utf8Text } from '../../src/bytes/bytes.ts';
import { PublishedLog } from '../../src/readers/published.ts';
import { makeProof } from '../../src/cli/prove.ts';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { EntryProblem, readEntry } from '../../src/entry/read.ts';
import { LineSplitter } from '../../src/frames/lines.ts';
import { joinSse, SseCutter, type SseBlock } from '../../src/frames/sse.ts';
import { segmentKeyOf } from '../../src/ledger/cipher.ts';
import {
  isPruned,
  decodeRecord,
  decodeStored,
  encodeEntryRecord,
  encodePartRecord,
  encodeSegmentHeader,
  readSegmentHeader,
  recordHeaderBytes,
  scanSegment,
  segmentHeaderBytes,
  type ContentItem,
  type EntryRecord,
  type PartRecord,
} from '../../src/ledger/segment.ts';
import { entryBytes, proofOpenedBytes, wireBytes } from '../../src/limits.ts';
import { headerText, headerValue } from '../../src/mcp/headers.ts';
import { definitionChanges } from '../../src/mcp/definition-changes.ts';
import { canonicalJson, readDefinitions } from '../../src/mcp/definition.ts';
import { MessageReader, readMessage } from '../../src/mcp/message.ts';
import { decodeContent } from '../../src/proxy/encoding.ts';
import { recorded } from '../../src/proxy/headers.ts';
import { timestampStatus } from '../../src/recorder/timestamp.ts';
import { formatCheckpoint, parseCheckpoint } from '../../src/tlog/checkpoint.ts';
import { formatCosigner, openCosigned, parseCosignature, parseCosigner, verifyCosignature } from '../../src/tlog/cosignature.ts';
import {
  formatNote,
  formatSkey,
  formatVkey,
  openNote,
  parseNote,
  parseSignatureLines,
  parseSkey,
  parseVkey,
  signatureLine,
  vkeyParts,
} from '../../src/tlog/note.ts';
import { parsePins, pinFileText } from '../../src/policy/pin-file.ts';
import { judgeQuorum, openUnderPolicy, parseTrustPolicy } from '../../src/tlog/policy.ts';
import { formatProofFile, parseProofFile } from '../../src/tlog/proof-file.ts';
import { consistencyProof, inclusionProof, verifyConsistency, verifyInclusion, type HashReader } from '../../src/tlog/proof.ts';
import { decodeBundle, encodeBundle, parseTilePath, tilePath, TileStack } from '../../src/tlog/tile.ts';
import { hashLeaf, rootOfHashes } from '../../src/tlog/tree.ts';
import { PayloadReader, type PayloadEvent } from '../../src/verify/payload.ts';
import { readExtra, verifyProof } from '../../src/verify/proof.ts';
import { decodeContent as decodeReportContent, decodeEntries, parseReportHead } from '../../src/verify/report-data.ts';
import { verifyReport } from '../../src/verify/report.ts';
import type { SegmentName, Source } from '../../src/verify/source.ts';
import {
  encodeAnswer,
  encodeJson,
  encodeRefusal,
  frameHeaderBytes,
  readAnswer,
  readFrame,
  readJson,
  readRefusal,
  WireReader,
  wireType,
  writeFrameHeader,
} from '../../src/wire/wire.ts';
import { witnessKey } from '../../src/witness/key.ts';
import { formatAddCheckpoint, parseAddCheckpoint, parseSize } from '../../src/witness/request.ts';
import { WitnessStore } from '../../src/witness/store.ts';
import { Witness } from '../../src/witness/witness.ts';
import { sampleLedger, writeFixture } from '../ledger-fixture.ts';
import { TestLog } from '../witness-log.ts';
import type { Parser } from './fuzz.ts';
import { Random } from './mutate.ts';

const vectors = (name: string) => JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}.json`, import.meta.url), 'utf8'));
const fromHexes = (list: { hex: string }[]): Uint8Array[] => list.map(({ hex: digits }) => fromHex(digits)!);
/** Text for parsers of text: what is no UTF-8 comes as one character a byte. */
const textOf = (bytes: Uint8Array): string => utf8Text(bytes) ?? Buffer.from(bytes).toString('latin1');

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`must hold: ${what}`);
}

/** The parsers. What they need on a disk goes into `folder`. */
export async function parsers(folder: string): Promise<Parser[]> {
  return [...texts(), ...trees(), ...segments(folder), ...wire(), ...messages(), ...http(), ...reports(), ...(await proofs(folder))];
}

function texts(): Parser[] {
  const notes = vectors('notes');
  const cosigned = vectors('cosignatures');
  const checkpoints = vectors('checkpoints');
  const policies = vectors('trust-policies');
  const noteSeeds = [...notes.accept, ...notes.reject, ...cosigned.accept, ...cosigned.reject].flatMap(({ note }) => (note ? [utf8(note)] : []));
  const vkey = parseVkey(nodeCrypto, notes.vkey)!;
  const witnesses = cosigned.witnesses.map((text: string) => parseCosigner(nodeCrypto, text)!);
  /** Everything that this key or a witness has signed. */
  const signed = new Set<string>([...notes.accept, ...cosigned.accept].map(({ note }) => parseNote(utf8(note))!.text));
  const lineSeeds = noteSeeds.flatMap((note) => {
    const text = textOf(note);
    return text.includes('\n\n') ? [utf8(text.slice(text.lastIndexOf('\n\n') + 2))] : [];
  });
  const keySeeds = [notes.vkey, notes.skey, ...cosigned.witnesses, ...notes.vkeysRejected, ...cosigned.vkeysRejected].map((text: string) =>
    utf8(text),
  );
  const policySeeds = [...policies.accept, ...policies.reject].map(({ text }) => utf8(text));

  return [
    {
      name: 'note',
      seeds: noteSeeds,
      read: (bytes) => {
        const note = parseNote(bytes);
        if (note) must(equal(formatNote(note), bytes), 'a note is written as it was read');
        return note !== undefined;
      },
    },
    {
      name: 'signature lines',
      seeds: lineSeeds,
      read: (bytes) => {
        const text = textOf(bytes);
        const lines = parseSignatureLines(text);
        if (lines) must(lines.map(signatureLine).join('') === text, 'signature lines are written as they were read');
        return lines !== undefined;
      },
    },
    {
      name: 'opened note',
      seeds: noteSeeds,
      share: 0.2,
      read: (bytes) => {
        const opened = openNote(nodeCrypto, bytes, [vkey]);
        if ('problem' in opened) return false;
        must(opened.verified.length === 0 || signed.has(opened.text), 'nothing opens that was not signed');
        return opened.verified.length > 0;
      },
    },
    {
      name: 'cosigned note',
      seeds: noteSeeds,
      share: 0.2,
      read: (bytes) => {
        const opened = openCosigned(nodeCrypto, bytes, [vkey], witnesses);
        if ('problem' in opened) return false;
        const isSigned = opened.logs.length > 0 || opened.cosignatures.length > 0;
        must(!isSigned || signed.has(opened.text), 'nothing opens that was not signed');
        for (const { timeS } of opened.cosignatures) must(Number.isSafeInteger(timeS) && timeS >= 0, 'a time is a number of seconds');
        return isSigned;
      },
    },
    {
      name: 'cosignature',
      seeds: lineSeeds.flatMap((line) => parseSignatureLines(textOf(line))?.map(({ signature }) => signature) ?? []),
      read: (bytes) => {
        const parsed = parseCosignature(bytes);
        if (!parsed) return false;
        const time = new Uint8Array(8);
        new DataView(time.buffer).setBigUint64(0, BigInt(parsed.timeS));
        must(equal(concat(time, parsed.signature), bytes), 'a cosignature is written as it was read');
        return true;
      },
    },
    {
      name: 'keys',
      seeds: keySeeds,
      read: (bytes) => {
        const text = textOf(bytes);
        const log = parseVkey(nodeCrypto, text);
        if (log) must(formatVkey(nodeCrypto, log.name, log.publicKey) === text, 'a vkey is written as it was read');
        const cosigner = parseCosigner(nodeCrypto, text);
        if (cosigner) must(formatCosigner(nodeCrypto, cosigner.name, cosigner.publicKey) === text, "a witness's vkey is written as it was read");
        const secret = parseSkey(text);
        if (secret) must(formatSkey(secret) === text, 'a signer key is written as it was read');
        if (log || cosigner) must(vkeyParts(text) !== undefined, 'a key of a type has parts');
        return log !== undefined || cosigner !== undefined || secret !== undefined;
      },
    },
    {
      name: 'checkpoint',
      seeds: [
        ...checkpoints.accept.map((one: { text: string }) => one.text),
        ...checkpoints.reject.map((one: string | { text: string }) => (typeof one === 'string' ? one : one.text)),
      ].map(utf8),
      read: (bytes) => {
        const text = textOf(bytes);
        const parsed = parseCheckpoint(text);
        if (!parsed) return false;
        const again = formatCheckpoint(parsed) + parsed.extensions.map((line) => `${line}\n`).join('');
        must(again === text, 'a checkpoint is written as it was read');
        return true;
      },
    },
    {
      name: 'trust file',
      seeds: policySeeds,
      share: 0.5,
      read: (bytes) => {
        const policy = parseTrustPolicy(nodeCrypto, bytes);
        if ('problem' in policy) {
          must(policy.line >= 0 && policy.message !== '', 'a mistake has a line and words');
          return false;
        }
        const cosigners = policy.witnesses.flatMap(({ cosigner }) => cosigner ?? []);
        const none = judgeQuorum(policy, []);
        const all = judgeQuorum(policy, cosigners);
        must(!none.met || policy.quorum === undefined, 'nobody is no quorum');
        must(all.met || policy.quorum !== undefined, 'without a quorum it is met');
        must(all.witnesses.length === cosigners.length && none.witnesses.length === 0, 'each witness counts once');
        must(all.operators <= all.witnesses.length, 'no more operators than witnesses');
        const opened = openUnderPolicy(nodeCrypto, policy, noteSeeds[0]!);
        must('problem' in opened || policy.logs.some(({ origin }) => origin === vkey.name), 'only a log of the file opens');
        return true;
      },
    },
    {
      name: 'size',
      seeds: ['0', '1', '300', '9007199254740991', '9007199254740992', '01', ''].map(utf8),
      read: (bytes) => {
        const text = textOf(bytes);
        const size = parseSize(text);
        if (size !== undefined) must(String(size) === text, 'a size is written as it was read');
        return size !== undefined;
      },
    },
    {
      name: 'definitions',
      share: 0.25,
      seeds: [
        '{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","description":"b","inputSchema":{"type":"object","required":["x"]}},{"name":"c"}],"nextCursor":"2"}}',
        '{"result":{"tools":[{"name":"__proto__","__proto__":{"b":[1,2.50,-0,1e400]},"\\u202e":null},{"name":"a","annotations":[{}]}]}}',
      ].map(utf8),
      read: (bytes) => {
        if (readMessage(bytes).type !== 'result') return false;
        const page = readDefinitions(bytes);
        if (page === undefined) return false;
        for (const { name, value } of page.definitions) {
          must((JSON.parse(canonicalJson(value)) as { name: unknown }).name === name, 'the canonical form is JSON, and says the same');
          must(definitionChanges(value, value).length === 0, 'nothing differs from itself');
          const other = page.definitions[0]!.value;
          must(
            definitionChanges(other, value).length > 0 === (canonicalJson(other) !== canonicalJson(value)),
            'what has another digest differs in a field',
          );
        }
        return true;
      },
    },
    {
      name: 'file of pins',
      share: 0.25,
      seeds: [utf8(`{"version":1,"servers":{"a":{"t":"${'0'.repeat(64)}","u":["${'1'.repeat(64)}","${'2'.repeat(64)}"]},"b":{}}}`)],
      read: (bytes) => {
        const pins = parsePins(textOf(bytes));
        if (typeof pins === 'string') return false;
        const text = pinFileText(pins);
        must(pinFileText(parsePins(text) as typeof pins) === text, 'a file of pins is written as it is read');
        return true;
      },
    },
    {
      name: 'base64, hex, UTF-8',
      seeds: ['', 'AA==', 'AAA=', 'AAAA', '00ff', 'zm9v+/==', '\u2014 ▒'].map(utf8),
      read: (bytes) => {
        const text = Buffer.from(bytes).toString('latin1');
        const decoded = fromBase64(text);
        const theirs = Buffer.from(text, 'base64');
        must((decoded !== undefined) === (theirs.toString('base64') === text), 'base64 is strict');
        if (decoded) must(equal(decoded, theirs) && base64(decoded) === text, 'base64 is what it is elsewhere');
        const digits = fromHex(text);
        if (digits) must(hex(digits) === text, 'hex is written as it was read');
        const whole = utf8Text(bytes);
        must((whole !== undefined) === isUtf8(bytes), 'UTF-8 is what it is elsewhere');
        if (whole !== undefined) must(equal(utf8(whole), bytes), 'UTF-8 is written as it was read');
        return decoded !== undefined || digits !== undefined;
      },
    },
    {
      name: 'timestamp answer',
      seeds: ['3003020100', '30053003020102', '3009300702010030020c00', '308200053003020100', '3080', ''].map((digits) => fromHex(digits)!),
      read: (bytes) => timestampStatus(bytes) !== undefined,
    },
  ];
}

function trees(): Parser[] {
  const tiles = vectors('tiles');
  const tree = vectors('tree');
  const leaves: Uint8Array[] = tree.entries.map((entry: string) => hashLeaf(nodeCrypto, utf8(entry)));
  const read: HashReader = (level, index) => rootOfHashes(nodeCrypto, leaves.slice(index * 2 ** level, (index + 1) * 2 ** level));
  const size = leaves.length;
  const root = rootOfHashes(nodeCrypto, leaves);
  const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255);
  const hashesOf = (bytes: Uint8Array): Uint8Array[] => {
    const hashes: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += 32) hashes.push(bytes.subarray(at, at + 32));
    return hashes;
  };
  const stackSeed = (count: bigint, ...rest: number[]): Uint8Array => {
    const bytes = new Uint8Array(9 + rest.length);
    new DataView(bytes.buffer).setBigUint64(0, count);
    bytes.set(rest, 9);
    return bytes;
  };

  return [
    {
      name: 'tile path',
      seeds: [...tiles.accept.map(({ path }: { path: string }) => path), ...tiles.reject].map((one) =>
        utf8(typeof one === 'string' ? one : one.path),
      ),
      read: (bytes) => {
        const text = textOf(bytes);
        const parsed = parseTilePath(text);
        if (parsed) must(tilePath(parsed.level, parsed.n, parsed.width) === text, 'a path is written as it was read');
        return parsed !== undefined;
      },
    },
    {
      name: 'bundle',
      seeds: [
        ...fromHexes(tiles.bundles.accept),
        ...tiles.bundles.reject.map((one: string | { hex: string }) => fromHex(typeof one === 'string' ? one : one.hex)!),
      ],
      read: (bytes) => {
        const entries = decodeBundle(bytes);
        if (entries) must(entries.length <= 256 && equal(encodeBundle(entries), bytes), 'a bundle is written as it was read');
        return entries !== undefined;
      },
    },
    {
      name: 'tile stack',
      // size, whether the tiles are of the right length, what is in them
      seeds: [stackSeed(0n), stackSeed(1n, 1), stackSeed(255n, 2, 3), stackSeed(70_000n, 4), stackSeed(2n ** 53n - 1n, 5), stackSeed(300n, 6, 7, 8)],
      allowed: [RangeError],
      share: 0.1,
      read: (bytes) => {
        if (bytes.length < 9) return false;
        const count = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
        const given = bytes.subarray(9);
        const asked: Uint8Array[] = [];
        const stack = TileStack.restore(nodeCrypto, count, (_level, _n, width) => {
          const tile = (bytes[8]! & 7) === 7 ? given : Uint8Array.from({ length: width * 32 }, (_, i) => (given[i % given.length] ?? 0) + i);
          asked.push(tile);
          return tile;
        });
        const partials = stack.partials();
        must(
          partials.length === asked.length && partials.every((tile, i) => equal(tile.bytes, asked[i]!)),
          'a stack has the tiles that it was made of',
        );
        must(stack.size === count && stack.root().length === 32, 'a stack has a root');
        if (count < Number.MAX_SAFE_INTEGER) {
          stack.append(new Uint8Array(32));
          must(stack.size === count + 1, 'a stack grows');
        }
        return true;
      },
    },
    {
      name: 'inclusion proof',
      seeds: [0, 1, 17, 63, 64, 69].map((index) =>
        concat(u16(index), u16(size), leaves[index]!, ...inclusionProof(nodeCrypto, { index, size }, read)),
      ),
      read: (bytes) => {
        if (bytes.length < 36) return false;
        const index = bytes[0]! * 256 + bytes[1]!;
        // the size is signed with the root
        const leafHash = bytes.subarray(4, 36);
        const holds = verifyInclusion(nodeCrypto, { index, size, leafHash, proof: hashesOf(bytes.subarray(36)), root });
        if (holds) must(index < size && equal(leafHash, leaves[index]!), 'only the leaf that is there is proven');
        // another size under the same root may name the leaf otherwise, but never another leaf
        const other = bytes[2]! * 256 + bytes[3]!;
        if (verifyInclusion(nodeCrypto, { index, size: other, leafHash, proof: hashesOf(bytes.subarray(36)), root }))
          must(leaves.some((leaf) => equal(leaf, leafHash)) || equal(leafHash, root) || bytes.length < 36 + 32 * 7, 'no strange leaf is proven');
        return holds;
      },
    },
    {
      name: 'consistency proof',
      seeds: [1, 2, 7, 32, 64, 69, 70].map((size1) =>
        concat(u16(size1), rootOfHashes(nodeCrypto, leaves.slice(0, size1)), ...consistencyProof(nodeCrypto, { size1, size2: size }, read)),
      ),
      read: (bytes) => {
        if (bytes.length < 34) return false;
        const size1 = bytes[0]! * 256 + bytes[1]!;
        const root1 = bytes.subarray(2, 34);
        const holds = verifyConsistency(nodeCrypto, { size1, size2: size, root1, root2: root, proof: hashesOf(bytes.subarray(34)) });
        if (holds) must(size1 >= 1 && equal(root1, rootOfHashes(nodeCrypto, leaves.slice(0, size1))), 'only a beginning of the tree is consistent');
        return holds;
      },
    },
  ];
}

/** A segment's checksums made right again, mostly. */
function repaired(bytes: Uint8Array, n: number): Uint8Array {
  if (n % 4 === 0) return bytes;
  const file = Buffer.from(bytes);
  if (file.length >= segmentHeaderBytes) file.writeUInt32BE(crc32(file.subarray(0, 36)), 36);
  if (n % 4 === 1) return file;
  for (let at = segmentHeaderBytes; at + recordHeaderBytes <= file.length;) {
    const end = at + recordHeaderBytes + file.readUInt32BE(at);
    if (end > file.length) break;
    file.writeUInt32BE(crc32(file.subarray(at + recordHeaderBytes, end)), at + 4);
    at = end;
  }
  return file;
}

async function eventsOf(bytes: Uint8Array): Promise<PayloadEvent[]> {
  const name: SegmentName = { first: 0, path: 'payload/0' };
  const source: Pick<Source, 'segment'> = {
    async *segment() {
      for (let at = 0; at < bytes.length; at += 4096) yield bytes.subarray(at, at + 4096);
    },
  };
  const reader = new PayloadReader(source as Source, [name]);
  const events: PayloadEvent[] = [];
  for (;;) {
    const event = reader.take();
    if (event) {
      events.push(event);
      continue;
    }
    const filled = await reader.fill();
    if (filled === false) return events;
    if (filled !== true) events.push(filled);
  }
}

/** One form for what the two readers, which share no code, say of a record. */
function shapeOf(record: EntryRecord | PartRecord | PayloadEvent): string {
  const bytesOf = (bytes: Uint8Array): string => `${bytes.length}:${crc32(bytes)}`;
  type Any = {
    state?: string;
    kind?: string;
    erased?: boolean;
    salt?: Uint8Array;
    bytes?: Uint8Array;
    hash?: Uint8Array;
    sizeBytes?: number;
    file?: number;
    offset?: number;
  };
  const item = (one: Any): string => {
    const state = one.state ?? (one.erased ? 'erased' : one.kind);
    return [
      state,
      one.salt && bytesOf(one.salt),
      one.bytes && bytesOf(one.bytes),
      one.hash && bytesOf(one.hash),
      one.bytes ? '' : one.sizeBytes,
      one.file,
      one.offset,
    ].join(' ');
  };
  if ('leaf' in record) {
    const frame = ('frame' in record ? record.frame : record.segments) as Any[];
    return JSON.stringify([record.index, bytesOf(record.leaf), (record.attributes as Any[]).map(item), frame.map(item)]);
  }
  const part = record as { connection: string; direction: string | number; unit: number; salt: Uint8Array; bytes: Uint8Array; erased?: boolean };
  const direction = part.direction === 0 || part.direction === 'c2s' ? 0 : 1;
  return JSON.stringify([part.connection, direction, part.unit, bytesOf(part.salt), bytesOf(part.bytes), part.erased === true]);
}

function written(record: EntryRecord | PartRecord): Buffer {
  return Buffer.concat(
    record.type === 'entry' ? encodeEntryRecord(record.index, record.leaf, record.attributes, record.frame) : encodePartRecord(record),
  );
}

function segments(folder: string): Parser[] {
  const { headers, records, encrypted } = vectors('segments');
  const key = segmentKeyOf(Buffer.from(encrypted.key, 'hex'), encrypted.wrappingCheck);
  const path = join(folder, 'segment');
  const fileSeeds = [sampleLedger({ pairs: 2, segmentBytes: 1500, dropped: true, erased: true }), sampleLedger({ pairs: 1 })].flatMap((fixture) =>
    [...fixture.files()].filter(([name]) => name.startsWith('payload/')).map(([, bytes]) => new Uint8Array(bytes)),
  );
  // what a sender could put into a message so that a damaged record is followed by what looks like many
  const lookAlike = Buffer.alloc(21);
  lookAlike.writeUInt32BE(400, 0);
  lookAlike[8] = 2;
  const hostile = Buffer.concat(Array.from({ length: 100 }, () => lookAlike));
  const salt = Buffer.alloc(16, 7);
  const kept = (bytes: Uint8Array): ContentItem => ({ state: 'kept', salt, bytes });
  const hostileFile = Buffer.concat([
    encodeSegmentHeader('00112233445566778899aabbccddeeff', 0),
    ...encodeEntryRecord(0, Buffer.from('{"n":0}'), [], [kept(hostile)]),
    ...encodeEntryRecord(1, Buffer.from('{"n":1}'), [], [kept(hostile)]),
  ]);
  const bodySeeds = [
    ...fromHexes(records.accept),
    ...fromHexes(records.reject),
    ...fileSeeds.flatMap((file) => {
      const bodies: Uint8Array[] = [];
      const bytes = Buffer.from(file);
      for (let at = segmentHeaderBytes; at < bytes.length; at += recordHeaderBytes + bytes.readUInt32BE(at))
        bodies.push(file.subarray(at + recordHeaderBytes, at + recordHeaderBytes + bytes.readUInt32BE(at)));
      return bodies;
    }),
  ];
  const headerOf = encodeSegmentHeader('00112233445566778899aabbccddeeff', 0);

  return [
    {
      name: 'segment header',
      seeds: [...fromHexes(headers.accept), ...fromHexes(headers.reject)],
      repair: repaired,
      mostBytes: 200,
      read: (bytes) => {
        const header = readSegmentHeader(Buffer.from(bytes));
        if (!header) return false;
        const again = encodeSegmentHeader(header.ledgerId, header.firstIndex, header.keyId);
        must(equal(again, bytes.subarray(0, segmentHeaderBytes)), 'a header is written as it was read');
        return true;
      },
    },
    {
      name: 'record',
      seeds: bodySeeds,
      read: (bytes) => {
        const record = decodeRecord(Buffer.from(bytes));
        if (!record) return false;
        must(equal(written(record).subarray(recordHeaderBytes), bytes), 'a record is written as it was read');
        return true;
      },
    },
    {
      name: 'encrypted record',
      seeds: [...fromHexes(encrypted.accept), ...fromHexes(encrypted.reject)].map((bytes) => bytes.subarray(recordHeaderBytes)),
      read: (bytes) => {
        const body = Buffer.from(bytes);
        const opened = decodeStored(body, { key });
        const closed = decodeStored(body, {});
        if (!opened) return false;
        must(closed?.type === opened.type && closed.unopened === true, 'what can be opened has a head without its key');
        return true;
      },
    },
    {
      name: 'record, both readers',
      seeds: bodySeeds,
      share: 0.1,
      read: async (bytes) => {
        // an empty body is an empty length, which is no record
        if (bytes.length === 0) return false;
        const record = decodeRecord(Buffer.from(bytes));
        const head = Buffer.alloc(8);
        head.writeUInt32BE(bytes.length, 0);
        head.writeUInt32BE(crc32(bytes), 4);
        const [header, event] = await eventsOf(Buffer.concat([headerOf, head, bytes]));
        must(header?.kind === 'header', 'the header is read');
        if (isPruned(Buffer.from(bytes))) {
          must(
            record === undefined && (event as { kind?: string } | undefined)?.kind === 'pruned',
            'writer and verifier take the same place of what is pruned',
          );
          return true;
        }
        must((record === undefined) === (event?.kind === 'trouble'), 'writer and verifier take the same records');
        if (record) must(shapeOf(record) === shapeOf(event!), 'writer and verifier read the same in them');
        return record !== undefined;
      },
    },
    {
      name: 'segment file',
      seeds: [...fileSeeds, hostileFile],
      repair: repaired,
      share: 0.05,
      read: async (bytes) => {
        writeFileSync(path, bytes);
        const found: { offset: number; shape: string }[] = [];
        let end: { kind: string; offset: number } | undefined;
        for (const scanned of scanSegment(path)) {
          if (scanned.kind !== 'record') end = scanned;
          else {
            found.push({ offset: scanned.offset, shape: shapeOf(scanned.record) });
            must(equal(written(scanned.record), bytes.subarray(scanned.offset, scanned.end)), 'a record is written as it was read');
          }
        }
        const [header, ...events] = await eventsOf(bytes);
        if (header?.kind !== 'header') return false;
        const before = events.findIndex(({ kind }) => kind === 'trouble');
        const good = before < 0 ? events : events.slice(0, before);
        must(
          good.length === found.length &&
            good.every((event, i) => (event as { offset: number }).offset === found[i]!.offset && shapeOf(event) === found[i]!.shape),
          'writer and verifier read the same records',
        );
        const trouble = before < 0 ? undefined : (events[before] as { offset: number });
        must(trouble?.offset === end?.offset, 'writer and verifier stop at the same place');
        return end === undefined;
      },
    },
  ];
}

function wire(): Parser[] {
  const { messages: streams, frames, answers, refusals, objects } = vectors('wire');
  const all = (of: { accept: { hex: string }[]; reject: { hex: string }[] }): Uint8Array[] => [...fromHexes(of.accept), ...fromHexes(of.reject)];
  const typed = (type: number, list: Uint8Array[]): Uint8Array[] => list.map((bytes) => concat(Uint8Array.of(type), bytes));
  const bodyOf = (message: Buffer): Buffer => message.subarray(5);

  const readBody = (type: number, body: Buffer): boolean => {
    if (type === wireType.frame) {
      const frame = readFrame(body);
      if (!frame) return false;
      const header = Buffer.alloc(frameHeaderBytes);
      const { direction, flags, unit, delivered, seenUs, bytes } = frame;
      writeFrameHeader(header, 0, direction, flags, unit, delivered, seenUs, bytes.length);
      // the number of the stream is always 0 when we write
      header.writeUInt32BE(frame.stream, 7);
      const rest = body.subarray(frameHeaderBytes - 5);
      must(equal(header.subarray(5), body.subarray(0, frameHeaderBytes - 5)), 'a frame is written as it was read');
      must(
        equal(bytes, rest) || (rest.length === bytes.length + 1 && rest.at(-1) === 0x0a && equal(bytes, rest.subarray(0, -1))),
        'a frame has its bytes',
      );
      return true;
    }
    if (type === wireType.pass || type === wireType.durable) {
      const answer = readAnswer(body);
      if (!answer) return false;
      // without a receipt the hash says nothing
      const sent = answer.receipt ? body : Buffer.concat([body.subarray(0, 17), Buffer.alloc(32)]);
      must(equal(bodyOf(encodeAnswer(type, answer)), sent), 'an answer is written as it was read');
      return true;
    }
    if (type === wireType.refuse) {
      const refusal = readRefusal(body);
      if (refusal) must(equal(bodyOf(encodeRefusal(refusal)), body), 'a refusal is written as it was read');
      return refusal !== undefined;
    }
    const value = readJson(body);
    if (value) must(JSON.stringify(readJson(bodyOf(encodeJson(type, value)))) === JSON.stringify(value), 'an object comes back');
    return value !== undefined;
  };

  return [
    {
      name: 'wire stream',
      seeds: all(streams),
      read: (bytes) => {
        const collect = (chunks: Iterable<Buffer>): { messages: string[]; whole: boolean } => {
          const reader = new WireReader();
          const found: string[] = [];
          let whole = true;
          for (const chunk of chunks) {
            whole = reader.push(chunk, (type, body) => {
              must(body.length < wireBytes, 'a message is not longer than it may be');
              found.push(`${type} ${body.toString('hex')}`);
            });
          }
          return { messages: found, whole };
        };
        const buffer = Buffer.from(bytes);
        const step = 1 + (((bytes[0] ?? 0) ^ (bytes.at(-1) ?? 0)) % 23);
        const one = collect([buffer]);
        const pieces = collect(
          (function* () {
            for (let at = 0; at < buffer.length; at += step) yield buffer.subarray(at, at + step);
          })(),
        );
        must(one.whole === pieces.whole && one.messages.join('\n') === pieces.messages.join('\n'), 'chunks make no difference');
        return one.messages.length > 0;
      },
    },
    {
      name: 'wire message',
      // the type, then the body
      seeds: [
        ...typed(wireType.frame, all(frames)),
        ...typed(wireType.pass, all(answers)),
        ...typed(wireType.durable, all(answers)),
        ...typed(wireType.refuse, all(refusals)),
        ...typed(wireType.hello, all(objects)),
      ],
      read: (bytes) => bytes.length > 0 && readBody(bytes[0]!, Buffer.from(bytes.subarray(1))),
    },
  ];
}

/** Whether a key stands twice in an object of valid JSON: by tokens, unlike the entry reader. */
function hasTwice(text: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g) ?? [];
  for (const [i, token] of tokens.entries()) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (token.startsWith('"') && tokens[i + 1] === ':') {
      const key = JSON.parse(token) as string;
      if (open.at(-1)!.has(key)) return true;
      open.at(-1)!.add(key);
    }
  }
  return false;
}

function messages(): Parser[] {
  const entries = vectors('entries');
  const frames = vectors('messages');
  const fixture = sampleLedger({ pairs: 1, dropped: true, erased: true });
  const entrySeeds = [...entries.accept, ...entries.reject].map((one: string | { text?: string; hex?: string }) =>
    typeof one === 'string' ? utf8(one) : one.text === undefined ? fromHex(one.hex ?? '')! : utf8(one.text),
  );
  const frameSeeds = [...frames.accept, ...frames.doubtful, ...frames.reject].map((one: { frame?: string; frameHex?: string }) =>
    one.frame === undefined ? fromHex(one.frameHex!)! : utf8(one.frame),
  );
  return [
    {
      name: 'entry',
      seeds: [...entrySeeds, ...fixture.leaves],
      mostBytes: entryBytes + 1,
      read: (bytes) => {
        const entry = readEntry(bytes);
        if (entry instanceof EntryProblem) return false;
        const text = utf8Text(bytes);
        must(text !== undefined && !/[\r\n]/.test(text), 'an entry is one line of UTF-8');
        must(JSON.stringify(JSON.parse(text!)) === JSON.stringify(entry), 'an entry is what its JSON is');
        must(!hasTwice(text!), 'no key stands twice');
        return true;
      },
    },
    {
      name: 'message',
      seeds: frameSeeds,
      read: (bytes) => {
        const message = readMessage(bytes);
        const reader = new MessageReader();
        const step = 1 + (bytes.length % 7);
        for (let at = 0; at < bytes.length; at += step) reader.push(bytes.subarray(at, at + step));
        must(JSON.stringify(reader.end()) === JSON.stringify(message), 'chunks make no difference');
        if (message.type === 'opaque') return false;
        JSON.parse(Buffer.from(bytes).toString());
        return true;
      },
    },
    {
      name: 'lines',
      seeds: ['', '\n', 'a\nb\r\n\nc', 'x'.repeat(40)].map(utf8),
      read: (bytes) => {
        const splitter = new LineSplitter(16);
        const random = new Random(bytes.length);
        const units = [];
        for (let at = 0; at < bytes.length;) {
          const end = Math.min(bytes.length, at + 1 + random.below(20));
          units.push(...splitter.push(bytes.subarray(at, end)));
          must(splitter.heldBytes <= 16, 'no more than a unit is held');
          at = end;
        }
        units.push(...splitter.end());
        must(
          units.every((unit) => unit.bytes.length <= 16),
          'no unit is longer than it may be',
        );
        const line = Uint8Array.of(0x0a);
        must(equal(concat(...units.flatMap((unit) => (unit.terminated ? [unit.bytes, line] : [unit.bytes]))), bytes), 'no byte is lost');
        return true;
      },
    },
  ];
}

/** What comes over HTTP, before it is a message. */
function http(): Parser[] {
  const streams = vectors('sse').streams.map(({ stream, streamHex }: { stream?: string; streamHex?: string }) =>
    stream === undefined ? fromHex(streamHex!)! : utf8(stream),
  );
  const content = utf8('{"jsonrpc":"2.0","id":1,"result":{}}'.repeat(9));
  const codings = ['gzip', 'deflate', 'br', 'zstd', 'gzip, br'];
  const encoded = [
    gzipSync(content),
    deflateSync(content),
    brotliCompressSync(content),
    zstdCompressSync(content),
    brotliCompressSync(gzipSync(content)),
  ];
  const most = 1_000;
  return [
    {
      name: 'server-sent events',
      seeds: streams,
      read: (bytes) => {
        const cut = (step: number): SseBlock[] => {
          const cutter = new SseCutter();
          const blocks = [];
          for (let at = 0; at < bytes.length; at += step) blocks.push(...cutter.push(bytes.subarray(at, at + step)));
          return [...blocks, ...cutter.end()];
        };
        const told = (blocks: SseBlock[]): string =>
          JSON.stringify(
            blocks.flatMap(({ kind, data, event, id, retryMs }) => (kind === 'comment' ? [] : [[kind, data && hex(data), event, id, retryMs]])),
          );
        const whole = cut(bytes.length);
        const pieces = cut(1 + (bytes.length % 7));
        must(told(whole) === told(pieces), 'chunks make no difference');
        for (const blocks of [whole, pieces]) {
          must(equal(concat(...blocks.map(({ raw }) => raw)), bytes), 'no byte is lost');
          for (const { raw, envelope, data } of blocks)
            must(equal(joinSse(envelope, data) ?? new Uint8Array(0), raw), 'a block is what its parts are');
        }
        return whole.some(({ kind }) => kind === 'event');
      },
    },
    {
      name: 'headers',
      seeds: ['Authorization: Bearer x', 'Mcp-Name: =?base64?w6k=?=', 'Location: https://a:b@c/?token=d', 'X: '].map(utf8),
      read: (bytes) => {
        const text = textOf(bytes);
        const value = headerValue(text);
        must(/^[\t\x20-\x7e]+$/.test(value) && headerText(value) === text, 'a value is read as it was written');
        const [name = '', ...rest] = text.split(':');
        const [[, said] = ['', '']] = recorded([name, rest.join(':')]);
        must(!/token|secret|authorization/i.test(name) || said.endsWith('[credential]'), 'no credential is recorded');
        return true;
      },
    },
    {
      name: 'content encoding',
      // the coding, then the body
      seeds: encoded.map((body, i) => concat(Uint8Array.of(i), body)),
      share: 0.02,
      read: async (bytes) => {
        const { bytes: decoded, problem } = await decodeContent(bytes.subarray(1), codings[(bytes[0] ?? 0) % codings.length], most);
        must(decoded.length <= most, 'no more comes out than was asked for');
        return problem === undefined;
      },
    },
  ];
}

/** What a forger of a report hands on: a head, and chunks as they are before they are zipped. */
interface ForgedReport {
  head: Record<string, unknown>;
  chunks: Record<string, string>;
}

function reports(): Parser[] {
  const { vkey: text, accept } = vectors('reports') as { vkey: string; accept: { head: string; chunks: Record<string, string> }[] };
  const vkey = parseVkey(nodeCrypto, text)!;
  const isZipped = (name: string): boolean => !name.startsWith('hashes');
  const opened = accept.map(({ head, chunks }): ForgedReport => {
    const bytes = (name: string): Uint8Array => {
      const stored = fromBase64(chunks[name]!)!;
      return isZipped(name) ? gunzipSync(stored) : stored;
    };
    return {
      head: JSON.parse(textOf(fromBase64(head)!.slice(32))) as Record<string, unknown>,
      chunks: Object.fromEntries(Object.keys(chunks).map((name) => [name, base64(bytes(name))])),
    };
  });
  const chunk = (name: string): Uint8Array[] => opened.flatMap(({ chunks }) => (chunks[name] === undefined ? [] : [fromBase64(chunks[name])!]));
  const genuine = new Set(chunk('entries-0').flatMap((bytes) => decodeEntries(bytes)!.entries.map(({ leaf }) => textOf(leaf))));
  return [
    {
      name: 'head of a report',
      seeds: opened.map(({ head }) => utf8(JSON.stringify(head))),
      // with its hash, which nothing that is changed would have
      read: (bytes) => typeof parseReportHead(nodeCrypto, base64(concat(nodeCrypto.sha256(bytes), bytes))) !== 'string',
    },
    {
      name: 'entries of a report',
      seeds: chunk('entries-0'),
      read: (bytes) => {
        const decoded = decodeEntries(bytes);
        if (decoded) must(decoded.entries.length <= 1_000, 'a block is bounded');
        return decoded !== undefined;
      },
    },
    {
      name: 'content of a report',
      seeds: chunk('content-0'),
      read: (bytes) => {
        const { items, isWhole } = decodeReportContent(bytes, 5);
        for (const item of items.flat()) if (item?.state === 'kept') must(item.salt.length === 16, 'a kept segment has its salt');
        return isWhole;
      },
    },
    {
      name: 'report',
      seeds: opened.map((one) => utf8(JSON.stringify(one))),
      share: 0.1,
      read: async (bytes) => {
        let given: ForgedReport;
        try {
          given = JSON.parse(textOf(bytes)) as ForgedReport;
          if (Object.values(given.chunks).some((one) => typeof one !== 'string')) return false;
        } catch {
          return false;
        }
        const stored = new Map<string, Uint8Array>();
        const listed: Record<string, unknown> = {};
        for (const [name, one] of Object.entries(given.chunks)) {
          const plain = Buffer.from(one, 'base64');
          stored.set(name, isZipped(name) ? gzipSync(plain, { level: 1 }) : plain);
          listed[name] = { sizeBytes: plain.length, sha256: base64(nodeCrypto.sha256(stored.get(name)!)) };
        }
        const json = utf8(JSON.stringify({ ...given.head, chunks: listed }));
        const seen: string[] = [];
        const { exit, opener, head } = await verifyReport({
          crypto: nodeCrypto,
          source: {
            head: async () => base64(concat(nodeCrypto.sha256(json), json)),
            chunk: async (name) => {
              const found = stored.get(name);
              return found && base64(found);
            },
            names: () => [...stored.keys()],
          },
          vkeys: [vkey],
          wanted: { nowS: 0 },
          onEntry: ({ leaf, isVerified }) => void (isVerified && seen.push(textOf(leaf))),
        });
        if (exit === 0) for (const leaf of seen) must(genuine.has(leaf), 'what is said to hold is what was signed');
        for (const { first } of head?.blocks ?? []) await opener?.open(first);
        return exit === 0;
      },
    },
  ];
}

async function proofs(folder: string): Promise<Parser[]> {
  const files = vectors('proof-files');
  const fileSeeds = [...files.accept, ...files.reject].map((one: string | { text: string }) => utf8(typeof one === 'string' ? one : one.text));
  // real ones, with content
  const fixture = sampleLedger({ pairs: 2, dropped: true });
  const ledger = join(folder, 'ledger');
  writeFixture(fixture.files(), ledger);
  const published = new PublishedLog(ledger);
  const made = fixture.leaves.map((_, index) => makeProof(published, index, index % 3 === 2).bytes);
  const hashes = new Set(fixture.leaves.map((leaf) => hex(hashLeaf(nodeCrypto, leaf))));
  const logKey = parseVkey(nodeCrypto, fixture.key.vkey)!;
  const extras = made.flatMap((bytes) => {
    const file = parseProofFile(bytes);
    return 'problem' in file || !file.extra ? [] : [file.extra];
  });
  const plainExtra =
    '{"sworn":1,"leaf":"{}","segments":[{"salt":"AAAAAAAAAAAAAAAAAAAAAA==","text":"x"},{"hash":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","sizeBytes":1}]}';
  const bombs = [proofOpenedBytes + 1, proofOpenedBytes * 8].map((count) => new Uint8Array(gzipSync(Buffer.alloc(count, 0x20))));

  const log = new TestLog();
  const known = new Set([3, 5, 8, 9].map((size) => log.text(size)));
  const body = (oldSize: number, size: number) => formatAddCheckpoint({ oldSize, proof: log.proof(oldSize, size), checkpoint: log.note(size) });
  const requests = [body(0, 3), body(3, 5), body(0, 5), body(5, 8), body(8, 9), body(9, 9)];
  const witnessFolder = join(folder, 'witness');
  mkdirSync(witnessFolder);
  const key = await witnessKey(witnessFolder, 'w.example/fuzz');
  const witness = new Witness({ logs: [log.vkey], key, store: await WitnessStore.open(witnessFolder, key.cosigner) });

  return [
    {
      name: 'proof file',
      seeds: [...fileSeeds, ...made],
      read: (bytes) => {
        const file = parseProofFile(bytes);
        if ('problem' in file) {
          must(file.line >= 0 && file.message !== '', 'a mistake has a line and words');
          return false;
        }
        must(equal(formatProofFile(file), bytes), 'a proof file is written as it was read');
        return true;
      },
    },
    {
      name: 'extra of a proof',
      seeds: [...extras, utf8(plainExtra), new Uint8Array(gzipSync(plainExtra)), ...bombs],
      share: 0.02,
      read: async (bytes) => {
        const extra = await readExtra(nodeCrypto, bytes);
        if (typeof extra === 'string') return false;
        must((extra.leaf?.length ?? 0) <= 3 * proofOpenedBytes, 'no more is unzipped than may be');
        return true;
      },
    },
    {
      name: 'proof, verified',
      seeds: made,
      share: 0.02,
      read: async (bytes) => {
        const { exit, leafHash, index, entry, contentHolds } = await verifyProof({
          crypto: nodeCrypto,
          bytes,
          vkeys: [logKey],
          wanted: { nowS: 1_800_000_000 },
        });
        must(entry === undefined || (leafHash !== undefined && index !== undefined), 'an entry that is shown has a place');
        if (exit !== 0) return false;
        must(hashes.has(hex(leafHash!)) && hex(hashLeaf(nodeCrypto, fixture.leaves[index!]!)) === hex(leafHash!), 'only an entry of the log holds');
        must(contentHolds || entry !== undefined, 'what holds is an entry');
        return true;
      },
    },
    {
      name: 'add-checkpoint',
      seeds: requests,
      read: (bytes) => {
        const request = parseAddCheckpoint(bytes);
        if (typeof request === 'string') return false;
        must(equal(formatAddCheckpoint(request), bytes), 'a request is written as it was read');
        return true;
      },
    },
    {
      name: 'witness',
      seeds: requests,
      share: 0.02,
      read: async (bytes) => {
        const answer = await witness.addCheckpoint(bytes);
        must([200, 400, 403, 404, 409, 422].includes(answer.status), `an answer is one of C2SP's, not ${answer.status}`);
        if (answer.status !== 200) return false;
        const request = parseAddCheckpoint(bytes);
        const note = typeof request === 'string' ? undefined : parseNote(request.checkpoint);
        must(note !== undefined && known.has(note.text), 'only what the log has signed is cosigned');
        const [line] = parseSignatureLines(answer.body) ?? [];
        must(line !== undefined && verifyCosignature(nodeCrypto, key.cosigner, note!.text, line) !== undefined, 'a cosignature holds');
        return true;
      },
    },
  ];
}
