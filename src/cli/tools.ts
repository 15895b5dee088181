/** `sworn tools`: what servers say that their tools are, what of it changed, and accepting it. */
import { SwornError } from '../errors.ts';
import { ask } from '../wire/ask.ts';
import type { CommandHelp } from './help.ts';
import { ensureRecorder, placeOf, type PlaceOptions } from './keeping.ts';
import { oneLedgerPath } from './ledger-path.ts';
import { count, paint, safeJson, table, visible, type Output } from './output.ts';
import { alikeText } from './tools-alike.ts';
import { definitionDiff } from './tools-diff.ts';
import { choose, chooseSome, definedAt, newest, readPins, type KnownTool } from './tools-ledger.ts';
import { writePinFile } from './tools-pin-file.ts';

export const toolsHelp: CommandHelp = {
  options: [
    { flags: '--server <name>', description: 'list, diff, accept: only tools of this server (a glob); check: its name in the file of pins' },
    { flags: '--definition <digest>', description: 'accept: this definition, by the beginning of its digest' },
    { flags: '--pinned', description: 'accept: the definition that was accepted before; what came since is dismissed' },
    { flags: '--also', description: 'accept: beside what is accepted, for a server that defines a tool differently for different people' },
    { flags: '--reason <text>', description: 'accept: why, for the record' },
    { flags: '--full', description: 'diff: all of a long text' },
    { flags: '--pins <file>', description: 'check: the file of pins that the server is held against' },
    {
      flags: '--pins-out <file>',
      description: 'list: write the accepted definitions as a file of pins; check: those that the server lists (-: to stdout)',
    },
    { flags: '--ledger <dir>', description: 'the ledger (default: $SWORN_LEDGER or ~/.local/state/sworn)' },
    { flags: '--socket <path>', description: 'accept: where the recorder listens, if not at the place that follows from the ledger' },
    { flags: '--json', description: 'list, diff: one JSON object a line; else the answer as one' },
  ],
  example: 'sworn tools diff read_file',
};

interface ToolsOptions extends PlaceOptions {
  action?: string;
  words?: string[];
  server?: string;
  definition?: string;
  pinned?: boolean;
  also?: boolean;
  reason?: string;
  full?: boolean;
  pins?: string;
  pinsOut?: string;
  json?: boolean;
}

const digestDigits = 12;

/** @throws SwornError `usage`, `no-ledger`, `not-found`, `output`, or whatever the recorder answers */
export async function toolsCommand(values: Record<string, unknown>, output: Output): Promise<number> {
  const options = values as ToolsOptions;
  const { action = 'list', words = [] } = options;
  if (action === 'check') return (await import('./tools-check.ts')).toolsCheck(options, output);
  if (words.length > 1) throw usage('one tool at a time; a glob names several');
  const [tool] = words;
  if (action === 'diff') return diff(options, tool, output);
  if (action === 'accept') return accept(options, tool, output);
  if (tool !== undefined) throw usage(`\`sworn tools list\` takes no tool; see \`sworn tools diff ${visible(tool)}\``);
  return list(options, output);
}

async function list(options: ToolsOptions, output: Output): Promise<number> {
  const all = await readPins(oneLedgerPath(options.ledger, 'tools'));
  const tools = chooseSome(all, { server: options.server });
  if (options.pinsOut !== undefined) return writePins(options.pinsOut, tools, output);
  if (options.json === true) {
    for (const { pinned, ...where } of tools) output.out(`${safeJson(JSON.stringify({ ...where, ...pinned, state: stateOf(pinned) }))}\n`);
    return 0;
  }
  if (tools.length === 0) {
    output.out('no tool is pinned; with `tools: { pin: warn }` in sworn.yaml they are from the next list on\n');
    return 0;
  }
  const columns = [
    { title: 'server', most: 32 },
    { title: '' },
    { title: 'tool', most: 48 },
    { title: 'state' },
    { title: 'definition' },
    { title: 'entry', align: 'right' as const },
  ];
  const rows = tools.map(({ server, transport, tool, pinned }) => {
    const { waits, trusted } = newest(pinned);
    const shown = waits ?? trusted;
    return [server, transport, tool, stateOf(pinned), shown?.definition.slice(0, digestDigits) ?? '', String(shown?.index ?? pinned.gone ?? '')];
  });
  output.out(table(output, columns, rows));
  const waiting = tools.filter(({ pinned }) => pinned.drifts.length > 0);
  if (waiting.length > 0) output.out(`${paint(output, 'yellow', `${count(waiting.length, 'tool')} to be accepted`)}: sworn tools diff\n`);
  output.out(alikeText(output, waiting, all));
  return 0;
}

/** In a few words: what calls of it are judged by, without a file of pins. */
function stateOf({ accepted, drifts, gone }: KnownTool['pinned']): string {
  const waits = drifts.at(-1);
  if (waits !== undefined) return `${waits.change}, not accepted`;
  const source = { list: 'first list', file: 'file of pins', accept: 'accepted' }[accepted.at(-1)?.source ?? 'list'];
  return `${source}${accepted.length > 1 ? `, ${accepted.length} definitions` : ''}${gone === undefined ? '' : ', gone'}`;
}

function writePins(file: string, tools: readonly KnownTool[], output: Output): number {
  const servers = new Map<string, Map<string, string[]>>();
  for (const { server, tool, pinned } of tools) {
    if (pinned.accepted.length === 0) continue;
    const pins = servers.get(server) ?? new Map<string, string[]>();
    servers.set(server, pins.set(tool, [...(pins.get(tool) ?? []), ...pinned.accepted.map(({ definition }) => definition)]));
  }
  writePinFile(file, servers, output);
  const waiting = tools.filter(({ pinned }) => pinned.drifts.length > 0);
  if (waiting.length > 0)
    output.err(`sworn: note: ${count(waiting.length, 'tool')} changed and not accepted: the file has what was accepted before (sworn tools diff)\n`);
  return 0;
}

