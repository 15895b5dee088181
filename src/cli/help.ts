/** What a command says of itself: its options and an example. `main.ts` turns it into options of the command line and their help. */

export interface OptionHelp {
  readonly flags: string;
  readonly description: string;
  readonly default?: unknown;
  /** May be given several times; the command gets a list. */
  readonly repeat?: boolean;
}

export interface CommandHelp {
  readonly options: readonly OptionHelp[];
  /** A command line that works as it stands. */
  readonly example: string;
}
