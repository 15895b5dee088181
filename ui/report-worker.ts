/**
 * The report's other half, off the page's own thread: it verifies the data, makes rows of the entries that the verifier has seen, and answers the questions of the app from them.
 * Must stay true: a row comes only from an entry that went through the verifier, and evidence is stated only once it is computed.
 */
import { Projection } from '../src/analysis/projection.ts';
import { MemoryBackend } from '../src/analysis/memory-backend.ts';
import { needlesOf } from '../src/analysis/filter.ts';
import { PackedRows } from '../src/analysis/packed-rows.ts';
import type { AnalysisOptions } from '../src/analysis/options.ts';
import type { EvidenceState } from '../src/analysis/views.ts';
import { hex, lossyText, utf8 } from '../src/bytes/bytes.ts';
import { parseReportHead } from '../src/verify/report-data.ts';
import { verifyReport, type ReportVerification } from '../src/verify/report.ts';
import { pageCrypto } from './crypto.ts';
import { detailOf } from './report-detail.ts';
import { evidenceOf, unverified, verifying } from './report-evidence.ts';

/** What the page hands over: the texts of its data elements, those of chunks as UTF-8. */
export interface ReportTexts {
  /** Name of the file, for commands. */
  file: string;
  head: string | undefined;
  chunks: readonly [string, Uint8Array<ArrayBuffer>][];
}

/** So long the overview waits for the verification to end, before it says what was read so far: that of very many entries takes longer in any case. */
const patienceMs = { usual: 1_000, ofMany: 250, atMost: 5_000 };
const manyEntries = 20_000;
const tellEveryMs = 100;
/** How often the overview is told of rows while they are read. */
const rowsEveryMs = 2_000;

