/** Numbers, sizes and times as people read them. Times are shown in one zone, which the page names once. */
import { signal } from '@preact/signals';

/** IANA name of the zone of every date on the page. */
export const zone = signal('UTC');

const formats = new Map<string, Intl.DateTimeFormat>();

function format(name: 'day' | 'clock'): Intl.DateTimeFormat {
  const key = `${name} ${zone.value}`;
  let found = formats.get(key);
  if (found === undefined) {
    const of: Intl.DateTimeFormatOptions =
      name === 'day'
        ? { year: 'numeric', month: '2-digit', day: '2-digit' }
        : { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };
    // the Swedish way of writing dates is the one of ISO 8601
    found = new Intl.DateTimeFormat('sv-SE', { ...of, timeZone: zone.value });
    formats.set(key, found);
  }
  return found;
}

const iso = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}/;

/** `2026-11-20`. What is no time is shown as it is. */
export function day(time: string): string {
  if (!iso.test(time)) return time;
  return zone.value === 'UTC' ? time.slice(0, 10) : format('day').format(new Date(time));
}

/** `10:23:01`. */
export function clock(time: string): string {
  if (!iso.test(time)) return time;
  return zone.value === 'UTC' ? time.slice(11, 19) : format('clock').format(new Date(time));
}

/** `10:23:01.123`. */
export function exactClock(time: string): string {
  const fraction = /\.(\d{1,3})/.exec(time)?.[1];
  return fraction === undefined ? clock(time) : `${clock(time)}.${fraction.padEnd(3, '0')}`;
}

/** Day and clock; of the second time only what differs. */
export function span(from: string, to: string): string {
  const [fromDay, toDay] = [day(from), day(to)];
  const end = fromDay === toDay ? clock(to) : `${toDay} ${clock(to)}`;
  return `${fromDay} ${clock(from)} – ${end}`;
}

/** How long ago, for a title. */
export function ago(time: string, nowMs = Date.now()): string {
  const seconds = (nowMs - Date.parse(time)) / 1_000;
  if (!Number.isFinite(seconds)) return '';
  return seconds < 0 ? `in ${length(-seconds * 1e6)}` : `${length(seconds * 1e6)} ago`;
}

/** A duration in µs: `14 ms`, `3.2 s`, `4 min`, `2 h`, `3 d`. */
export function length(us: number | undefined): string {
  if (us === undefined) return '';
  if (us < 1_000) return us < 100 ? '< 0.1 ms' : `${(us / 1_000).toFixed(1)} ms`;
  if (us < 10_000) return `${(us / 1_000).toFixed(1)} ms`;
  if (us < 1_000_000) return `${Math.round(us / 1_000)} ms`;
  const seconds = us / 1e6;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** Since the beginning of a session: `+1.23 s`, `+4:07`. */
export function sinceOpen(us: number): string {
  const seconds = us / 1e6;
  if (seconds < 60) return `+${seconds.toFixed(2)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `+${minutes}:${String(Math.floor(seconds % 60)).padStart(2, '0')} min`;
  return `+${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')} h`;
}

/** `1.2 KB` of 1,000 bytes each. */
export function size(bytes: number | undefined): string {
  if (bytes === undefined) return '';
  if (bytes < 1_000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} KB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** `4,812`. */
export function count(value: number): string {
  return value < 1_000 ? String(value) : String(value).replaceAll(/\B(?=(\d{3})+$)/g, ',');
}

/** `1 call`, `4,812 calls`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

export function percent(part: number): string {
  return part === 0 ? '0 %' : part < 0.001 ? '< 0.1 %' : `${(part * 100).toFixed(part < 0.1 ? 1 : 0)} %`;
}

/** `7f3a 91c2`: as much of a digest as a person compares at a glance. */
export function short(digest: string): string {
  return digest.slice(0, 8).replace(/(.{4})/, '$1 ');
}
