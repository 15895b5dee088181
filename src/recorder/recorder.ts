/**
 * The recorder: the single writer behind a socket. Takes connections from taps, hands their units to `record.ts`, and sends answers when the ledger
 * has flushed. Connections outlive their sockets: a tap that comes back goes on where it was.
 */
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, statSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { hex } from '../bytes/bytes.ts';
import type {
  AccessEntry,
  AnchorEntry,
  CloseEntry,
  Entry,
  GapEntry,
  KeyEntry,
  PolicyEntry,
  RecoveryEntry,
  StartEntry,
  StopEntry,
} from '../entry/entry.ts';
import { errorKinds, SwornError, type ErrorCode } from '../errors.ts';
import { findKeyIn } from '../ledger/keys.ts';
import { threadedFiles } from '../ledger/file-thread.ts';
import { Ledger, type AppendOptions } from '../ledger/ledger.ts';
import { Interrupted } from '../ledger/rewrite.ts';
import {
  attributeBytes,
  connections as mostConnections,
  connectionsOfOthers,
  unitBytes,
  expireEveryMs,
  publishEveryMs,
  tapReturnMs,
} from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import { inForce, type Freeze } from '../policy/freeze.ts';
import { unruled } from '../policy/judge.ts';
import {
  encodeJson,
  readFrame,
  readJson,
  WireReader,
  wireType,
  wireVersion,
  type Hello,
  type Wait,
  type Welcome,
  moreUnits,
  type FrameUnit,
} from '../wire/wire.ts';
import { Accesses } from './access.ts';
import { Administration, administratorOf, isAct, type Administrator, type Parties } from './administration.ts';
import { Anchors } from './anchors.ts';
import { Approvals } from './approvals.ts';
import { Eraser } from './erase.ts';
import { bootId, Clock } from './clock.ts';
import { Connection, type Closing, type Opened } from './connection.ts';
import { difference, isSame, problemOf, reloadPolicy, type Loaded } from './control.ts';
import { readHead } from './http.ts';
import { Inbox } from './inbox.ts';
import { plus, readClose, readHello, readLost } from './input.ts';
import { KeyChanges } from './key-changes.ts';
import { Limits } from './limiting.ts';
import { isServed, type Lock } from './lock.ts';
import { Openings } from './openings.ts';
import type { RecorderOptions } from './options.ts';
import { statusForOthers, statusOf, type Status } from './status.ts';
import type { Native } from './native.ts';
import { isChildOf } from '../processes.ts';
import { custodyOf, peerOf, type Peer } from './peer.ts';
import { isTrustedTap, readPrincipal } from './principals.ts';
import { Pinner } from './pins.ts';
import { Pruner } from './prune.ts';
import { resumeLong } from './frame.ts';
import { recordProgress } from './progress.ts';
import { recordOpening, recordRefusal, recordReturn } from './own-entries.ts';
import { finishBatch, record, type RecordDeps } from './record.ts';
import { Searcher } from './searcher.ts';
import { seal, type Attributes } from './seal.ts';
import { Storms } from './storms.ts';
import { bury, State, unbury, type RecordedPolicy } from './state.ts';

