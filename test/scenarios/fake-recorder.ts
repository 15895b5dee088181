/** A recorder that writes nothing and answers only when the scenario says so, after `spec/wire.md`: for faults and orders that the real one never shows. */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import {
  encodeAnswer,
  encodeAside,
  encodeJson,
  encodeRefusal,
  encodeRelease,
  readFrame,
  readJson,
  WireReader,
  wireType,
  type DirectionIndex,
  type FrameUnit,
  type Wait,
} from '../../src/wire/wire.ts';

export interface Unit extends Omit<FrameUnit, 'bytes'> {
  text: string;
  sizeBytes: number;
}

/** One connection of a tap. */
export class FakePeer {
  readonly socket: Socket;
  readonly units: Unit[] = [];
  readonly others: { type: number; json: Record<string, unknown> }[] = [];
  hello: Record<string, unknown> | undefined;
  ended = false;
  /** Called for each unit as it comes; what is kept of it is up to a thousand bytes. */
  onUnit: ((unit: Unit) => void) | undefined;
  readonly #wakers: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    const reader = new WireReader();
    socket.on('data', (chunk: Buffer) => {
      reader.push(chunk, (type, body) => {
        if (type === wireType.frame) {
          const { bytes, ...unit } = readFrame(body)!;
          const kept = { ...unit, text: bytes.toString('latin1', 0, 1000), sizeBytes: bytes.length };
          this.units.push(kept);
          this.onUnit?.(kept);
        } else if (type === wireType.hello) this.hello = readJson(body)!;
        else this.others.push({ type, json: readJson(body) ?? {} });
      });
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.ended = true;
      this.#wake();
    });
  }

  #wake(): void {
    for (const wake of this.#wakers.splice(0)) wake();
  }

  async until(holds: (peer: FakePeer) => boolean): Promise<void> {
    while (!holds(this)) {
      if (this.ended) throw new Error('the tap has left');
      // oxlint-disable-next-line no-loop-func -- each round waits for what comes next
      await new Promise<void>((done) => this.#wakers.push(done));
    }
  }

  /** Units of one direction. */
  of(direction: DirectionIndex): Unit[] {
    return this.units.filter((unit) => unit.direction === direction);
  }

  async close(): Promise<Record<string, unknown>> {
    await this.until(({ others }) => others.some(({ type }) => type === wireType.close));
    return this.others.find(({ type }) => type === wireType.close)!.json;
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  welcome(wait: Wait, durable: [number, number] = [0, 0], resumed = false): void {
    this.write(
      encodeJson(wireType.welcome, {
        wire: 1,
        wait,
        durable: { c2s: durable[0], s2c: durable[1] },
        resumed,
        ledger: '/nowhere',
        ledgerId: '0'.repeat(32),
        custody: 'same-user',
        mode: 'commit',
        onUnrecordable: this.hello?.['onUnrecordable'] ?? 'block',
      }),
    );
  }

  pass(direction: DirectionIndex, through: number, receipt?: { index: number; hash: Buffer }): void {
    this.write(encodeAnswer(wireType.pass, { direction, through, ...(receipt ? { receipt } : {}) }));
  }

  durable(direction: DirectionIndex, through: number): void {
    this.write(encodeAnswer(wireType.durable, { direction, through }));
  }

  refuse(direction: DirectionIndex, unit: number, toSender = '', toReceiver = ''): void {
    this.write(encodeRefusal({ direction, unit, toSender: Buffer.from(toSender), toReceiver: Buffer.from(toReceiver) }));
  }

  aside(direction: DirectionIndex, first: number, last: number = first): void {
    this.write(encodeAside({ direction, first, last }));
  }

  release(direction: DirectionIndex, last: number): void {
    this.write(encodeRelease(direction, last));
  }

  wait(wait: Wait): void {
    this.write(encodeJson(wireType.wait, { wait }));
  }

  closed(): void {
    this.write(encodeJson(wireType.closed));
  }
}

export class FakeRecorder {
  readonly path: string;
  readonly peers: FakePeer[] = [];
  readonly #server: Server;
  readonly #wakers: (() => void)[] = [];
  #given = 0;

  private constructor(path: string) {
    this.path = path;
    this.#server = createServer((socket) => {
      this.peers.push(new FakePeer(socket));
      for (const wake of this.#wakers.splice(0)) wake();
    });
  }

  static async listen(folder: string): Promise<FakeRecorder> {
    const recorder = new FakeRecorder(join(folder, 'recorder.sock'));
    await new Promise<void>((done) => recorder.#server.listen(recorder.path, done));
    onTestFinished(() => recorder.end());
    return recorder;
  }

  /** The next connection, once it has said hello. */
  async next(): Promise<FakePeer> {
    // oxlint-disable-next-line no-loop-func -- each round waits for the next connection
    while (this.peers.length <= this.#given) await new Promise<void>((done) => this.#wakers.push(done));
    const peer = this.peers[this.#given++]!;
    await peer.until(({ hello }) => hello !== undefined);
    return peer;
  }

  end(): void {
    for (const { socket } of this.peers) socket.destroy();
    this.#server.close();
  }
}
