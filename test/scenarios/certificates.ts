/** Certificates of a scenario, made with openssl in its folder. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  /** Paths of PEM files. */
  cert: string;
  key: string;
}

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

export class Authority implements Certificate {
  readonly cert: string;
  readonly key: string;
  readonly #folder: string;

  constructor(folder: string, name: string) {
    this.#folder = folder;
    [this.cert, this.key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
    this.#openssl('req', '-x509', ...curve, '-keyout', this.key, '-out', this.cert, '-subj', `/CN=${name}`, '-days', '2');
  }

  get pem(): string {
    return readFileSync(this.cert, 'utf8');
  }

  /** A certificate for `names` (`DNS:…`, `IP:…`). */
  issue(name: string, ...names: string[]): Certificate {
    const path = (kind: string): string => join(this.#folder, `${name}.${kind}`);
    this.#openssl('req', ...curve, '-keyout', path('key'), '-out', path('csr'), '-subj', `/CN=${name}`);
    writeFileSync(path('ext'), `subjectAltName=${names.join(',')}\n`);
    const signed = ['-CA', this.cert, '-CAkey', this.key, '-extfile', path('ext')];
    this.#openssl('x509', '-req', '-in', path('csr'), ...signed, '-out', path('pem'), '-days', '2');
    return { cert: path('pem'), key: path('key') };
  }

  #openssl(...words: string[]): void {
    execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'ignore'] });
  }
}

export function pems({ cert, key }: Certificate): { cert: string; key: string } {
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
}

/** Puts another certificate in the place of one: the key first, as an administrator might, so that for a while they do not belong together. */
export function exchanged(place: Certificate, by: Certificate): void {
  copyFileSync(by.key, place.key);
  copyFileSync(by.cert, place.cert);
}
