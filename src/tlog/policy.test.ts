import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cryptos } from '../../test/noble-crypto.ts';
import { base64, concat, fromHex, utf8 } from '../bytes/bytes.ts';
import { nodeCrypto } from '../crypto-node.ts';
import { formatCosigner, type Cosigner } from './cosignature.ts';
import { formatVkey } from './note.ts';
import { operatorNames, operatorsOf } from './operator.ts';
import { judgeQuorum, openUnderPolicy, parseTrustPolicy, type TrustPolicy } from './policy.ts';

const own = (name: string) => JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}`, import.meta.url), 'utf8'));
const bytesOf = ({ text, hex }: { text?: string; hex?: string }) => (hex === undefined ? utf8(text!) : fromHex(hex)!);
const parsed = (text: string): TrustPolicy => {
  const policy = parseTrustPolicy(nodeCrypto, utf8(text));
  if ('problem' in policy) throw new Error(`line ${policy.line}: ${policy.message}`);
  return policy;
};
const keyOf = (number: number) => nodeCrypto.sha256(utf8(`no key, ${number}`));
const vkeyOf = (name: string, number: number) => formatCosigner(nodeCrypto, name, keyOf(number));
const cosignersOf = (policy: TrustPolicy, names: readonly string[]): Cosigner[] =>
  policy.witnesses.filter(({ name }) => names.includes(name)).flatMap(({ cosigner }) => cosigner ?? []);

describe.each(cryptos)('trust files under %s', (_name, crypto) => {
  it('accepts and refuses our vectors', () => {
    const { accept, reject } = own('trust-policies.json');
    for (const vector of accept) {
      const policy = parseTrustPolicy(crypto, bytesOf(vector));
      if ('problem' in policy) throw new Error(`line ${policy.line}: ${policy.message}: ${vector.text}`);
      expect(policy.warnings, vector.text).toHaveLength(vector.warnings);
      for (const names of vector.met)
        expect(judgeQuorum(policy, cosignersOf(policy, names)), `${names}: ${vector.text}`).toMatchObject({ met: true });
      for (const names of vector.unmet)
        expect(judgeQuorum(policy, cosignersOf(policy, names)), `${names}: ${vector.text}`).toMatchObject({ met: false });
    }
    for (const vector of reject) {
      const policy = parseTrustPolicy(crypto, bytesOf(vector));
      expect(policy, vector.text).toMatchObject({ problem: 'policy', line: vector.line });
    }
  });

  it('opens a checkpoint as it asks', () => {
    const { vkey, witnesses, accept, reject } = own('cosignatures.json');
    const policyOf = (text: string) => parseTrustPolicy(crypto, utf8(text)) as TrustPolicy;
    const policy = policyOf(`log ${vkey}\nwitness a ${witnesses[0]}\nwitness b ${witnesses[1]}\ngroup g 2 a b\nquorum g\n`);
    const [bare, first, , , both] = accept.map(({ note }: { note: string }) => utf8(note));
    expect(openUnderPolicy(crypto, policy, bare)).toMatchObject({ checkpoint: { size: 70 }, quorum: { met: false, have: 0, need: 2, operators: 0 } });
    expect(openUnderPolicy(crypto, policy, first)).toMatchObject({ quorum: { met: false, have: 1, witnesses: [{ name: 'a' }] } });
    // two lines by one witness are one
    expect(openUnderPolicy(crypto, policy, both)).toMatchObject({
      quorum: { met: true, have: 2, need: 2, operators: 2 },
      cosignatures: [{}, {}, {}],
    });
    expect(openUnderPolicy(crypto, policy, utf8(accept[6].note))).toMatchObject({ problem: 'no-trusted-log' });
    expect(openUnderPolicy(crypto, policy, utf8(reject[0].note))).toMatchObject({ problem: 'bad-signature' });
    expect(openUnderPolicy(crypto, policy, utf8('x'))).toMatchObject({ problem: 'malformed' });
    const ofNoLog = policyOf('quorum none\n');
    expect(openUnderPolicy(crypto, ofNoLog, bare)).toMatchObject({ problem: 'no-trusted-log' });
    expect(openUnderPolicy(crypto, ofNoLog, bare, [policy.logs[0]!.vkey!])).toMatchObject({ quorum: { met: true } });
  });

  it('never throws, and a changed byte changes nothing that it does not say', () => {
    const text = utf8(own('trust-policies.json').accept[3].text);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.nat(255), (at, byte) => {
        const policy = parseTrustPolicy(crypto, text.with(at, byte));
        if ('problem' in policy) expect(policy.message).not.toBe('');
        else expect(judgeQuorum(policy, []).met).toBe(policy.quorum === undefined);
      }),
      { numRuns: 200 },
    );
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseTrustPolicy(crypto, bytes)));
  });
});

describe('quorums', () => {
  /** The meaning by the letter of the specification, from the tree itself. */
  type Tree = { witness: number } | { threshold: number; members: Tree[] };
  const tree = (depth: number): fc.Arbitrary<Tree> =>
    depth === 0
      ? fc.constant({ witness: 0 })
      : fc.oneof(
          fc.constant<Tree>({ witness: 0 }),
          fc
            .tuple(fc.array(tree(depth - 1), { minLength: 1, maxLength: 4 }), fc.nat(3))
            .map(([members, threshold]): Tree => ({ threshold: 1 + (threshold % members.length), members })),
        );
  it('are what the groups say', () => {
    fc.assert(
      fc.property(tree(3), fc.array(fc.boolean(), { minLength: 64, maxLength: 64 }), (root, cosigned) => {
        const lines: string[] = [];
        let count = 0;
        let groups = 0;
        const write = (node: Tree): { name: string; met: boolean } => {
          if ('witness' in node) {
            const number = count++;
            lines.push(`witness w${number} ${vkeyOf(`witness${number}.example`, number)}`);
            return { name: `w${number}`, met: cosigned[number]! };
          }
          const members = node.members.map(write);
          const name = `g${groups++}`;
          lines.push(`group ${name} ${node.threshold} ${members.map((member) => member.name).join(' ')}`);
          return { name, met: members.filter(({ met }) => met).length >= node.threshold };
        };
        const { name, met } = write(root);
        const policy = parsed(`${lines.join('\n')}\nquorum ${name}\n`);
        const cosigners = policy.witnesses.filter((_, i) => cosigned[i]).flatMap(({ cosigner }) => cosigner ?? []);
        expect(judgeQuorum(policy, cosigners).met).toBe(met);
      }),
    );
  });

  it('warn where one operator counts twice, and only there', () => {
    const witness = (name: string, keyName: string, number: number, url = '') => `witness ${name} ${vkeyOf(keyName, number)} ${url}\n`;
    const a = witness('a', 'w1.alice.example', 1) + witness('a2', 'w2.alice.example', 2);
    const b = witness('b', 'bob.example/x', 3);
    const warnings = (text: string) => parsed(text).warnings.map(({ line, message }) => `${line}: ${message}`);
    expect(warnings(`${a}${b}group g 2 a a2 b\nquorum g\n`)).toEqual([
      "4: a and a2 look like one operator (alice.example) and count separately in g; put one operator's witnesses into an `any` group of their own",
    ]);
    expect(warnings(`${a}${b}group alice any a a2\ngroup g all alice b\nquorum g\n`)).toEqual([]);
    // not part of the quorum
    expect(warnings(`${a}${b}group g 2 a a2\nquorum b\n`)).toEqual([]);
    // an `any` group of two groups with one of the operator's in each
    expect(warnings(`${a}${b}group x any a b\ngroup y all x a2\nquorum y\n`)).toHaveLength(1);
    expect(warnings(`${witness('x', 'one-1', 4)}${witness('y', 'one-2', 5)}group g all x y\nquorum g\n`)).toHaveLength(1);
    expect(
      warnings(
        `${witness('x', 'x.example', 4, 'http://127.0.0.1:7700')}${witness('y', 'y.example', 5, 'http://127.0.0.1:7701/')}group g all x y\nquorum g\n`,
      ),
    ).toHaveLength(1);
  });

  it('tell operators from names and addresses', () => {
    const names = (keyName: string, url?: string) => operatorNames({ vkeyText: `${keyName}+00000000+AA==`, ...(url === undefined ? {} : { url }) });
    expect(names('a.b.example.org/w1')).toEqual(['example.org']);
    expect(names('w.example.co.uk')).toEqual(['example.co.uk']);
    expect(names('W.Example.ORG:8080/x')).toEqual(['example.org']);
    expect(names('sworn.invalid/witness/1')).toEqual([]);
    expect(names('alice-2')).toEqual(['alice']);
    expect(names('w1')).toEqual([]);
    expect(names('sworn.invalid/x', 'https://user@w.example.org:1/p')).toEqual(['example.org']);
    expect(names('sworn.invalid/x', 'http://[::1]:7700/')).toEqual(['[::1]']);
    expect(names('sworn.invalid/x', 'nonsense')).toEqual([]);
    const of = (...keyNames: string[]) => operatorsOf(keyNames.map((keyName) => ({ vkeyText: `${keyName}+00000000+AA==` })));
    expect(of()).toBe(0);
    expect(of('a.example.org', 'b.example.org', 'c.example.com', 'sworn.invalid/1', 'sworn.invalid/2')).toBe(4);
  });

  it('are bounded', () => {
    const many = Array.from({ length: 500 }, (_, i) => `witness w${i} ${vkeyOf(`w${i}.example`, i)}`).join('\n');
    const policy = parsed(`${many}\ngroup g 400 ${Array.from({ length: 500 }, (_, i) => `w${i}`).join(' ')}\nquorum g\n`);
    expect(judgeQuorum(policy, cosignersOf(policy, ['w1', 'w2']))).toMatchObject({ met: false, have: 2, need: 400 });
    expect(parseTrustPolicy(nodeCrypto, utf8(`quorum none\n${'\n'.repeat(3000)}`))).toMatchObject({ problem: 'policy', line: 0 });
    expect(parseTrustPolicy(nodeCrypto, utf8(`#${'x'.repeat(300_000)}`))).toMatchObject({ problem: 'policy', line: 0 });
    const odd = `x+00000000+${base64(concat(Uint8Array.of(0xff), utf8('x')))}`;
    expect(parsed(`log ${odd}\nlog ${formatVkey(nodeCrypto, 'y', keyOf(1))}\nquorum none\n`).warnings).toHaveLength(1);
  });
});
