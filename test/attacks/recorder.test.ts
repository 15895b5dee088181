/** What only the recorder can notice: the files beside the ledger, and an older ledger put back. Each case starts the built program. */
import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chance } from '../faults/power-files.ts';
import { Client as LedgerCaller } from '../faults/world.ts';
import { Client, echoServer, until } from '../support-processes.ts';
import { Copy, makeBase, type Base } from './base.ts';
import { newKey } from './forger.ts';

let base: Base;
beforeAll(async () => void (base = await makeBase()));
afterAll(() => base.remove());

interface Started {
  status: number | null;
  stderr: string;
}

/** Starts a recorder on a changed copy, and ends it when it would serve. `look` sees the copy afterwards. */
async function startedOn(change: (copy: Copy) => void, look?: (copy: Copy) => Promise<void>): Promise<Started> {
  const copy = new Copy(base);
  const world = copy.world();
  try {
    change(copy);
    const started = await world.finish(['recorder', 'start', '--ledger', copy.ledger]);
    await world.endRecorder();
    await look?.(copy);
    return started;
  } finally {
    await world.end();
    copy.remove();
  }
}

const flip = (path: string, at: number): void => {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
};
const payload = (copy: Copy): string => copy.path('payload', '0'.repeat(16));

describe('head: the recorder refuses', () => {
  it.each<[string, RegExp, (path: string) => void]>([
    ['removed', /head .*is missing/, (path) => rmSync(path)],
    ['emptied', /head/, (path) => truncateSync(path, 0)],
    ['truncated', /head/, (path) => truncateSync(path, 60)],
    ['edited', /head/, (path) => flip(path, 90)],
    [
      'of another key',
      /head/,
      (path) => writeFileSync(path, newKey(base.vkey.split('+')[0]!).note(readFileSync(path, 'utf8').split('\n\n')[0]! + '\n')),
    ],
  ])('%s [attack-head]', async (_name, message, change) => {
    const { status, stderr } = await startedOn((copy) => change(join(copy.keys, 'head')));
    expect(status, stderr).not.toBe(0);
    expect(stderr).toMatch(message);
  });
});

it('any byte of head flipped: the recorder does not go on [attack-head-flip]', () => {
  const seed = process.env['SWORN_SEED'] ?? String(Math.floor(Math.random() * 1e9));
  const random = chance(seed);
  const copy = new Copy(base);
  try {
    const path = join(copy.keys, 'head');
    const bytes = readFileSync(path);
    const at = { root: copy.folder, folder: copy.ledger, keysHome: join(copy.home, '.config', 'sworn'), remove: () => undefined };
    for (let i = 0; i < Number(process.env['SWORN_FLIPS'] ?? 40); i++) {
      const place = Math.floor(random() * bytes.length);
      const bit = 1 << Math.floor(random() * 8);
      const flipped = Buffer.from(bytes);
      flipped[place]! ^= bit;
      writeFileSync(path, flipped);
      // as the recorder opens it, without a process for each flip
      expect(() => new LedgerCaller().open(at), `seed ${seed}, byte ${place}, bit ${bit}`).toThrow(/head/);
    }
  } finally {
    copy.remove();
  }
});

describe('the key: the recorder refuses', () => {
  it.each<[string, (path: string) => void]>([
    ['removed', (path) => rmSync(path)],
    ['emptied', (path) => truncateSync(path, 0)],
    ['edited', (path) => flip(path, 90)],
  ])('%s [attack-key]', async (_name, change) => {
    const { status, stderr } = await startedOn((copy) => change(join(copy.keys, 'key')));
    expect(status, stderr).not.toBe(0);
    expect(stderr).toContain('key');
  });
});

describe('an older ledger', () => {
  const older = (copy: Copy): void => {
    rmSync(copy.ledger, { recursive: true });
    cpSync(join(base.lastWeek, 'ledger'), copy.ledger, { recursive: true });
  };

  it('under its newer head is refused as a rollback [attack-restore-ledger]', async () => {
    const { status, stderr } = await startedOn(older);
    expect(status, stderr).not.toBe(0);
    expect(stderr).toMatch(/head|older|rolled back/);
  });

  it('cut in its payload alone is refused too [attack-cut-payload]', async () => {
    const { status, stderr } = await startedOn((copy) => {
      const forger = copy.forger();
      forger.cut(base.size - 3);
      forger.writePayload();
    });
    expect(status, stderr).not.toBe(0);
  });

  it('put back with its head and key: a tap with a receipt makes the record say so [attack-receipt]', async () => {
    const copy = new Copy(base);
    const world = copy.world();
    try {
      const client = new Client(world.sworn(['run', '--ledger', copy.ledger, '--', process.execPath, echoServer, join(copy.folder, 'log')]));
      client.request({ tag: 'before' });
      await client.settled();
      // the recorder dies, and with it comes everything back as it was last week; the tap is still there
      const pid = world.recorderPid()!;
      process.kill(pid, 'SIGSTOP');
      older(copy);
      cpSync(join(base.lastWeek, 'home'), copy.home, { recursive: true });
      process.kill(pid, 'SIGKILL');
      client.request({ tag: 'after' });
      await client.settled();
      client.child.stdin.end();
      await client.ended;
      await world.endRecorder();
      const found = await copy.verify({ as: 'stranger' });
      // the record goes on in the middle of a connection whose beginning it does not have any more
      expect(found).toMatchObject({ exit: 3, firstBad: found.findings.find(({ code }) => code === 'units-missing')!.index });
      expect(found.codes).toEqual(expect.arrayContaining(['recovery', 'units-missing']));
      expect(found.findings.find(({ code }) => code === 'recovery')).toMatchObject({
        severity: 'warning',
        message: expect.stringContaining('receipt'),
      });
    } finally {
      await world.end();
      copy.remove();
    }
  });

  it('put back with its head and key, and nobody connected: nobody on this machine can tell [attack-restore-all]', async () => {
    const { status } = await startedOn(
      (copy) => {
        older(copy);
        rmSync(copy.home, { recursive: true });
        cpSync(join(base.lastWeek, 'home'), copy.home, { recursive: true });
      },
      async (copy) => {
        expect((await copy.verify()).exit).toBe(0);
        // but whoever kept a checkpoint elsewhere can
        const kept = copy.kept('kept', readFileSync(join(base.now, 'ledger', 'log', 'checkpoint')));
        expect(await copy.verify({ known: kept })).toMatchObject({ exit: 5, codes: expect.arrayContaining(['rollback']) });
      },
    );
    expect(status).toBe(0);
  });
});

