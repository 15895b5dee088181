/** What `sworn verify --json` found, as the dashboard shows it. */
import { nodeCrypto } from '../crypto-node.ts';
import type { EvidenceState } from '../analysis/views.ts';
import type { Custody } from '../entry/entry.ts';
import { fingerprintOf } from '../ledger/keys.ts';
import { parseVkey } from '../tlog/note.ts';
import { stateOf, type Exit, type Finding, type FindingCode } from '../verify/finding.ts';
import type { CosignedBy } from '../verify/trust.ts';
import type { Witnessed } from '../verify/anchors.ts';
import { custodyMeans } from '../entry/custody.ts';
import { custodyWords, noCustodyWords } from './verify.ts';
import type { Checked } from '../dashboard/evidence.ts';

/** The fields of it that are used here. */
export interface VerifyJson {
  headline: string;
  exit: Exit;
  size: number;
  root?: string;
  vkey?: string;
  pinned: boolean;
  rootHolds: boolean;
  laterRecords: number;
  custody?: Custody;
  firstBad?: number;
  findings: Finding[];
  checked: string[];
  notChecked: string[];
  contentBytes: number;
  cosigned: CosignedBy[];
  witnessed: Witnessed[];
}

/** What is looked at, in the order in which it is, and the findings that are about it. */
const steps: readonly { name: string; codes: readonly FindingCode[]; ok: (found: VerifyJson) => string }[] = [
  {
    name: 'Signature',
    codes: ['checkpoint-missing', 'checkpoint-unreadable', 'signature', 'key', 'key-unknown'],
    ok: ({ size, pinned }) =>
      `the checkpoint over ${size} entries is signed by ${pinned ? 'the key that is known' : 'the key that the ledger names'}`,
  },
  {
    name: 'Known before',
    codes: ['origin', 'rollback', 'fork', 'key-changed'],
    ok: ({ pinned }) => (pinned ? 'it continues what was seen before' : 'nothing was known of it before'),
  },
  {
    name: 'Tree',
    codes: ['root', 'tile', 'tile-missing', 'bundle', 'bundle-missing'],
    ok: ({ size }) => `the hashes of all ${size} entries give the signed root`,
  },
  {
    name: 'Entries',
    codes: [
      'entry',
      'entry-unsupported',
      'leaf',
      'sequence',
      'units-missing',
      'units-repeated',
      'no-open',
      'after-close',
      'reference',
      'start',
      'gap',
    ],
    ok: () => 'each is well formed, and none is missing between them',
  },
  {
    name: 'Content',
    codes: [
      ...(['unreadable', 'segment', 'segment-missing', 'record', 'record-missing', 'torn-tail', 'encrypted', 'content', 'part', 'dropped'] as const),
      ...(['never-stored', 'erased', 'erased-unstated', 'erasure-unfinished', 'pruned', 'prune-unfinished'] as const),
    ],
    ok: ({ contentBytes }) => `${contentBytes} bytes of content are what their entries commit to`,
  },
  {
    name: 'Witnesses',
    codes: ['anchor', 'witness', 'quorum', 'stale', 'cosignature'],
    ok: ({ cosigned, witnessed }) =>
      cosigned.length > 0
        ? `${cosigned.length} known witnesses cosigned it`
        : witnessed.length > 0
          ? 'cosigned by keys that are not known here'
          : 'there is none',
  },
];

function stepOf({ name, codes, ok }: (typeof steps)[number], found: VerifyJson): EvidenceState['steps'][number] {
  const about = found.findings.filter(({ code, severity }) => codes.includes(code) && severity !== 'note' && severity !== 'warning');
  const [worst] = about.filter(({ severity }) => severity !== 'missing').concat(about);
  if (worst !== undefined) return { name, result: worst.severity === 'missing' ? 'unknown' : 'bad', detail: worst.message };
  // what was not reached says nothing
  if (name === 'Tree' && !found.rootHolds) return { name, result: 'unknown', detail: 'it was not rebuilt' };
  if (name === 'Witnesses' && found.cosigned.length === 0) return { name, result: 'unknown', detail: ok(found) };
  return { name, result: 'ok', detail: ok(found) };
}

/** What `headline` writes in capitals, as reports say it. */
const calm: readonly [string, string][] = [
  ['TAMPERED:', 'Tampered:'],
  ['ROLLED BACK OR FORKED:', 'Rolled back or forked:'],
  ['CANNOT CONCLUDE:', 'It cannot be concluded whether it holds:'],
];

/**
 * The headline as a report says it: without whose custody it is, which stands beside it, and without a full stop. Of a ledger whose first checkpoint is still to come there
 * is nothing to conclude, and nothing wrong.
 */
export function sentenceOf({ headline, custody, size, laterRecords }: Pick<VerifyJson, 'headline' | 'custody' | 'size' | 'laterRecords'>): string {
  if (size === 0 && laterRecords > 0) return 'Nothing is signed yet: the first checkpoint comes within 10 s while a recorder runs';
  const words = `${custody === undefined ? noCustodyWords : custodyWords[custody]}.`;
  const said = (headline.endsWith(words) ? headline.slice(0, -words.length) : headline).replace(/[,;.] *$/, '');
  const [loud, quiet] = calm.find(([word]) => said.startsWith(word)) ?? ['', ''];
  return `${quiet}${said.slice(loud.length)}`;
}

export function checkedOf(found: VerifyJson): Checked {
  const { exit, size, root, vkey, pinned, laterRecords, custody, firstBad, findings, checked, notChecked } = found;
  const publicKey = vkey === undefined ? undefined : parseVkey(nodeCrypto, vkey)?.publicKey;
  return {
    state: size === 0 && laterRecords > 0 && exit === 3 ? 'unverified' : stateOf[exit],
    sentence: sentenceOf(found),
    size,
    later: laterRecords,
    ...(root === undefined || !found.rootHolds || exit === 1 || exit === 5 ? {} : { root }),
    ...(publicKey === undefined ? {} : { keyFingerprint: fingerprintOf(publicKey) }),
    isPinned: pinned,
    ...(custody === undefined ? {} : { custody, custodyMeans: custodyMeans(custody) }),
    witnesses: witnessesOf(found),
    ...(firstBad === undefined ? {} : { firstBad }),
    findings,
    steps: steps.map((step) => stepOf(step, found)),
    checked,
    notChecked,
  };
}

/** The newest of each: whose cosignature was checked, and who only stands in the ledger. */
function witnessesOf({ cosigned, witnessed }: VerifyJson): EvidenceState['witnesses'] {
  const byName = new Map<string, EvidenceState['witnesses'][number]>();
  const put = (name: string, timeS: number, isVerified: boolean): void =>
    void byName.set(name, { name, at: new Date(Math.min(timeS, 8.64e12) * 1000).toISOString(), isVerified });
  for (const { name, signedAtS } of witnessed) put(name, signedAtS, false);
  for (const { witness, timeS } of cosigned) put(witness, timeS, true);
  return [...byName.values()];
}

/** Commands that repeat it elsewhere. */
export function commandsFor(path: string): EvidenceState['commands'] {
  const ledger = /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
  return [
    { does: 'check it again, without this page', command: `sworn verify ${ledger}` },
    { does: 'keep today’s checkpoint elsewhere, to hold the ledger against later', command: `cp ${ledger}/log/checkpoint <elsewhere>` },
    { does: 'read it in the terminal', command: `sworn log --ledger ${ledger}` },
  ];
}
