/**
 * What only an administrator may ask of a recorder: to stop, to read its policy anew, to freeze, hold, erase, and to change the key. Each act is an entry, with
 * who asked for it.
 *
 * What must stay true: only an administrator (`administrator.ts`) gets here; what could not be recorded does not stay in force.
 */
import type { Entry, PolicyEntry } from '../entry/entry.ts';
import { readAcknowledgement, readOpened, type Accesses } from './access.ts';
import { SwornError, type ErrorCode } from '../errors.ts';
import type { AppendOptions, Ledger } from '../ledger/ledger.ts';
import type { Freeze } from '../policy/freeze.ts';
import type { Act, Administrator } from './administrator.ts';
import type { Clock } from './clock.ts';
import { applyFreeze, freezeFields, readFreeze, readHolder } from './control.ts';
import type { Eraser } from './erase.ts';
import { readErase, readPrune } from './erase-request.ts';
import { applyHold, holdFields, readHold, type Hold } from './hold.ts';
import type { KeyChanges } from './key-changes.ts';
import { readAccept } from './pin-request.ts';
import type { Pinner } from './pins.ts';
import type { Pruner } from './prune.ts';
import type { Attributes } from './seal.ts';

/** Where an answer goes: one of the two, once. */
export interface Answer {
  reply(answer: Record<string, unknown>): void;
  refuse(code: ErrorCode, message: string): void;
}

export interface Administered {
  ledger: Ledger;
  clock: Clock;
  keys: KeyChanges;
  eraser: Eraser;
  pruner: Pruner;
  pinner: Pinner;
  accesses: Accesses;
  append(entry: Entry, attributes: Attributes, options: AppendOptions, done: (stored: boolean) => void): void;
  /** In force. */
  freezes(): readonly Freeze[];
  /** Puts these in force: from the next frame on. */
  freeze(freezes: Freeze[]): void;
  /** Holds were released: what they kept may be due. */
  released(): void;
  reload(administrator: Administrator): Promise<Record<string, unknown>>;
  end(administrator: Administrator): void;
}

export class Administration {
  readonly #of: Administered;
  /** In force. Another list after each change. */
  #holds: readonly Hold[];

  constructor(of: Administered, holds: readonly Hold[]) {
    this.#of = of;
    this.#holds = holds;
  }

  get holds(): readonly Hold[] {
    return this.#holds;
  }

  answer(act: Act, question: Record<string, unknown>, administrator: Administrator, answer: Answer): void {
    switch (act) {
      case 'stop':
        answer.reply({ stopping: true, size: this.#of.ledger.size });
        this.#of.end(administrator);
        return;
      case 'reload':
        this.#settle(this.#of.reload(administrator), answer);
        return;
      case 'rotate':
      case 'retire':
        this.#settle(this.#changeKey(act, question, administrator), answer);
        return;
      case 'erase': {
        const request = readErase(question);
        if (typeof request === 'string') answer.refuse('usage', request);
        else
          this.#settle(
            this.#of.eraser.erase(request, administrator).then((erased) => ({ ...erased })),
            answer,
          );
        return;
      }
      case 'prune': {
        const request = readPrune(question);
        if (typeof request === 'string') answer.refuse('usage', request);
        else
          this.#settle(
            this.#of.pruner.prune(request, administrator).then((pruned) => ({ ...pruned })),
            answer,
          );
        return;
      }
      case 'hold':
        this.#hold(question, administrator, answer);
        return;
      case 'release':
        this.#release(question, administrator, answer);
        return;
      case 'freeze':
        this.#freeze(question, administrator, answer);
        return;
      case 'unfreeze':
        this.#unfreeze(question, administrator, answer);
        return;
      case 'accept':
        this.#accept(question, administrator, answer);
        return;
      case 'opened':
      case 'acknowledge':
        this.#access(act, question, administrator, answer);
    }
  }

