/** A conversation of which some requests wait for a person, and the person. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SwornError } from '../../src/errors.ts';
import type { Pending } from '../../src/recorder/approval-question.ts';
import { ask } from '../../src/wire/ask.ts';
import { socketPathOf } from '../../src/wire/socket-path.ts';
import { line, Stage, type Puppet, type Tap, type TapOptions } from './stage.ts';

export type Json = Record<string, unknown>;

/** What is started here has its own parent, so that this process is no tapped client and may decide. */
const apart = ['sh', '-c', '"$@"; exit $?', 'sh'];

export const payPolicy = `policy: { rules: [ { name: pay, ask: true, tool: pay, timeout: 60s, reason: "money leaves" } ] }
redact: { keys: [pin] }
`;

export const call = (id: unknown, name: string, args: Json = {}, meta?: Json): Json => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) },
});

export const result = (id: unknown): Json => ({ jsonrpc: '2.0', id, result: { content: [] } });

export interface Answered {
  id: unknown;
  method?: string;
  params?: Json;
  result?: unknown;
  error?: { code: number; message: string; data?: Json };
}

/** What waits at this recorder, once it is so many. */
export async function waitingAt(socket: string, count: number): Promise<Pending[]> {
  let version: unknown;
  for (;;) {
    const question = version === undefined ? {} : { since: version, waitMs: 10_000 };
    // it is just being started
    const answer = await ask(socket, 'approvals', question, 20_000).catch(async (error: SwornError) => {
      if (error.code !== 'no-recorder') throw error;
      await sleep(20);
      return undefined;
    });
    if (answer === undefined) continue;
    version = answer['version'];
    if (answer['waiting'] === count) return answer['approvals'] as Pending[];
  }
}

export function decideAt(
  socket: string,
  { request, commitment }: Pick<Pending, 'request' | 'commitment'>,
  decision: 'approved' | 'denied',
  more: Json = {},
): Promise<Json> {
  return ask(socket, 'decide', { request, commitment, decision, ...more }, 20_000);
}

export class Approving {
  readonly stage: Stage;
  readonly tap: Tap;
  readonly server: Puppet;

  constructor(stage: Stage, tap: Tap, server: Puppet) {
    this.stage = stage;
    this.tap = tap;
    this.server = server;
  }

  static async begin(
    policy: string = payPolicy,
    { options = [], ...more }: TapOptions & { endsWithInput?: boolean; stage?: Stage } = {},
  ): Promise<Approving> {
    const stage = more.stage ?? new Stage();
    const file = join(stage.folder, 'sworn.yaml');
    writeFileSync(file, policy);
    const { tap, server } = await stage.puppet({ options: ['--config', file, '--name', 'bank', ...options], before: apart, ...more });
    return new Approving(stage, tap, server);
  }

  get socket(): string {
    return socketPathOf(this.stage.ledger);
  }

  async pending(): Promise<Pending[]> {
    return (await ask(this.socket, 'approvals'))['approvals'] as Pending[];
  }

  /** Waits until so many wait. */
  waiting(count: number): Promise<Pending[]> {
    return waitingAt(this.socket, count);
  }

  decide(one: Pick<Pending, 'request' | 'commitment'>, decision: 'approved' | 'denied', more: Json = {}): Promise<Json> {
    return decideAt(this.socket, one, decision, more);
  }

  send(...messages: Json[]): Promise<void> {
    return this.tap.write(messages.map(line).join(''));
  }

  /** Ids of the requests that have reached the server, in order. */
  get reached(): unknown[] {
    return this.server.input.lines.map((text) => (JSON.parse(text) as Json)['id']);
  }

  get answers(): Answered[] {
    return this.tap.output.lines.map((text) => JSON.parse(text) as Answered);
  }

  async answer(id: unknown): Promise<Answered> {
    await this.tap.output.until(() => this.answers.some((one) => one.id === id && one.method === undefined));
    return this.answers.find((one) => one.id === id && one.method === undefined)!;
  }
}
