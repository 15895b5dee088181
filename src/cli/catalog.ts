/** `sworn catalog`: the rows that dashboard and findings stand on, how far they go, and how to make them again. */
import type { Catalog as Opened, Progress } from '../catalog/catalog.ts';
import { SwornError } from '../errors.ts';
import { analysisOf, analysisOptions, type AnalysisFlags } from './analysis.ts';
import type { CommandHelp, OptionHelp } from './help.ts';
import { ledgerPaths } from './ledger-path.ts';
import { visible, type Output } from './output.ts';

export const catalogOption: OptionHelp = {
  flags: '--catalog <file>',
  description: 'where its catalog is (default: catalog.sqlite in the ledger, or below ~/.cache/sworn where that is not yours)',
};

export const catalogHelp: CommandHelp = {
  options: [
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn); may be given several times', repeat: true },
    catalogOption,
    ...analysisOptions,
    { flags: '--json', description: 'one JSON object a line' },
  ],
  example: 'sworn catalog rebuild',
};

export interface CatalogFlags extends AnalysisFlags {
  ledger?: string | string[];
  catalog?: string;
}

interface Options extends CatalogFlags {
  action?: string;
  json?: boolean;
}

export interface Place {
  /** The ledger's id. */
  ledger: string;
  folder: string;
  /** Of the catalog. */
  path: string;
}

/** @throws (rejects) SwornError `no-ledger`, `permission`; `usage` for one catalog of several ledgers */
export async function placesOf({ ledger, catalog }: CatalogFlags, command: string): Promise<Place[]> {
  const folders = ledgerPaths(ledger);
  if (catalog !== undefined && folders.length > 1) throw new SwornError('usage', '--catalog is of one ledger', { command });
  const { catalogPathOf } = await import('../catalog/place.ts');
  const { identityOf } = await import('../readers/identity.ts');
  return Promise.all(folders.map(async (folder) => ({ ledger: (await identityOf(folder)).id, folder, path: catalog ?? catalogPathOf(folder) })));
}

/**
 * Makes the rows of all that a ledger has now. Where another process writes the catalog, that one does: false.
 * @throws (rejects) SwornError
 */
export async function catchUp(
  place: Place,
  flags: CatalogFlags,
  isSearchable: boolean,
  isAgain = false,
  said?: (progress: Progress) => void,
): Promise<boolean> {
  const { Catalog } = await import('../catalog/catalog.ts');
  const { nodeCrypto } = await import('../crypto-node.ts');
  const analysis = { ...(await analysisOf(flags)), crypto: nodeCrypto };
  let catalog: Opened;
  try {
    catalog = await Catalog.open(place.folder, { path: place.path, analysis, isSearchable });
  } catch (error) {
    if (error instanceof SwornError && error.code === 'catalog-held' && !isAgain) return false;
    throw error;
  }
  try {
    if (isAgain && catalog.cursor > 0) catalog.rebuild('it was asked for');
    await catalog.catchUp(said);
  } finally {
    catalog.close();
  }
  return true;
}

/** @throws (rejects) SwornError */
export async function catalogCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as Options;
  const isRebuild = options.action === 'rebuild';
  const { CatalogRows } = await import('../catalog/queries.ts');
  for (const place of await placesOf(options, 'catalog')) {
    if (isRebuild) await catchUp(place, options, true, true);
    const rows = new CatalogRows([place]);
    const { next, size, calls, findings } = rows.progressOf(place.ledger);
    rows.close();
    if (options.json) output.out(`${JSON.stringify({ ledger: place.folder, catalog: place.path, entries: next, size, calls, findings })}\n`);
    else if (next === 0) output.out(`${visible(place.path)}\n  there is none yet; made by: sworn serve, sworn findings, sworn catalog rebuild\n`);
    else output.out(`${visible(place.path)}\n  rows of ${next} of ${size} entries: ${calls} calls, ${findings} findings\n`);
  }
  return 0;
}