describe('segments', () => {
  it('changed, with right checksums, are not written on [attack-segment-changed]', async () => {
    const { status, stderr } = await startedOn((copy) => {
      const forger = copy.forger();
      forger.edit(base.size - 5, (leaf) => (leaf['time'] = '2001-01-01T00:00:00.000000Z'));
      forger.writePayload();
    });
    expect(status, stderr).not.toBe(0);
  });

  it('with a flipped byte are not written on [attack-segment-flipped]', async () => {
    const { status, stderr } = await startedOn((copy) => flip(payload(copy), readFileSync(payload(copy)).length - 2000));
    expect(status, stderr).not.toBe(0);
  });
});

describe('what can be made again is no loss', () => {
  it('run/ emptied, or full of nonsense; the find key, the vkey and the checkpoint gone [attack-disposable]', async () => {
    const cases: [string, (copy: Copy) => void][] = [
      ['run/ is gone', (copy) => rmSync(copy.path('run'), { recursive: true })],
      [
        'state and digests are nonsense',
        (copy) => {
          for (const name of ['state.json', 'digests.json']) writeFileSync(copy.path('run', name), '{"v":1,"size":999999,"connections":[]}');
        },
      ],
      ['log/ is gone', (copy) => rmSync(copy.path('log'), { recursive: true })],
    ];
    for (const [name, change] of cases) {
      const { status, stderr } = await startedOn(change, async (copy) => {
        const found = await copy.verify({ as: 'pinned' });
        expect(found.exit, `${name}: ${found.headline}`).toBe(0);
        expect(readFileSync(copy.path('log', 'checkpoint'), 'utf8')).toContain(base.vkey.split('+')[0]);
      });
      expect(status, `${name}: ${stderr}`).toBe(0);
    }
  });
});

it('whoever takes the lock files away gets no second recorder, and nothing of it is written [attack-lock]', async () => {
  const copy = new Copy(base);
  const world = copy.world();
  try {
    await world.finish(['recorder', 'start', '--ledger', copy.ledger]);
    const pid = world.recorderPid()!;
    for (const name of readdirSync(copy.path('run'))) if (/lock|claim/.test(name)) rmSync(copy.path('run', name));
    const second = await world.finish(['recorder', 'start', '--foreground', '--ledger', copy.ledger]);
    expect(second.status, second.stderr).not.toBe(0);
    expect(isRunning(pid)).toBe(true);
    process.kill(pid, 'SIGTERM');
    await until('the recorder to end', () => !isRunning(pid));
    // it asked whether somebody listens before it opened the ledger
    const found = await copy.verify({ as: 'pinned' });
    expect(found.exit, found.headline).toBe(0);
  } finally {
    await world.end();
    copy.remove();
  }
});

it('another policy file is an entry with its whole text [attack-policy-file]', async () => {
  let text = '';
  await startedOn(
    (copy) => writeFileSync(join(copy.home, '.config', 'sworn', 'sworn.yaml'), 'capture: { default: metadata }\n'),
    async (copy) => {
      const forger = copy.forger();
      const index = forger.entries.findLastIndex((_, at) => forger.leaf(at)['kind'] === 'policy');
      expect(index).toBeGreaterThanOrEqual(base.size);
      text = forger
        .entry(index)
        .attributes.map(({ bytes }) => bytes.toString())
        .join('');
    },
  );
  expect(text).toContain('default: metadata');
});

it('the recorder ends when its ledger is taken away, and a tap says so [attack-ledger-gone]', async () => {
  const copy = new Copy(base);
  const world = copy.world();
  try {
    await world.finish(['recorder', 'start', '--ledger', copy.ledger]);
    const pid = world.recorderPid()!;
    rmSync(copy.ledger, { recursive: true });
    await until('the recorder to end', () => world.recorderPid() === undefined && !isRunning(pid));
  } finally {
    await world.end();
    copy.remove();
  }
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