/** So much text fits into an attribute, however it is escaped. */
const attributeChars = attributeBytes / 8;
const ending = { reloaded: false, problem: 'the recorder is ending' };
/** How long a socket may be open without a word. */
const helloWaitMs = 10_000;
/** How long the end waits for sockets that should close by themselves. */
const endWaitMs = 1_000;

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #native: Native | { missing: string };
  readonly #lock: Lock;
  readonly #log: (line: string) => void;
  readonly #clock = new Clock();
  readonly #deps: RecordDeps & { freezes: Freeze[] };
  readonly #ledger: Ledger;
  /** In force. */
  #policy: Loaded;
  /** As the ledger says it. */
  #recordedPolicy: RecordedPolicy | undefined;
  #findKey: Buffer | undefined;
  #linkKey: Buffer | undefined;
  readonly #searcher = new Searcher();
  readonly #limits: Limits;
  readonly #storms: Storms;
  readonly #anchors: Anchors;
  readonly #keys: KeyChanges;
  /** As they were logged, by what is said when they are over. */
  readonly #problems: Record<string, string | undefined> = {};
  readonly #eraser: Eraser;
  readonly #pruner: Pruner;
  readonly #pinner: Pinner;
  readonly #accesses: Accesses;
  readonly #administration: Administration;
  readonly #approvals: Approvals;
  #reloading: Promise<unknown> = Promise.resolve();
  readonly #connections: Map<string, Connection>;
  /** What remains of closed ones. */
  readonly #closed: Map<string, Connection>;
  readonly #openings: Openings;
  readonly #sockets = new Set<Socket>();
  /** Nothing more is taken from these. One that merely closed may have left something to be worked on. */
  readonly #refused = new WeakSet<Socket>();
  /** How many of them each account has; `undefined`: of the kernel that does not say whose they are. */
  readonly #socketsOf = new Map<number | undefined, number>();
  readonly #taps = new Map<Connection, Socket>();
  readonly #startedAt = performance.now();
  readonly #onEnd: (status: number) => void;
  #server: Server | undefined;
  #idle: NodeJS.Timeout | undefined;
  /** Who only looks what waits for a person: that alone keeps no recorder from ending. */
  readonly #onlookers = new Set<Socket>();
  #busyAtMs = performance.now();
  /** Written once everything that it covers is durable. */
  #snapshot: { size: number; text: string } | undefined;
  /** The `start` entry could not be stored: it is due. */
  #startDue: (() => void) | undefined;
  #timers: NodeJS.Timeout[] = [];
  #ending = false;
  #entriesAtStart = 0;

  /**
   * Opens the ledger and takes up what an earlier recorder left. The caller holds the lock.
   * @throws SwornError as `Ledger.open`
   */
  constructor(
    options: RecorderOptions,
    native: Native | { missing: string },
    lock: Lock,
    log: (line: string) => void,
    onEnd: (status: number) => void,
    policy: Loaded = { compiled: unruled },
  ) {
    this.#options = options;
    this.#policy = policy;
    this.#native = native;
    this.#lock = lock;
    this.#log = log;
    this.#onEnd = onEnd;
    this.#limits = new Limits(policy.compiled.limits, this.#clock);
    const state = new State(options.ledger, policy.compiled, this.#limits);
    this.#connections = state.connections;
    this.#closed = state.closed;
    this.#ledger = Ledger.open(
      options.ledger,
      options.keysHome,
      { from: Math.max(0, state.from - 1), keys: (folder) => state.open(() => findKeyIn(folder)), entry: (entry) => state.replay(entry) },
      {
        flushed: () => this.#flushed(),
        recordable: (recordable, error) => this.#recordableChanged(recordable, error),
        signing: (problem) => this.#problemChanged(problem, 'whoever holds the key does not sign', 'checkpoints are signed again'),
        publishing: (problem) =>
          this.#problemChanged(problem, 'no checkpoint can be published, the older one stands', 'checkpoints are published again'),
        keyLost: (path) => this.#log(`${path} has no key for the open segment any more: what it holds cannot be opened, a new one is begun`),
        fatal: (error) => {
          this.#log(`fatal: ${error.message}`);
          this.#onEnd(errorKinds['sync-failed'].exit);
        },
      },
      threadedFiles(),
      undefined,
      policy.encryption,
    );
    this.#limits.open(() => this.#deps.findKey());
    this.#limits.begin();
    this.#storms = new Storms({ clock: this.#clock, append: (entry, attributes, options, done) => this.#append(entry, attributes, options, done) });
    this.#openings = new Openings(options.ledger, (kind) => this.#clock.common(kind));
    this.#anchors = new Anchors({
      append: (anchored, attributes) => {
        const entry: AnchorEntry = { ...this.#clock.common('anchor'), ...anchored };
        this.#append(entry, attributes, { unpublished: true });
      },
      consistency: (sizes) => this.#ledger.consistency(sizes),
      log,
    });
    if (options.continues !== undefined && this.#ledger.size > 0)
      throw new SwornError('usage', `only a new ledger goes on from another one; ${options.ledger} has ${this.#ledger.size} entries`, {
        command: 'recorder',
      });
    this.#keys = new KeyChanges(
      {
        ledger: this.#ledger,
        append: (change) =>
          new Promise((done) =>
            this.#append({ ...this.#clock.common('key'), ...change } satisfies KeyEntry, {}, { urgent: true, essential: true }, done),
          ),
        log,
      },
      state.vkey,
    );
    this.#anchors.configure(policy.anchors);
    this.#ledger.cosign = (note) => this.#anchors.cosign(note);
    this.#pinner = new Pinner({ ledger: this.#ledger, clock: this.#clock, isOpen: (connection) => this.#connections.has(connection) }, state.pins);
    this.#approvals = new Approvals({
      clock: this.#clock,
      nextIndex: () => this.#ledger.nextIndex,
      append: (entry, attributes, waiter, appended) => this.#ledger.append(seal(entry, attributes), waiter, appended),
      recordAnswer: (entry, index, lines, isConcealed, connection) => recordRefusal(entry, index, lines, isConcealed, connection, this.#deps),
      recordProgress: (connection, entry, index, line) => recordProgress(connection, entry, index, line, this.#deps),
      parties: () => this.#parties(),
      inForce: () => ({ freezes: this.#deps.freezes, nowMs: this.#clock.wallUs() / 1000, pinner: this.#pinner }),
      tapUid: (connection) => this.#openings.get(connection)?.peer.uid,
    });
    this.#deps = {
      pinner: this.#pinner,
      approvals: this.#approvals,
      ledger: this.#ledger,
      clock: this.#clock,
      openingOf: (connection) => this.#openings.of(connection, this.#policy.digest),
      http: {
        principalOf: (principal, connection) => this.#openings.principalOf(principal, connection),
        linkOf: (session) => this.#linkOf(session),
      },
      freezes: inForce(state.freezes, this.#clock.wallUs() / 1000),
      searcher: this.#searcher,
      limits: { held: this.#limits, storms: this.#storms },
      findKey: () => (this.#findKey ??= findKeyIn(this.#ledger.keysFolder)),
    };
    this.#recordedPolicy = state.policy;
    this.#eraser = new Eraser(
      {
        ledger: this.#ledger,
        common: () => this.#clock.common('erasure'),
        holds: () => this.#administration.holds,
        isOpen: (connection) => this.#connections.has(connection),
        forget: (entry, index) => this.#forget(entry, index),
        snapshot: () => this.#snapshotAnew(),
        log,
        ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
      },
      state.erasures,
    );
    this.#pruner = new Pruner(
      {
        ledger: this.#ledger,
        eraser: this.#eraser,
        common: () => this.#clock.common('prune'),
        timeText: (us) => this.#clock.text(us),
        holds: () => this.#administration.holds,
        freezes: () => this.#deps.freezes,
        isOpen: (connection) => this.#connections.has(connection),
        witnessedSize: () => this.#anchors.witnessedSize,
        restatePolicy: async (from) => (await this.#restatePolicy(from)) && this.#pinner.restate(from),
        // its names may be those of programs of pruned entries, and it is made again
        forget: () => unlinkIfThere(join(options.ledger, 'run', 'digests.json')),
        snapshot: () => this.#snapshotAnew(),
        log,
      },
      state.pruned,
    );
    this.#accesses = new Accesses({
      append: (access, attributes, done) =>
        this.#append({ ...this.#clock.common('access'), ...access } satisfies AccessEntry, attributes, { urgent: true }, done),
      now: () => this.#clock.text(this.#clock.wallUs()),
    });
    this.#administration = new Administration(
      {
        ledger: this.#ledger,
        clock: this.#clock,
        keys: this.#keys,
        eraser: this.#eraser,
        pruner: this.#pruner,
        pinner: this.#pinner,
        accesses: this.#accesses,
        append: (entry, attributes, options, done) => this.#append(entry, attributes, options, done),
        freezes: () => this.#deps.freezes,
        freeze: (freezes) => this.#freeze(freezes),
        released: () => {
          this.#pruner.lookAgain();
          this.#expire();
        },
        reload: (administrator) => this.reload(administrator),
        end: (administrator) => void this.end('asked', administrator),
      },
      state.holds,
    );
    this.#entriesAtStart = this.#ledger.size;
    this.#recordStart(state);
    void this.#keys.catchUp();
    this.#recordPolicy();
    const now = performance.now();
    for (const connection of this.#connections.values()) {
      connection.lostAt = now;
      connection.wait = this.#waitOf(connection);
      connection.takeUp();
    }
    this.#takeUpParts();
    const answers = state.unansweredRefusals;
    for (const { connection, held } of state.unfinishedBatches) finishBatch(held, connection, this.#deps);
    for (const { connection: id, entry, index, token } of state.asked.values()) {
      const connection = this.#connections.get(id) ?? this.#closed.get(id);
      if (connection !== undefined) this.#approvals.loseAsked(entry, index, token, connection);
    }
    for (const { connection, entry, index, lines } of answers)
      recordRefusal(entry, index, lines, entry.redacted !== undefined, connection, this.#deps);
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  #append(entry: Entry, attributes: Attributes = {}, options: AppendOptions = {}, done?: (stored: boolean) => void): void {
    this.#ledger.append(seal(entry, attributes), { durable: () => done?.(true), failed: () => done?.(false) }, options);
  }

  #recordStart(state: State): void {
    const { ledger } = this;
    const boot = bootId();
    const start: StartEntry = {
      ...this.#clock.common('start'),
      ledger: ledger.id,
      origin: ledger.origin,
      vkey: this.#keys.announced,
      recorder: { version: this.#options.version, uid: process.getuid?.() ?? 0, pid: process.pid },
      ...(boot === undefined ? {} : { bootId: boot }),
      ...(state.lastKind === undefined && this.#options.continues !== undefined ? { continues: this.#options.continues } : {}),
    };
    this.#startDue = undefined;
    this.#append(start, { host: hostname() }, {}, (stored) => {
      if (!stored) this.#startDue = () => this.#recordStart(state);
    });
    if (ledger.cutBytes > 0) {
      const recovery: RecoveryEntry = { ...this.#clock.common('recovery'), reason: 'torn-record', cutBytes: ledger.cutBytes };
      this.#append(recovery);
    } else if (state.lastKind !== undefined && state.lastKind !== 'stop') {
      this.#append({ ...this.#clock.common('recovery'), reason: 'unclean-stop' } satisfies RecoveryEntry);
    }
    const backUs = state.lastTime === '' ? 0 : Date.parse(state.lastTime) * 1000 - this.#clock.wallUs();
    if (backUs > 1e6) {
      this.#append({ ...this.#clock.common('recovery'), reason: 'clock-set-back', backUs: Math.round(backUs) } satisfies RecoveryEntry);
    }
  }

  /** A change of the policy in force is an entry, with the whole text and what is different in it. */
  #recordPolicy(administrator?: Administrator): void {
    const { digest, text = '', path, compiled } = this.#policy;
    const pins = compiled.policy.tools?.file?.digest;
    const before = this.#recordedPolicy;
    if (before?.digest === digest && before?.pins === pins) return;
    const pinned = pins === undefined ? {} : { pins };
    this.#recordedPolicy = { index: this.#ledger.nextIndex, ...(digest === undefined ? {} : { digest }), ...pinned, text };
    const entry: PolicyEntry = {
      ...this.#clock.common('policy'),
      act: 'load',
      ...(digest === undefined ? {} : { digest }),
      ...(before?.digest === undefined ? {} : { previous: before.digest }),
      rules: compiled.rules.length,
      ...pinned,
      ...administrator,
    };
    this.#append(
      entry,
      { path, ...texts(text), ...(before === undefined ? {} : { diff: difference(before.text, text) }) },
      { urgent: true },
      (stored) => {
        // said again with the next change, or by the next recorder
        if (!stored) this.#recordedPolicy = before;
      },
    );
  }

  /** The policy in force is said again where the entry that says it is about to go, with as much of its text as is not erased. */
  #restatePolicy(from: number): Promise<boolean> {
    const recorded = this.#recordedPolicy;
    if (recorded?.digest === undefined || (recorded.index ?? -1) >= from) return Promise.resolve(true);
    const { digest, pins, text } = recorded;
    const index = this.#ledger.nextIndex;
    const rules = this.#policy.compiled.rules.length;
    const entry: PolicyEntry = {
      ...this.#clock.common('policy'),
      act: 'load',
      digest,
      previous: digest,
      rules,
      ...(pins === undefined ? {} : { pins }),
    };
    return new Promise((done) =>
      this.#append(entry, { path: this.#policy.path, ...texts(text) }, { urgent: true }, (stored) => {
        if (stored && this.#recordedPolicy === recorded) this.#recordedPolicy = { ...recorded, index };
        done(stored);
      }),
    );
  }

  /**
   * Reads the file again, while messages are judged by what is in force. One that is wrong changes nothing. Whoever delivers without waiting is told to wait before a rule that can refuse is in force.
   */
  reload(administrator?: Administrator): Promise<Record<string, unknown>> {
    // one after the other: what was read first must not come into force last
    const reloaded = this.#reloading.then(() => this.#reload(administrator));
    this.#reloading = reloaded.catch(() => undefined);
    return reloaded;
  }

  async #reload(administrator?: Administrator): Promise<Record<string, unknown>> {
    let loaded: Loaded;
    try {
      loaded = await reloadPolicy(this.#options.config, this.#policy);
    } catch (error) {
      return this.#ending ? ending : this.#reject(problemOf(error), administrator);
    }
    if (this.#ending) return ending;
    // a file that an editor is just replacing, or that somebody took away, would let everything pass
    if (this.#policy.digest !== undefined && (loaded.text ?? '').trim() === '') {
      return this.#reject(`${loaded.path} is ${loaded.text === undefined ? 'not there' : 'empty'}; write {} into it to have no rules`, administrator);
    }
    if (isSame(loaded, this.#policy)) return { reloaded: false, ...this.#digest() };
    try {
      await this.#ledger.encrypt(loaded.encryption);
    } catch (error) {
      return this.#ending ? ending : this.#reject(problemOf(error), administrator);
    }
    if (this.#ending) return ending;
    this.#policy = loaded;
    this.#limits.limiter.configure(loaded.compiled.limits);
    this.#anchors.configure(loaded.anchors);
    this.#pruner.lookAgain();
    this.#expire();
    this.#recordPolicy(administrator);
    for (const connection of this.#connections.values()) {
      connection.raise(this.#waitOf(connection));
      connection.rule(loaded.compiled);
      this.#trust(connection, this.#openings.get(connection)?.peer.uid);
      connection.tellUnreached(this.#mayRefuse);
    }
    for (const connection of this.#closed.values()) connection.rule(loaded.compiled);
    this.#log(`policy ${loaded.digest === undefined ? 'none' : loaded.digest.slice(0, 16)} is in force, ${loaded.compiled.rules.length} rules`);
    return { reloaded: true, ...this.#digest(), rules: loaded.compiled.rules.length };
  }

  #reject(problem: string, administrator?: Administrator): Record<string, unknown> {
    this.#log(`the policy file is not taken: ${problem}; the one before stays in force`);
    this.#append({ ...this.#clock.common('policy'), act: 'rejected', ...this.#digest(), ...administrator } satisfies PolicyEntry, {
      problem,
      path: this.#policy.path,
    });
    return { reloaded: false, problem, ...this.#digest() };
  }

  #digest(): { digest?: string } {
    return this.#policy.digest === undefined ? {} : { digest: this.#policy.digest };
  }

  #freeze(freezes: Freeze[]): void {
    this.#deps.freezes = freezes;
    for (const connection of this.#connections.values()) {
      connection.raise(this.#waitOf(connection));
      connection.tellUnreached(this.#mayRefuse);
    }
  }

  /** Parts of a frame that was arriving when the last recorder ended: its tap sends the rest only, so they are scanned again from the ledger. */
  #takeUpParts(): void {
    for (const { file, offset, part } of this.#ledger.unfinished) {
      const connection = this.#connections.get(part.connection);
      if (connection === undefined) continue;
      resumeLong(connection, part, file, offset, this.#clock.monotonicUs());
    }
  }

  async listen(): Promise<void> {
    const { socket: path } = this.#options;
    // We hold the ledger's lock, so whoever left its own socket is gone; one that was chosen may be another ledger's.
    if (await isServed(path)) throw new SwornError('lock-held', `another recorder listens at ${path}`);
    await this.#bind();
    this.#timers.push(setInterval(() => this.#guarded(() => this.#everySecond()), 1_000));
    this.#timers.push(setInterval(() => this.#guarded(() => this.#capture()), publishEveryMs));
    this.#timers.push(setInterval(() => this.#expire(), expireEveryMs));
    this.#eraser.resume();
    this.#pruner.resume();
    this.#expire();
    this.#watchIdle();
    this.#log(`listens at ${path}, ledger ${this.#ledger.id}, ${this.#ledger.size} entries`);
  }

  async #bind(): Promise<void> {
    const { socket: path, groupId } = this.#options;
    unlinkSocket(path);
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    const listening = once(server, 'listening');
    // No moment at which anybody else can connect: the file appears with the right mode. It is made within the call.
    const umask = process.umask(0o177);
    try {
      server.listen({ path, backlog: 511 });
    } finally {
      process.umask(umask);
    }
    await listening;
    if (groupId !== undefined) {
      chownSync(path, -1, groupId);
      chmodSync(path, 0o660);
    }
  }

  /** Somebody may have tidied up: a ledger without its folder would be written where nobody finds it, and without its socket nobody finds us. */
  #lookAfterPlaces(): void {
    const { socket: path, ledger } = this.#options;
    if (isGone(join(ledger, 'payload'))) {
      this.#log(`fatal: the folder ${ledger} was taken away`);
      unlinkSocket(path);
      this.#onEnd(errorKinds['ledger-foreign'].exit);
    } else if (isGone(path)) {
      this.#log(`the socket ${path} was taken away`);
      this.#server?.close();
      this.#bind().catch((error: Error) => this.#log(`cannot listen at ${path}: ${error.message}`));
    }
  }

  #accept(socket: Socket): void {
    if (this.#ending || this.#sockets.size >= mostConnections) {
      socket.destroy();
      return;
    }
    const peer = peerOf(socket, this.#native);
    const ofUid = this.#socketsOf.get(peer.uid) ?? 0;
    if (peer.uid !== process.getuid?.() && ofUid >= connectionsOfOthers) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    this.#socketsOf.set(peer.uid, ofUid + 1);
    clearTimeout(this.#idle);
    surviveWrites(socket);
    // who connects and says nothing must not keep this recorder from ending
    const silent = setTimeout(() => socket.destroy(), helloWaitMs);
    const reader = new WireReader();
    let connection: Connection | undefined;
    const receive = (type: number, body: Buffer): void => {
      if (this.#refused.has(socket)) return;
      clearTimeout(silent);
      if (type === wireType.frame && connection !== undefined) {
        const unit = readFrame(body);
        const head = unit?.head === undefined ? undefined : readHead(unit.head);
        if (unit === undefined || (unit.head === undefined) !== (head === undefined))
          this.#refuse(socket, 'wire-corrupt', 'a frame message cannot be read');
        else if (!isWhole(unit)) this.#refuse(socket, 'wire-corrupt', 'a frame is not cut into units as it must be');
        else if ((unit.head !== undefined) !== (connection.transport === 'http'))
          this.#refuse(socket, 'wire-corrupt', 'over HTTP, and only there, a frame begins with its head');
        else {
          if (head !== undefined) unit.head = head;
          this.#inTurn(connection, socket, (known) => known.isClosed || record(unit, known, this.#deps));
        }
      } else if (type === wireType.hello && connection === undefined) connection = this.#hello(socket, peer, readJson(body));
      else if (type === wireType.principal && connection?.transport === 'http') {
        const { who, principal } = readJson(body) ?? {};
        if (typeof who !== 'string' || typeof principal !== 'object' || principal === null)
          this.#refuse(socket, 'wire-corrupt', 'a principal message names nobody');
        else this.#inTurn(connection, socket, (known) => known.name(who, readPrincipal(principal as Record<string, unknown>)));
      } else if (type === wireType.close && connection !== undefined) {
        const close = readClose(readJson(body));
        this.#inTurn(connection, socket, (known) => known.isClosed || this.#recordClose(known, close));
      } else if (type === wireType.lost && connection !== undefined) {
        const lost = readJson(body);
        this.#inTurn(connection, socket, (known) => this.#lost(known, lost));
      } else if (type === wireType.ask && connection === undefined) this.#ask(socket, peer, readJson(body) ?? {});
      else if (type === wireType.frame || connection === undefined) this.#refuse(socket, 'wire-corrupt', 'the first message must be hello or ask');
    };
    const work = (chunk: Buffer): void => {
      try {
        if (!reader.push(chunk, receive)) this.#refuse(socket, 'wire-corrupt', 'this is not the protocol of a sworn tap');
      } catch (error) {
        this.#defect(socket, error as Error);
      }
      if (this.#ledger.congested) socket.pause();
      // nobody else is here whose entries could share the sync
      else if (this.#sockets.size === 1) this.#ledger.flushUrgent();
      // what is judged need not wait for the disk
      if (connection?.wait === 'verdict') connection.answer();
    };
    const inbox = new Inbox(
      socket,
      work,
      () => connection?.wait === 'none',
      () => !this.#ledger.congested,
    );
    socket.on('data', (chunk) => inbox.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      inbox.drain();
      clearTimeout(silent);
      this.#sockets.delete(socket);
      const isOnlooker = this.#onlookers.delete(socket);
      const left = this.#socketsOf.get(peer.uid)! - 1;
      if (left > 0) this.#socketsOf.set(peer.uid, left);
      else this.#socketsOf.delete(peer.uid);
      if (connection !== undefined && this.#taps.get(connection) === socket) {
        this.#taps.delete(connection);
        connection.socket = undefined;
        connection.lostAt = performance.now();
      }
      this.#watchIdle(isOnlooker);
    });
  }

  /** At once, or when a frame before it was looked through: then nobody is left who would catch what it throws. */
  #inTurn(connection: Connection, socket: Socket, work: (connection: Connection) => unknown): void {
    if (!connection.isPaused) {
      work(connection);
      return;
    }
    connection.inTurn(() => {
      try {
        work(connection);
      } catch (error) {
        this.#defect(socket, error as Error);
      }
    });
  }

  /** A stranger's input must not end the recorder for everybody else. */
  #defect(socket: Socket, error: Error): void {
    this.#log(`defect: ${error.stack}`);
    this.#refuse(socket, 'internal', `the recorder failed on a message: ${error.message}`);
  }

  #refuse(socket: Socket, code: ErrorCode, message: string): void {
    this.#refused.add(socket);
    socket.end(encodeJson(wireType.error, { code, message, hint: errorKinds[code].hint }));
    socket.destroySoon();
  }

  #hello(socket: Socket, peer: Peer, json: Record<string, unknown> | undefined): Connection | undefined {
    const hello = readHello(json);
    if (typeof hello === 'string') {
      this.#refuse(socket, 'wire-corrupt', hello);
      return undefined;
    }
    if (hello.wire[0] > wireVersion || hello.wire[1] < wireVersion) {
      this.#refuse(socket, 'wire-version', `the tap speaks wire versions ${hello.wire.join(' to ')}, this recorder ${wireVersion}`);
      return undefined;
    }
    if (hello.ledger !== undefined && hello.ledger !== this.#options.ledger) {
      this.#refuse(socket, 'recorder-refused', `this recorder writes ${this.#options.ledger}, not ${hello.ledger}`);
      return undefined;
    }
    if (hello.config !== undefined && hello.config !== this.#options.config) {
      this.#refuse(
        socket,
        'recorder-refused',
        `this recorder runs with ${this.#options.config === undefined ? 'the default configuration' : `the configuration ${this.#options.config}`}, not ${hello.config}`,
      );
      return undefined;
    }
    const tokenDigest = sha256Hex(hello.token);
    const known = this.#connections.get(hello.connection) ?? this.#closed.get(hello.connection);
    if (known !== undefined && known.opened.tokenDigest !== tokenDigest) {
      this.#refuse(socket, 'permission', 'this connection belongs to another tap');
      return undefined;
    }
    const connection = known ?? this.#open(hello, peer, tokenDigest);
    // Given up too early: the tap was stopped, or its machine was. After any other `close` it only has not heard of it.
    const isReturn = known !== undefined && (known.closed === 'tap lost' || (known.lostAt !== undefined && known.socket === undefined));
    if (connection.closed === 'tap lost') unbury(connection, { connections: this.#connections, closed: this.#closed });
    this.#taps.get(connection)?.destroy();
    this.#taps.set(connection, socket);
    if (this.#openings.get(connection) === undefined) this.#openings.set(connection, { hello, peer, isServerForeign: false });
    this.#trust(connection, peer.uid);
    connection.attach(socket, hello.aside);
    connection.admit(this.#waitOf(connection));
    const welcome: Welcome = {
      wire: wireVersion,
      wait: connection.wait,
      durable: { c2s: connection.settled[0], s2c: connection.settled[1] },
      resumed: known !== undefined,
      ledger: this.#options.ledger,
      ledgerId: this.#ledger.id,
      custody: connection.opened.custody,
      mode: connection.opened.mode,
      onUnrecordable: connection.unreached(this.#mayRefuse),
    };
    socket.write(encodeJson(wireType.welcome, welcome));
    if (connection.isClosed) {
      socket.write(encodeJson(wireType.closed));
      return connection;
    }
    if (known === undefined) recordOpening(connection, this.#deps);
    else if (isReturn && connection.isRecorded) recordReturn(connection, this.#deps, true);
    if (hello.receipt !== undefined && !this.#has(hello.receipt)) {
      this.#append({
        ...this.#clock.common('recovery'),
        reason: 'receipt-missing',
        connection: connection.id,
        receipt: hello.receipt,
      } satisfies RecoveryEntry);
    }
    return connection;
  }

  #trust(connection: Connection, uid: number | undefined): void {
    if (connection.transport === 'http') connection.trust(isTrustedTap(this.#policy.trustedTaps ?? [], uid, process.getuid?.()));
  }

  #linkOf(session: string): string {
    this.#linkKey ??= createHmac('sha256', this.#deps.findKey()).update('sworn link key v1').digest();
    return createHmac('sha256', this.#linkKey).update(session).digest('hex').slice(0, 32);
  }

  #has(receipt: { index: number; hash: string }): boolean {
    const hash = this.#ledger.leafHashAt(receipt.index);
    return hash !== undefined && hex(hash) === receipt.hash;
  }

  #open(hello: Hello, peer: Peer, tokenDigest: string): Connection {
    // A tap can name any process as its server, an administrator's shell for instance. Asked now: when the tap has ended, its server has another parent.
    const isChild = hello.serverPid === undefined || peer.pid === undefined ? undefined : isChildOf(hello.serverPid, peer.pid);
    const opened: Opened = {
      connection: hello.connection,
      transport: hello.transport,
      server: hello.server,
      ...(hello.client === undefined ? {} : { client: hello.client }),
      mode: this.#options.modeFloor === 'commit' ? 'commit' : hello.mode,
      onUnrecordable: hello.onUnrecordable,
      custody: custodyOf(peer, process.getuid?.()),
      overrides: hello.overrides,
      tokenDigest,
      ...(Object.keys(hello.labels).length === 0 ? {} : { labels: hello.labels }),
      ...(peer.uid === undefined ? {} : { observed: { uid: peer.uid } }),
      ...(peer.pid === undefined ? {} : { tapPid: peer.pid }),
      ...(isChild === true ? { serverPid: hello.serverPid! } : {}),
    };
    const connection = new Connection(opened, undefined, this.#policy.compiled);
    connection.limit(this.#limits);
    this.#connections.set(connection.id, connection);
    this.#openings.set(connection, { hello, peer, isServerForeign: isChild === false });
    return connection;
  }

  get #mayRefuse(): boolean {
    return this.#policy.compiled.canBlock || this.#deps.freezes.length > 0;
  }

  /** While the disk refuses, a connection that blocks must wait for every verdict, also in mode `observe`. */
  #waitOf(connection: Connection): Wait {
    if (connection.opened.mode === 'commit') return 'receipt';
    // what a rule may refuse must not be on its way before it was judged
    if (this.#mayRefuse) return 'verdict';
    return !this.#ledger.recordable && connection.blocksUnrecordable ? 'verdict' : 'none';
  }

  #recordableChanged(recordable: boolean, error: Error | undefined): void {
    this.#log(recordable ? 'the ledger can be written again' : `the ledger cannot be written: ${error?.message}`);
    // what it covers may just have been given back
    if (!recordable) this.#snapshot = undefined;
    else this.#startDue?.();
    for (const connection of this.#connections.values()) connection.raise(this.#waitOf(connection));
    if (!recordable) return;
    for (const connection of this.#connections.values()) {
      if (connection.isReturnDue) recordReturn(connection, this.#deps, true);
      this.#recordGap(connection);
    }
  }

  /** Logs a problem once, and that it is over; `over` tells them apart. */
  #problemChanged(problem: Error | undefined, is: string, over: string): void {
    if (this.#problems[over] === problem?.message) return;
    this.#problems[over] = problem?.message;
    this.#log(problem === undefined ? over : `${is}: ${problem.message}`);
  }

  #flushed(): void {
    for (const connection of this.#taps.keys()) connection.answer();
    if (!this.#ledger.congested) for (const socket of this.#taps.values()) if (socket.isPaused()) socket.resume();
    if (this.#snapshot !== undefined && this.#ledger.recordable && this.#ledger.size >= this.#snapshot.size) {
      State.write(this.#options.ledger, this.#snapshot.text);
      this.#snapshot = undefined;
    }
  }

  #lost(connection: Connection, json: Record<string, unknown> | undefined): void {
    const lost = readLost(json, this.#clock.wallUs());
    if (lost === undefined) return;
    const losses = (connection.losses ??= { lost: [0, 0], reason: 'no recorder', fromUs: lost.fromUs, untilUs: 0 });
    losses.lost[0] = plus(losses.lost[0], lost.c2s);
    losses.lost[1] = plus(losses.lost[1], lost.s2c);
    losses.untilUs = lost.untilUs;
    this.#recordGap(connection);
  }

  #recordGap(connection: Connection): void {
    const { losses } = connection;
    if (losses === undefined || !connection.isRecorded) return;
    if (connection.isReturnDue) recordReturn(connection, this.#deps, true);
    connection.losses = undefined;
    const gap: GapEntry = {
      ...this.#clock.common('gap'),
      connection: connection.id,
      reason: bounded(losses.reason, 64),
      lost: { c2s: losses.lost[0], s2c: losses.lost[1] },
      from: this.#clock.text(losses.fromUs),
      until: this.#clock.text(losses.untilUs),
    };
    this.#append(gap, {}, { urgent: true, essential: true }, (stored) => {
      // not even the reserve: the counts go on
      if (!stored)
        connection.losses =
          connection.losses === undefined
            ? losses
            : { ...losses, lost: [plus(losses.lost[0], connection.losses.lost[0]), plus(losses.lost[1], connection.losses.lost[1])] };
    });
  }

  #recordClose(connection: Connection, close: Closing): void {
    if (connection.isReturnDue) recordReturn(connection, this.#deps, true);
    if (!connection.isRecorded) recordOpening(connection, this.#deps, true);
    this.#recordGap(connection);
    this.#approvals.lose(connection);
    this.#storms.end(connection.id);
    connection.closed = close.reason;
    connection.closing = close;
    connection.closeDue = undefined;
    const { error, ...fields } = close;
    const entry: CloseEntry = {
      ...this.#clock.common('close'),
      connection: connection.id,
      ...fields,
      ...(connection.executableDigest === undefined ? {} : { executableDigest: connection.executableDigest }),
      ...(connection.uncaptured[0] + connection.uncaptured[1] === 0
        ? {}
        : { uncaptured: [connection.uncaptured[0], connection.uncaptured[1]] as [number, number] }),
    };
    this.#append(entry, error === undefined ? {} : { error }, { urgent: true, essential: true }, (stored) => {
      // its tap came back meanwhile
      if (connection.closing !== close) return;
      if (!stored) {
        // not even the reserve: tried again once the disk can be written
        connection.closed = undefined;
        connection.closeDue = close;
        return;
      }
      connection.socket?.write(encodeJson(wireType.closed));
      bury(connection, close.reason, { connections: this.#connections, closed: this.#closed });
      // the last one: strangers' tools may look now
      if (this.#connections.size === 0) {
        void this.#ledger.publish();
        this.#capture();
      }
      this.#watchIdle();
    });
  }

  /** What fails in a timer fails again in the next recorder, which finds the same ledger: it must not end it. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#log(`defect: ${(error as Error).stack}`);
    }
  }

  #everySecond(): void {
    this.#lookAfterPlaces();
    const { freezes } = this.#deps;
    if (freezes.length > 0) {
      const left = inForce(freezes, this.#clock.wallUs() / 1000);
      if (left.length < freezes.length) this.#freeze(left);
    }
    if (!this.#ledger.recordable) return;
    this.#limits.tick(this.#connections.values(), this.#storms);
    const now = performance.now();
    for (const connection of this.#connections.values()) {
      if (connection.isClosed || connection.isPaused) continue;
      if (connection.closeDue !== undefined) this.#recordClose(connection, connection.closeDue);
      else if (connection.lostAt !== undefined && now - connection.lostAt >= tapReturnMs) {
        this.#recordClose(connection, { reason: 'tap lost', delivered: [connection.delivered[0], connection.delivered[1]] });
      }
    }
  }

  #capture(): void {
    const text = this.#ending ? undefined : this.#snapshotText();
    if (text === undefined) return;
    this.#snapshot = { size: this.#ledger.nextIndex, text };
    if (this.#ledger.size >= this.#snapshot.size) this.#flushed();
  }

  /** Content of an entry is erased: nothing that we keep beside the ledger may say it again. */
  #forget(entry: Entry, index: number): void {
    if ('connection' in entry && entry.connection !== undefined)
      (this.#connections.get(entry.connection) ?? this.#closed.get(entry.connection))?.forget(entry, index);
    if (entry.kind === 'message') this.#approvals.forget(index);
    // its names are those of programs, and it is made again
    if (entry.kind === 'open') unlinkIfThere(join(this.#options.ledger, 'run', 'digests.json'));
    if (entry.kind === 'policy' && entry.act === 'load' && this.#recordedPolicy !== undefined && this.#recordedPolicy.digest === entry.digest)
      this.#recordedPolicy = { ...this.#recordedPolicy, text: '' };
  }

  /** Erases and prunes what is older than the policy says. */
  #expire(): void {
    const { contentMs, entriesMs } = this.#policy.compiled.policy.retention ?? {};
    if (this.#ending || !this.#ledger.recordable) return;
    const nowMs = this.#clock.wallUs() / 1000;
    const by = this.#policy.digest === undefined ? {} : { policyDigest: this.#policy.digest };
    const failed = (error: Error): void => void (error instanceof Interrupted || this.#log(`what is too old is still there: ${error.message}`));
    // first: what goes as a whole need not be erased before
    if (entriesMs !== undefined) this.#pruner.expire(nowMs, entriesMs, by).catch(failed);
    if (contentMs === undefined) return;
    this.#eraser.expire(nowMs - contentMs, by).then((answer) => {
      if (answer !== undefined && answer.erasures.length > 0) this.#log(`content of ${answer.entries} entries expired, ${answer.bytes} bytes`);
    }, failed);
  }

  /** The one that is there holds what may not be kept. */
  #snapshotAnew(): void {
    State.drop(this.#options.ledger);
    this.#capture();
  }

  /** None when it cannot be made (too long for one string): it is disposable, and the next start replays more. */
  #snapshotText(): string | undefined {
    try {
      return State.capture(
        this.#ledger.nextIndex,
        this.#connections.values(),
        this.#closed.values(),
        this.#deps.freezes,
        this.#recordedPolicy,
        {
          holds: this.#administration.holds,
          erasures: this.#eraser.toJSON(),
          pruned: this.#pruner.toJSON(),
          vkey: this.#keys.announced,
          pins: this.#pinner.pins,
          asked: this.#approvals.toJSON(),
          limits: this.#limits.toJSON(),
        },
        (principal, connection) => this.#limits.keyOf(principal, connection),
      );
    } catch (error) {
      this.#log(`no snapshot: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** `isOnlooker`: whoever came or went only looked. */
  #watchIdle(isOnlooker = false): void {
    clearTimeout(this.#idle);
    if (!isOnlooker) this.#busyAtMs = performance.now();
    const { idleMs } = this.#options;
    if (this.#ending || idleMs === undefined || this.#sockets.size > this.#onlookers.size || this.#connections.size > 0) return;
    const leftMs = Math.max(0, this.#busyAtMs + idleMs - performance.now());
    this.#idle = setTimeout(() => (this.#eraser.isBusy ? this.#watchIdle() : void this.end('idle')), leftMs);
  }

  #parties(): Parties {
    return {
      connections: [...this.#connections.values()],
      closed: this.#closed.values(),
      uidOf: (connection) => this.#openings.get(connection)?.peer.uid,
      isShared: this.#options.groupId !== undefined,
    };
  }

  #ask(socket: Socket, peer: Peer, question: Record<string, unknown>): void {
    const own = process.getuid?.();
    const what = String(question['what']);
    const refuse = (code: ErrorCode, message: string): void => this.#refuse(socket, code, message);
    if (what === 'status') {
      const isOurs = peer.uid === 0 || (peer.uid !== undefined && peer.uid === own);
      socket.end(encodeJson(wireType.reply, isOurs ? this.status() : statusForOthers(this.status())));
      return;
    }
    if (what === 'approvals') {
      this.#onlookers.add(socket);
      this.#watchIdle(true);
    }
    if (what === 'approvals' || what === 'decide') {
      const reply = (answer: Record<string, unknown>): void =>
        void socket.end(encodeJson(wireType.reply, { ledger: this.#options.ledger, ...answer }));
      const leave = this.#approvals.answer(what, question, peer, { reply, refuse });
      if (leave !== undefined) socket.on('close', leave);
      return;
    }
    if (!isAct(what)) {
      refuse('wire-corrupt', `nobody knows how to answer ${JSON.stringify(what)}`);
      return;
    }
    const administrator = administratorOf(peer, what, this.#parties());
    if (typeof administrator === 'string') {
      refuse('permission', administrator);
      return;
    }
    const reply = (answer: Record<string, unknown>): void => void socket.end(encodeJson(wireType.reply, { ledger: this.#options.ledger, ...answer }));
    this.#administration.answer(what, question, administrator, { reply, refuse });
  }

  /** What `sworn recorder status` shows. */
  status(): Status {
    return statusOf({
      options: this.#options,
      ledger: this.#ledger,
      policy: this.#policy,
      freezes: this.#deps.freezes,
      holds: this.#administration.holds,
      erasing: this.#eraser.status,
      pruned: this.#pruner.status,
      pins: this.#pinner.pins,
      anchors: this.#anchors.status(),
      limits: this.#limits.limiter,
      storms: this.#storms.size,
      connections: [...this.#connections.values()],
      uptimeMs: performance.now() - this.#startedAt,
      entriesAtStart: this.#entriesAtStart,
      lock: this.#lock.kind,
      missing: 'missing' in this.#native ? [this.#native.missing] : [],
    });
  }

  /** Stops accepting, drains, unlinks the socket, writes `stop`, and closes the ledger. The caller releases the lock. */
  async end(reason: StopEntry['reason'], more: Pick<StopEntry, 'by' | 'selfAdministered'> = {}): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    clearTimeout(this.#idle);
    for (const timer of this.#timers) clearInterval(timer);
    this.#server?.close();
    const closed = Promise.all([...this.#sockets].map((socket) => new Promise((done) => socket.once('close', done))));
    // What the taps have sent is on its way; a socket that is closed for reading keeps what they have not: they send it to the next recorder.
    for (const socket of this.#sockets) {
      if (![...this.#taps.values()].includes(socket)) socket.end();
      else socket.destroySoon();
    }
    // one that is stopped, or a stranger's, takes its time
    const impatient = setTimeout(() => this.#sockets.forEach((socket) => socket.destroy()), endWaitMs);
    await closed;
    clearTimeout(impatient);
    await Promise.all([...this.#connections.values()].map((connection) => connection.idle()));
    for (const connection of this.#connections.values()) this.#recordGap(connection);
    unlinkSocket(this.#options.socket);
    this.#approvals.end();
    this.#accesses.end();
    this.#pruner.end();
    this.#storms.end();
    await this.#eraser.end();
    this.#append({ ...this.#clock.common('stop'), reason, ...more } satisfies StopEntry, {}, { urgent: true, essential: true });
    const text = this.#snapshotText();
    await this.#searcher.end();
    await this.#ledger.close();
    await this.#anchors.idle();
    if (this.#ledger.recordable && text !== undefined) State.write(this.#options.ledger, text);
    this.#log(`ended: ${reason}`);
    this.#onEnd(0);
  }
}

/** A policy file may be longer than one attribute: what is in force must be in the ledger whole. */
function texts(text: string): Attributes {
  const pieces: Attributes = { text: text.slice(0, attributeChars) };
  for (let at = attributeChars, i = 2; at < text.length; at += attributeChars, i++) pieces[`text${i}`] = text.slice(at, at + attributeChars);
  return pieces;
}

/** A file system that does not answer for a moment, or a folder that keeps us from it, took nothing away. */
function isGone(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // there is none
  }
}

/** A folder that keeps us from it keeps the socket; who connects there is refused. */
function unlinkSocket(path: string): void {
  try {
    if (statSync(path).isSocket()) unlinkSync(path);
  } catch {
    // there is none, or it is not ours to take away
  }
}

/**
 * A tap that died has left bytes that are still to be read. A write that fails would destroy the socket, and with it what was handed over: so none fails.
 * The end of the stream comes all the same.
 */
function surviveWrites(socket: Socket): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  socket._write = (chunk, encoding, done) => write(chunk, encoding, () => done());
  if (writev !== undefined) socket._writev = (chunks, done) => writev(chunks, () => done());
}

/** A unit that others follow is full: many small ones would make the bookkeeping of a frame larger than the frame. */
function isWhole({ flags, bytes }: FrameUnit): boolean {
  return (flags & moreUnits) === 0 ? bytes.length <= unitBytes : bytes.length === unitBytes;
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
