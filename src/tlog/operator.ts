/**
 * Whether two witnesses look like one operator's: a guess from names and addresses, good enough to warn and never to decide. What decides is the trust
 * file's groups (`policy.ts`).
 */

export interface NamedWitness {
  cosigner?: { readonly name: string };
  vkeyText: string;
  url?: string;
}

/** What a witness's operator may be told by; two witnesses with one of them in common look like one operator's. */
export function operatorNames({ vkeyText, url }: NamedWitness): string[] {
  const names = new Set<string>();
  const keyName = vkeyText.slice(0, vkeyText.indexOf('+'));
  const add = (name: string | undefined): unknown => name !== undefined && names.add(name);
  add(operatorOfKeyName(keyName));
  if (url !== undefined) add(operatorOfHost(/^[a-z][a-z0-9+.-]*:\/\/(?:[^/@]*@)?(\[[^\]]*\]|[^/:?#]*)/i.exec(url)?.[1] ?? ''));
  return [...names];
}

/** How many operators the witnesses look like. */
export function operatorsOf(witnesses: readonly NamedWitness[]): number {
  // each operator found so far by all its names; a witness can join two
  let operators: Set<string>[] = [];
  let nameless = 0;
  for (const witness of witnesses) {
    const names = operatorNames(witness);
    if (names.length === 0) nameless++;
    else {
      const same = operators.filter((one) => names.some((name) => one.has(name)));
      operators = [...operators.filter((one) => !same.includes(one)), new Set([...names, ...same.flatMap((one) => [...one])])];
    }
  }
  return operators.length + nameless;
}

/** A key's name is a URL without scheme, or a plain word: `witness.example.org/w1`, `alice-2`. */
function operatorOfKeyName(name: string): string | undefined {
  const first = name.split('/')[0]!;
  if (first.includes('.') || first.startsWith('[') || /^localhost(:|$)/.test(first)) {
    return operatorOfHost(first.startsWith('[') ? first : first.split(':')[0]!);
  }
  const word = name.includes('/') ? first : first.replace(/[-_]?[0-9]+$|[-_][a-z]$/i, '');
  return word.length >= 3 ? word.toLowerCase() : undefined;
}

/** The last two labels, three below a short one (`co.uk`); an address as it is. `sworn.invalid` and its like name nobody. */
function operatorOfHost(host: string): string | undefined {
  const lower = host.toLowerCase().replace(/\.$/, '');
  if (lower === '' || lower.startsWith('[') || /^[0-9.]+$/.test(lower)) return lower === '' ? undefined : lower;
  const labels = lower.split('.');
  if (labels.at(-1) === 'invalid') return undefined;
  const count = labels.length > 2 && labels.at(-1)!.length === 2 && labels.at(-2)!.length <= 3 ? 3 : 2;
  return labels.slice(-count).join('.');
}
