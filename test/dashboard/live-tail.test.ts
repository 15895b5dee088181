/** The live tail in a real browser: what is new shows by itself, moves nothing that somebody reads, and neither stops nor lies when answers fail, or the server goes. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { startBrowser, type TestBrowser } from '../browser.ts';
import { until, World, type Client } from '../support-processes.ts';
import { call, closed, Serving, sessionApart, sessionOf } from './serving.ts';

let world: World;
let browser: TestBrowser | string;
beforeAll(async () => {
  world = new World('live-tail');
  browser = await startBrowser();
});
afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  await world.end();
});

function started(context: TestContext): TestBrowser {
  if (typeof browser === 'string') return context.skip(browser);
  return browser;
}

interface Shown {
  client: Client;
  serving: Serving;
  page: Page;
  errors: string[];
  ledger: string;
  at(hash: string): Promise<void>;
}

let ledgers = 0;

/** A dashboard that shows so many calls. */
async function shown(context: TestContext, calls: number, height = 600): Promise<Shown> {
  const ledger = join(world.folder, `ledger-${++ledgers}`);
  const client = sessionApart(world, ledger);
  for (let i = 1; i <= calls; i++) await call(client, `pre_${i}`);
  const serving = await Serving.start(world, [], [ledger]);
  const { page, errors } = await started(context).open({ offline: false, viewport: { width: 1000, height } });
  await page.goto(serving.url);
  await page.getByText(`made ${calls} ${calls === 1 ? 'call' : 'calls'} to`).waitFor();
  const at = async (hash: string): Promise<void> => void (await page.evaluate(`location.hash = '${hash}'`));
  return { client, serving, page, errors, ledger, at };
}

const rowsOf = (page: Page): Promise<{ name: string; top: number; bottom: number }[]> =>
  page.evaluate(`[...document.querySelectorAll('main .list .item')].map((row) => {
    const { top, bottom } = row.getBoundingClientRect();
    return { name: row.querySelector('.name').textContent.trim(), top, bottom };
  }).sort((a, b) => a.top - b.top)`) as Promise<{ name: string; top: number; bottom: number }[]>;

test('what is new shows by itself, and moves nothing that somebody reads', async (context) => {
  const ledger = join(world.folder, 'tail');
  const client = sessionApart(world, ledger);
  await call(client, 'the_first');
  const serving = await Serving.start(world, [], [ledger]);
  const { page, errors } = await started(context).open({ offline: false, viewport: { width: 1000, height: 500 } });
  await page.goto(serving.url);
  const text = (words: string): ReturnType<typeof page.getByText> => page.getByText(words, { exact: true });
  const firstRow = (): Promise<string> => page.locator('main .item .name').first().innerText();
  const go = (hash: string): Promise<unknown> => page.evaluate(`location.hash = '${hash}'`);
  // the overview, and everything on it
  await text('the_first').first().waitFor();
  await call(client, 'shown_by_itself');
  await text('shown_by_itself').first().waitFor();
  expect(await page.locator('h1').innerText()).toMatch(/made 2 calls/);

  // a list begins with what is newest
  await go('#/calls');
  await call(client, 'third');
  await text('third').waitFor();
  expect(await firstRow()).toBe('third');

  // paused: it says how much there is, and shows it when it is asked to
  await page.keyboard.press('l');
  await page.getByRole('button', { name: 'paused' }).waitFor();
  await call(client, 'while_paused');
  await text('1 call new').waitFor();
  expect(await firstRow()).toBe('third');
  await text('1 call new').click();
  await text('while_paused').waitFor();
  expect(await text('1 call new').count()).toBe(0);
  await call(client, 'shown_when_it_goes_on');
  await text('1 call new').waitFor();
  await page.getByRole('button', { name: 'paused' }).click();
  await text('shown_when_it_goes_on').waitFor();

  // a row is open: it stays where it is, and its content is not opened again, which is an entry each time
  await text('while_paused').click();
  await page.locator('main .frame').first().waitFor();
  const openings: string[] = [];
  page.on('request', (request) => void (request.url().includes('/api/v1/call?') && openings.push(request.url())));
  await call(client, 'while_one_reads');
  await text('1 call new').waitFor();
  expect(await firstRow()).toBe('shown_when_it_goes_on');
  await text('while_paused').click();
  await page.locator('main .frame').first().waitFor({ state: 'detached' });
  await text('while_one_reads').waitFor();
  expect(openings).toEqual([]);

  // in the middle of a list nothing moves; at its end what comes next is seen
  for (let i = 1; i <= 60; i++) await call(client, `one_of_many_${i}`);
  await text('one_of_many_60').waitFor();
  await page.evaluate('scrollTo(0, 600)');
  await call(client, 'above_what_is_seen');
  await text('1 call new').waitFor();
  expect(await page.evaluate('scrollY')).toBe(600);
  expect(await text('above_what_is_seen').count()).toBe(0);
  await page.evaluate('scrollTo(0, 0)');
  await text('above_what_is_seen').waitFor();
  const { rows } = (await page.evaluate(`fetch('/api/v1/sessions').then((answer) => answer.json())`)) as {
    rows: { ledger: string; session: string }[];
  };
  await go(`#/session/${rows[0]!.ledger}/${rows[0]!.session}`);
  await text('the_first').waitFor();
  await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)');
  await text('above_what_is_seen').waitFor();
  await call(client, 'at_the_end');
  await text('at_the_end').waitFor();
  await until('the page to be at its end', async () =>
    Boolean(await page.evaluate('scrollY + innerHeight >= document.documentElement.scrollHeight - 2')),
  );

  // a dashboard that is left open asks no more when nothing happens any more
  const asked: string[] = [];
  page.on('request', (request) => void (request.url().endsWith('/api/v1/evidence') || asked.push(request.url())));
  await sleep(2_000);
  expect(asked.length).toBeLessThan(10);
  expect(errors).toEqual([]);
  await closed(client);
});

