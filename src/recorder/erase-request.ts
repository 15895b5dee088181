/** What `erase` and `prune` ask for over the socket (`spec/wire.md`), looked at: a stranger's JSON. */
import { reasonBytes } from '../limits.ts';
import { compilePath, PathError } from '../policy/paths.ts';
import type { EraseRequest } from './erase.ts';
import type { PruneRequest } from './prune.ts';

const scopes = ['index', 'session', 'subject', 'age'] as const;
const pathsMost = 64;

/** A text says what is wrong with it. */
export function readErase(json: Record<string, unknown>): EraseRequest | string {
  const scope = scopes.find((one) => one === json['scope']);
  if (scope === undefined) return `scope is one of ${scopes.join(', ')}`;
  const { targets, paths = [], reason } = json;
  if (!Array.isArray(targets) || targets.length === 0) return 'targets is a list of ranges [first, last]';
  const ranges: [number, number][] = [];
  for (const one of targets as unknown[]) {
    const [first, last] = Array.isArray(one) && one.length === 2 ? (one as unknown[]) : [];
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last) || (first as number) < 0 || (last as number) < (first as number))
      return 'targets is a list of ranges [first, last]';
    ranges.push([first as number, last as number]);
  }
  if (!Array.isArray(paths) || paths.length > pathsMost || !paths.every((path) => typeof path === 'string'))
    return `paths is a list of at most ${pathsMost} texts`;
  for (const path of paths) {
    try {
      compilePath(path);
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
      return `the path ${path} cannot be read: ${error.message}`;
    }
  }
  if (!isReason(reason)) return `reason is a text of 1 to ${reasonBytes} bytes`;
  return { scope, targets: ranges, paths: paths, ...(typeof reason === 'string' ? { reason } : {}) };
}

/** A text says what is wrong with it. */
export function readPrune({ beforeMs, end, reason, dryRun }: Record<string, unknown>): PruneRequest | string {
  if ((beforeMs === undefined) === (end === undefined)) return 'one of beforeMs and end says what is to be pruned';
  if (beforeMs !== undefined && (typeof beforeMs !== 'number' || !Number.isFinite(beforeMs) || Math.abs(beforeMs) > 8.64e15))
    return 'beforeMs is a time';
  if (end !== undefined && (!Number.isSafeInteger(end) || (end as number) < 0)) return 'end is an index';
  if (!isReason(reason)) return `reason is a text of 1 to ${reasonBytes} bytes`;
  return {
    ...(beforeMs === undefined ? {} : { beforeMs: Math.floor(beforeMs) }),
    ...(end === undefined ? {} : { end: end as number }),
    ...(typeof reason === 'string' ? { reason } : {}),
    ...(dryRun === true ? { dryRun } : {}),
  };
}

function isReason(reason: unknown): boolean {
  return reason === undefined || (typeof reason === 'string' && reason !== '' && Buffer.byteLength(reason) <= reasonBytes);
}
