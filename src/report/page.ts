/** A report as one file: the page that was built beforehand, with the data where its marker stands. Base64 cannot end a script element. */
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SwornError } from '../errors.ts';
import type { PublishedLog } from '../readers/published.ts';
import type { Chosen } from './choose.ts';
import { writeReportData, type ReportData, type ReportMade } from './data.ts';

/** Where the data goes. */
export const dataMarker = '<!--sworn-data-->';

/** The page of this version. @throws SwornError `internal` where it was not built */
export function reportPage(): string {
  const places = [join(import.meta.dirname, 'ui', 'report.html'), join(import.meta.dirname, '..', 'ui', 'report.html')];
  const path = [...places, join(import.meta.dirname, '..', '..', 'dist', 'ui', 'report.html')].find((place) => existsSync(place));
  if (path === undefined) throw new SwornError('internal', 'the page of reports is not built: npm run build');
  return readFileSync(path, 'utf8');
}

export interface ReportWritten extends ReportData {
  sizeBytes: number;
}

/**
 * Writes a report to a path, where a file that is there stays until the new one is whole, or hands it on piece by piece.
 *
 * @throws SwornError `output` when it cannot be written, `internal` for a page without its marker, and as `writeReportData`
 */
export async function writeReport(
  to: string | ((text: string) => void),
  page: string,
  log: PublishedLog,
  chosen: Chosen,
  made: ReportMade,
): Promise<ReportWritten> {
  const at = page.indexOf(dataMarker);
  if (at < 0 || page.indexOf(dataMarker, at + 1) >= 0) throw new SwornError('internal', 'the page of reports has no place for data');
  let sizeBytes = 0;
  const writeAll = async (put: (text: string) => void): Promise<ReportData> => {
    const write = (text: string): void => {
      put(text);
      sizeBytes += Buffer.byteLength(text);
    };
    write(page.slice(0, at));
    const data = await writeReportData(log, chosen, made, (name, text) => write(`\n${chunkElement(name, text)}`));
    write(`\n${headElement(data.headText)}\n`);
    write(page.slice(at + dataMarker.length));
    return data;
  };
  if (typeof to !== 'string') return { ...(await writeAll(to)), sizeBytes };
  const aside = `${to}.${process.pid}.tmp`;
  let file: number | undefined;
  try {
    file = openSync(aside, 'w', 0o600);
    const data = await writeAll((text) => {
      const bytes = Buffer.from(text);
      for (let done = 0; done < bytes.length;) done += writeSync(file!, bytes, done);
    });
    closeSync(file);
    file = undefined;
    renameSync(aside, to);
    return { ...data, sizeBytes };
  } catch (error) {
    if (file !== undefined) closeSync(file);
    rmSync(aside, { force: true });
    const { syscall, message } = error as NodeJS.ErrnoException;
    if (error instanceof SwornError || syscall === undefined) throw error;
    throw new SwornError('output', `${to} cannot be written: ${message}`);
  }
}

export function headElement(text: string): string {
  return `<script type="application/octet-stream" id="sworn-head">${text}</script>`;
}

export function chunkElement(name: string, text: string): string {
  return `<script type="application/octet-stream" data-block="${name}">${text}</script>`;
}
