/** The data access map: which call touched what, as rows. */
import type { MessageEntry } from '../entry/entry.ts';
import { projectedEntities, projectedTools, touchesPerCall } from '../limits.ts';
import { EntityFinder, type Named, type Place } from './entities.ts';
import type { EarlierCall } from './events.ts';
import type { ResultView } from './message-view.ts';
import { saysMissing } from './missing.ts';
import type { AnalysisOptions } from './options.ts';
import type { CallRow, EntityRow, TouchKind, TouchRow } from './rows.ts';
import type { RowSink } from './sink.ts';

/** What is remembered of a session: the entities that it touched, by value. */
export type Touched = Map<string, string>;

const touchedMost = 1_000;
/** Types of a server's entities by which a bare id is looked for. */
const typesMost = 32;

/** A call with what it touched so far. */
export interface TouchingCall {
  row: CallRow;
  touches: TouchRow[];
  isRecalled?: true;
}

export class Touches {
  readonly #ledger: string;
  readonly #sink: RowSink;
  readonly #finder: EntityFinder;
  /**
   * Rows that are at hand, in two generations: what was not used while the younger one filled goes. (Taking the oldest out of one map again and again takes longer
   * the more were taken out before.) All of them stand in the sink or in `#changed`.
   */
  #rows = new Map<string, EntityRow>();
  #older = new Map<string, EntityRow>();
  readonly #changed = new Set<EntityRow>();
  readonly #types: Map<string, string[]>;

  /** `types`: what `toJSON` gave. */
  constructor(ledger: string, options: AnalysisOptions, sink: RowSink, types: unknown = []) {
    this.#ledger = ledger;
    this.#sink = sink;
    this.#finder = new EntityFinder(options.entities);
    this.#types = new Map(types as [string, string[]][]);
  }

  toJSON(): unknown {
    return [...this.#types];
  }

  get pending(): number {
    return this.#changed.size;
  }

  end(): void {
    for (const row of this.#changed) this.#sink.put('entities', { ...row });
    this.#changed.clear();
  }

  entityOf(entity: string): EntityRow | undefined {
    return this.#rows.get(entity) ?? this.#older.get(entity) ?? this.#sink.get('entities', { ledger: this.#ledger, entity });
  }

  /** What a call asks for. One that was refused touched nothing. */
  asked(call: TouchingCall, asked: unknown, nouns: Readonly<Record<string, string>>, touched: Touched, earlier: EarlierCall | undefined): void {
    const { row } = call;
    if (row.state === 'blocked') return;
    if (row.method === 'resources/read' || row.method === 'resources/subscribe')
      this.#touch(call, this.#find({ uri: row.target }, call, {}, touched, 'arguments'), row.beganAt, touched, earlier);
    else if (row.method === 'tools/call') this.#touch(call, this.#find(asked, call, nouns, touched, 'arguments'), row.beganAt, touched, earlier);
  }

  /** What came back. */
  answered(call: TouchingCall, entry: MessageEntry, result: ResultView, touched: Touched, earlier: EarlierCall | undefined): void {
    const { row } = call;
    if (row.state === 'blocked' || (row.method !== 'tools/call' && row.method !== 'resources/read')) return;
    const missing = new Set(saysMissing(row, call.touches, result));
    for (const touch of call.touches) {
      const entity = this.#of(touch.entity, entry.time);
      if (missing.has(touch.entity)) {
        entity.isMissing = true;
        this.#changed.add(entity);
      } else if (!result.isError && entity.isMissing) {
        delete entity.isMissing;
        this.#changed.add(entity);
      }
    }
    if (result.isError || row.method !== 'tools/call') return;
    const said = [...(result.structured === undefined ? [] : [result.structured]), ...result.documents];
    const named = said.flatMap((document) => this.#find(document, call, {}, touched, 'result'));
    for (const uri of result.uris) named.push(...this.#find({ content: [{ uri }] }, call, {}, touched, 'result'));
    this.#touch(call, named, entry.time, touched, earlier);
  }

  #find(value: unknown, { row, touches }: TouchingCall, nouns: Readonly<Record<string, string>>, touched: Touched, where: Place['in']): Named[] {
    return this.#finder.find(value, {
      in: where,
      tool: row.target ?? '',
      nouns,
      most: touchesPerCall,
      typeOf: (of) => {
        const own = touches.find(({ entity }) => valueOf(entity) === of)?.entity ?? touched.get(of);
        return own === undefined ? this.#typeOf(row.server, of) : typeIn(own);
      },
    });
  }

  /** By what a server's entities are: the type of one with this value. */
  #typeOf(server: string, value: string): string | undefined {
    return this.#types.get(server)?.find((type) => this.entityOf(`${type}:${value}`) !== undefined);
  }

