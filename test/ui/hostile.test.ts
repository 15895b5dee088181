import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startBrowser, type Watched } from '../browser.ts';
import { hostileStrings } from '../fixtures/hostile.ts';
import { fixturePages } from './fixture-page.ts';
import { hostile } from './page/hostile.ts';
import { ledger } from './page/rows.ts';

const browser = await startBrowser();
if (typeof browser === 'string') console.warn(browser);
const folder = mkdtempSync(join(tmpdir(), 'sworn-hostile-'));
afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  rmSync(folder, { recursive: true, force: true });
});

test('there are at least 200 hostile strings, all different', () => {
  expect(new Set(hostileStrings).size).toBeGreaterThanOrEqual(200);
});

/** What is wrong with the page as it stands: elements, attributes and texts that are none of the app's. */
const strange = `(() => {
  const tags = new Set('a b bdi button circle code col colgroup dd details dialog div dl dt form h1 h2 h3 h4 header input kbd label li line main nav ol option p path pre progress rect section select span summary svg table tbody td th thead tr ul'.split(' '));
  const attributes = /^(?:class|style|id|role|tabindex|title|href|type|value|max|for|placeholder|autocomplete|autocapitalize|spellcheck|scope|colspan|open|disabled|maxlength|viewBox|width|height|x|y|x1|x2|y1|y2|d|cx|cy|r|fill|stroke|selected|data-at|data-title|aria-[a-z]+)$/;
  const wrong = [];
  const app = document.querySelector('#app');
  for (const element of app.querySelectorAll('*')) {
    const tag = element.tagName.toLowerCase();
    if (!tags.has(tag)) wrong.push('element ' + tag);
    for (const { name, value } of element.attributes) {
      if (!attributes.test(name)) wrong.push('attribute ' + tag + ' ' + name);
      if (name === 'href' && !value.startsWith('#/') && value !== '#main') wrong.push('address ' + value.slice(0, 60));
      if (name === 'class' && !/^[-a-zA-Z ]*$/.test(value)) wrong.push('class ' + value.slice(0, 60));
      if (name === 'style' && !/^(?:height|transform): [-\\w.(), ]+;?$/.test(value)) wrong.push('style ' + value.slice(0, 60));
      if (name !== 'value' && /[\\u202a-\\u202e\\u2066-\\u2069\\u200b-\\u200f\\ufeff\\u0000-\\u0008\\u001b]/.test(value)) wrong.push('hidden in ' + name);
    }
  }
  const walker = document.createTreeWalker(app, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    if (/[\\u202a-\\u202e\\u2066-\\u2069\\u200b-\\u200f\\u00ad\\ufeff\\u0000-\\u0008\\u001b\\u007f-\\u009f]/.test(node.data)) wrong.push('bare ' + JSON.stringify(node.data.slice(0, 60)) + ' in ' + node.parentElement.outerHTML.slice(0, 100));
  }
  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) wrong.push('wide ' + scrollWidth);
  if (globalThis.__ran !== undefined) wrong.push('a script ran');
  if (document.title.length > 40) wrong.push('title ' + document.title.slice(0, 60));
  return [...new Set(wrong)].slice(0, 20);
})()`;

