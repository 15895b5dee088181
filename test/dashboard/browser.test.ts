/** The dashboard in a real browser: the printed address lets it in, the page asks nobody else, nothing is refused by its policy, and a call shows while one looks. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { startBrowser, type TestBrowser } from '../browser.ts';
import { until, World } from '../support-processes.ts';
import { call, closed, Serving, sessionApart, sessionOf } from './serving.ts';

let world: World;
let browser: TestBrowser | string;
beforeAll(async () => {
  world = new World('browser');
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

test('the printed address opens the live page', async (context) => {
  const client = sessionOf(world);
  await call(client, 'get_employee', { id: 'E1' });
  const token = 'c'.repeat(40);
  writeFileSync(join(world.folder, 'tokens'), token, { mode: 0o600 });
  const serving = await Serving.start(world, ['--token-file', join(world.folder, 'tokens')]);
  await until('rows', async () => {
    const { text } = await serving.ask('/api/v1/overview', { headers: { Authorization: `Bearer ${token}` } });
    return (JSON.parse(text) as { calls: number }).calls === 1;
  });
  const { page, requests, errors } = await started(context).open({ offline: false });
  const opened = await page.goto(serving.url);
  expect(opened!.status(), await opened!.text()).toBe(200);
  // the token is not in the address any more, and not in what is told to others
  expect(page.url()).toMatch(new RegExp(`^http://127\\.0\\.0\\.1:${serving.port}/(#.*)?$`));
  await page.getByText('get_employee').first().waitFor();
  await call(client, 'a_call_while_one_looks', { id: 'E2' });
  await page.getByText('a_call_while_one_looks').first().waitFor();
  const own = `http://127.0.0.1:${serving.port}/`;
  expect(requests.filter((url) => !url.startsWith(own))).toEqual([]);
  expect(errors).toEqual([]);
  const cookies = await page.context().cookies();
  expect(cookies).toMatchObject([{ httpOnly: true, sameSite: 'Strict', name: `sworn-${serving.port}` }]);
  expect(await page.evaluate('document.cookie')).toBe('');
  // another browser with the same address is not let in, and says so
  const other = await started(context).open({ offline: false });
  expect((await other.page.goto(serving.url))!.status()).toBe(401);
  await other.page.getByText('This address was used before').waitFor();
  await closed(client);
});

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
  await page.getByRole('button', { name: 'Live', pressed: false }).waitFor();
  await call(client, 'while_paused');
  await text('1 call new').waitFor();
  expect(await firstRow()).toBe('third');
  await text('1 call new').click();
  await text('while_paused').waitFor();
  expect(await text('1 call new').count()).toBe(0);
  await call(client, 'shown_when_it_goes_on');
  await text('1 call new').waitFor();
  await page.getByRole('button', { name: 'Live' }).click();
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
  await page.evaluate('document.activeElement.blur()');
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

  // a dashboard that is left open asks nothing while nothing happens
  const asked: string[] = [];
  page.on('request', (request) => void (request.url().endsWith('/api/v1/evidence') || asked.push(request.url())));
  await new Promise((done) => setTimeout(done, 2_000));
  expect(asked).toEqual([]);
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
  await page.getByText('before', { exact: true }).first().waitFor();
  await call(client, 'in_between');
  await until(
    'the row',
    async () => (await page.evaluate(`fetch('/api/v1/overview').then((answer) => answer.json()).then(({ calls }) => calls)`)) === 2,
  );
  expect(await page.getByText('in_between', { exact: true }).count()).toBe(0);
  open();
  await page.getByText('in_between', { exact: true }).first().waitFor();
  await closed(client);
});
