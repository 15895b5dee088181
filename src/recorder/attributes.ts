/** An entry's longer fields, as far as they are kept (`spec/entry.md`, Commitments). */
import { lossyText } from '../bytes/bytes.ts';
import type { EntryRecord } from '../ledger/segment.ts';

/** By name; erased ones are missing. */
export function attributesOf(record: EntryRecord): Record<string, unknown> {
  const attributes: Record<string, unknown> = {};
  for (const item of record.attributes) {
    if (item.state === 'kept') Object.assign(attributes, JSON.parse(lossyText(item.bytes)));
  }
  return attributes;
}
