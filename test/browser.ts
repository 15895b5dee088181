/**
 * A real browser for tests: Chromium from its npm package, or the one that `SWORN_CHROMIUM` names. Unpacked into a folder of its own that goes with it. A page that asks
 * the network for anything fails the test: contexts are offline, and every request is noted.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

export interface Watched {
  page: Page;
  /** What it asked for beside the file itself, `data:` and `blob:`. */
  requests: string[];
  /** Exceptions, refusals of the content security policy, and dialogs. */
  errors: string[];
}

export interface TestBrowser {
  browser: Browser;
  open(options?: BrowserContextOptions): Promise<Watched>;
  close(): Promise<void>;
}

/** Starts a browser, or says why it cannot: a machine without the libraries that Chromium needs skips these tests. */
export async function startBrowser(): Promise<TestBrowser | string> {
  const folder = mkdtempSync(join(tmpdir(), 'sworn-chromium-'));
  let browser: Browser;
  try {
    const executablePath = process.env['SWORN_CHROMIUM'] ?? (await unpacked(folder));
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--font-render-hinting=none'] });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    return `Chromium does not start here: ${(error as Error).message.split('\n')[0]}`;
  }
  return {
    browser,
    async open(options = {}) {
      const context = await browser.newContext({ offline: true, serviceWorkers: 'block', ...options });
      const page = await context.newPage();
      const watched: Watched = { page, requests: [], errors: [] };
      page.on('request', (request) => {
        const url = request.url();
        if (request.isNavigationRequest() && url.startsWith('file:')) return;
        if (!/^(?:data|blob):/.test(url)) watched.requests.push(url);
      });
      page.on('pageerror', (error) => watched.errors.push(error.message));
      page.on('console', (message) => {
        if (message.type() === 'error') watched.errors.push(message.text());
      });
      page.on('dialog', (dialog) => {
        watched.errors.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      });
      return watched;
    },
    async close() {
      await browser.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The package unpacks to the folder for temporary files, whichever that is at that moment. */
async function unpacked(folder: string): Promise<string> {
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  try {
    const { default: packed } = await import('@sparticuz/chromium');
    // no graphics card is asked for, and its libraries need not be unpacked
    packed.setGraphicsMode = false;
    return await packed.executablePath();
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
}
