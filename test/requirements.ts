/**
 * What `sworn run` must do, one sentence each, and where that is said. A test cites the ids that it shows in square brackets in its name;
 * `requirements.test.ts` fails when an id has no test, or a test cites an id that is not here.
 */
export interface Requirement {
  id: string;
  sentence: string;
  source: string;
}

const design = 'ARCHITECTURE.md';
const wire = 'spec/wire.md';
const entry = 'spec/entry.md';
const policy = 'spec/policy.md';
const ledger = 'spec/ledger.md';
const mcp = 'MCP 2025-11-25 and 2026-07-28, Transports, stdio';
const rpc = 'JSON-RPC 2.0';

export const requirements: readonly Requirement[] = [
  // Transparency
  { id: 'transparent-bytes', sentence: 'The bytes that leave are the bytes that came, in both directions.', source: design },
  { id: 'transparent-same-talk', sentence: 'Client and server say to each other through sworn what they say without it.', source: design },
  {
    id: 'real-counterparts',
    sentence: 'Holds with the official clients 1.x and 2.x (legacy, auto, pinned) and the official servers.',
    source: design,
  },
  { id: 'auto-twice', sentence: 'A client that starts the command twice at once and kills one of them leaves two sound connections.', source: mcp },
  // Entries
  { id: 'entry-types', sentence: 'A message entry says what the message is: request, notification, result, error, opaque.', source: entry },
  { id: 'entry-effects', sentence: 'The effect of a call comes from the annotations that tools/list showed.', source: entry },
  { id: 'entry-overrides', sentence: '--sensitive, --write and --read beat the annotations.', source: entry },
  { id: 'entry-names', sentence: 'clientInfo and serverInfo are attributes of the messages that carry them first.', source: entry },
  { id: 'entry-outcome', sentence: 'A reply says ok, error or toolError, its code, its duration and its request.', source: entry },
  { id: 'entry-era', sentence: 'The era belongs to each message.', source: entry },
  { id: 'entry-rounds', sentence: 'A modern call of several rounds is several exchanges, each with its reply and result type.', source: entry },
  { id: 'entry-pending', sentence: 'A call is in the ledger from the moment of its request, answered late or never.', source: entry },
  { id: 'entry-server-request', sentence: "A server's request is paired with the client's reply, in its own direction.", source: rpc },
  // Odd traffic
  { id: 'odd-bytes', sentence: 'What is no message, or an odd one, passes as it is.', source: design },
  { id: 'odd-anomalies', sentence: 'What is odd about a frame is in its entry.', source: entry },
  { id: 'odd-chunks', sentence: 'How the bytes were cut on their way makes no difference.', source: mcp },
  { id: 'odd-unterminated', sentence: 'A last line without a line end passes as it is and is marked.', source: entry },
  { id: 'odd-unfinished', sentence: 'A line that nobody can be given any more is recorded and shows as not delivered.', source: entry },
  { id: 'odd-pairing', sentence: 'Ids pair by type, value and direction.', source: rpc },
  { id: 'odd-reused', sentence: 'An id in use twice is marked; replies go to the oldest.', source: entry },
  { id: 'odd-cancelled', sentence: 'A cancellation names the request that it ends.', source: entry },
  { id: 'odd-batch', sentence: 'A batch is one entry for the frame and one for each item.', source: entry },
  { id: 'odd-batch-large', sentence: 'A batch of more than 1,000 items passes and is opaque.', source: entry },
  { id: 'odd-order', sentence: 'Each direction is delivered in order; a reply stands behind its request.', source: wire },
  // The wire, seen from the tap
  { id: 'wire-hello', sentence: 'hello says what the tap is.', source: wire },
  { id: 'wire-receipt', sentence: 'receipt: deliver a unit when pass covers it.', source: wire },
  { id: 'wire-cumulative', sentence: 'Answers are cumulative.', source: wire },
  { id: 'wire-fifo', sentence: 'Strictly by unit in each direction; the directions do not wait for each other.', source: wire },
  { id: 'wire-delivered', sentence: 'Each frame says what was delivered when it was sent.', source: wire },
  { id: 'wire-verdict', sentence: 'verdict: deliver when pass covers it; durable follows.', source: wire },
  { id: 'wire-none', sentence: 'none: deliver when the write to the socket is done.', source: wire },
  { id: 'wire-raise', sentence: 'wait: from now on.', source: wire },
  { id: 'wire-refuse', sentence: 'A refused request is answered, a reply replaced, a notification dropped.', source: wire },
  { id: 'wire-refuse-long', sentence: 'A refused long frame ends where it is, and its line with it.', source: wire },
  { id: 'wire-between', sentence: 'Lines of ours stand between two frames.', source: wire },
  { id: 'wire-resume', sentence: 'A tap goes on with its connection: token, receipt, what is durable, the rest in order of arrival.', source: wire },
  { id: 'wire-resume-early', sentence: 'A socket that breaks before the welcome loses nothing.', source: wire },
  { id: 'wire-resend', sentence: 'What is not durable is sent again, and nothing is delivered twice.', source: wire },
  { id: 'wire-unknown', sentence: 'Unknown messages are ignored.', source: wire },
  { id: 'wire-corrupt', sentence: 'A socket that speaks something else is left, and another one tried.', source: wire },
  { id: 'wire-error', sentence: 'An error of the recorder is told, with its hint.', source: wire },
  { id: 'wire-refuse-rest', sentence: 'Of a refused frame nothing more is delivered, whoever passes it.', source: wire },
  { id: 'wire-lost', sentence: 'What was lost is told until something behind it is durable.', source: wire },
  { id: 'silent-stopped', sentence: 'A recorder that stands still holds nobody up for longer than 10 s.', source: wire },
  { id: 'silent-rules', sentence: 'Where a rule may refuse, silence lets nothing pass, whatever the tap was told.', source: wire },
  { id: 'silent-welcome', sentence: 'Nor does one that never welcomes.', source: wire },
  { id: 'silent-slow', sentence: 'One that is slow, but speaks, is waited for.', source: wire },
  { id: 'silent-window', sentence: 'A window that stays full is a recorder that stands still.', source: wire },
  { id: 'messages-visible', sentence: 'What sworn says shows control characters instead of sending them.', source: design },
  { id: 'print-config-pipe', sentence: 'A reader of --print-config may leave early.', source: design },
  { id: 'wire-closed', sentence: 'The tap ends when its close is durable.', source: wire },
  { id: 'unrecordable-wait', sentence: 'Without a recorder frames are held for 10 s, then onUnrecordable decides.', source: wire },
  { id: 'unrecordable-block', sentence: 'block: requests are answered with 5030, replies withheld, all counted.', source: wire },
  { id: 'unrecordable-pass', sentence: 'pass: delivered, counted, and whole frames only.', source: wire },
  // Size and pressure
  { id: 'size-20', sentence: 'Lines of 20 MiB pass both ways and are recorded whole.', source: design },
  { id: 'size-200', sentence: 'Lines of 200 MiB pass with the memory of tap and recorder bounded.', source: design },
  { id: 'size-last-byte', sentence: 'The last byte of a long frame waits for the answer to the whole.', source: wire },
  { id: 'size-edges', sentence: 'A unit has at most 1 MiB; line ends stay where they were.', source: wire },
  { id: 'pressure-client', sentence: 'A client that stops reading costs no memory and loses nothing.', source: design },
  { id: 'pressure-server', sentence: 'A server that stops reading costs no memory and loses nothing.', source: design },
  // Manners of a process
  { id: 'exit-status', sentence: 'sworn ends as the server ended: status or signal.', source: design },
  { id: 'signal-relay', sentence: 'SIGINT, SIGTERM and SIGHUP go to the server.', source: design },
  { id: 'eof-relay', sentence: "The client's end of input is the server's; what it says then is delivered.", source: mcp },
  { id: 'kill-group', sentence: 'A server that ignores the end of its input and SIGTERM is killed with its group.', source: design },
  { id: 'kill-orphan', sentence: 'A client that dies leaves no server behind.', source: design },
  { id: 'kill-grandchild', sentence: 'What a server started does not outlive the connection.', source: design },
  {
    id: 'kill-unread',
    sentence: 'A client that closes and reads no more does not keep sworn; what it did not read shows as not delivered.',
    source: design,
  },
  { id: 'last-words', sentence: 'A last answer right before the exit is delivered and recorded.', source: design },
  { id: 'stderr-flood', sentence: 'stderr passes untouched.', source: design },
  { id: 'spawn-failed', sentence: 'A command that cannot be started: a clear error, 127 or 126, and entries.', source: entry },
  { id: 'usage-none', sentence: 'Without a command nothing happens but an error.', source: design },
  { id: 'options-strict', sentence: 'Options are read strictly; what belongs to the server is left alone.', source: design },
  { id: 'windows-cmd', sentence: 'Batch files on Windows get their arguments as they were given (untried there).', source: design },
  { id: 'environment-same', sentence: 'Folder, environment and arguments reach the server unchanged; nothing of ours is added.', source: design },
  { id: 'recorder-environment', sentence: "The recorder gets none of the client's secrets and has its own session.", source: design },
  { id: 'client-killed', sentence: 'What a client said before it was killed is delivered and recorded.', source: design },
  { id: 'client-half', sentence: 'A client that reads no more is gone.', source: design },
  { id: 'stdio-kinds', sentence: 'Standard streams may be pipes, files, or closed.', source: design },
  { id: 'odd-folder', sentence: 'It works from any folder.', source: design },
  { id: 'server-half', sentence: 'A server may close its output and go on.', source: design },
  { id: 'server-deaf', sentence: 'A server may close its input and go on; what is said to it is recorded.', source: design },
  // Frames of several units, and what no tap of sworn says
  { id: 'long-tools', sentence: 'A list of tools longer than a unit still tells effects.', source: entry },
  { id: 'long-pending', sentence: 'A long request waits for its reply also across the death of the recorder.', source: design },
  { id: 'long-resumed', sentence: 'A long frame goes on where it was when the recorder dies in its middle.', source: wire },
  { id: 'long-hole', sentence: 'Units that never came end the frame that was arriving.', source: wire },
  { id: 'wire-once', sentence: 'The recorder drops units that it has.', source: wire },
  { id: 'wire-strangers', sentence: 'The recorder answers nonsense with an error, and goes on serving the others.', source: wire },
  { id: 'wire-receipt-missing', sentence: 'A receipt that the ledger lacks becomes an entry.', source: wire },
  // Policy
  { id: 'policy-example', sentence: 'The example of the specification does what it says.', source: policy },
  { id: 'policy-bypass', sentence: 'Nothing that a rule refuses reaches its receiver, however it is written; who asked is told.', source: policy },
  { id: 'policy-both-ways', sentence: "A server's requests and both sides' replies and notifications are judged, too.", source: policy },
  { id: 'policy-observe', sentence: 'In mode observe nothing is delivered before its verdict while a rule can refuse.', source: policy },
  { id: 'policy-large', sentence: 'Of a refused call of 8 MiB not a byte is delivered.', source: policy },
  { id: 'policy-reload', sentence: 'A reload takes effect while calls run: what is delivered behind it says that it was before.', source: policy },
  { id: 'policy-reload-wrong', sentence: 'A wrong file leaves the one before in force, and is told in the log and in an entry.', source: policy },
  { id: 'policy-freeze', sentence: 'A freeze is in force at once and listed, and is taken back; the next recorder goes on with it.', source: policy },
  {
    id: 'limit-rate',
    sentence: 'No more passes than a limit allows, whoever asks over which connection; what is refused says when to come again.',
    source: policy,
  },
  { id: 'limit-restart', sentence: 'A kill, a restart, a reload or a clock that is set gives nobody a new burst.', source: policy },
  { id: 'limit-storm', sentence: 'A storm of refused requests fills no ledger, and not one of them is missing in the count.', source: policy },
  {
    id: 'pin-drift',
    sentence: 'Calls of a tool whose definition nobody has accepted are flagged or refused, whoever starts the server and however often.',
    source: policy,
  },
  { id: 'pin-file', sentence: 'A file of pins decides at first sight, is taken up by a reload, and is checked without a recorder.', source: policy },
  { id: 'pin-shown', sentence: 'What changed in a definition is shown whole, with what hides in it escaped, before it is accepted.', source: policy },
  { id: 'pin-own', sentence: 'Nobody below a tapped client accepts a definition.', source: policy },
  { id: 'policy-freeze-own', sentence: 'Nobody below a tapped client freezes, unfreezes or reloads.', source: policy },
  {
    id: 'policy-killed',
    sentence: 'Whenever the recorder is killed, nothing refused is delivered, and every request is answered once.',
    source: policy,
  },
  { id: 'policy-config', sentence: 'A configuration that is missing, wrong, or another one is told where it is wrong.', source: policy },
  { id: 'policy-disk', sentence: 'On a full disk what is refused stays refused, and onUnrecordable decides by effect.', source: policy },
  // Erasing
  { id: 'erase-field', sentence: 'A field that is erased is in no byte of any file; everything else is as it was, and verify holds.', source: entry },
  { id: 'erase-asks', sentence: 'Where nobody can be asked, nothing is erased without --yes.', source: 'README.md' },
  { id: 'erase-field-session', sentence: 'Fields go from batches, long frames and attributes, too.', source: entry },
  { id: 'erase-field-leaf', sentence: 'What cannot be erased, or was not there, is never said to be erased.', source: entry },
  { id: 'erase-item', sentence: 'An item of a batch can be erased alone.', source: entry },
  { id: 'erase-live', sentence: 'A session can be erased while it is recorded; nothing beside the ledger says it again.', source: ledger },
  { id: 'erase-subject', sentence: 'A subject is erased by its name alone; nobody below a tapped client erases.', source: entry },
  { id: 'erase-killed', sentence: 'Whenever the recorder is killed, an erasure that is recorded is finished by the next one.', source: ledger },
  { id: 'erase-killed-replay', sentence: 'Without a snapshot the ledger itself tells what is to be finished.', source: ledger },
  {
    id: 'encrypted-file',
    sentence: 'With a key file content is in no byte of any file, and whoever has the key reads and verifies it.',
    source: ledger,
  },
  {
    id: 'encrypted-closed',
    sentence: 'Without its key, or with another one, content is not checked, and never said to be tampered with.',
    source: ledger,
  },
  {
    id: 'encrypted-command',
    sentence: 'A command that wraps keys is asked once in a process; one that does not answer lets nothing be recorded in the clear.',
    source: ledger,
  },
  {
    id: 'encrypted-switched',
    sentence: 'Switched on, off, or to another key, encryption begins a new segment; what was begun before stays readable.',
    source: ledger,
  },
  { id: 'encrypted-backup', sentence: 'An erasure closes the copies of an encrypted ledger from before it.', source: ledger },
  { id: 'encrypted-nonce', sentence: 'No keystream is used twice, also where a segment was cut back.', source: ledger },
  {
    id: 'encrypted-faults',
    sentence: 'Whatever call to the disk fails, or power: no entry lacks its key, and no key outlives its erasure.',
    source: ledger,
  },
  { id: 'erase-hold', sentence: 'Nobody erases what a hold covers, and whoever tries is told which one.', source: entry },
  {
    id: 'prune-verify',
    sentence: 'What is pruned is stated first; what is left is read, proven and verified like any other ledger.',
    source: ledger,
  },
  {
    id: 'prune-retention',
    sentence: 'Entries that are older than the policy says are pruned, but for what is held, and what is behind it.',
    source: ledger,
  },
  {
    id: 'prune-faults',
    sentence: 'Whatever fails while entries are pruned, and whenever the power does: the ledger holds, and the next recorder finishes.',
    source: ledger,
  },
  { id: 'erase-retention', sentence: 'Content that is older than the policy says is erased, but for what is held.', source: ledger },
  // HTTP
  {
    id: 'proxy-bytes',
    sentence: 'Bodies, events and headers go through the proxy as they came, however they were framed and cut; the record has what was said.',
    source: wire,
  },
  { id: 'proxy-answers', sentence: 'Whatever a server answers over HTTP goes on as it came.', source: wire },
  {
    id: 'proxy-breaks',
    sentence: 'A server that breaks off or is not there: the client sees it, and the record says what of it came.',
    source: wire,
  },
  {
    id: 'approval-flow',
    sentence:
      'A request that waits for a person is out of the line; approved it is delivered as it came, denied it is answered, and its like is asked for again.',
    source: policy,
  },
  {
    id: 'approval-ends',
    sentence:
      'A request whose time is over, that its sender takes back, or whose client or server goes, is never delivered, and has one approval that says so.',
    source: policy,
  },
  {
    id: 'approval-restart',
    sentence: 'What waited when a recorder ended is refused by the next one; what was approved is delivered once.',
    source: policy,
  },
  {
    id: 'approval-kills',
    sentence: 'However often the recorder is killed, each request is delivered once where it was approved, else never, and is answered once.',
    source: policy,
  },
  { id: 'approval-thousand', sentence: 'A thousand requests that wait, and their end in any order, leave the order of all others.', source: wire },
  {
    id: 'approval-unrecorded',
    sentence: 'An approval that cannot be stored delivers nothing; nor does a request that could not be stored.',
    source: policy,
  },
  {
    id: 'approval-agent',
    sentence:
      "What an agent's own server starts can neither see nor decide what waits, and its account decides for itself only where that is recorded.",
    source: policy,
  },
  {
    id: 'approval-http',
    sentence:
      'Over HTTP a request that waits for a person keeps its exchange open and holds up no other; released it goes to the server as it came, and a client that leaves takes it back.',
    source: wire,
  },
  { id: 'proxy-leaves', sentence: 'A client that leaves ends the other side at once; before its request is recorded nothing goes on.', source: wire },
  { id: 'proxy-http', sentence: 'What HTTP itself wants of a server is done, or refused clearly.', source: wire },
  { id: 'proxy-events', sentence: 'Every form of event goes on byte by byte, however it is cut; its data is what is recorded.', source: wire },
  { id: 'proxy-recorded-first', sentence: 'An event is on disk before its client has it, and dies with no recorder.', source: wire },
  { id: 'proxy-pairing', sentence: 'Ids pair within an MCP session, or else within a stream, in their own direction.', source: entry },
  { id: 'proxy-mismatch', sentence: 'Headers that say something else than the body go on, and are marked.', source: entry },
  { id: 'proxy-stuck', sentence: 'A client that takes nothing keeps no delivery of others unknown.', source: wire },
  { id: 'proxy-raise', sentence: 'A rule that comes into force while streams are open holds for their next event.', source: policy },
  {
    id: 'proxy-oauth',
    sentence: 'OAuth metadata goes through byte for byte, or names our public address where that was asked for, and the record says so.',
    source: 'docs/http-identity.md',
  },
  {
    id: 'proxy-stdio',
    sentence: 'A server over stdio behind the proxy serves HTTP clients of every kind, keeps apart those that share it, and leaves no process.',
    source: 'spec/wire.md',
  },
  {
    id: 'proxy-operations',
    sentence: 'Many servers by path, headers, health, limits and who may come are as the configuration says.',
    source: 'README.md',
  },
  { id: 'proxy-tls', sentence: 'TLS on both sides is checked; our certificate is exchanged while we run.', source: 'README.md' },
  { id: 'proxy-reload', sentence: 'A reload ends no stream, and a wrong file changes nothing.', source: 'README.md' },
  { id: 'proxy-drain', sentence: 'Who ends the proxy waits for streams, and what did not end by itself is in the record.', source: 'README.md' },
  { id: 'proxy-agrees', sentence: 'What is refused, redacted, captured and not recordable is the same over stdio and over HTTP.', source: design },
  { id: 'proxy-commands', sentence: 'Every command works on the ledger of a proxy.', source: 'README.md' },
  { id: 'proxy-kills', sentence: 'Whoever of proxy and recorder is killed: what was delivered is recorded, nothing twice.', source: wire },
  {
    id: 'proxy-load',
    sentence: 'Thousands of idle streams, a thousand calls at a time and bodies of 100 MB pass as single ones do.',
    source: design,
  },
  { id: 'proxy-slow', sentence: 'A body that does not come is not waited for; one that comes slowly is.', source: wire },
  { id: 'proxy-clients', sentence: 'The official clients and servers say to each other through the proxy what they say without it.', source: design },
  {
    id: 'relay-model',
    sentence: 'Whatever the recorder does, frames arrive in order, whole, and at most once; what is lost is counted.',
    source: design,
  },
];