  #settle(work: Promise<Record<string, unknown>>, { reply, refuse }: Answer): void {
    work.then(reply, (error: Error) =>
      refuse(error instanceof SwornError ? error.code : error instanceof RangeError ? 'usage' : 'internal', error.message),
    );
  }

  async #changeKey(act: 'rotate' | 'retire', question: Record<string, unknown>, administrator: Administrator): Promise<Record<string, unknown>> {
    const holder = act === 'rotate' ? readHolder(question) : undefined;
    if (typeof holder === 'string') throw new SwornError('usage', holder);
    const { keys } = this.#of;
    try {
      const { vkey, fingerprint, holder: held, older } = await (act === 'rotate' ? keys.rotate(holder, administrator) : keys.retire(administrator));
      return { vkey, fingerprint, holder: held, older: older.map((key) => key.vkey) };
    } catch (error) {
      // whoever holds the key, or the disk
      if (error instanceof SwornError || error instanceof RangeError) throw error;
      throw new SwornError('unrecordable', (error as Error).message, {}, { cause: error });
    }
  }

  /** Puts a freeze in force, or takes one or all back: from the next frame on. `done` once its entry is durable. */
  #changeFreezes(entry: PolicyEntry, done: (stored: boolean) => void): number {
    const index = this.#of.ledger.nextIndex;
    const before = this.#of.freezes();
    this.#of.freeze(applyFreeze([...before], entry, index));
    this.#of.append(entry, {}, { urgent: true, essential: true }, (stored) => {
      // a switch that nobody could read of afterwards is not thrown
      if (!stored) this.#takeBack(entry, index, before);
      done(stored);
    });
    return index;
  }

  /** Of several changes none of which could be recorded each takes back its own. */
  #takeBack({ act, freeze }: PolicyEntry, index: number, before: readonly Freeze[]): void {
    const freezes = this.#of.freezes();
    if (act === 'freeze') this.#of.freeze(freezes.filter(({ id }) => id !== index));
    else this.#of.freeze([...before.filter(({ id }) => (freeze ?? id) === id && freezes.every((one) => one.id !== id)), ...freezes]);
  }

  #freeze(question: Record<string, unknown>, administrator: Administrator, { reply, refuse }: Answer): void {
    const { clock } = this.#of;
    const freeze = readFreeze(question, clock.wallUs() / 1000);
    if (typeof freeze === 'string') {
      refuse('usage', freeze);
      return;
    }
    const fields = freezeFields(freeze, (us) => clock.text(us));
    const id = this.#changeFreezes({ ...clock.common('policy'), act: 'freeze', ...fields, ...administrator }, (stored) => {
      if (stored) reply({ frozen: id, freezes: this.#of.freezes() });
      else refuse('unrecordable', 'the freeze could not be recorded and is not in force');
    });
  }

  #unfreeze({ freeze }: Record<string, unknown>, administrator: Administrator, { reply, refuse }: Answer): void {
    const freezes = this.#of.freezes();
    if (freeze !== undefined && !freezes.some(({ id }) => id === freeze)) {
      refuse('not-found', `there is no freeze ${JSON.stringify(freeze)}`);
      return;
    }
    const taken = freeze === undefined ? freezes.map(({ id }) => id) : [freeze as number];
    const entry: PolicyEntry = {
      ...this.#of.clock.common('policy'),
      act: 'unfreeze',
      ...(freeze === undefined ? {} : { freeze: freeze as number }),
      ...administrator,
    };
    this.#changeFreezes(entry, (stored) => {
      if (stored) reply({ unfrozen: taken, freezes: this.#of.freezes() });
      else refuse('unrecordable', 'it could not be recorded, and the freeze stays in force');
    });
  }

  #accept(question: Record<string, unknown>, administrator: Administrator, { reply, refuse }: Answer): void {
    const { clock, ledger, pinner } = this.#of;
    const accepted = readAccept(question, pinner.pins);
    if ('problem' in accepted) {
      refuse(accepted.code, accepted.problem);
      return;
    }
    const index = ledger.nextIndex;
    const { reason, ...fields } = accepted;
    pinner.accept({ ...clock.common('policy'), act: 'accept', ...fields, ...administrator }, reason === undefined ? {} : { reason }, (stored) => {
      if (stored) reply({ accepted: index, ...fields });
      else refuse('unrecordable', 'it could not be recorded, and nothing is accepted');
    });
  }

  #access(act: 'opened' | 'acknowledge', question: Record<string, unknown>, administrator: Administrator, { reply, refuse }: Answer): void {
    const { accesses, ledger } = this.#of;
    // what was opened is noted before it is an entry: only where there will be one
    if (!ledger.recordable) {
      refuse('unrecordable', 'the disk of the ledger cannot be written');
      return;
    }
    if (act === 'opened') {
      const opened = readOpened(question, ledger.nextIndex);
      if (typeof opened === 'string') refuse('usage', opened);
      else
        accesses.open(opened, administrator, (noted) => {
          if (noted) reply({ noted: true });
          else refuse('unrecordable', 'the opening could not be recorded');
        });
      return;
    }
    const acknowledgement = readAcknowledgement(question);
    if (typeof acknowledgement === 'string') {
      refuse('usage', acknowledgement);
      return;
    }
    const index = ledger.nextIndex;
    accesses.acknowledge(acknowledgement, administrator, (stored) => {
      if (stored) reply({ acknowledged: index });
      else refuse('unrecordable', 'the acknowledgement could not be recorded');
    });
  }

  #hold(question: Record<string, unknown>, administrator: Administrator, { reply, refuse }: Answer): void {
    const { clock, ledger } = this.#of;
    const hold = readHold(question);
    if (typeof hold === 'string') {
      refuse('usage', hold);
      return;
    }
    const index = ledger.nextIndex;
    const { fields, attributes } = holdFields(hold, (us) => clock.text(us));
    const entry: PolicyEntry = { ...clock.common('policy'), act: 'hold', ...fields, ...administrator };
    // in force before it is durable: what is being looked for to be erased is looked at again
    this.#holds = applyHold(this.#holds, entry, index, attributes);
    this.#of.append(entry, attributes, { urgent: true, essential: true }, (stored) => {
      if (stored) {
        reply({ held: index, holds: this.#holds });
        return;
      }
      this.#holds = this.#holds.filter(({ id }) => id !== index);
      refuse('unrecordable', 'the hold could not be recorded and is not in force');
    });
  }

  #release({ hold }: Record<string, unknown>, administrator: Administrator, { reply, refuse }: Answer): void {
    const { clock, ledger, eraser } = this.#of;
    if (!this.#holds.some(({ id }) => id === hold)) {
      refuse('not-found', `there is no hold ${JSON.stringify(hold)}`);
      return;
    }
    const index = ledger.nextIndex;
    const entry: PolicyEntry = { ...clock.common('policy'), act: 'release', hold: hold as number, ...administrator };
    this.#of.append(entry, {}, { urgent: true, essential: true }, (stored) => {
      if (!stored) {
        refuse('unrecordable', 'it could not be recorded, and the hold stays in force');
        return;
      }
      this.#holds = applyHold(this.#holds, entry, index, {});
      eraser.released();
      reply({ released: hold, holds: this.#holds });
      this.#of.released();
    });
  }
}
