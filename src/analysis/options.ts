import type { Crypto } from '../bytes/crypto.ts';
import type { EntityOptions } from './entity-rules.ts';
import type { ToolWord } from '../mcp/effect.ts';

/**
 * How rows are made of entries. All but `crypto` comes from flags and the configuration; rows of a catalog depend on it, so whoever keeps rows makes them again
 * when it changes.
 */
export interface AnalysisOptions {
  crypto: Pick<Crypto, 'sha256'>;
  /** Globs over tool names, each list also comma separated, as for `sworn run`. What they say is labelled `reading`. */
  sensitive?: readonly string[];
  write?: readonly string[];
  read?: readonly string[];
  /** `servers` of a configuration: as the recorder goes by it (`wordOn`); goes before the lists. */
  servers?: Readonly<Record<string, { tools: Record<string, ToolWord> }>>;
  entities?: EntityOptions;
  /** Findings that nobody wants: rules, or `rule/tool` with a glob over the tool, cut at the first slash. */
  ignore?: readonly string[];
  /** Settings of rules by their id (`rules/settings.ts`). */
  rules?: Readonly<Record<string, unknown>>;
}
