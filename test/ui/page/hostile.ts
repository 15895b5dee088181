/** A world in which every text that a page can show is hostile: each string stands once in each place. */
import { Telling, type World } from './rows.ts';

export function hostile(strings: readonly string[]): World {
  const told = new Telling();
  told.open();
  for (const text of strings) {
    told.tool(text, 'read', true, [JSON.stringify({ name: text, description: text }), text]);
    const call = told.call(
      {
        tool: text,
        args: { [text]: text, nested: [{ [text]: [text] }] },
        result: text,
        effect: 'write',
        sensitive: true,
        isError: true,
        findings: [text],
      },
      { server: text, rule: text, reason: text, resultText: text, argumentsText: text, verdict: 'flag', code: -32_000 },
    );
    told.touch(call, text, text, { [text]: text });
    told.finding({
      rule: text,
      severity: 'high',
      title: text,
      detail: text,
      why: text,
      silence: text,
      indexes: [call.index],
      tool: text,
      server: text,
    });
    told.rows.put('findings', { ...told.rows.rows('findings').at(-1)!, finding: call.index.toString(16).padStart(12, '0') });
    told.entry(
      { kind: 'message', method: text, target: text, type: 'notification', direction: 's2c', anomalies: [text], summary: text, server: text },
      text,
      { [text]: text },
    );
    told.rows.put('tools', { ...told.rows.rows('tools').at(-1)!, server: text, hiddenText: [text] });
  }
  // a call whose messages in between and error are hostile, too
  const [first = ''] = strings;
  const call = told.call({ tool: 'plain', args: {}, result: '', effect: 'read' });
  told.details.get(call.index + 1)!.frame = [
    { text: JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: -1, message: strings.join('\n'), data: strings } }) },
  ];
  // very many things in one result, and in one text of it
  const crowd = told.call({ tool: 'crowd', args: {}, result: '', effect: 'read' });
  told.details.get(crowd.index + 1)!.frame = [
    { text: `{"jsonrpc":"2.0","id":1,"result":{"content":[${'{"type":"text","text":"one"},'.repeat(50_000)}{"type":"text","text":"` },
    ...Array.from({ length: 5_000 }, () => [{ missing: 'redacted' as const, sizeBytes: 7 }, { text: 'x' }]).flat(),
    { text: '"}]}}' },
  ];
  // the last call: images of which one could hold a script, and a sound
  const pictures = told.call({ tool: 'pictures', args: {}, result: '', effect: 'read' });
  const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  const content = [
    { type: 'image', data: png, mimeType: 'image/png' },
    { type: 'image', data: 'PHN2ZyBvbmxvYWQ9Ii8vIi8+', mimeType: 'image/svg+xml' },
    { type: 'image', data: `${png}"><script>`, mimeType: 'image/png' },
    { type: 'audio', data: 'UklGRiQAAABXQVZF', mimeType: 'audio/wav' },
  ];
  told.details.get(pictures.index + 1)!.frame = [{ text: JSON.stringify({ jsonrpc: '2.0', id: 1, result: { content } }) }];
  told.close({
    client: { name: strings.slice(0, 3).join(' '), version: first },
    serverInfo: { name: strings.slice(3, 6).join(' '), version: first },
    server: strings.slice(6, 8).join(' '),
    closeReason: strings.slice(8, 10).join(' '),
    labels: Object.fromEntries(strings.map((text) => [text, text])),
    who: strings.slice(0, 40).map((text) => ({ source: 'declared', index: 2, user: text, name: text, executable: text })),
  });
  const world = told.world();
  const { evidence } = world;
  evidence.name = strings.slice(0, 4).join(' ');
  evidence.sentence = strings.slice(4, 8).join(' ');
  evidence.custodyMeans = strings.join(' ').slice(0, 4_000);
  evidence.witnesses = strings.slice(0, 10).map((name) => ({ name, at: '2026-11-20T10:00:00Z', isVerified: false }));
  evidence.findings = strings.map((text) => ({ severity: 'tampered', code: text.slice(0, 40), message: text, path: text }));
  evidence.steps = strings.map((text, n) => ({ name: `${n} ${text}`, result: 'bad', detail: text }));
  evidence.checked = [...new Set(strings)];
  evidence.notChecked = [...new Set(strings)];
  evidence.commands = [...new Set(strings)].map((text) => ({ does: text, command: text }));
  return world;
}