  #touch(call: TouchingCall, named: readonly Named[], at: string, touched: Touched, earlier: EarlierCall | undefined): void {
    const { row, touches } = call;
    for (const { type, value, path, kind, attributes } of named) {
      const entity = `${type}:${value}`;
      const known = this.#of(entity, at);
      if (attributes !== undefined) this.#tell(known, attributes);
      if (touches.length >= touchesPerCall || touches.some((touch) => touch.entity === entity)) continue;
      const before = call.isRecalled ? this.#sink.get('touches', { ledger: this.#ledger, entity, call: row.index }) : undefined;
      if (before !== undefined) {
        touches.push(before);
        continue;
      }
      const touch: TouchRow = {
        ledger: this.#ledger,
        entity,
        call: row.index,
        session: row.session,
        server: row.server,
        tool: row.method === 'tools/call' ? (row.target ?? '') : row.method,
        kind: kind ?? kindOf(row),
        ...(row.sensitive ? { sensitive: true } : {}),
        path,
        at,
        ...(row.who === undefined ? {} : { who: row.who }),
      };
      touches.push(touch);
      this.#sink.put('touches', touch);
      if (touch.kind === 'read') known.reads++;
      else if (touch.kind === 'write') known.writes++;
      if (touch.sensitive) known.sensitive++;
      if (touched.get(value) !== entity) {
        known.sessions++;
        touched.set(value, entity);
        if (touched.size > touchedMost) touched.delete(touched.keys().next().value!);
      }
      known.lastAt = at;
      this.#changed.add(known);
      this.#learn(row.server, type);
      if (earlier !== undefined && earlier.entities.length < 50) earlier.entities.push(entity);
    }
  }

  #tell(row: EntityRow, attributes: Readonly<Record<string, string>>): void {
    const configured = this.#finder.attributesOf(row.entity);
    const now = { ...row.attributes, ...attributes, ...configured };
    if (JSON.stringify(now) === JSON.stringify(row.attributes)) return;
    row.attributes = now;
    this.#changed.add(row);
  }

  #learn(server: string, type: string): void {
    const types = this.#types.get(server);
    if (types === undefined) {
      if (this.#types.size < projectedTools) this.#types.set(server, [type]);
    } else if (!types.includes(type) && types.length < typesMost) types.push(type);
  }

  #of(entity: string, at: string): EntityRow {
    const young = this.#rows.get(entity);
    if (young !== undefined) return young;
    const row = this.#older.get(entity) ?? this.#stored(entity) ?? this.#new(entity, at);
    if (this.#rows.size >= projectedEntities / 2) {
      this.end();
      this.#older = this.#rows;
      this.#rows = new Map();
    }
    this.#rows.set(entity, row);
    return row;
  }

  #stored(entity: string): EntityRow | undefined {
    const row = this.#sink.get('entities', { ledger: this.#ledger, entity });
    return row === undefined ? undefined : { ...row };
  }

  #new(entity: string, at: string): EntityRow {
    const row: EntityRow = {
      ledger: this.#ledger,
      entity,
      type: typeIn(entity),
      value: valueOf(entity),
      reads: 0,
      writes: 0,
      sensitive: 0,
      sessions: 0,
      firstAt: at,
      lastAt: at,
    };
    const attributes = this.#finder.attributesOf(entity);
    if (attributes !== undefined) row.attributes = attributes;
    return row;
  }
}

function kindOf({ effect }: CallRow): TouchKind {
  return effect;
}

/** Types hold no colon. */
function typeIn(entity: string): string {
  return entity.slice(0, entity.indexOf(':'));
}

function valueOf(entity: string): string {
  return entity.slice(entity.indexOf(':') + 1);
}
