/**
 * Searches long frames in a thread of its own. What must stay true: an answer comes for every search, also when the thread dies: then the search is done
 * here, and the next one tries a new thread.
 */
import type { Redaction, Redactor } from '../policy/redact.ts';
import { Thread, threadProgram } from '../thread.ts';
import type { Found, Search } from './redact-worker.ts';

interface Waiting {
  redactor: Redactor;
  bytes: Buffer;
  known: readonly string[];
  isJson: boolean;
  done: (redactions: Redaction[]) => void;
}

export class Searcher {
  readonly #thread = new Thread<Waiting, Found>(
    () => threadProgram('redact-worker', import.meta.url),
    (waiting, found) => {
      if ('error' in found) searchHere(waiting);
      else waiting.done(found.redactions);
    },
    searchHere,
  );

  /** `done` is called once, later. The bytes are copied: the frame stays whole here. */
  search(redactor: Redactor, bytes: Buffer, known: readonly string[], isJson: boolean, done: (redactions: Redaction[]) => void): void {
    const search: Omit<Search, 'id'> = { rules: redactor.rules.map(({ rule }) => rule), bytes: new Uint8Array(bytes), known, isJson };
    this.#thread.ask({ redactor, bytes, known, isJson, done }, search, [search.bytes.buffer as ArrayBuffer]);
  }

  /** The process is about to end. */
  end(): Promise<void> {
    return this.#thread.end();
  }
}

function searchHere({ redactor, bytes, known, isJson, done }: Waiting): void {
  done(redactor.ranges(bytes, 0, known, isJson));
}
