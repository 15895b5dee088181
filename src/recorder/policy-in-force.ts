/**
 * The policy in force, how it is read again, and what the ledger says of it. What must stay true: a file that is wrong, empty or gone changes nothing; whatever comes into force
 * is an entry with its whole text, so that what was judged by it can be understood without the file.
 */
import type { PolicyEntry } from '../entry/entry.ts';
import type { AppendOptions } from '../ledger/ledger.ts';
import { attributeBytes } from '../limits.ts';
import type { Administrator } from './administrator.ts';
import type { Clock } from './clock.ts';
import { difference, isSame, problemOf, reloadPolicy, type Loaded } from './control.ts';
import type { Attributes } from './seal.ts';
import type { RecordedPolicy } from './state.ts';

/** So much text fits into an attribute, however it is escaped. */
const attributeChars = attributeBytes / 8;
const ending = { reloaded: false, problem: 'the recorder is ending' };

interface PolicyDeps {
  /** Of the file. */
  config: string | undefined;
  clock: Clock;
  nextIndex(): number;
  append(entry: PolicyEntry, attributes: Attributes, options?: AppendOptions, done?: (stored: boolean) => void): void;
  /** Before it is in force: segments are encrypted as it says. @throws (rejects) what keeps it from coming into force */
  encrypt(encryption: Loaded['encryption']): Promise<void>;
  isEnding(): boolean;
  /** It is in force from now on, and the entry that says so is not written yet. */
  changed(loaded: Loaded): void;
  /** The entry is written. */
  announced(loaded: Loaded): void;
  log: (line: string) => void;
}

export class PolicyInForce {
  readonly #deps: PolicyDeps;
  #loaded: Loaded;
  /** As the ledger says it. */
  #recorded: RecordedPolicy | undefined;
  #reloading: Promise<unknown> = Promise.resolve();

  /** `recorded`: what the ledger that is taken up says. */
  constructor(deps: PolicyDeps, loaded: Loaded, recorded: RecordedPolicy | undefined) {
    this.#deps = deps;
    this.#loaded = loaded;
    this.#recorded = recorded;
  }

  get loaded(): Loaded {
    return this.#loaded;
  }

  get recorded(): RecordedPolicy | undefined {
    return this.#recorded;
  }

  /** A change of the policy in force is an entry, with the whole text and what is different in it. */
  record(administrator?: Administrator): void {
    const { digest, text = '', path, compiled } = this.#loaded;
    const pins = compiled.policy.tools?.file?.digest;
    const before = this.#recorded;
    if (before?.digest === digest && before?.pins === pins) return;
    const pinned = pins === undefined ? {} : { pins };
    this.#recorded = { index: this.#deps.nextIndex(), ...(digest === undefined ? {} : { digest }), ...pinned, text };
    const entry: PolicyEntry = {
      ...this.#deps.clock.common('policy'),
      act: 'load',
      ...(digest === undefined ? {} : { digest }),
      ...(before?.digest === undefined ? {} : { previous: before.digest }),
      rules: compiled.rules.length,
      ...pinned,
      ...administrator,
    };
    this.#deps.append(
      entry,
      { path, ...texts(text), ...(before === undefined ? {} : { diff: difference(before.text, text) }) },
      { urgent: true },
      (stored) => {
        // said again with the next change, or by the next recorder
        if (!stored) this.#recorded = before;
      },
    );
  }

  /** Says it again where the entry that says it is about to go (it is below `from`), with as much of its text as is not erased. */
  restate(from: number): Promise<boolean> {
    const recorded = this.#recorded;
    if (recorded?.digest === undefined || (recorded.index ?? -1) >= from) return Promise.resolve(true);
    const { digest, pins, text } = recorded;
    const index = this.#deps.nextIndex();
    const entry: PolicyEntry = {
      ...this.#deps.clock.common('policy'),
      act: 'load',
      digest,
      previous: digest,
      rules: this.#loaded.compiled.rules.length,
      ...(pins === undefined ? {} : { pins }),
    };
    return new Promise((done) =>
      this.#deps.append(entry, { path: this.#loaded.path, ...texts(text) }, { urgent: true }, (stored) => {
        if (stored && this.#recorded === recorded) this.#recorded = { ...recorded, index };
        done(stored);
      }),
    );
  }

  /** The content of a `policy` entry with this digest is erased. */
  forget(digest: string | undefined): void {
    if (this.#recorded !== undefined && this.#recorded.digest === digest) this.#recorded = { ...this.#recorded, text: '' };
  }

  /**
   * Reads the file again, while messages are judged by what is in force. One that is wrong changes nothing. Whoever delivers without waiting is told to wait before a rule that can refuse is in force.
   */
  reload(administrator?: Administrator): Promise<Record<string, unknown>> {
    // one after the other: what was read first must not come into force last
    const reloaded = this.#reloading.then(() => this.#reload(administrator));
    this.#reloading = reloaded.catch(() => undefined);
    return reloaded;
  }

  async #reload(administrator?: Administrator): Promise<Record<string, unknown>> {
    const { config, encrypt, isEnding, changed, announced, log } = this.#deps;
    let loaded: Loaded;
    try {
      loaded = await reloadPolicy(config, this.#loaded);
    } catch (error) {
      return isEnding() ? ending : this.#reject(problemOf(error), administrator);
    }
    if (isEnding()) return ending;
    // a file that an editor is just replacing, or that somebody took away, would let everything pass
    if (this.#loaded.digest !== undefined && (loaded.text ?? '').trim() === '') {
      return this.#reject(`${loaded.path} is ${loaded.text === undefined ? 'not there' : 'empty'}; write {} into it to have no rules`, administrator);
    }
    if (isSame(loaded, this.#loaded)) return { reloaded: false, ...this.#digest() };
    try {
      await encrypt(loaded.encryption);
    } catch (error) {
      return isEnding() ? ending : this.#reject(problemOf(error), administrator);
    }
    if (isEnding()) return ending;
    this.#loaded = loaded;
    changed(loaded);
    this.record(administrator);
    announced(loaded);
    log(`policy ${loaded.digest === undefined ? 'none' : loaded.digest.slice(0, 16)} is in force, ${loaded.compiled.rules.length} rules`);
    return { reloaded: true, ...this.#digest(), rules: loaded.compiled.rules.length };
  }

  #reject(problem: string, administrator?: Administrator): Record<string, unknown> {
    this.#deps.log(`the policy file is not taken: ${problem}; the one before stays in force`);
    this.#deps.append({ ...this.#deps.clock.common('policy'), act: 'rejected', ...this.#digest(), ...administrator } satisfies PolicyEntry, {
      problem,
      path: this.#loaded.path,
    });
    return { reloaded: false, problem, ...this.#digest() };
  }

  #digest(): { digest?: string } {
    return this.#loaded.digest === undefined ? {} : { digest: this.#loaded.digest };
  }
}

/** A policy file may be longer than one attribute: what is in force must be in the ledger whole. */
function texts(text: string): Attributes {
  const pieces: Attributes = { text: text.slice(0, attributeChars) };
  for (let at = attributeChars, i = 2; at < text.length; at += attributeChars, i++) pieces[`text${i}`] = text.slice(at, at + attributeChars);
  return pieces;
}
