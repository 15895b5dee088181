/** The queue of approvals in a page, without a server: how it looks, what it lets decide, and what it keeps. With a recorder behind it: test/dashboard. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBrowser, type Watched } from '../browser.ts';
import { fixturePages } from './fixture-page.ts';

const browser = await startBrowser();
if (typeof browser === 'string') console.warn(browser);
const folder = mkdtempSync(join(tmpdir(), 'sworn-ui-approvals-'));
afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const secret = 'open-sesame-1234';

describe.skipIf(typeof browser === 'string')('approvals', () => {
  const pages: Record<string, string> = {};
  let watched: Watched;
  let page: Page;

  beforeAll(async () => {
    const write = await fixturePages(folder);
    for (const waiting of [0, 1, 10, 1_000]) pages[waiting] = write(`w${waiting}`, { world: 'story', waiting });
    pages['token'] = write('token', { world: 'story', waiting: 2, isToken: true });
    pages['none'] = write('none', { world: 'story' });
    if (typeof browser === 'string') return;
    watched = await browser.open({ viewport: { width: 1280, height: 900 } });
    ({ page } = watched);
  });

  const goto = async (name: string): Promise<void> => {
    await page.goto('about:blank');
    await page.goto(`${pages[name]}#/approvals`);
    await page.getByText('What waits for a person?').waitFor();
  };
  const unlock = async (): Promise<void> => {
    await page.locator('#secret').fill(secret);
    await page.keyboard.press('Enter');
    await page.getByText('You can decide').waitFor();
    // what opened by itself is not decided by a key that was meant for another one
    await page.waitForTimeout(500);
  };
  const opened = (): Promise<string | null> => page.locator('.ask.open .askname').textContent();
  const waits = (): Promise<string> => page.title();

  for (const theme of ['light', 'dark'] as const) {
    test(`axe finds nothing, and nothing is wider than a phone (${theme})`, async () => {
      await page.emulateMedia({ colorScheme: theme });
      for (const name of ['0', '1', '10', 'token']) {
        await goto(name);
        if (name !== '0') await page.getByText('What this session did before').waitFor();
        if (name === '10') {
          await unlock();
          await page.keyboard.press('x');
          await page.keyboard.press('d');
          await page.getByRole('dialog').waitFor();
        }
        await page.evaluate(axe);
        const violations = (await page.evaluate(
          `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map(({ html }) => html).join(' | ')))`,
        )) as string[];
        expect(violations, `${name}, ${theme}`).toEqual([]);
        await page.setViewportSize({ width: 360, height: 800 });
        expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), name).toBe(true);
        await page.setViewportSize({ width: 1280, height: 900 });
      }
      expect(watched.errors).toEqual([]);
      expect(watched.requests).toEqual([]);
    });
  }

  test('locked it only shows; a wrong secret changes nothing, and none stays in the page', async () => {
    await goto('10');
    await expect.poll(waits).toBe('(10) Approvals · sworn');
    await page.getByText('What this session did before').waitFor();
    expect(await page.getByRole('button', { name: /^Approve/ }).isDisabled()).toBe(true);
    await page.waitForTimeout(500);
    await page.keyboard.press('a');
    // it asks for the secret instead
    expect(await page.evaluate('document.activeElement.id')).toBe('secret');
    await page.keyboard.type('a wrong secret');
    await page.keyboard.press('Enter');
    await page.getByText('This is not the secret').waitFor();
    expect(await page.locator('#secret').inputValue()).toBe('');
    await page.locator('#secret').fill(secret);
    await page.keyboard.press('Enter');
    await page.getByText('You can decide').waitFor();
    const kept = (await page.evaluate(
      'JSON.stringify([document.querySelector("#app").outerHTML, { ...localStorage }, { ...sessionStorage }, document.cookie, location.href])',
    )) as string;
    expect(kept.includes(secret)).toBe(false);
    await page.getByRole('button', { name: 'lock' }).click();
    await page.getByText('Read only.').waitFor();
    await page.reload();
    await page.getByText('Read only.').waitFor();
    await page.goto(`${pages['token']}#/approvals`);
    await page.getByText('A token only reads').waitFor();
    expect(await page.locator('#secret').count()).toBe(0);
  });

  test('one keystroke decides what is open, and the next one opens', async () => {
    await goto('10');
    await page.getByText('amountEur', { exact: true }).waitFor();
    await unlock();
    expect(await opened()).toBe('submit_payment');
    // the same key again, the moment that the next one could be approved, was meant for the one before
    await page.evaluate(`globalThis.pressed = 0; new MutationObserver((_, observer) => {
      const button = document.querySelector('.ask.open .approve');
      if (document.querySelector('.ask.open .askname')?.textContent !== 'delete_employee' || button === null || button.disabled) return;
      observer.disconnect();
      pressed++;
      document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
    }).observe(document.querySelector('#app'), { subtree: true, childList: true, attributes: true })`);
    await page.keyboard.press('a');
    await page.getByText('Approved: submit_payment').waitFor();
    await expect.poll(() => page.evaluate('pressed')).toBe(1);
    expect(await opened()).toBe('delete_employee');
    await expect.poll(waits).toBe('(9) Approvals · sworn');
    await page.waitForTimeout(500);
    await page.keyboard.press('j');
    expect(await opened()).toBe('get_pay_info');
    await page.keyboard.press('k');
    await page.keyboard.press('d');
    await page.getByRole('dialog').getByText('Deny delete_employee?').waitFor();
    // letters are a reason here, and not keys
    await page.keyboard.type('a bad idea, ask jonas');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
    await expect.poll(waits).toBe('(9) Approvals · sworn');
    await page.keyboard.press('d');
    await page.keyboard.type('not this one');
    await page.keyboard.press('Enter');
    await page.getByText('Denied: delete_employee').waitFor();
    await expect.poll(waits).toBe('(8) Approvals · sworn');
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('approve the open one').waitFor();
    await page.keyboard.press('Escape');
    await page.keyboard.press('o');
    await page.getByText('3 questions to answer').waitFor();
    await expect.poll(waits).toBe('(8) Overview · sworn');
    await page.keyboard.press('p');
    await page.getByText('What waits for a person?').waitFor();
    await page.getByText('You can decide').waitFor();
  });

  test('several are decided together as they are listed, and what was not shown is not approved', async () => {
    await goto('10');
    await unlock();
    // submit_time_off, whose arguments are longer than its line, twice
    await page.locator('.askname', { hasText: 'submit_time_off' }).first().focus();
    for (const box of await page.getByRole('checkbox', { name: /submit_time_off/ }).all()) await box.check();
    await page
      .getByRole('checkbox', { name: /delete_employee/ })
      .first()
      .check();
    await page.keyboard.press('a');
    const dialog = page.getByRole('dialog');
    await dialog.getByText('Approve delete_employee?').waitFor();
    await dialog.getByText('2 of those that are marked say more than their line shows').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('.askname', { hasText: 'submit_time_off' }).first().click();
    await page.getByText('read again').waitFor();
    await page.keyboard.press('a');
    await dialog.getByText('Approve 2 requests?').waitFor();
    await page.keyboard.press('Enter');
    await page.getByText('Approved: 2 requests').waitFor();
    await expect.poll(waits).toBe('(8) Approvals · sworn');
    await page.getByText('1 marked').waitFor();
    // denying needs no look
    await page.keyboard.press('d');
    await dialog.getByText('Deny submit_time_off?').waitFor();
    await page.keyboard.press('Enter');
    await page.getByText('Denied: submit_time_off').waitFor();
    await expect.poll(waits).toBe('(7) Approvals · sworn');
  });

  test('what stands twice in a request is shown twice', async () => {
    await goto('10');
    await page.locator('.askname').last().click();
    await page.getByText('Request, with members that stand twice').waitFor();
    for (const id of ['harmless', 'e-201']) await page.locator('.ask.open .tree').getByText(id, { exact: true }).waitFor();
  });

  test('a thousand: the first are drawn, all like one are denied at once', async () => {
    await goto('1000');
    expect(await page.locator('.ask').count()).toBe(100);
    await page.getByText('… 900 more wait behind these').waitFor();
    await unlock();
    await page.keyboard.press('m');
    await page.getByText('250 marked').waitFor();
    await page.keyboard.press('d');
    await page.getByRole('dialog').getByText('Deny 250 requests?').waitFor();
    await page.keyboard.type('no more payments today');
    await page.keyboard.press('Enter');
    await page.getByText('Denied: 250 requests').waitFor();
    await expect.poll(waits).toBe('(750) Approvals · sworn');
  });

  test('an empty queue says how one fills, and a report has none', async () => {
    await goto('0');
    await page.getByText('ask: true').waitFor();
    await page.getByText('sworn policy reload').waitFor();
    await expect.poll(waits).toBe('Approvals · sworn');
    for (const word of ['approved', 'denied', 'timed out', 'cancelled', 'lost', 'self-approved', 'jonas@example.com'])
      await page.locator('.decided').getByText(word, { exact: true }).first().waitFor();
    await page.goto(`${pages['none']}#/`);
    await page.getByText('3 questions to answer').waitFor();
    expect(await page.getByRole('link', { name: 'Approvals' }).count()).toBe(0);
    expect(watched.errors).toEqual([]);
  });
});
