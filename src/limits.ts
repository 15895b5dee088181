/**
 * Every bound of sworn in one place. Units are the last word of a name. A bound that is part of a public
 * format is also stated in `spec/`.
 */

const KiB = 1024;
const MiB = 1024 * KiB;

/** C2SP tlog-tiles: an entry bundle stores the length of an entry in 16 bits. */
export const entryBytes = 65_535;
/** Entries in a full tile or bundle (C2SP tlog-tiles). */
export const tileWidth = 256;

/** `extra` of a `.tlog-proof`: Go's usual line reader ends at 64 KiB, and its base64 with `extra ` and the line end must fit. */
export const proofExtraBytes = 49_146;
/** Entries of a bundle's random sample. */
export const bundleSampleCount = 1_000;
/** Of a checkpoint in a bundle. */
export const bundleFileBytes = 1 * MiB;
/** Entries of a block of a report, so that a page finds and unzips one at a time. */
export const reportBlockEntries = 1_000;
/** Leaf hashes of one chunk of a report. */
export const reportChunkHashes = 1_024;
/** A block of a report ends at the first entry with which its content is longer. */
export const reportBlockBytes = 4 * MiB;
/** Of one entry's content in a report; of what is longer only the hashes are in it. */
export const reportContentBytes = 8 * MiB;
/** Any chunk of a report when it is unzipped; entries are at most `entryBytes` long. */
export const reportChunkBytes = 80 * MiB;
/** What `extra` may hold when it is unzipped. */
export const proofOpenedBytes = 4 * MiB;
/** A `.tlog-proof`: `extra`, the hashes, and a checkpoint with its cosignatures. */
export const proofFileBytes = 1 * MiB;
/** A trust file (C2SP tlog-policy, which asks for at least 32 logs, witnesses and groups). */
export const trustPolicyBytes = 256 * KiB;
export const trustPolicyLines = 2_048;

/** Hashes of a consistency proof in a request to a witness (C2SP tlog-witness). */
export const witnessProofHashes = 63;
/** A request to a witness: the hashes, and a checkpoint with its signatures, of which one by ML-DSA-44 has more than 3 KiB. */
export const witnessRequestBytes = 128 * KiB;
/** A witness's answer: a few lines. */
export const witnessAnswerBytes = 64 * KiB;
/** How long a submission waits for a witness: never on the way of a message. */
export const witnessWaitMs = 1_000;
/** How long whoever holds the ledger's key may take to sign. */
export const keyWaitMs = 10_000;
/** How long a copy of a checkpoint may take to be sent: nobody waits for it but the end of a recorder. */
export const copyWaitMs = 5_000;
/** An answer of a timestamp authority: a token with its certificates. */
export const timestampBytes = 64 * KiB;
/** Requests about one log that wait for each other; more are told to come again. */
export const witnessWaiting = 64;
export const witnessConnections = 256;
/** Of each kind and log: checkpoints that a witness refused and keeps. The log's key must have signed each. */
export const witnessEvidence = 100;

/** A line of the search language, in characters. */
export const filterChars = 4_096;
/** Words and texts of one filter; each text is looked for in many entries. */
export const filterWords = 64;
export const filterTexts = 8;

/** Of a table's facets, how many are remembered while a catalog is written; others are looked up. */
export const catalogFacets = 50_000;
/** Entries in one transaction of a catalog. */
export const catalogBatch = 4_000;
/** Of one entry's content and attributes, what of each is found by its text. */
export const foundTextBytes = 64 * KiB;
/** How long who is told of a finding may take; findings that wait to be told; findings that are remembered as told. */
export const notifyWaitMs = 10_000;
export const notificationsWaiting = 1_000;
export const notifiedFindings = 100_000;
/** Newest entries that a search for free text finds in a catalog, and those that it looks through for it. */
export const foundTexts = 5_000;
export const searchedTexts = 10_000;

export const idBytes = 64;
export const methodBytes = 128;
export const targetBytes = 256;
export const shortTextBytes = 32;
export const serverNameBytes = 128;
export const labelsCount = 16;
export const labelBytes = 128;
/** A connection's overrides, as JSON. */
export const overridesBytes = 64 * KiB;
/** One attribute, before it is cut; what is longer is still in the frame. */
export const attributeBytes = 256 * KiB;

