/**
 * Somebody who looks at `sworn serve`, as a browser does whose page shows the calls: reads the live tail, and asks for the newest calls when there is something new.
 * A process of its own, as a browser is: what it takes to look must not delay the agent whose calls are timed.
 *
 * `node bench/looker.ts <url with its token>`: prints `looking` when the tail is open, and when its input ends, for each call that it saw, its number and when (ms since 1970).
 */
import { get as httpGet, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const url = new URL(process.argv[2]!);
const cookie = await new Promise<string>((done) => httpGet(url, (answer) => done(answer.headers['set-cookie']![0]!.split(';')[0]!)));

function ask<Answer>(path: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    httpGet({ host: url.hostname, port: url.port, path: `/api/v1/${path}`, headers: { Cookie: cookie } }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () =>
        answer.statusCode === 200 ? resolve(JSON.parse(text) as Answer) : reject(new Error(`${path}: ${answer.statusCode} ${text}`)),
      );
    }).on('error', reject);
  });
}

const shownAt: Record<number, number> = {};
let isAsking = false;
let isNew = false;

async function refresh(): Promise<void> {
  isNew = true;
  if (isAsking) return;
  isAsking = true;
  while (isNew) {
    isNew = false;
    const from = performance.now();
    const { rows } = await ask<{ rows: { argumentsText?: string }[] }>('calls?sort=-beganAt&offset=0&limit=200');
    const answeredAt = performance.now();
    for (const { argumentsText = '' } of rows) {
      const id = Number(/call (\d+)\./.exec(argumentsText)?.[1]);
      if (!Number.isNaN(id)) shownAt[id] ??= performance.timeOrigin + answeredAt;
    }
    // as the page rests (`ui/tail.ts`)
    await sleep(Math.max(100, Math.min(1_000, (answeredAt - from) * 5)));
  }
  isAsking = false;
}

const tail = httpRequest({ host: url.hostname, port: url.port, path: '/api/v1/stream', headers: { Cookie: cookie } }, (answer) => {
  console.log('looking');
  answer.on('data', (chunk: Buffer) => {
    if (chunk.includes('event: change')) refresh().catch((error: Error) => console.error(`the dashboard: ${error.message}`));
  });
});
tail.end();
process.stdin
  .on('end', () => {
    process.stdout.write(`${JSON.stringify(shownAt)}\n`, () => process.exit());
  })
  .resume();
