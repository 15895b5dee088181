/**
 * `sworn run`: the tap. Starts the server first, then the link to the recorder, relays until the server has ended and its last output is delivered,
 * and ends as the server ended. Stdout belongs to MCP; what sworn has to say goes to stderr.
 */
import { fstatSync, openSync, readSync, closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { visible } from '../bytes/visible.ts';
import { SwornError } from '../errors.ts';
import { encodeJson, wireType, wireVersion, type Close, type Hello, type Lost } from '../wire/wire.ts';
import { Link } from '../wire/link.ts';
import { readRunOptions, valued, type RunOptions } from './options.ts';
import { Relay } from './relay.ts';
import { signalGroup, spawnServer } from '../server-process.ts';

/** After the client has closed and asked the server to end, what is left of it is killed: SDK clients kill us two seconds after SIGTERM. */
const killAfterMs = 1_500;
/** A server whose client died without a word gets this long after the end of its input. */
const orphanMs = 5_000;
/** How long the end waits for the recorder's word that the last entry is durable. */
const closeWaitMs = 10_000;
/** What the recorder is told of a command line: it is one message, and the system's bound on a command line is higher than that of a message. */
const argvBytes = 256 * 1024;

const relayedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export async function main(argv: string[]): Promise<number | void> {
  let options: RunOptions;
  try {
    options = readRunOptions(argv);
    if (options.remote !== undefined) options.command = (await import('../bridge/command.ts')).bridgeCommand(options.remote);
  } catch (error) {
    if (!(error instanceof SwornError)) throw error;
    const { option } = error.details;
    // loaded only then: a tap starts with every server
    const guess = option === undefined ? '' : (await import('../bytes/typed.ts')).guessed(option, [...valued, '--print-config', '--help']);
    complain(`${error.message}${guess}`, error.hint);
    return error.exit;
  }
  if (options.help)
    return ((await import(new URL('./cli.mjs', import.meta.url).href)) as { main(argv: string[]): Promise<number> }).main(['run', '--help']);
  if (options.printConfig) return (await import('../cli/print-config.ts')).printConfig(argv);
  return tap(options);
}

function complain(message: string, hint: string): void {
  // paths, names and what a recorder says come from others
  process.stderr.write(`sworn: error: ${visible(message)}\nsworn: hint: ${visible(hint)}\n`);
}

/** 128 random bits in hex. From the kernel's file where there is one: loading a cryptography module would cost more than the rest of our start. */
function randomHex(): string {
  try {
    const fd = openSync('/dev/urandom', 'r');
    try {
      const bytes = Buffer.alloc(16);
      if (readSync(fd, bytes) === 16) return bytes.toString('hex');
    } finally {
      closeSync(fd);
    }
  } catch {
    // no such file: below
  }
  return Buffer.from(globalThis.crypto.getRandomValues(new Uint8Array(16))).toString('hex');
}

/** Our own end of a standard stream: a pipe or socket without blocking, whatever else it may be as Node opens it. */
function clientStreams(): { input: Readable; output: Writable } {
  const isPipe = (fd: number): boolean => {
    const stat = fstatSync(fd);
    return stat.isFIFO() || stat.isSocket();
  };
  return {
    input: isPipe(0) ? new Socket({ fd: 0, readable: true, writable: false }) : process.stdin,
    output: isPipe(1) ? new Socket({ fd: 1, readable: false, writable: true }) : process.stdout,
  };
}

function tap(options: RunOptions): void {
  const connection = randomHex();
  const token = randomHex();
  const openedAt = Date.now();
  const parentPid = process.ppid;
  const server = spawnServer(options.command);
  const client = clientStreams();

  let exit: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  let spawnError: NodeJS.ErrnoException | undefined;
  let clientClosed = false;
  let serverOutputDone = false;
  let signalled = false;
  let closing = false;
  let closeReason: Close['reason'] = 'server exited';
  let closeSent = false;
  let hurried = false;
  let ended = false;
  let killTimer: NodeJS.Timeout | undefined;
  let outOfTime = false;

  const hello = (): Hello => ({
    wire: [wireVersion, wireVersion],
    connection,
    transport: 'stdio',
    server: options.name,
    ...(options.client === undefined ? {} : { client: options.client }),
    labels: options.labels,
    argv: shortened(options.command),
    cwd: process.cwd(),
    ...(server.pid === undefined ? {} : { serverPid: server.pid }),
    mode: options.mode,
    onUnrecordable: options.onUnrecordable,
    overrides: options.overrides,
    ...(options.external ? {} : { ledger: options.ledger }),
    ...(options.config === undefined ? {} : { config: options.config }),
    openedAt,
    token,
    ...(relay.waiting === undefined ? {} : { aside: relay.waiting }),
    ...(relay.receipt === undefined ? {} : { receipt: { index: relay.receipt.index, hash: Buffer.from(relay.receipt.hash).toString('hex') } }),
  });

  const link: Link = new Link(options, hello, {
    connected: () => {
      if (link.sendable) relay.sendHeld();
    },
    welcome: (welcome) => {
      tellLosses(true);
      relay.onUnrecordable = welcome.onUnrecordable;
      relay.welcome(welcome.wait, [welcome.durable.c2s, welcome.durable.s2c], !firstWelcome);
      firstWelcome = false;
      if (closing) sendClose();
    },
    pass: (answer) => relay.pass(answer),
    durable: (answer) => relay.durable(answer),
    refuse: (refusal) => relay.refuse(refusal),
    aside: (aside) => relay.aside(aside),
    release: (aside) => relay.release(aside),
    say: (said) => relay.say(said),
    wait: (wait, onUnrecordable) => {
      relay.onUnrecordable = onUnrecordable;
      relay.wait(wait);
    },
    closed: () => end(),
    waits: () => relay.waits,
    down: () => {
      firstWelcome = false;
    },
    unreachable: (reason, hint) => {
      complain(
        `${reason}; ${relay.onUnrecordable === 'block' ? 'messages are answered with an error until it does' : 'messages pass unrecorded until it does'}`,
        hint,
      );
      void relay.giveUp(reason).then(() => {
        if (closing) end();
      });
    },
  });
  let firstWelcome = true;

  const relay: Relay = new Relay(
    link,
    { source: client.input, target: server.stdin },
    { source: server.stdout, target: client.output },
    options.onUnrecordable,
    {
      drained: (direction) => {
        if (direction === 0) {
          if (!clientClosed && !closing) clientHasClosed();
        } else {
          serverOutputDone = true;
          maybeClose();
        }
      },
      lost: () => {
        if (link.up) tellLosses();
      },
      targetGone: (direction) => {
        // nobody reads our output any more: the client is gone
        if (direction === 1 && !clientClosed) relay.endClient();
      },
    },
  );

  function tellLosses(isNewLine = false): void {
    const losses = relay.takeLosses(isNewLine);
    if (losses === undefined) return;
    const lost: Lost = {
      reason: 'no recorder',
      lost: { c2s: losses.lost[0], s2c: losses.lost[1] },
      ...(losses.units.every((ranges) => ranges.length === 0) ? {} : { units: { c2s: losses.units[0], s2c: losses.units[1] } }),
      from: losses.from,
      until: losses.until,
    };
    link.send(encodeJson(wireType.lost, lost));
  }

  function clientHasClosed(): void {
    clientClosed = true;
    server.stdin.end();
    if (signalled) killSoon();
    if (exit !== undefined) endGroup(); // the server itself is gone; what it started holds its output open
    const watch = setInterval(() => {
      if (process.ppid === parentPid) return;
      clearInterval(watch);
      setTimeout(endGroup, orphanMs).unref();
    }, 500);
    watch.unref();
  }

  function endGroup(): void {
    signalGroup(server.pid!, 'SIGTERM');
    killSoon();
  }

  function killSoon(): void {
    killTimer ??= setTimeout(() => {
      signalGroup(server.pid!, 'SIGKILL');
      // what is not read by now, by us or by the client, nobody waits for: the record shows it as not delivered
      outOfTime = true;
      maybeClose();
    }, killAfterMs);
  }

  server.on('error', (error: NodeJS.ErrnoException) => {
    if (server.pid !== undefined) return; // a failed kill, say; the server runs
    spawnError = error;
    serverOutputDone = true;
    maybeClose();
  });
  server.on('exit', (code, signal) => {
    exit = { code, signal };
    // What it started may still hold its output open, as it may without us; once the client has closed, nobody waits for that.
    if (clientClosed) endGroup();
    maybeClose();
  });

  for (const signal of relayedSignals) {
    process.on(signal, () => {
      if (closing) {
        // what is on its way to the recorder arrives without us; what is not is worth the time until somebody asks twice
        if (closeSent || hurried) end();
        hurried = true;
        return;
      }
      signalled = true;
      server.kill(signal);
      if (clientClosed) killSoon();
    });
  }

  function maybeClose(): void {
    if (closing || (exit === undefined && spawnError === undefined) || !(serverOutputDone || outOfTime)) return;
    closing = true;
    closeReason = spawnError !== undefined ? 'spawn failed' : signalled ? 'signal' : clientClosed ? 'client closed' : 'server exited';
    clearTimeout(killTimer);
    relay.endClient();
    if (link.up) sendClose();
    if (link.unreachable) return end();
    setTimeout(end, closeWaitMs);
  }

  function sendClose(): void {
    tellLosses();
    const [c2s, s2c] = relay.lastUnits;
    const close: Close = {
      reason: closeReason,
      ...(exit?.code == null ? {} : { exitCode: exit.code }),
      ...(exit?.signal == null ? {} : { signal: exit.signal }),
      ...(spawnError === undefined ? {} : { error: spawnError.message }),
      frames: { c2s, s2c },
      delivered: relay.delivered,
    };
    link.send(encodeJson(wireType.close, close), () => (closeSent = true));
  }

  /** Ends as the server ended: with its status, or by its signal. */
  function end(): void {
    if (ended) return;
    ended = true;
    link.stop();
    if (spawnError !== undefined) {
      const denied = spawnError.code === 'EACCES';
      const error = new SwornError(
        denied ? 'spawn-denied' : 'spawn-failed',
        `the server command ${JSON.stringify(options.command[0])} cannot be started: ${reasonOf(spawnError)}`,
      );
      complain(error.message, error.hint);
      process.exit(error.exit);
    }
    if (exit?.signal != null) {
      for (const signal of relayedSignals) process.removeAllListeners(signal);
      process.kill(process.pid, exit.signal);
      setTimeout(() => process.exit(128), 100); // a signal that does not end us
      return;
    }
    process.exit(exit?.code ?? 1);
  }

  link.start();
}

function shortened(command: readonly string[]): string[] {
  let sizeBytes = 0;
  const count = command.findIndex((word) => (sizeBytes += Buffer.byteLength(word)) > argvBytes);
  return count < 0 ? [...command] : [...command.slice(0, count), '…'];
}

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'no such file, or not on the PATH of this process';
  if (error.code === 'EACCES') return 'it is not an executable file';
  return error.message;
}
