/**
 * The recorder: the single writer behind a socket. Takes connections from taps, hands their units to `record.ts`, and sends answers when the ledger
 * has flushed. Connections outlive their sockets: a tap that comes back goes on where it was.
 */
import { createHash, createHmac } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { hex } from '../bytes/bytes.ts';
import type { AccessEntry, AnchorEntry, CloseEntry, Entry, GapEntry, KeyEntry, RecoveryEntry, StartEntry, StopEntry } from '../entry/entry.ts';
import { errorKinds, SwornError, type ErrorCode } from '../errors.ts';
import { findKeyIn } from '../ledger/keys.ts';
import { threadedFiles } from '../ledger/file-thread.ts';
import { Ledger, type AppendOptions } from '../ledger/ledger.ts';
import { Interrupted } from '../ledger/rewrite.ts';
import { unitBytes, expireEveryMs, publishEveryMs, tapReturnMs } from '../limits.ts';
import { bounded } from '../mcp/bounded.ts';
import { inForce, type Freeze } from '../policy/freeze.ts';
import { unruled } from '../policy/judge.ts';
import {
  encodeJson,
  readFrame,
  readJson,
  wireType,
  wireVersion,
  type Hello,
  type Wait,
  type Welcome,
  moreUnits,
  type FrameUnit,
} from '../wire/wire.ts';
import { Accesses } from './access.ts';
import { Administration } from './administration.ts';
import { administratorOf, isAct, type Administrator, type Parties } from './administrator.ts';
import { Anchors } from './anchors.ts';
import { Approvals } from './approvals.ts';
import { Eraser } from './erase.ts';
import { bootId, Clock } from './clock.ts';
import { Connection, type Closing, type Opened } from './connection.ts';
import type { Loaded } from './control.ts';
import { readHead } from './http.ts';
import { plus, readClose, readHello, readLost } from './input.ts';
import { KeyChanges } from './key-changes.ts';
import { Limits } from './limiting.ts';
import { isGone, Listener, type Attendant } from './listener.ts';
import type { Lock } from './lock.ts';
import { Openings } from './openings.ts';
import type { RecorderOptions } from './options.ts';
import { statusForOthers, statusOf, type Status } from './status.ts';
import type { Native } from './native.ts';
import { isChildOf } from '../processes.ts';
import { custodyOf, type Peer } from './peer.ts';
import { PolicyInForce } from './policy-in-force.ts';
import { isTrustedTap, readPrincipal } from './principals.ts';
import { Pinner } from './pins.ts';
import { Pruner } from './prune.ts';
import { resumeLong } from './frame.ts';
import { recordProgress } from './progress.ts';
import { recordOpening, recordRefusal, recordReturn } from './own-entries.ts';
import { finishBatch, record } from './record.ts';
import type { RecordDeps } from './record-deps.ts';
import { Searcher } from './searcher.ts';
import { seal, type Attributes } from './seal.ts';
import { Storms } from './storms.ts';
import { bury, State, unbury } from './state.ts';

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #native: Native | { missing: string };
  readonly #lock: Lock;
  readonly #log: (line: string) => void;
  readonly #clock = new Clock();
  readonly #deps: RecordDeps & { freezes: Freeze[] };
  readonly #ledger: Ledger;
  readonly #policy: PolicyInForce;
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
  readonly #connections: Map<string, Connection>;
  /** What remains of closed ones. */
  readonly #closed: Map<string, Connection>;
  readonly #openings: Openings;
  readonly #listener: Listener;
  readonly #taps = new Map<Connection, Socket>();
  readonly #startedAt = performance.now();
  readonly #onEnd: (status: number) => void;
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
    this.#native = native;
    this.#lock = lock;
    this.#log = log;
    this.#onEnd = onEnd;
    this.#listener = new Listener({
      path: options.socket,
      groupId: options.groupId,
      native,
      log,
      mayRead: () => !this.#ledger.congested,
      attend: (socket, peer) => this.#attend(socket, peer),
      came: () => clearTimeout(this.#idle),
    });
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
      openingOf: (connection) => this.#openings.of(connection, this.#policy.loaded.digest),
      http: {
        principalOf: (principal, connection) => this.#openings.principalOf(principal, connection),
        linkOf: (session) => this.#linkOf(session),
      },
      freezes: inForce(state.freezes, this.#clock.wallUs() / 1000),
      searcher: this.#searcher,
      limits: { held: this.#limits, storms: this.#storms },
      findKey: () => (this.#findKey ??= findKeyIn(this.#ledger.keysFolder)),
    };
    this.#policy = new PolicyInForce(
      {
        config: options.config,
        clock: this.#clock,
        nextIndex: () => this.#ledger.nextIndex,
        append: (entry, attributes, how, done) => this.#append(entry, attributes, how, done),
        encrypt: (encryption) => this.#ledger.encrypt(encryption),
        isEnding: () => this.#ending,
        changed: (loaded) => this.#policyChanged(loaded),
        announced: (loaded) => this.#policyAnnounced(loaded),
        log,
      },
      policy,
      state.policy,
    );
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
        restatePolicy: async (from) => (await this.#policy.restate(from)) && this.#pinner.restate(from),
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
    this.#policy.record();
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

  /** As `PolicyInForce.reload`. */
  reload(administrator?: Administrator): Promise<Record<string, unknown>> {
    return this.#policy.reload(administrator);
  }

  /** Everything that follows the policy, before the ledger says that it is another one. */
  #policyChanged({ compiled, anchors }: Loaded): void {
    this.#limits.limiter.configure(compiled.limits);
    this.#anchors.configure(anchors);
    this.#pruner.lookAgain();
    this.#expire();
  }

  /** Connections are judged by it from now on. */
  #policyAnnounced({ compiled }: Loaded): void {
    for (const connection of this.#connections.values()) {
      connection.raise(this.#waitOf(connection));
      connection.rule(compiled);
      this.#trust(connection, this.#openings.get(connection)?.peer.uid);
      connection.tellUnreached(this.#mayRefuse);
    }
    for (const connection of this.#closed.values()) connection.rule(compiled);
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
    await this.#listener.listen();
    this.#timers.push(setInterval(() => this.#guarded(() => this.#everySecond()), 1_000));
    this.#timers.push(setInterval(() => this.#guarded(() => this.#capture()), publishEveryMs));
    this.#timers.push(setInterval(() => this.#expire(), expireEveryMs));
    this.#eraser.resume();
    this.#pruner.resume();
    this.#expire();
    this.#watchIdle();
    this.#log(`listens at ${this.#options.socket}, ledger ${this.#ledger.id}, ${this.#ledger.size} entries`);
  }

  /** Somebody may have tidied up: a ledger without its folder would be written where nobody finds it. */
  #lookAfterPlaces(): void {
    const { ledger } = this.#options;
    if (!isGone(join(ledger, 'payload'))) {
      this.#listener.lookAfterPlace();
      return;
    }
    this.#log(`fatal: the folder ${ledger} was taken away`);
    this.#listener.unlink();
    this.#onEnd(errorKinds['ledger-foreign'].exit);
  }

  /** Whoever connects: a tap with a connection, or somebody with a question. */
  #attend(socket: Socket, peer: Peer): Attendant {
    let connection: Connection | undefined;
    const refuse = (code: ErrorCode, message: string): void => this.#listener.refuse(socket, code, message);
    const receive = (type: number, body: Buffer): void => {
      if (type === wireType.frame && connection !== undefined) {
        const unit = readFrame(body);
        const head = unit?.head === undefined ? undefined : readHead(unit.head);
        if (unit === undefined || (unit.head === undefined) !== (head === undefined)) refuse('wire-corrupt', 'a frame message cannot be read');
        else if (!isWhole(unit)) refuse('wire-corrupt', 'a frame is not cut into units as it must be');
        else if ((unit.head !== undefined) !== (connection.transport === 'http'))
          refuse('wire-corrupt', 'over HTTP, and only there, a frame begins with its head');
        else {
          if (head !== undefined) unit.head = head;
          this.#inTurn(connection, socket, (known) => known.isClosed || record(unit, known, this.#deps));
        }
      } else if (type === wireType.hello && connection === undefined) connection = this.#hello(socket, peer, readJson(body));
      else if (type === wireType.principal && connection?.transport === 'http') {
        const { who, principal } = readJson(body) ?? {};
        if (typeof who !== 'string' || typeof principal !== 'object' || principal === null)
          refuse('wire-corrupt', 'a principal message names nobody');
        else this.#inTurn(connection, socket, (known) => known.name(who, readPrincipal(principal as Record<string, unknown>)));
      } else if (type === wireType.close && connection !== undefined) {
        const close = readClose(readJson(body));
        this.#inTurn(connection, socket, (known) => known.isClosed || this.#recordClose(known, close));
      } else if (type === wireType.lost && connection !== undefined) {
        const lost = readJson(body);
        this.#inTurn(connection, socket, (known) => this.#lost(known, lost));
      } else if (type === wireType.ask && connection === undefined) this.#ask(socket, peer, readJson(body) ?? {});
      else if (type === wireType.frame || connection === undefined) refuse('wire-corrupt', 'the first message must be hello or ask');
    };
    return {
      receive,
      worked: () => {
        // nobody else is here whose entries could share the sync
        if (this.#listener.size === 1 && !this.#ledger.congested) this.#ledger.flushUrgent();
        // what is judged need not wait for the disk
        if (connection?.wait === 'verdict') connection.answer();
      },
      mayWait: () => connection?.wait === 'none',
      left: () => {
        const isOnlooker = this.#onlookers.delete(socket);
        if (connection !== undefined && this.#taps.get(connection) === socket) {
          this.#taps.delete(connection);
          connection.socket = undefined;
          connection.lostAt = performance.now();
        }
        this.#watchIdle(isOnlooker);
      },
    };
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
        this.#listener.defect(socket, error as Error);
      }
    });
  }

  #hello(socket: Socket, peer: Peer, json: Record<string, unknown> | undefined): Connection | undefined {
    const hello = readHello(json);
    if (typeof hello === 'string') {
      this.#listener.refuse(socket, 'wire-corrupt', hello);
      return undefined;
    }
    if (hello.wire[0] > wireVersion || hello.wire[1] < wireVersion) {
      this.#listener.refuse(socket, 'wire-version', `the tap speaks wire versions ${hello.wire.join(' to ')}, this recorder ${wireVersion}`);
      return undefined;
    }
    if (hello.ledger !== undefined && hello.ledger !== this.#options.ledger) {
      this.#listener.refuse(socket, 'recorder-refused', `this recorder writes ${this.#options.ledger}, not ${hello.ledger}`);
      return undefined;
    }
    if (hello.config !== undefined && hello.config !== this.#options.config) {
      this.#listener.refuse(
        socket,
        'recorder-refused',
        `this recorder runs with ${this.#options.config === undefined ? 'the default configuration' : `the configuration ${this.#options.config}`}, not ${hello.config}`,
      );
      return undefined;
    }
    const tokenDigest = sha256Hex(hello.token);
    const known = this.#connections.get(hello.connection) ?? this.#closed.get(hello.connection);
    if (known !== undefined && known.opened.tokenDigest !== tokenDigest) {
      this.#listener.refuse(socket, 'permission', 'this connection belongs to another tap');
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
    if (connection.transport === 'http') connection.trust(isTrustedTap(this.#policy.loaded.trustedTaps ?? [], uid, process.getuid?.()));
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
    const connection = new Connection(opened, undefined, this.#policy.loaded.compiled);
    connection.limit(this.#limits);
    this.#connections.set(connection.id, connection);
    this.#openings.set(connection, { hello, peer, isServerForeign: isChild === false });
    return connection;
  }

  get #mayRefuse(): boolean {
    return this.#policy.loaded.compiled.canBlock || this.#deps.freezes.length > 0;
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
    if (entry.kind === 'policy' && entry.act === 'load') this.#policy.forget(entry.digest);
  }

  /** Erases and prunes what is older than the policy says. */
  #expire(): void {
    const { compiled, digest } = this.#policy.loaded;
    const { contentMs, entriesMs } = compiled.policy.retention ?? {};
    if (this.#ending || !this.#ledger.recordable) return;
    const nowMs = this.#clock.wallUs() / 1000;
    const by = digest === undefined ? {} : { policyDigest: digest };
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
        this.#policy.recorded,
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
    if (this.#ending || idleMs === undefined || this.#listener.size > this.#onlookers.size || this.#connections.size > 0) return;
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
    const refuse = (code: ErrorCode, message: string): void => this.#listener.refuse(socket, code, message);
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
      policy: this.#policy.loaded,
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
    const taps = new Set(this.#taps.values());
    await this.#listener.end((socket) => taps.has(socket));
    await Promise.all([...this.#connections.values()].map((connection) => connection.idle()));
    for (const connection of this.#connections.values()) this.#recordGap(connection);
    this.#listener.unlink();
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

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // there is none
  }
}

/** A unit that others follow is full: many small ones would make the bookkeeping of a frame larger than the frame. */
function isWhole({ flags, bytes }: FrameUnit): boolean {
  return (flags & moreUnits) === 0 ? bytes.length <= unitBytes : bytes.length === unitBytes;
}

function sha256Hex(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