/** Speakers, principals and MCP sessions of one HTTP connection that are remembered; beyond it those that said nothing for longest are forgotten. */
export const httpSpeakers = 8_192;
/** What a proxy says around a frame, as JSON. */
export const headBytes = 48 * KiB;
/** Of one request's or response's headers in the record; a longer value is cut. */
export const recordedHeaders = 64;
export const recordedHeaderChars = 512;
/** One message of a server behind `sworn run --url`. */
export const bridgeMessageBytes = 64 * MiB;
/** Codings of one `Content-Encoding`: nobody means more. */
export const contentCodings = 4;
/** MCP sessions of one stdio server behind a proxy, each with a process. */
export const stdioSessions = 1_000;
/** All headers of an HTTP request; beyond it 431. */
export const httpHeaderBytes = 64 * KiB;
/** One HTTP body, as it came and as it was decoded; an SSE event. */
export const bodyBytes = 256 * MiB;
/** A client that sends nothing of its body for so long gets 408. */
export const bodySilenceMs = 60_000;
/** How long a frame that was let go may be on its way to its receiver before the record names it as not delivered. */
export const deliveryWaitMs = 10_000;
/** All bodies that a proxy receives at a time; beyond it they are read slowly. */
export const bodiesBytes = 512 * MiB;
/** Decoded bodies that are not yet recorded, before a proxy decodes the next one. */
export const decodedBytes = 64 * MiB;
/** Calls of one connection that go on in another exchange; beyond it the oldest are no more known to belong together. */
export const openCalls = 10_000;
/** SSE events of one connection that are known again when they are sent a second time. */
export const seenEvents = 10_000;
/** A `principal` message. */
export const principalBytes = 32 * KiB;

/** A frame is cut into units of this size on the wire, and into segments of this size in the ledger. */
export const unitBytes = 1 * MiB;
/** Units of one frame, 4 GiB: what a frame of more holds of hashes and places grows with it. Beyond it the frame is unrecordable, and `onUnrecordable` decides. */
export const frameUnits = 4_096;
/** Wire message: a unit and its header, or a JSON body. */
export const wireBytes = 1 * MiB + 64 * KiB;
/**
 * What the tap keeps of frames that are not yet durable; beyond it stops reading. More than twice what the recorder may hold of a frame before it says anything
 * of it (`judgeBytes`, and the unit behind it), in both directions at a time: both would wait for each other for ever.
 */
export const tapWindowBytes = 20 * MiB;
/** Below this it reads again: still more than what may be held of two frames. */
export const tapResumeBytes = 17 * MiB;
/** And in units: many small ones would take more memory, and more of the collector's time, than their bytes say. */
export const tapWindowUnits = 8_192;
/** Nesting depth of JSON that we follow; deeper is recorded as opaque. */
export const jsonDepth = 512;
/** Items of a JSON-RPC batch; more is recorded as opaque. */
export const batchItems = 1_000;
/** Requests of one connection that wait for a reply; beyond it the oldest are forgotten (shown as unanswered). */
export const pendingRequests = 10_000;
/** What the waiting requests of one connection hold together; beyond it the oldest are forgotten. */
export const pendingBytes = 4 * MiB;
/** Of what was left out of the waiting requests of one connection, to be looked for in their answers; the answer to one that has no room is left out whole. */
export const pendingSecretsChars = 4 * MiB;
/** A waiting request keeps a digest of an id longer than this. */
export const idKeyBytes = 256;
/** An id longer than this is not paired. */
export const pairedIdBytes = 16 * KiB;
/** Tool definitions remembered for each connection. */
export const toolsCount = 10_000;
/** Of their names together. */
export const toolNamesBytes = 1 * MiB;
/** Tools whose definitions are pinned, of all servers together; those beyond it count as changed. */
export const pinnedTools = 20_000;
/** Of one tool: definitions that are accepted, and those that wait to be; later ones wait without an entry of their own. */
export const pinnedDefinitions = 16;
/** `sworn tools check`: how long it waits for each answer of a server, of which each is at most so long; and pages of its list. */
export const listWaitMs = 60_000;
export const listedBytes = 64 * MiB;
export const listPages = 1_000;
/** A file of pins. */
export const pinFileBytes = 8 * MiB;
/** A `tools/list` or `initialize` message longer than this is not read for definitions and names. */
export const peekBytes = 8 * MiB;

