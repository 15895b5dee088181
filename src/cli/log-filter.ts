/** What `sworn log` asks of one ledger, of its messages and of its calls. Lists of tools are read only where a definition is named. */
import { filterOf, type Filter, type FilterOptions } from './filter.ts';

export async function filterFor(options: FilterOptions & { definition?: string }, ledger: string): Promise<Filter> {
  const filter = filterOf(options, 'log');
  if (options.definition === undefined) return filter;
  const { underDefinition } = await import('./definitions.ts');
  return underDefinition(filter, ledger, options.definition, 'log');
}