test('what came while nobody told of it shows when somebody does again', async (context) => {
  const ledger = join(world.folder, 'gap');
  const client = sessionOf(world, ledger);
  await call(client, 'before');
  const serving = await Serving.start(world, [], [ledger]);
  const { page } = await started(context).open({ offline: false });
  // the live tail comes up late: what is called meanwhile is in no answer and in no event
  let open = (): void => undefined;
  const opens = new Promise<void>((done) => (open = done));
  await page.route('**/api/v1/stream', async (route) => {
    await opens;
    await route.continue();
  });
  await page.goto(serving.url);
  const rows = (calls: number): Promise<unknown> =>
    until(
      `${calls} rows`,
      async () => (await page.evaluate(`fetch('/api/v1/overview').then((answer) => answer.json()).then(({ calls }) => calls)`)) === calls,
    );
  // nobody tells this page of rows that are made while it comes up
  await rows(1);
  await page.reload();
  await page.getByText('before', { exact: true }).first().waitFor();
  await call(client, 'in_between');
  await rows(2);
  expect(await page.getByText('in_between', { exact: true }).count()).toBe(0);
  open();
  await page.getByText('in_between', { exact: true }).first().waitFor();
  await closed(client);
});

test('rows of a list that grows in front are each shown once, and an opened one lies over no other', async (context) => {
  const { client, page, at, errors } = await shown(context, 420);
  await at('#/calls');
  await page.getByText('pre_420', { exact: true }).waitFor();
  await page.evaluate('scrollTo(0, 1500)');
  for (let i = 1; i <= 30; i++) await call(client, `later_${i}`);
  // the next page is asked for when it comes into sight
  await page.evaluate('scrollTo(0, 6200)');
  await page.getByText('pre_215', { exact: true }).waitFor();
  const names = (await rowsOf(page)).map(({ name }) => name);
  const first = Number(names[0]!.replace('pre_', ''));
  expect(names).toEqual(names.map((_, i) => `pre_${first - i}`));
  await page.evaluate('scrollTo(0, 0)');
  await page.getByText('later_30', { exact: true }).waitFor();

  await page.getByText('later_25', { exact: true }).click();
  await page.locator('main .frame').first().waitFor();
  await call(client, 'above_1');
  await call(client, 'above_2');
  await page.getByText('2 calls new').click();
  await page.getByText('above_2', { exact: true }).waitFor();
  await until('the rows to lie below each other', async () => {
    const rows = await rowsOf(page);
    return rows.every(({ top }, i) => i === 0 || Math.abs(top - rows[i - 1]!.bottom) < 2);
  });
  expect(errors).toEqual([]);
  await closed(client);
});

