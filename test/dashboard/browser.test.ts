/** The dashboard in a real browser: the printed address lets it in, the page asks nobody else, nothing is refused by its policy, and a call shows while one looks. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, type TestContext } from 'vitest';
import { startBrowser, type TestBrowser } from '../browser.ts';
import { until, World } from '../support-processes.ts';
import { call, closed, Serving, sessionOf } from './serving.ts';

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