describe.skipIf(typeof browser === 'string')('hostile strings', () => {
  let watched: Watched;
  let page: Page;
  const world = hostile(hostileStrings);
  const [session] = world.rows.rows('sessions');

  beforeAll(async () => {
    const write = await fixturePages(folder);
    const url = write('hostile', { world: 'hostile', strings: hostileStrings });
    if (typeof browser === 'string') return;
    // so high that a list holds all of its rows
    watched = await browser.open({ viewport: { width: 1000, height: 9_600 } });
    ({ page } = watched);
    await page.goto(url);
    await page.locator('h1').waitFor();
  });

  const look = async (hash: string): Promise<void> => {
    await page.evaluate(`(async () => {
      location.hash = ${JSON.stringify(hash)};
      for (let n = 0; n < 200; n++) {
        await new Promise((done) => setTimeout(done, 5));
        if (document.querySelector('main :is(h1, .empty, .broken)') !== null && document.querySelector('main .waiting, .pending') === null) break;
      }
    })()`);
    // a filter may be none: that is said
    if (!hash.includes('filter=')) expect(await page.locator('.broken').count(), hash).toBe(0);
    expect(await page.evaluate(strange), hash).toEqual([]);
  };

  test('all of them stand in every list, and nothing of them is more than text', async () => {
    for (const view of [
      '',
      'sessions',
      `session/${ledger}/${session!.session}`,
      'calls',
      'entries',
      'tools',
      'entities?rows=1000',
      'findings',
      'verify',
    ])
      await look(`#/${view}`);
    await look('#/calls');
    expect(await page.locator('[data-at]').count()).toBeGreaterThan(hostileStrings.length);
    expect(watched.errors).toEqual([]);
    expect(watched.requests).toEqual([]);
  });

  test('each of them opened: call, entry, tool, entity, finding, and as an address and a filter', async () => {
    await page.setViewportSize({ width: 1000, height: 900 });
    const calls = world.rows.rows('calls');
    const findings = world.rows.rows('findings');
    for (const [n, text] of hostileStrings.entries()) {
      const call = calls[n]!;
      const name = encodeURIComponent(text.slice(0, 2_000).replaceAll(/\p{Surrogate}/gu, '\uFFFD'));
      const entity = encodeURIComponent(`${text}:${text}`.slice(0, 4_000).replaceAll(/\p{Surrogate}/gu, '\uFFFD'));
      // every string in its call, and in one of the others: they draw with the same parts
      const others = [
        `#/entry/${ledger}/${call.index + 2}`,
        `#/tool/${ledger}/${name}/${name}`,
        `#/entity/${ledger}/${entity}`,
        `#/calls?filter=${name}`,
        `#/compare/${ledger}/${call.index}/${calls[(n + 1) % calls.length]!.index}`,
        `#/${name}/${name}?${name}=${name}&since=${name}&open=${name}`,
      ];
      await look(`#/call/${ledger}/${call.index}`);
      await look(n % 24 === 0 ? `#/findings/${findings[n]!.finding}` : others[n % others.length]!);
    }
    expect(watched.errors).toEqual([]);
    expect(watched.requests).toEqual([]);
  });

  test('a phone is no wider for them', async () => {
    await page.setViewportSize({ width: 360, height: 9_600 });
    for (const view of ['', 'sessions', 'calls', 'tools', 'entities?rows=1000', 'findings', 'verify']) await look(`#/${view}`);
  });

  test('of very many things first some are drawn, and more when somebody asks', async () => {
    await page.setViewportSize({ width: 1000, height: 900 });
    await look(`#/call/${ledger}/${world.rows.rows('calls').at(-2)!.index}`);
    expect(await page.locator('.textitem').count()).toBe(100);
    await page.getByText('… 49,901 more').click();
    expect(await page.locator('.textitem').count()).toBe(1_100);
    await page.getByText('as recorded').last().click();
    await page.getByText(/… 9,\d{3} more/).waitFor();
    expect(await page.locator('.missing').count()).toBeLessThan(100);
  });

  test('an image is drawn only when it is asked for, only from its bytes, and never one that could hold a script', async () => {
    await page.setViewportSize({ width: 1000, height: 900 });
    await look(`#/call/${ledger}/${world.rows.rows('calls').at(-1)!.index}`);
    const drawn = page.locator('img, audio, video, iframe, object, embed');
    expect(await drawn.count()).toBe(0);
    expect(await page.getByText('is not shown here').count()).toBe(2);
    await page.getByRole('button', { name: 'show the image' }).click();
    expect(await drawn.count()).toBe(1);
    expect(await page.evaluate(`document.querySelector('img').complete && document.querySelector('img').naturalWidth`)).toBe(1);
    await page.getByRole('button', { name: 'play' }).click();
    expect(await drawn.count()).toBe(2);
    await page.getByRole('button', { name: 'hide' }).first().click();
    expect(await drawn.count()).toBe(1);
    expect(watched.requests).toEqual([]);
  });
});
