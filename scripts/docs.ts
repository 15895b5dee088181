/**
 * The documents against the program: every command and every error code is described, every relative link leads somewhere.
 */
import { dirname, join, normalize } from 'node:path';
import { errorKinds } from '../src/errors.ts';

/** The page of all errors; `docs/errors.md` is this text. */
export function errorsPage(): string {
  const rows = Object.entries(errorKinds).map(
    ([code, { exit, hint }]) => `| <a id="${code}"></a>\`${code}\` | ${exit} | ${hint.replaceAll('|', '\\|').replaceAll('<', '&lt;')} |`,
  );
  return `# Errors

Every error ends a command with \`sworn: error: …\` (what happened, and where) and \`sworn: hint: …\` (what to do next) on stderr.
Generated from \`src/errors.ts\` by \`npm run check -- --write\`; \`{…}\` is filled in from the error.

| Code | Exit status | Hint |
|---|---|---|
${rows.join('\n')}

\`sworn run\` ends with the server's own status; \`sworn verify\` has [statuses of its own](../README.md#verify).
`;
}

/** The text of `spec/sworn.schema.json`. */
export function schemaText(schema: object): string {
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

/** What is wrong in `documents` (path from the root → text). `exists` answers for paths from the root. */
export function docsFindings(documents: ReadonlyMap<string, string>, commands: readonly string[], exists: (path: string) => boolean): string[] {
  const findings: string[] = [];
  const readme = documents.get('README.md') ?? '';
  for (const command of commands) {
    if (!new RegExp(`sworn ${command}\\b`).test(readme)) findings.push(`README.md: \`sworn ${command}\` is not described`);
  }
  if (documents.get('docs/errors.md') !== errorsPage())
    findings.push('docs/errors.md: is not what src/errors.ts says; run: npm run check -- --write');
  const headings = new Map([...documents].map(([path, text]) => [path, anchorsOf(text)]));
  for (const [path, text] of documents) {
    for (const [, target] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/i.test(target!)) continue;
      const [file, anchor] = target!.split('#') as [string, string?];
      const to = file === '' ? path : normalize(join(dirname(path), file));
      if (!exists(to)) findings.push(`${path}: the link ${target} leads nowhere`);
      else if (anchor !== undefined && headings.has(to) && !headings.get(to)!.has(anchor)) findings.push(`${path}: ${to} has no heading #${anchor}`);
    }
  }
  return findings;
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '');
}

function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, title] of text.matchAll(/^#+ (.*)$/gm)) {
    anchors.add(
      title!
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .trim()
        .replaceAll(' ', '-'),
    );
  }
  for (const [, id] of text.matchAll(/<a id="([^"]+)">/g)) anchors.add(id!);
  return anchors;
}