/** Kinds of messages (method, tool, effect …) of one connection for which it is remembered which rules are about them. */
export const judgedKeys = 1_024;
/** A frame longer than this is not judged or redacted: where a rule could refuse it, it is refused; where its content is not stored in full, none of it is. */
export const judgeBytes = 8 * MiB;
/** Stretches of one frame that are left out; of more, everything between the first and the last. */
export const redactedRanges = 4_096;
/** Rules that an entry counts redactions for; those of others are counted together. */
export const redactedRules = 16;
/** Of a rule's reason, in an entry and a refusal. */
export const reasonBytes = 256;

/** Buckets of rate limits that are remembered; beyond it those that would need one more share one of their limit. */
export const limitBuckets = 100_000;
/** Rate limits of a policy. */
export const limitsCount = 100;
/** Whoever has too many requests at a time is told to come again after so long: nobody knows when one ends. */
export const slotRetryMs = 1_000;
/** A request without a reply counts as running so long; its server, or its client, may have forgotten it. */
export const slotMs = 3_600_000;
/** Of requests that one bucket refuses one after the other on one connection, so many have entries of their own. */
export const stormEntries = 5;
/** The others are summed up so often, and for the last time when nothing was refused for so long. */
export const stormGatherMs = 10_000;
/** Storms that are counted at a time; beyond it the one that began first is summed up. */
export const stormsMost = 1_024;

/** How long a request waits for a person, where nobody says otherwise and at most. */
export const approvalWaitMs = { usual: 300_000, most: 86_400_000 };
/** Requests that wait at a time, in all and of one connection, and the bytes of those of one connection: their tap keeps them. */
export const pendingApprovals = 4_000;
export const pendingApprovalsOfOne = 2_000;
export const pendingApprovalBytes = 16 * MiB;
/** Of a waiting request, as it is shown. */
export const approvalShownBytes = 8 * KiB;
/** Of a waiting request in a brief list, in UTF-16 units. */
export const approvalBriefLength = 400;
/** Of an approver's own words, in UTF-16 units. */
export const approvalReasonLength = 1_000;
/** How long who asks for the queue may wait for a change of it; how many may. */
export const approvalsWaitMs = 30_000;
export const approvalsWatchers = 64;
/** Of all that waits, in one answer; the rest is counted. Below `wireBytes`. */
export const approvalsReplyBytes = 1_000_000;
/** What became of the last ones, for whoever decides too late. */
export const decidedApprovals = 1_000;
/** A request longer than this is not read for a token of progress. */
export const progressPeekBytes = 256 * KiB;
/** Who wants progress is told so often that a request still waits. */
export const approvalProgressMs = 3_000;

/** Openings of one viewer behind one that was recorded at once are gathered so long, and are one entry then. */
export const accessGatherMs = 60_000;
/** Ranges of entries that one `access` entry names; more are named by several. */
export const accessRanges = 500;
/** Viewers whose openings are gathered at a time. */
export const accessViewers = 256;
/** Of the note that acknowledges a finding. */
export const accessNoteBytes = 2 * KiB;

/** Rows of one answer of the dashboard, and stretches of a timeline. */
export const answerRows = 1_000;
export const mostBuckets = 2_000;
/** Of a frame that the dashboard opens, as text. */
export const detailBytes = 2 * MiB;
/** Requests of one viewer: so many at once, and so many a second. Of all whom nobody knows together. */
export const dashboardRequests = { most: 200, perS: 50 };
export const dashboardFailures = { most: 20, perS: 1 / 3 };
/** Logins of a dashboard; beyond it the oldest is forgotten. */
export const dashboardSessions = 32;
export const dashboardSessionMs = 12 * 3_600_000;
/** A body that is sent to the dashboard. */
export const dashboardBodyBytes = 16 * KiB;
/** Sockets of a dashboard. */
export const dashboardConnections = 256;
/** Readers of the live tail; what is gathered into one event; a word now and then, so that nothing between closes it; what may wait for one that does not read. */
export const streamClients = 32;
export const streamGatherMs = 100;
export const streamHeartbeatMs = 15_000;
export const streamWaitingBytes = 64 * KiB;
/** Tries of one login to type the second secret: so many at once, and so many a second; and how long it counts without a decision. */
export const unlockFailures = { most: 5, perS: 1 / 20 };
export const approvalsUnlockedMs = 30 * 60_000;
/** Requests that are decided with one question of a page. */
export const decisionsAtOnce = 64;
/** Of each ledger, decisions that a dashboard shows. */
export const decisionsShown = 100;
/** A dashboard's question for what waits is answered after so long at the latest; whoever could not be asked is asked again after so long; what changes soon after one another is one change. */
export const queueWaitMs = 25_000;
export const queueAgainMs = 1_000;
export const queueGatherMs = 200;
/** How old or new a signed decision may be; those that are remembered, so that none counts twice; and what strangers may try. */
export const hookToleranceS = 300;
export const hookRemembered = 10_000;
export const hookFailures = { most: 20, perS: 1 / 3 };
/** Of the name that a webhook's secret vouches for. */
export const approverChars = 128;
/** Posts of a webhook at a time; what waits for it; how long it is told of a decision. */
export const webhookPosts = 8;
export const webhookWaiting = 8_000;
export const webhookDecidedMs = 3_600_000;
/** A ledger whose checkpoint moved is verified again after so long, and after so many times what it took. */
export const verifyAgainMs = 30_000;
export const verifyAgainShare = 20;
/** Where no recorder would start it is tried again after so long. */
export const openingRetryMs = 30_000;

