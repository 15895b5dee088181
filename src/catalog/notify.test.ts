import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { place, type Place } from '../../test/reading/fixture.ts';
import { policyOf, Recording, type Talk } from '../../test/reading/recorded.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { Catalog } from './catalog.ts';
import { Notifier, type NotifyPlace } from './notify.ts';

const secret = 'of the receiver';
let at: Place;
let recording: Recording;
let talk: Talk;
let path: string;
let server: Server;
let url: string;
let logged: string[];
let refuse = 0;
let got: { body: string; signature: string | undefined }[];

beforeEach(async () => {
  at = place();
  recording = new Recording(at);
  talk = recording.connect(await policyOf('policy: {}'), { server: 'hr' });
  path = join(at.ledger, 'catalog.sqlite');
  writeFileSync(join(at.folder, 'secret'), `${secret}\n`);
  [got, logged, refuse] = [[], [], 0];
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (refuse-- > 0) response.writeHead(503).end();
      else {
        got.push({ body, signature: request.headers['sworn-signature'] as string | undefined });
        response.writeHead(204).end();
      }
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=of-ours`;
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await recording.close();
  at.remove();
});

function write(): void {
  talk.call('submit_time_off', { days: 3 });
  talk.text('done');
}

/** How many findings were told, as the next process will read it. */
function toldIn(catalog: string): number {
  return (
    readFileSync(`${catalog}.notified`, 'utf8')
      .split('\n')
      .filter((line) => line !== '').length - 1
  );
}

/** Follows until `enough`, as `sworn serve` does. */
async function following(places: NotifyPlace[], enough: () => void): Promise<void> {
  const catalog = await Catalog.open(at.ledger, { path, analysis: { crypto: nodeCrypto, write: ['submit_*'] } });
  const notifier = new Notifier({ ledger: recording.ledger.id, path, places, log: (line) => logged.push(line) });
  const ending = new AbortController();
  const followed = catalog.follow(ending.signal, () => notifier.look());
  try {
    await vi.waitFor(enough, { timeout: 15_000, interval: 20 });
  } finally {
    notifier.end();
    ending.abort();
    await followed;
    catalog.close();
  }
}

test('a new finding is sent once, signed, also when it is refused at first, and to the next process never again', async () => {
  const to: NotifyPlace[] = [{ url, secret: join(at.folder, 'secret'), from: 'medium' }];
  // before anybody was to be told
  write();
  await following(to, () => expect(readFileSync(`${path}.notified`, 'utf8')).toMatch(/^\d{4}-/));
  expect(got).toEqual([]);

  talk = recording.connect(await policyOf('policy: {}'), { server: 'hr2' });
  refuse = 1;
  write();
  // whoever ends before the answer came tells it again
  await following(to, () => expect(toldIn(path)).toBe(1));
  expect(got).toHaveLength(1);
  expect(logged).toEqual([
    expect.stringMatching(/^finding [0-9a-f]{12} could not be told \(http:\/\/127\.0\.0\.1:\d+\): it answered 503; tried again in 1 s$/),
  ]);
  const [{ body, signature }] = got as [{ body: string; signature: string }];
  expect(signature).toBe(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  expect(JSON.parse(body)).toMatchObject({ v: 1, kind: 'finding', rule: 'unapproved-write', server: 'hr2', ledger: recording.ledger.id });
  expect(readFileSync(`${path}.notified`, 'utf8')).not.toContain('of-ours');

  // the same finding goes on, and then there is another one
  write();
  const again = recording.connect(await policyOf('policy: {}'), { server: 'hr3' });
  again.call('submit_time_off', { days: 1 });
  again.text('done');
  await following(to, () => expect(got.length).toBeGreaterThan(1));
  expect(got.map((one) => (JSON.parse(one.body) as { server: string }).server)).toEqual(['hr2', 'hr3']);
});

test('a command gets it on standard input; one that is too light for a place is not told', async () => {
  const out = join(at.folder, 'out');
  const script = `let t='';process.stdin.on('data',c=>t+=c).on('end',()=>require('fs').appendFileSync(${JSON.stringify(out)}, process.env.SWORN_SIGNATURE+' '+t+'\\n'))`;
  const places: NotifyPlace[] = [
    { command: [process.execPath, '-e', script], secret: join(at.folder, 'secret'), from: 'info' },
    { url, from: 'high' },
  ];
  await following(places, () => expect(readFileSync(`${path}.notified`, 'utf8')).toMatch(/^\d{4}-/));
  write();
  await following(places, () => expect(readFileSync(`${path}.notified`, 'utf8').trim().split('\n').length).toBe(2));
  const [signature, body] = [readFileSync(out, 'utf8').slice(0, 71), readFileSync(out, 'utf8').slice(72).trim()];
  expect(signature).toBe(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`);
  expect(JSON.parse(body)).toMatchObject({ rule: 'unapproved-write', severity: 'medium' });
  expect(got).toEqual([]);
});
