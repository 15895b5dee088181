/** What differs between two texts, line by line. */

export interface Difference {
  left?: string;
  right?: string;
  isSame: boolean;
}

/** Edits beyond which everything between the common beginning and end counts as changed. */
const editsMost = 800;
/** What is longer is compared so far. */
const linesMost = 5_001;

/** The shortest way from `a` to `b` (Myers, "An O(ND) Difference Algorithm", 1986), changed lines beside each other. */
export function difference(left: readonly string[], right: readonly string[]): Difference[] {
  const [a, b] = [bounded(left), bounded(right)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const same = (line: string): Difference => ({ left: line, right: line, isSame: true });
  return [...a.slice(0, start).map(same), ...paired(steps(a.slice(start, endA), b.slice(start, endB))), ...a.slice(endA).map(same)];
}

function bounded(lines: readonly string[]): readonly string[] {
  return lines.length > linesMost ? [...lines.slice(0, linesMost - 1), '…'] : lines;
}

type Step = ['=' | '-' | '+', string];

function steps(a: readonly string[], b: readonly string[]): Step[] {
  const trace: Map<number, number>[] = [];
  const reach = new Map<number, number>([[1, 0]]);
  const most = Math.min(a.length + b.length, editsMost);
  for (let edits = 0; edits <= most; edits++) {
    trace.push(new Map(reach));
    for (let k = -edits; k <= edits; k += 2) {
      const isDown = k === -edits || (k !== edits && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let x = isDown ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && x - k >= 0 && a[x] === b[x - k]) x++;
      reach.set(k, x);
      if (x >= a.length && x - k >= b.length) return walkedBack(trace, a, b);
    }
  }
  return [...a.map((line): Step => ['-', line]), ...b.map((line): Step => ['+', line])];
}

function walkedBack(trace: readonly Map<number, number>[], a: readonly string[], b: readonly string[]): Step[] {
  const found: Step[] = [];
  let x = a.length;
  let y = b.length;
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const reach = trace[edits]!;
    const k = x - y;
    const isDown = k === -edits || (k !== edits && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
    const before = isDown ? k + 1 : k - 1;
    const beforeX = edits === 0 ? 0 : (reach.get(before) ?? 0);
    const beforeY = edits === 0 ? 0 : beforeX - before;
    while (x > beforeX && y > beforeY) {
      x--;
      y--;
      found.push(['=', a[x]!]);
    }
    if (edits === 0) break;
    if (isDown) found.push(['+', b[--y]!]);
    else found.push(['-', a[--x]!]);
  }
  return found.reverse();
}

/** Lines that went beside those that came in their place. */
function paired(all: readonly Step[]): Difference[] {
  const out: Difference[] = [];
  let gone: string[] = [];
  let come: string[] = [];
  const flush = (): void => {
    for (let i = 0; i < Math.max(gone.length, come.length); i++) {
      out.push({ ...(i < gone.length ? { left: gone[i]! } : {}), ...(i < come.length ? { right: come[i]! } : {}), isSame: false });
    }
    gone = [];
    come = [];
  };
  for (const [sign, line] of all) {
    if (sign === '-') gone.push(line);
    else if (sign === '+') come.push(line);
    else {
      flush();
      out.push({ left: line, right: line, isSame: true });
    }
  }
  flush();
  return out;
}
