import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startBrowser, type Watched } from '../browser.ts';
import { fixturePages } from './fixture-page.ts';
import { asked as askedWorld, ledger, story } from './page/rows.ts';

const browser = await startBrowser();
if (typeof browser === 'string') console.warn(browser);
const folder = mkdtempSync(join(tmpdir(), 'sworn-ui-'));
afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const rows = story().rows;
const askedRows = askedWorld().rows;
const session = rows.rows('sessions')[0]!.session;
const [search, own, other] = rows.rows('calls');
const open = `${ledger.slice(0, 8)}:${other!.index}`;
const finding = rows.rows('findings')[0]!.finding;

/** Every view by its address, and a text that is only there once it is drawn. */
const views: readonly [string, string, RegExp][] = [
  ['overview', '#/', /3 questions to answer/],
  ['sessions', '#/sessions', /demo-agent → hr/],
  ['session with an open call', `#/session/${ledger}/${session}?open=${open}`, /Rosa Alvarez/],
  ['calls', '#/calls?filter=effect%3Asensitive', /get_pay_info/],
  ['entries', '#/entries', /sworn 0\.1\.0 began to record/],
  ['entry', `#/entry/${ledger}/${other!.legs[1]}`, /Leaf, as stored/],
  ['call', `#/call/${ledger}/${search!.index}`, /Ada Okafor/],
  ['compare', `#/compare/${ledger}/${own!.index}/${other!.index}`, /2 lines differ/],
  ['tools', '#/tools', /submit_time_off/],
  ['tool with two definitions', `#/tool/${ledger}/hr/get_pay_info`, /Always call submit_time_off first/],
  ['entities', '#/entities', /does not exist/],
  ['entity', `#/entity/${ledger}/${encodeURIComponent('employee:e-102')}`, /submit_time_off/],
  ['findings', `#/findings/${finding}`, /Because somebody has to answer for it/],
  ['verify', '#/verify', /the hashes of 16 records lead to the root/],
];

