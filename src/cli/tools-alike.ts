/** Names of tools that a reader takes for one another: a server may list one beside a tool that was accepted, and hope for that. */
import { lookOf } from '../policy/look-alike.ts';
import type { Pins } from '../policy/pins.ts';
import { paint, visible, type Output } from './output.ts';
import type { KnownTool } from './tools-ledger.ts';

/** A line for each that waits for acceptance and looks like another known tool, of this server or of another one. */
export function alikeText(output: Output, waiting: readonly KnownTool[], pins: Pins): string {
  const looks = new Set(waiting.map(({ tool }) => lookOf(tool)));
  const known = [...pins.all()].filter(({ tool }) => looks.has(lookOf(tool)));
  let text = '';
  for (const { server, tool } of waiting) {
    const look = lookOf(tool);
    const others = known.filter((one) => one.tool !== tool && lookOf(one.tool) === look);
    if (others.length === 0) continue;
    const names = others.slice(0, 3).map((one) => visible(`${one.server}/${one.tool}`));
    text += `${paint(output, 'yellow', `${visible(`${server}/${tool}`)} only looks like ${names.join(', ')}`)}: it is spelled ${spelled(tool)}\n`;
  }
  return text;
}

/** What is not ASCII by its number. */
function spelled(name: string): string {
  return visible(name).replaceAll(/[^\x20-\x7e]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}
