/**
 * Every error of sworn: code, exit status, what to do next. The code is also the anchor in the documentation and, later, the metric's label.
 * A message says what happened and where; the hint says what to do next. Both start in lower case and have no full stop at the end.
 */

export interface ErrorKind {
  /** Process exit status when the error ends a command. */
  readonly exit: number;
  /** What to do next; `{…}` is filled from the error's details. */
  readonly hint: string;
}

/** A tap loads this table with every server: a word that stands at each of its rows would be a tenth of it. */
const of = (exit: number, hint: string): ErrorKind => ({ exit, hint });

export const errorKinds = {
  usage: of(2, 'see `sworn {command} --help`'),
  unconfirmed: of(2, '`--dry-run` says what would go; `--yes` does it without asking'),
  'not-found': of(3, 'check the index or path; `sworn log` lists what is recorded'),
  pruned: of(3, 'its hash is in the tree, and what says that it is gone: sworn show {entry}'),
  'not-published': of(3, 'while a recorder runs, entries are published within 10 s; at once with: sworn recorder stop'),
  output: of(73, 'choose a place that can be written: -o FILE'),
  unreadable: of(3, 'nothing can be concluded about it: check the path and its permissions, or ask its owner for a copy'),
  'no-ledger': of(3, 'record something first: sworn run -- <server command>; or name a ledger with --ledger DIR'),
  'no-recorder': of(3, 'one starts with the next `sworn run`, or now with: sworn recorder start'),
  'spawn-failed': of(127, 'check the command after `--`; in a graphical client give its absolute path'),
  'spawn-denied': of(126, 'make the file executable, or name its interpreter: sworn run -- node server.js'),
  'recorder-unreachable': of(1, 'see `sworn recorder status`; frames are held, then `--on-unrecordable` decides'),
  'recorder-refused': of(1, 'stop the running recorder (sworn recorder stop) or use another --ledger'),
  'wire-version': of(1, 'the tap and the recorder are of different sworn versions: sworn recorder stop, then try again'),
  'wire-corrupt': of(1, 'one side does not speak the protocol of spec/wire.md; update both to the same version'),
  'socket-path': of(2, 'a Unix socket path has at most 107 bytes: choose a shorter --socket'),
  'socket-unsafe': of(77, 'the folder must belong to you with mode 0700: remove it, or choose --socket'),
  'catalog-held': of(75, 'it follows the ledger: ask it, or end it (a running `sworn serve`, or another command)'),
  'catalog-missing': of(3, 'it is made by `sworn serve`, and again with: sworn catalog rebuild'),
  'catalog-create': of(73, 'choose a place that can be written: --catalog FILE'),
  'lock-held': of(75, 'another recorder writes this ledger: sworn recorder status'),
  'recorder-elsewhere': of(69, 'name the place where it listens: --socket {socket}'),
  'ledger-corrupt': of(65, 'run `sworn verify` for the extent; keep a copy, and begin a new ledger with --ledger DIR'),
  'ledger-rollback': of(
    65,
    'the ledger is older than its last signed head: put the newer copy back, or begin a new ledger; never continue a restored one',
  ),
  'ledger-key-missing': of(66, 'restore {path} from its backup, or begin a new ledger with --ledger DIR'),
  'encryption-key': of(66, 'put the key back, or see that its command answers; a new key file is made with: openssl rand -hex 32'),
  'ledger-foreign': of(65, 'this folder holds something else: choose another --ledger DIR'),
  'ledger-create': of(73, 'choose a folder that can be written: --ledger DIR (and HOME for the key)'),
  'sync-failed': of(70, 'the disk did not confirm a write; check its health, the next start recovers'),
  'witness-create': of(73, 'choose a folder that can be written: --dir DIR'),
  'witness-held': of(75, 'stop the other witness, or give this one a folder of its own: --dir DIR'),
  'witness-corrupt': of(65, 'never put back an older copy, it could cosign a second history: begin a new witness with --dir DIR, and tell its key'),
  'listen-failed': of(71, 'choose another address: --listen HOST:PORT'),
  'dashboard-listen': of(71, 'choose another port (--port 0 takes a free one), or stop what listens there'),
  'token-file': of(78, 'one token a line, at least 32 characters, in a file that only you can read: openssl rand -hex 32 > FILE; chmod 600 FILE'),
  'secret-file': of(78, 'a first line of at least 16 characters, in a file that only you can read: openssl rand -hex 16 > FILE; chmod 600 FILE'),
  'config-missing': of(66, 'check the path and its permissions; what the file may say: spec/policy.md'),
  'config-invalid': of(78, 'see all of it with: sworn policy check {path}'),
  'pin-file': of(78, 'one is written by: sworn tools list --pins-out FILE, or sworn tools check --pins-out FILE -- <server command>'),
  'server-unlisted': of(69, 'start the command by itself and see what it says; it must speak MCP over stdio'),
  'auth-file': of(78, 'what certificates, keys and the files of `auth` hold: docs/http-identity.md'),
  'remote-file': of(66, 'check the path and its permissions; a header file has one `Name: value` a line, a CA file is PEM'),
  held: of(1, '`sworn hold list` shows holds; `sworn hold release {hold}` takes this one back'),
  unrecordable: of(74, "free space on the ledger's disk; recording goes on by itself"),
  'too-large': of(65, 'the value is over a bound of limits.ts'),
  permission: of(77, "only the recorder's own account or root may do this"),
  unsupported: of(1, 'use Linux or macOS; this platform was not tried'),
  internal: of(70, 'this is a defect of sworn: please report it with the text above'),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

/** An error of the table above. `message` says what happened and where. */
export class SwornError extends Error {
  override readonly name = 'SwornError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, details: Record<string, string> = {}, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.details = details;
  }

  get exit(): number {
    return errorKinds[this.code].exit;
  }

  get hint(): string {
    return errorKinds[this.code].hint
      .replace(/\{(\w+)\}/g, (_, key: string) => this.details[key] ?? key)
      .replace('`sworn command --help`', '`sworn --help`');
  }
}

/** JSON-RPC error codes of ours, outside the range that JSON-RPC 2.0 reserves (§5.1). */
export const refusalCodes = { denied: 4030, limited: 4290, approvalTimedOut: 4080, unrecordable: 5030 } as const;
/** As above, where a server behind HTTP did not answer: 502 and 504 of HTTP. */
export const upstreamCodes = { failed: 5020, timeout: 5040 } as const;