describe.skipIf(typeof browser === 'string')('the app', () => {
  let story: string;
  let many: string;
  let empty: string;
  let part: string;
  let asked: string;
  let watched: Watched;
  let page: Page;

  beforeAll(async () => {
    const write = await fixturePages(folder);
    story = write('story', { world: 'story' });
    many = write('many', { world: 'many', calls: 100_000 });
    empty = write('empty', { world: 'empty' });
    asked = write('asked', { world: 'asked' });
    part = write('part', { world: 'story', isPart: true });
    if (typeof browser === 'string') return;
    watched = await browser.open({ viewport: { width: 1280, height: 900 } });
    ({ page } = watched);
  });

  beforeEach(() => page.setViewportSize({ width: 1280, height: 900 }));

  const goto = async (hash: string, shows: RegExp): Promise<void> => {
    if (!page.url().startsWith(story)) await page.goto(story + hash);
    else await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
    await page.getByText(shows).first().waitFor({ timeout: 5_000 });
  };

  test('who let a call happen, and what became of those that nobody did, is said in words and on narrow screens too', async () => {
    for (const [theme, width] of [
      ['light', 1280],
      ['dark', 1280],
      ['light', 360],
    ] as const) {
      await page.emulateMedia({ colorScheme: theme });
      await page.setViewportSize({ width, height: 900 });
      await page.goto(asked);
      await page.goto(`${asked}#/calls`);
      await page.getByText('pay_later').first().waitFor({ timeout: 5_000 });
      const text = await page.locator('#app').innerText();
      for (const word of ['by itself?', 'denied', 'timed out', 'lost', 'waiting', 'limited'])
        expect(text, `${word}, ${theme} ${width}`).toContain(word);
      // no word is cut off
      const cut = (await page.evaluate(
        `[...document.querySelectorAll('.list .tag')].filter((tag) => tag.getBoundingClientRect().right > tag.closest('.cell').getBoundingClientRect().right + 1).map((tag) => tag.textContent)`,
      )) as string[];
      expect(cut, `${theme} ${width}`).toEqual([]);
      const of = async (tool: string): Promise<string> => {
        const { index } = askedRows.rows('calls').find(({ target }) => target === tool)!;
        await page.evaluate(`location.hash = '#/call/${ledger}/${index}'`);
        await page.locator('h1').getByText(tool).waitFor({ timeout: 5_000 });
        return page.locator('#app').innerText();
      };
      expect(await of('pay_approved')).toMatch(
        /Approved by\s+a person: approved by Mira.*, uid 1001 \(webhook\), with the agent's own account after 8\.1 s: <b>seen<\/b>/s,
      );
      expect(await of('pay_timed-out')).toMatch(/Not approved\s+timed out: nobody decided after 8\.1 s/);
      expect(await of('pay_later')).toMatch(/Approved by\s+nobody yet: it waits for a person/);
      expect(await of('send')).toMatch(/Limit\s+it could pass after 8\.1 s at the soonest/);
      if ((await page.evaluate('typeof axe')) === 'undefined') await page.evaluate(axe);
      const violations = (await page.evaluate(
        `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map(({ html }) => html).join(' | ')))`,
      )) as string[];
      expect(violations, `${theme} ${width}`).toEqual([]);
    }
    expect([watched.errors, watched.requests]).toEqual([[], []]);
    await page.goto('about:blank');
  });

  for (const theme of ['light', 'dark'] as const) {
    test(`every view has an address, is drawn without an error, and axe finds nothing in it (${theme})`, async () => {
      await page.emulateMedia({ colorScheme: theme });
      for (const [name, hash, shows] of views) {
        await goto(hash, shows);
        if ((await page.evaluate('typeof axe')) === 'undefined') await page.evaluate(axe);
        const violations = (await page.evaluate(
          `axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.slice(0, 3).map(({ html }) => html).join(' | ')))`,
        )) as string[];
        expect(violations, `${name}, ${theme}`).toEqual([]);
        expect(await page.locator('h1').count(), name).toBe(1);
      }
      expect(watched.errors).toEqual([]);
      expect(watched.requests).toEqual([]);
    });
  }

  test('where it is known from what a call does can be read, not only pointed at', async () => {
    await goto(`#/call/${ledger}/${search!.index}`, /read: said by the server's own annotation/);
    await goto(`#/tool/${ledger}/hr/get_pay_info`, /read: said by the configuration/);
    await goto(`#/tool/${ledger}/hr/submit_time_off`, /write: said by the server's own annotation/);
  });

  test('nothing is wider than a phone', async () => {
    await page.setViewportSize({ width: 360, height: 800 });
    for (const [name, hash, shows] of views) {
      await goto(hash, shows);
      const wide =
        (await page.evaluate(`new Promise((done) => setTimeout(done, 60)).then(() => document.documentElement.scrollWidth <= innerWidth ? '' :
        [...document.querySelectorAll('#app *')].filter((one) => one.closest('nav, .scroll') === null && one.getBoundingClientRect().right > innerWidth).map((one) => one.outerHTML.slice(0, 80)).slice(0, 3).join(' | ') || 'the page')`)) as string;
      expect(wide, name).toBe('');
    }
  });

  test('the keyboard is enough: j k enter e / v ? and the way back', async () => {
    await goto(`#/session/${ledger}/${session}`, /search_employees/);
    await page.locator('main').focus();
    await page.keyboard.press('j');
    await page.keyboard.press('j');
    expect(await page.evaluate('document.activeElement.textContent')).toContain('e-101');
    await page.keyboard.press('k');
    expect(await page.evaluate('document.activeElement.textContent')).toContain('search_employees');
    await page.keyboard.press('Enter');
    await page.getByText('Ada Okafor').waitFor();
    expect(page.url()).toContain(`open=${ledger.slice(0, 8)}%3A${search!.index}`);
    await page.keyboard.press('Enter');
    await page.getByText('Ada Okafor').waitFor({ state: 'detached' });
    await page.keyboard.press('e');
    await page.getByText('Rosa Alvarez').waitFor();
    await page.keyboard.press('/');
    expect(await page.evaluate('document.activeElement.id')).toBe('search');
    await page.keyboard.type('tool:submit*');
    await page.keyboard.press('Enter');
    await page.getByText('Which calls fit?').waitFor();
    await page.getByText('submit_time_off').first().waitFor();
    await page.getByText('get_pay_info').waitFor({ state: 'detached' });
    await page.keyboard.press('v');
    await page.getByText('Does the record still hold?').waitFor();
    await page.goBack();
    await page.getByText('Which calls fit?').waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog').getByText('next row, previous row').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'hidden' });
  });

  test('what is no filter is said where it was written, and nothing is asked', async () => {
    await goto('#/calls', /Which calls fit/);
    await page.keyboard.press('/');
    await page.keyboard.type('nonsense:x');
    await page.keyboard.press('Enter');
    await page.getByText(/no word nonsense/).waitFor();
    expect(page.url()).not.toContain('nonsense');
    await page.keyboard.press('Escape');
  });

  test('a stretch of the timeline narrows all that stands below it', async () => {
    await goto('#/', /3 questions to answer/);
    await page.evaluate('scrollTo(0, 0)');
    const chart = (await page.locator('.chart svg').boundingBox())!;
    await page.mouse.move(chart.x + chart.width * 0.6, chart.y + 30);
    await page.mouse.down();
    await page.mouse.move(chart.x + chart.width - 2, chart.y + 30, { steps: 4 });
    await page.mouse.up();
    await page.getByText('Narrowed to').waitFor();
    await page.getByText('2 questions to answer').waitFor();
    expect(await page.getByRole('table', { name: 'Tools' }).textContent()).not.toContain('get_pay_info');
    await page.getByText('show everything').click();
    await page.getByText('3 questions to answer').waitFor();
  });

  test('a hundred thousand calls: the page holds those that are seen, and scrolls without a long task', async () => {
    await page.goto(`${many}#/calls`);
    await page.getByText('Which calls fit?').waitFor();
    await page.locator('[data-at="0"]').waitFor({ timeout: 30_000 });
    await page.evaluate(
      `globalThis.longest = 0; new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) longest = Math.max(longest, duration); }).observe({ type: 'longtask' });`,
    );
    for (const at of [5_000, 400_000, 1_600_000, 3_100_000]) {
      await page.evaluate(`scrollTo(0, ${at})`);
      await expect
        .poll(() => page.evaluate(`document.querySelectorAll('[data-at]').length > 10 && document.querySelectorAll('.pending').length === 0`))
        .toBe(true);
    }
    await page.evaluate('scrollTo(0, document.documentElement.scrollHeight)');
    await page.locator('[data-at="99999"]').waitFor();
    expect(await page.locator('[data-at]').count()).toBeLessThan(100);
  });

  test('of a part of the record it does not say what only all of it could', async () => {
    await page.goto(part);
    await page.getByText('Nothing in what is shown of it was found to need a look.').waitFor();
    await page.getByText('No finding in what is shown').waitFor();
    expect(await page.getByText('never listed').count()).toBe(0);
    await page.evaluate(`location.hash = ${JSON.stringify(`#/tool/${ledger}/hr/get_pay_info`)}`);
    await page.getByText('said by the configuration').first().waitFor();
    expect(await page.getByText('in no list of tools').count()).toBe(0);
  });

  test('without any record it says how to make one', async () => {
    await page.goto(empty);
    await page.getByText('No session yet').waitFor();
    await page.getByText('sworn run -- npx').waitFor();
    for (const hash of [
      '#/sessions',
      '#/calls',
      '#/tools',
      '#/entities',
      '#/findings',
      '#/verify',
      '#/entries',
      `#/tool/${ledger}/a/b`,
      '#/nothing',
    ]) {
      await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
      await page.locator('main .empty, main .ledger').first().waitFor();
    }
    expect(watched.errors).toEqual([]);
    expect(watched.requests).toEqual([]);
  });
});
