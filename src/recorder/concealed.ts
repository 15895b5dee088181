/** What of a message must not be written anywhere: values that rules find in it, or found in what it answers, wherever an entry would repeat them. */
import type { PendingRequest } from '../mcp/exchange.ts';
import type { Message } from '../mcp/message.ts';
import { FoundValues, valuesOf, valuesOnly, wholeOf, type Redaction, type Redactor } from '../policy/redact.ts';
import type { Connection } from './connection.ts';
import type { Considered } from './considered.ts';

/**
 * Values of the request, which are looked for in its answer also where no rule is about the answer; `undefined` where nobody knows them, or to what it is the
 * answer: `"1"` is 1 for some servers, 2^53 + 1 is 2^53 for most, what cannot be kept comes back as `null`, some answer twice, and requests are forgotten. Where several
 * wait with one id, the values of all that wait. What a server says beside its answers may repeat what waits, too.
 */
export function knownTo({ subject, request }: Considered, connection: Connection): readonly string[] | undefined {
  const { withSecrets } = connection.exchanges;
  if (subject.type !== 'result' && subject.type !== 'error')
    return subject.direction === 's2c' && withSecrets.size > 0 ? waitingValues(withSecrets) : [];
  if (request === undefined) return connection.hadSecrets ? undefined : [];
  if (!connection.exchanges.isShared(request)) return request.secretsLost ? undefined : (request.secrets ?? []);
  const known = new Set<string>();
  for (const { secrets, secretsLost } of withSecrets) {
    for (const secret of secrets ?? []) known.add(secret);
    if (secretsLost || known.size > knownMost) return undefined;
  }
  return [...known];
}

const knownMost = 1_024;
/** Of those that wait, in what is no answer: each message is searched for them anew. */
const waitingMost = 64;

/** Those of the newest requests; what was lost is not known. */
function waitingValues(withSecrets: ReadonlySet<PendingRequest>): readonly string[] {
  const known = new Set<string>();
  for (const { secrets } of [...withSecrets].toReversed()) {
    for (const secret of secrets ?? []) if (known.size < waitingMost) known.add(secret);
    if (known.size >= waitingMost) break;
  }
  return [...known];
}

export function redactorFor(known: readonly string[] | undefined, { subject }: Considered, connection: Connection): Redactor | undefined {
  return connection.judge.redactor(subject) ?? (known?.length === 0 ? undefined : valuesOnly);
}

/** The strict reader has read it to its end. */
export function isJson({ anomalies }: Message): boolean {
  return !anomalies.includes('not-json') && !anomalies.includes('too-deep') && !anomalies.includes('invalid-utf8');
}

/** What must not stand in an entry either: the values that were found in the frame, wherever else they turn up. */
export class Concealed {
  readonly #redactor: Redactor | undefined;
  readonly #found: FoundValues | undefined = undefined;
  readonly redactions: readonly Redaction[];
  /** To be looked for in the answer; `undefined` where nobody knows them all. */
  readonly values: readonly string[] | undefined;
  /** The frame was too long to be searched, or left out whole: whatever it says of itself may be what must not be stored. */
  readonly isBlind: boolean;
  /** Something was concealed in a field. */
  any = false;

  /** `found`: in the bytes, where `redactions` is what is left out of them for another reason. */
  constructor(redactor: Redactor | undefined, redactions: readonly Redaction[], bytes: Buffer | undefined, found: readonly Redaction[] = redactions) {
    this.#redactor = redactor;
    const [first] = found;
    this.isBlind = bytes === undefined || (first?.isBlind === true && first.start === 0 && first.end === bytes.length);
    this.redactions = redactions;
    if (bytes === undefined) this.values = redactor === undefined ? [] : undefined;
    else {
      this.#found = found.length > 0 ? new FoundValues(bytes, found) : undefined;
      this.values = found.length > 0 ? valuesOf(bytes, found) : [];
    }
  }

  /** Before it is cut: of a beginning nobody could say what it begins. `isAsked`: the request's entry says it already. */
  text(text: string, field: string, isCut = false, isAsked = false): string {
    if (this.#redactor === undefined) return text;
    const isUnknown = this.isBlind && !isAsked && field !== 'method' && !/^-?[\d.eE+-]+$/.test(text);
    const shown = isUnknown || this.hides(text, isCut) ? '[redacted]' : this.#redactor.clean(text, field === 'id' ? undefined : field);
    if (shown !== text) this.any = true;
    return shown;
  }

  /** A text that says what was found in the frame. */
  hides(text: string, isCut = text.endsWith('…')): boolean {
    return this.#found?.isIn(text, isCut || text.endsWith('…')) ?? false;
  }

  all(value: unknown, name: string): unknown {
    return this.#redactor === undefined ? value : this.#redactor.cleanAll(this.#without(value), name);
  }

  #without(value: unknown): unknown {
    if (typeof value === 'string') return this.hides(value) ? '[redacted]' : value;
    if (Array.isArray(value)) return value.map((item) => this.#without(item));
    if (typeof value === 'number') return this.hides(String(value)) ? null : value;
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [this.hides(name) ? '[redacted]' : name, this.#without(inner)]));
  }
}

/** Of a message that gets no entry. */
export function concealedIn(bytes: Buffer | undefined, message: Message, considered: Considered, connection: Connection): Concealed {
  const known = knownTo(considered, connection);
  const redactor = redactorFor(known, considered, connection);
  const redactions =
    bytes === undefined || redactor === undefined
      ? []
      : known === undefined
        ? [wholeOf(0, bytes.length)]
        : redactor.ranges(bytes, 0, known, isJson(message));
  return new Concealed(redactor, redactions, bytes);
}