/** Payload segments are closed at this size, always between records. */
export const segmentBytes = 64 * MiB;
/** One record of a payload segment: an entry with all the small segments of its frame. */
export const recordBytes = 64 * MiB;
/** Targets that one `erasure` entry names; more are named by several. */
export const erasureTargets = 500;
/** A server's program longer than this is not hashed. */
export const executableBytes = 1024 * MiB;
/** Digests of programs that are remembered. */
export const digestsCount = 256;
/** What the recorder holds of entries that are not yet durable before it stops reading from its taps. */
export const acceptedBytes = 4 * MiB;
/** Full tiles and bundles that wait to be written; beyond it their writing holds up everything else. */
export const dueTileBytes = 8 * MiB;
/** What the recorder holds of a tap's bytes, beyond what is accepted, before it stops reading from it. It begins to work at half of it. */
export const inboxBytes = 2 * MiB;
/** A tap that waits for nothing is worked for once it paused so long, and at the latest after so long. */
export const inboxQuietMs = 2;
export const inboxLatestMs = 40;
/** Of the recorder's Node (measured: at 8, a fifth more processor time for small messages; above 16 no less, and more memory). */
export const recorderYoungHeapMB = 16;
/** Space kept free for `gap`, `close` and `stop` when the disk is full. */
export const reserveBytes = 4 * MiB;

export const signEveryMs = 1_000;
export const publishEveryMs = 10_000;
/** How often the recorder looks for content that is older than `retention` says. */
export const expireEveryMs = 3_600_000;
export const probeEveryMs = 1_000;
/** A lone record is written and synced on the spot while the device's median sync is below this. */
export const fastSyncMs = 1;

/** How long a tap tries to reach or start a recorder before `onUnrecordable` decides. */
export const recorderWaitMs = 10_000;
/** How long a recorder waits for a lost tap before it closes its connection. */
export const tapReturnMs = 15_000;
/** A recorder that a tap started ends after this long without a connection. */
export const idleExitMs = 300_000;
/** Longest Unix socket path (Linux: 108 bytes with the terminating zero). */
export const socketPathBytes = 107;
export const connections = 1_024;
/** Of one account other than the recorder's own, so that none can take all of them. */
export const connectionsOfOthers = 256;

/** Of one frame, what the analyses read. */
export const analysedBytes = 1 * MiB;
/**
 * Sessions and connections that a projection of rows remembers; the silent ones are forgotten first, and taken up again from their rows when they go on. What is
 * remembered goes into a snapshot with each transaction of a catalog, so these bounds are its cost.
 */
export const projectedSessions = 2_000;
/** Of these, sessions whose earlier calls and entities are remembered too. */
export const projectedWindows = 256;
/** Calls without an end of one ledger that a projection remembers. */
export const projectedCalls = 2_000;
/** Of one open call's arguments, as JSON, until its end; of all of them together. */
export const projectedArgumentsChars = 64 * KiB;
export const projectedArgumentsTotalChars = 4 * MiB;
/** Calls of its session that a finding rule sees with a call. */
export const earlierCalls = 50;
/** Entities of one call. */
export const touchesPerCall = 200;
/** Rows that wait to be put again because they changed. */
export const changedRows = 1_000;
/** Tools and entities of one ledger that a projection has at hand; others are asked for. */
export const projectedTools = 10_000;
export const projectedEntities = 4_000;
/** Of a definition of a tool that is kept. */
export const definitionBytes = 64 * KiB;
/** What `sworn policy suggest` remembers: who asked, and what each of them asked for, together. A policy file of 1 MiB holds no more. */
export const seenGroups = 1_000;
export const seenItems = 20_000;
