/** `limits` of `sworn.yaml`: its shape, what a shape cannot say, and the limits that come of it. */
import * as z from 'zod';
import { limitsCount, pendingRequests } from '../limits.ts';
import { limitKeys, type Limit, type Matchers, type Policy, type Rate } from '../policy/policy.ts';
import { text } from './checked-text.ts';
import type { PlacedFinding } from './explain.ts';

/** Of requests in a period, and of a burst. */
const mostRequests = 1_000_000_000;
const periodsMs: Record<string, number> = { s: 1_000, min: 60_000, h: 3_600_000 };
const unitBytes: Record<string, number> = { B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** `60/min`, and with a unit `50MB/h`; `undefined` for what is no rate. */
export function rateOf(said: string, isOfBytes: boolean): Rate | undefined {
  const parts = (isOfBytes ? /^([1-9][0-9]{0,5})(B|[kKMG]B|[KMG]iB)\/(s|min|h)$/ : /^([1-9][0-9]{0,8})()\/(s|min|h)$/).exec(said);
  if (parts === null) return undefined;
  const [, amount, unit, period] = parts;
  return { amount: Number(amount) * (isOfBytes ? unitBytes[unit!]! : 1), periodMs: periodsMs[period!]!, text: said };
}

/** What `shape.ts` has already: matchers and name of a rule. */
interface Parts<M extends z.ZodRawShape> {
  matchers: M;
  name: () => z.ZodString;
}

export function limitsShape<M extends z.ZodRawShape>({ matchers, name }: Parts<M>) {
  const rate = (isOfBytes: boolean, hint: string, pattern: string) =>
    text((value) => (rateOf(value, isOfBytes) === undefined ? { message: 'is no rate', hint } : undefined), { pattern });
  const key = z.enum(limitKeys);
  const limit = z
    .strictObject({
      name: name().optional().meta({ description: 'Unique among the limits. It is recorded as sworn:limit/NAME with what the limit refuses.' }),
      ...matchers,
      per: z
        .union([key, z.array(key).min(1).max(limitKeys.length)])
        .optional()
        .meta({ description: 'What is counted apart. Default: everything that the limit is about counts together.' }),
      requests: rate(false, 'requests in a second, minute or hour, as in 60/min', '^[1-9][0-9]{0,8}/(s|min|h)$')
        .optional()
        .meta({ description: 'How many requests pass: 5/s, 60/min, 1000/h.' }),
      burst: z
        .int()
        .min(1)
        .max(mostRequests)
        .optional()
        .meta({ description: 'How many may come at once. Default: those of one second, minute or hour.' }),
      concurrent: z.int().min(1).max(pendingRequests).optional().meta({ description: 'How many may wait for their reply at a time.' }),
      bytes: rate(true, 'bytes in a second, minute or hour, as in 50MB/h', '^[1-9][0-9]{0,5}(B|[kKMG]B|[KMG]iB)/(s|min|h)$')
        .optional()
        .meta({ description: 'How many bytes pass, of requests and, afterwards, of their replies: 50MB/h.' }),
    })
    .meta({ id: 'limit', title: 'A limit', anyOf: ['requests', 'concurrent', 'bytes'].map((one) => ({ required: [one] })) });
  return z
    .union([limit, z.array(limit).max(limitsCount)])
    .meta({ title: 'Limits', description: 'How much may be asked: one limit or a list, of which all must let a request pass.' });
}

/** What a limit must keep to beyond its shape. */
export function limitFindings(limit: Readonly<Record<string, unknown>>, path: (string | number)[]): PlacedFinding[] {
  const findings: PlacedFinding[] = [];
  if (['requests', 'concurrent', 'bytes'].every((name) => limit[name] === undefined))
    findings.push({ path, message: 'a limit says no limit', hint: 'give it requests, concurrent or bytes' });
  if (limit['burst'] !== undefined && limit['requests'] === undefined)
    findings.push({ path: [...path, 'burst'], key: true, message: '`burst` belongs to `requests`', hint: 'add `requests: 60/min`, or remove it' });
  return findings;
}

type One<M> = M & {
  name?: string | undefined;
  per?: unknown;
  requests?: string | undefined;
  burst?: number | undefined;
  concurrent?: number | undefined;
  bytes?: string | undefined;
};

/** Of a checked file. */
export function limitsOf<M>(limits: One<M> | One<M>[] | undefined, matchersOf: (limit: M) => Matchers): Pick<Policy, 'limits'> {
  const list = limits === undefined ? [] : Array.isArray(limits) ? limits : [limits];
  if (list.length === 0) return {};
  return {
    limits: list.map((one): Limit => {
      const { name, per, requests, burst, concurrent, bytes } = one;
      const keys = new Set([per ?? []].flat());
      return {
        ...(name === undefined ? {} : { name }),
        direction: 'c2s',
        ...matchersOf(one),
        per: limitKeys.filter((key) => keys.has(key)),
        ...(requests === undefined ? {} : { requests: rateOf(requests, false)! }),
        ...(burst === undefined ? {} : { burst }),
        ...(concurrent === undefined ? {} : { concurrent }),
        ...(bytes === undefined ? {} : { bytes: rateOf(bytes, true)! }),
      };
    }),
  };
}
