/** What the rules between entries look at of an entry: of one that was just read, and of one that another thread read and handed on. */
import type { MessageEntry, PrincipalEntry } from '../entry/entry.ts';

/** What is looked at of most entries. Ranges (`spread.ts`) hand on these fields and no others: a rule that needs another one adds it here, and there. */
export type SeenMessage = Pick<
  MessageEntry,
  | 'kind'
  | 'connection'
  | 'direction'
  | 'origin'
  | 'type'
  | 'anomalies'
  | 'seq'
  | 'tapSeq'
  | 'parts'
  | 'who'
  | 'exchange'
  | 'call'
  | 'batch'
  | 'item'
  | 'uncaptured'
> &
  // of a request that waits for a person, whose leaf is handed on
  Partial<Pick<MessageEntry, 'verdict' | 'rule' | 'commitment'>>;
export type SeenPrincipal = Pick<PrincipalEntry, 'kind' | 'connection'>;