async function diff(options: ToolsOptions, tool: string | undefined, output: Output): Promise<number> {
  const ledger = oneLedgerPath(options.ledger, 'tools');
  const pins = await readPins(ledger);
  const chosen = chooseSome(pins, { tool, server: options.server }).filter(({ pinned }) => tool !== undefined || pinned.drifts.length > 0);
  if (chosen.length === 0 && options.json !== true) output.out('no tool is to be accepted\n');
  for (const one of chosen) {
    const { waits, trusted } = newest(one.pinned);
    const [before, after] = [trusted && (await definedAt(ledger, trusted.index)), waits && (await definedAt(ledger, waits.index))];
    if (options.json === true) {
      const { pinned: _, ...where } = one;
      output.out(`${safeJson(JSON.stringify({ ...where, trusted, waits, before, after }))}\n`);
    } else {
      output.out(diffText(output, one, before, after, options.full === true));
      if (waits !== undefined) output.out(alikeText(output, [one], pins));
    }
  }
  return 0;
}

function diffText(output: Output, { server, tool, pinned }: KnownTool, before: unknown, after: unknown, isFull: boolean): string {
  const { waits, trusted } = newest(pinned);
  const digestOf = (of: { definition: string; index: number }): string => `${of.definition.slice(0, digestDigits)} (entry ${of.index})`;
  const name = paint(output, 'bold', visible(`${server}/${tool}`));
  if (waits === undefined) {
    const state = trusted === undefined ? '' : `, ${digestOf(trusted)}`;
    return `${name}: ${stateOf(pinned)}${state}; nothing to be accepted\n`;
  }
  const was = trusted === undefined ? 'not listed at first' : `accepted is ${digestOf(trusted)}`;
  const more = pinned.drifts.length > 1 ? `; ${pinned.drifts.length - 1} more came before it` : '';
  const head = `${name}: ${paint(output, 'yellow', waits.change)}, listed is ${digestOf(waits)}, ${was}${more}\n`;
  if (after === undefined || (trusted !== undefined && before === undefined)) {
    const missing = after === undefined ? waits : trusted!;
    return `${head}  the definition of entry ${missing.index} is erased, or was never stored: its digest alone is left\n`;
  }
  return head + definitionDiff(output, before, after, isFull);
}

async function accept(options: ToolsOptions, tool: string | undefined, output: Output): Promise<number> {
  if (tool === undefined) throw usage('which one? sworn tools accept <tool>; `sworn tools diff` shows what changed');
  if (options.definition !== undefined && options.pinned === true) throw usage('--definition and --pinned name two definitions');
  const { ledger, socket } = placeOf(options);
  const pins = await readPins(ledger);
  const exact = choose(pins, { tool, server: options.server });
  const isOne = exact.some((one) => one.tool === tool);
  const chosen = isOne ? exact.filter((one) => one.tool === tool) : chooseSome(pins, { tool, server: options.server });
  if (isOne && chosen.length > 1 && options.server === undefined)
    throw usage(`several servers have it: --server ${chosen.map(({ server }) => visible(server)).join(', or --server ')}`);
  const due = chosen.flatMap((one) => {
    const definition = definitionOf(one, options, isOne);
    return definition === undefined ? [] : [{ ...one, definition }];
  });
  if (due.length === 0) {
    output.out(options.json === true ? '{"accepted":[]}\n' : 'nothing to be accepted\n');
    return 0;
  }
  const status = await ensureRecorder(options, output);
  if (status !== undefined) return status;
  const accepted: unknown[] = [];
  for (const { server, transport, tool: name, definition } of due) {
    const { also, reason } = options;
    const answer = await ask(socket, 'accept', { server, transport, tool: name, definition, also, reason });
    accepted.push(answer);
    if (options.json !== true)
      output.out(`accepted: ${visible(`${server}/${name}`)}, definition ${definition.slice(0, digestDigits)}, entry ${String(answer['accepted'])}\n`);
  }
  if (options.json === true) output.out(`${safeJson(JSON.stringify({ accepted }))}\n`);
  return 0;
}

/** Which definition is meant; nothing where none waits, and none is named. @throws SwornError `usage`, `not-found` */
function definitionOf({ server, tool, pinned }: KnownTool, { definition, pinned: isPinned }: ToolsOptions, isNamed: boolean): string | undefined {
  const { waits, trusted } = newest(pinned);
  const name = visible(`${server}/${tool}`);
  if (isPinned === true) {
    if (trusted === undefined) throw new SwornError('not-found', `no definition of ${name} was accepted before`);
    return waits === undefined && trusted.source === 'accept' ? undefined : trusted.definition;
  }
  if (definition !== undefined) {
    const found = [...new Set([...pinned.accepted, ...pinned.drifts].map((one) => one.definition).filter((one) => one.startsWith(definition)))];
    if (found.length !== 1)
      throw new SwornError('not-found', `${found.length === 0 ? 'no' : 'more than one'} definition of ${name} begins with ${visible(definition)}`);
    return found[0];
  }
  if (pinned.drifts.length > 1)
    throw usage(
      `${name} was listed with ${pinned.drifts.length} definitions since: --definition ${pinned.drifts.map((one) => one.definition.slice(0, digestDigits)).join(', or ')}`,
    );
  if (waits !== undefined || !isNamed) return waits?.definition;
  // seen first, and perhaps not what a file of pins says
  return trusted?.source === 'accept' ? undefined : trusted?.definition;
}

function usage(message: string): SwornError {
  return new SwornError('usage', message, { command: 'tools' });
}
