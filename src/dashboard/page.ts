/**
 * The app as one HTML file, and what a browser may do with it. The page holds no data, so it needs no login; nothing that is not in it runs, and it reaches nobody but the
 * server that it came from.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface Page {
  bytes: Buffer;
  policy: string;
}

const shared = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/** For everything that is no page. */
export const closedPolicy = `default-src 'none'; ${shared}`;

/** `undefined` when the file is not there (a checkout that was not built). */
export function readPage(path: string): Page | undefined {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  return { bytes, policy: policyOf(bytes.toString()) };
}

/** What is written into the page is named by its hash; nothing else counts as script or style. Images and fonts only from the page itself. */
export function policyOf(html: string): string {
  const scripts = hashesOf(html, 'script');
  const styles = hashesOf(html, 'style');
  return [
    "default-src 'none'",
    `script-src ${scripts.length === 0 ? "'none'" : scripts.join(' ')}`,
    `style-src ${styles.length === 0 ? "'none'" : styles.join(' ')}`,
    "connect-src 'self'",
    'img-src data:',
    'font-src data:',
    'media-src data:',
    "worker-src 'self' blob:",
    shared,
  ].join('; ');
}

function hashesOf(html: string, element: 'script' | 'style'): string[] {
  const pattern = new RegExp(`<${element}(?=[\\s>])[^>]*>([\\s\\S]*?)</${element}\\s*>`, 'gi');
  // a browser reads every line end as one 0x0A before it hashes
  return [...html.matchAll(pattern)].map(([, text]) => `'sha256-${createHash('sha256').update(text!.replace(/\r\n?/g, '\n')).digest('base64')}'`);
}