/** Reads a report. Answers can be asked for at once. */
export function readReport(texts: ReportTexts): MemoryBackend {
  const chunks = new Map(texts.chunks);
  const source = {
    head: () => Promise.resolve(texts.head),
    // between two chunks questions are answered: how far the verification is, and what is there so far
    chunk: async (name: string) => {
      await new Promise((resolve) => setTimeout(resolve, 0));
      const bytes = chunks.get(name);
      return bytes === undefined ? undefined : lossyText(bytes);
    },
    names: () => texts.chunks.map(([name]) => name),
  };
  const head = texts.head === undefined ? undefined : parseReportHead(pageCrypto, texts.head);
  const about = head === undefined || typeof head === 'string' ? undefined : head;
  const origin = about?.checkpoint.split('\n', 1)[0] ?? '';
  const id = /[0-9a-f]{32}$/.exec(origin)?.[0] ?? hex(pageCrypto.sha256(utf8(origin))).slice(0, 32);
  const rows = new PackedRows();
  const projection = new Projection(id, { ...(about?.reading as Omit<AnalysisOptions, 'crypto'> | undefined), crypto: pageCrypto }, rows);
  let evidence: EvidenceState = verifying(id, texts.file, 0);
  let found: ReportVerification | undefined;
  let lastAt = about?.madeAt ?? '';
  let lastIndex = 0;
  let toldMs = 0;
  let toldRowsMs = -Infinity;
  /** Before there are any, the overview would say that nothing happened. */
  let haveRows = (): void => {};
  const firstRows = new Promise<void>((resolve) => (haveRows = resolve));
  const dueEntries = about?.blocks.reduce((sum, block) => sum + block.entries, 0) ?? 0;
  let isWhole = false;

  const check = async (isFirst: boolean): Promise<void> => {
    evidence = { ...verifying(id, texts.file, 0), name: about?.name ?? '' };
    backend.changed({ evidence: true });
    try {
      found = await verifyReport({
        crypto: pageCrypto,
        source,
        vkeys: [],
        isOwnKeyTaken: true,
        wanted: { nowS: Math.floor(Date.now() / 1_000) },
        clock: () => performance.now(),
        // a turn of the event loop: questions are answered meanwhile
        pause: () => new Promise((resolve) => setTimeout(resolve)),
        onProgress: (done) => {
          evidence.progress = done;
          const { size } = rows.entries;
          if (size > 0) haveRows();
          if (performance.now() - toldMs < tellEveryMs) return;
          toldMs = performance.now();
          if (!isWhole && size > 0 && toldMs - toldRowsMs > rowsEveryMs) {
            toldRowsMs = toldMs;
            projection.end();
            backend.changed({ evidence: true, entries: size });
          } else backend.changed({ evidence: true });
        },
        ...(isFirst
          ? {
              onEntry: ({ index, entry, attributes, frame }) => {
                lastAt = entry.time;
                lastIndex = index;
                projection.take({ index, entry, attributes, ...(frame === undefined ? {} : { frame }) });
              },
            }
          : {}),
      });
      evidence = evidenceOf(id, texts.file, found, new Date().toISOString());
      if (isFirst) projection.weigh(evidence, lastIndex, lastAt);
    } catch (error) {
      evidence = unverified(texts.file, error instanceof Error ? error.message : String(error));
    }
    projection.end();
    isWhole = true;
    backend.changed(isFirst ? { evidence: true, entries: rows.entries.size, calls: rows.calls.size } : { evidence: true });
  };

  const backend = new MemoryBackend({
    rows,
    entry: async (ledger, index) => {
      await whole;
      const seen = ledger === id ? await found?.opener?.open(index) : undefined;
      return seen === undefined ? undefined : detailOf(id, seen);
    },
    textsIn: async (_, wanted) => {
      const inEntries = new Map<number, string[]>();
      const needles = wanted.map((text) => [text, needlesOf(text)] as const);
      for (const { index, kind } of rows.entries.packed.each(rows.entries.all(), 'index', 'kind')) {
        const seen = await found?.opener?.open(index);
        if (seen === undefined) continue;
        const content =
          `${kind === 'message' || kind === 'batch' ? lossyText(seen.frame?.bytes ?? new Uint8Array(0)) : ''}\n${JSON.stringify(seen.attributes)}`.toLowerCase();
        const there = needles.filter(([, all]) => all.some((needle) => content.includes(needle))).map(([text]) => text);
        if (there.length > 0) inEntries.set(index, there);
      }
      return inEntries;
    },
    evidence: () => [evidence],
    verify: () => check(false),
    // "now" is when the report was made: what is open was open then
    now: () => about?.madeAt ?? lastAt,
    zone: 'UTC',
    behind: () => (isWhole ? 0 : Math.max(0, dueEntries - rows.entries.size)),
  });
  const whole = check(true);
  const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
  const patience = after(dueEntries > manyEntries ? patienceMs.ofMany : patienceMs.usual);
  backend.ready = whole;
  backend.begun = Promise.race([whole, Promise.all([patience, firstRows]), after(patienceMs.atMost)]).then(() => projection.end());
  return backend;
}

interface Question {
  id: number;
  method: string;
  args: unknown[];
}

const methods: ReadonlySet<string> = new Set([
  ...[
    'evidence',
    'overview',
    'timeline',
    'sessions',
    'calls',
    'call',
    'entries',
    'entry',
    'tools',
    'tool',
    'entities',
    'matrix',
    'entity',
    'findings',
    'verify',
  ],
]);

/** What is used of a worker's own end. */
interface Port {
  postMessage(value: unknown): void;
  addEventListener(type: 'message', listener: (event: { data: ReportTexts | Question }) => void): void;
}

/** In a worker: the first message is the report, every other one a question. */
export function serveReport(port: Port): void {
  let backend: MemoryBackend | undefined;
  port.addEventListener('message', ({ data }) => {
    if (backend === undefined) {
      backend = readReport(data as ReportTexts);
      backend.subscribe((change) => port.postMessage({ change }));
      return;
    }
    const { id, method, args } = data as Question;
    if (!methods.has(method)) return;
    const asked = backend as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    asked[method]!(...args).then(
      (value) => port.postMessage({ id, value }),
      (error: unknown) => port.postMessage({ id, error: error instanceof Error ? error.message : String(error) }),
    );
  });
}