test('what fails is asked again, and what was there stays', async (context) => {
  const { client, page, at } = await shown(context, 3);
  await at('#/calls');
  await page.getByText('pre_3', { exact: true }).waitFor();
  let fails = true;
  const answer = { status: 429, contentType: 'application/json', body: '{"error":{"message":"Too many requests: try again in 1 s."}}' };
  await page.route('**/api/v1/calls*', (route) => (fails ? route.fulfill(answer) : route.continue()));
  await call(client, 'while_it_fails');
  await page.getByText('Not up to date: Too many requests').waitFor();
  expect((await rowsOf(page)).map(({ name }) => name)).toEqual(['pre_3', 'pre_2', 'pre_1']);
  fails = false;
  await page.getByText('while_it_fails', { exact: true }).waitFor();
  expect(await page.getByText('Not up to date').count()).toBe(0);
  await closed(client);
});

test('a dashboard that ends, and one that comes in its place, are said', async (context) => {
  const { client, page, serving, ledger } = await shown(context, 2);
  await page.getByRole('button', { name: 'live', exact: true }).waitFor();
  serving.child.kill('SIGTERM');
  await page.getByRole('button', { name: 'not connected' }).waitFor();
  await page.getByText('is `sworn serve` still running?').first().waitFor();
  const next = await Serving.start(world, ['--port', String(serving.port)], [ledger]);
  expect(next.port).toBe(serving.port);
  await page.getByText('open the address that `sworn serve` printed').first().waitFor();
  // with its token it goes on
  await call(client, 'behind_it');
  await page.goto(next.url);
  await page.getByText('behind_it', { exact: true }).first().waitFor();
  await page.getByRole('button', { name: 'live', exact: true }).waitFor();
  await closed(client);
});

test('many tabs are served, and those that nobody sees have one stream together', async (context) => {
  const { client, page, serving } = await shown(context, 2);
  const streams = new Set<unknown>();
  const tabs = [page];
  for (let i = 0; i < 7; i++) {
    const tab = await page.context().newPage();
    tabs.push(tab);
    // a browser without a window says of no tab that it is hidden
    await tab.addInitScript(`
      Object.defineProperty(document, 'hidden', { get: () => globalThis.isHidden === true });
      globalThis.hide = (now) => { globalThis.isHidden = now; document.dispatchEvent(new Event('visibilitychange')); };`);
    tab.on('request', (request) => void (request.url().endsWith('/stream') && streams.add(request)));
    // a stream ends by being left
    tab.on('requestfailed', (request) => void streams.delete(request));
    tab.on('requestfinished', (request) => void streams.delete(request));
    await tab.goto(`http://127.0.0.1:${serving.port}/`);
    await tab.getByText('made 2 calls').waitFor();
    await tab.evaluate('hide(true)');
  }
  await until('one stream for seven tabs', () => streams.size === 1);
  await call(client, 'for_all_of_them');
  await page.getByText('for_all_of_them', { exact: true }).first().waitFor();
  const last = tabs.at(-1)!;
  await last.evaluate('hide(false)');
  await last.getByText('for_all_of_them', { exact: true }).first().waitFor();
  await closed(client);
});

test('what a finding shows is opened by a person alone, and stays where it is', async (context) => {
  const { client, page, at, errors, ledger } = await shown(context, 1);
  for (let i = 1; i <= 110; i++) await call(client, 'often');
  await page.locator('.badge').waitFor();
  await at('#/findings');
  await page.locator('.finding h2 a').first().click();
  await page.locator('.opened .frame').first().waitFor();
  const asked: string[] = [];
  page.on('request', (request) => void (/\/api\/v1\/(?:call|entry)\?/.test(request.url()) && asked.push(request.url())));
  const top = await page.locator('.opened').evaluate('(element) => element.getBoundingClientRect().top');
  await page.mouse.move(5, 5);
  for (let i = 1; i <= 20; i++) await call(client, 'often');
  await page.locator('.news button').waitFor();
  await sleep(2_500);
  expect(asked).toEqual([]);
  expect(await page.locator('.opened').evaluate('(element) => element.getBoundingClientRect().top')).toBe(top);
  // an acknowledgement by somebody else is no new finding, and the badge follows
  const badge = Number.parseInt(await page.locator('.badge').innerText(), 10);
  const finding = /findings\/([0-9a-f]+)/.exec(page.url())![1]!;
  const acknowledged = await world.finish(['findings', 'ack', finding, '--note', 'x', '--ledger', ledger]);
  expect(acknowledged.status, acknowledged.stderr).toBe(0);
  await until(
    'the badge',
    async () => (await page.locator('.badge').count()) === 0 || Number.parseInt(await page.locator('.badge').innerText(), 10) < badge,
  );
  expect(errors).toEqual([]);
  await closed(client);
});

