/** The app over rows of a test, as one file: built as the report's page is, with the rows' maker in the place of the verifier. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { dataMarker, page, script } from '../../scripts/pages.ts';

const root = join(import.meta.dirname, '..', '..');

export interface World {
  world: 'story' | 'many' | 'hostile' | 'empty' | 'asked';
  calls?: number;
  isPart?: true;
  waiting?: number;
  isToken?: true;
  strings?: readonly string[];
}

/** Builds the app once, for pages of several worlds. */
export async function fixturePages(folder: string): Promise<(name: string, world: World) => string> {
  const { code } = await script(root, 'test/ui/page/fixture.ts');
  return (name, world) => {
    const path = join(folder, `${name}.html`);
    const data = JSON.stringify(world).replaceAll('<', String.raw`\u003c`);
    const html = page(root, 'report', code)
      .replace(dataMarker, '')
      .replace('<div id="app">', () => `<script type="application/json" id="fixture">${data}</script><div id="app">`);
    writeFileSync(path, html);
    return pathToFileURL(path).href;
  };
}