test('no width makes the page wider than it is, nor breaks its name', async (context) => {
  const { client, page } = await shown(context, 2);
  for (const width of [320, 360, 720, 768, 900, 1000, 1101, 1280]) {
    await page.setViewportSize({ width, height: 600 });
    expect(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'), String(width)).toBeLessThanOrEqual(0);
    expect(await page.evaluate(`document.querySelector('.home').getBoundingClientRect().height`), String(width)).toBeLessThan(30);
    // everything in one line, but for the views on a narrow page
    const tops = (await page.evaluate(
      `[...document.querySelectorAll('.top > :not(nav)')].map((one) => { const { top, bottom } = one.getBoundingClientRect(); return (top + bottom) / 2; })`,
    )) as number[];
    expect(Math.max(...tops) - Math.min(...tops), String(width)).toBeLessThan(6);
  }
  await closed(client);
});

test('the page of a call that waits says that there is something new', async (context) => {
  const { client, page, at } = await shown(context, 1);
  const { rows } = (await page.evaluate(`fetch('/api/v1/calls').then((answer) => answer.json())`)) as { rows: { ledger: string; index: number }[] };
  await at(`#/call/${rows[0]!.ledger}/${rows[0]!.index}`);
  await page.locator('main .frame').first().waitFor();
  await page.mouse.move(5, 5);
  await call(client, 'another');
  await page.getByText('1 call new').waitFor();
  await sleep(2_500);
  expect(await page.getByText('1 call new').count()).toBe(1);

  // nor is it forgotten when the answers come for which a page waited that was left meanwhile
  await at('#/calls');
  await page.getByText('another', { exact: true }).waitFor();
  let answer = (): void => undefined;
  const answered = new Promise<void>((done) => (answer = done));
  let isAsked = false;
  await page.route('**/api/v1/calls*', async (route) => {
    isAsked = true;
    await answered;
    await route.continue();
  });
  await call(client, 'asked_for');
  await until('the question', () => isAsked);
  await at(`#/call/${rows[0]!.ledger}/${rows[0]!.index}`);
  await page.locator('main .frame').first().waitFor();
  await call(client, 'told_meanwhile');
  // the one before may be told this late, too
  const button = page.locator('.news button');
  await button.waitFor();
  answer();
  await sleep(1_000);
  expect(await button.innerText()).toMatch(/^(?:1 call|2 calls) new$/);
  await closed(client);
});

test('a stretch is drawn, or chosen from the keyboard, in time that stands still', async (context) => {
  const { client, page, at } = await shown(context, 30);
  await at('#/sessions');
  const chart = page.locator('.chart svg');
  const box = (await chart.boundingBox())!;
  const end = (): Promise<string> => page.locator('.axis').innerText();
  await page.mouse.move(box.x + box.width * 0.3, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 20);
  await sleep(1_000);
  const before = await end();
  await call(client, 'while_it_is_held');
  await sleep(2_500);
  expect(await end()).toBe(before);
  await page.mouse.up();
  await until('the stretch', () => page.url().includes('since='));
  await chart.focus();
  await page.keyboard.press('Backspace');
  await until('all of it', () => !page.url().includes('since='));
  await page.keyboard.press('ArrowLeft');
  await until('the last bar', () => page.url().includes('since='));
  const one = page.url();
  await page.keyboard.press('ArrowLeft');
  await until('the one before', () => page.url() !== one);
  await closed(client);
});
