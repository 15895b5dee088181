/**
 * The shape of `sworn.yaml`: what may stand where, in which bounds. The JSON Schema for editors is made from it; what a shape cannot say is in `check.ts`.
 */
import * as z from 'zod';
import { valueShapes } from '../analysis/entity-rules.ts';
import { ruleIds, ruleSettings } from '../analysis/rules/settings.ts';
import { utf8 } from '../bytes/bytes.ts';
import { visible } from '../bytes/visible.ts';
import { approvalWaitMs } from '../limits.ts';
import { text, type Finding } from './checked-text.ts';
import { limitsShape } from './limits.ts';
import { detectorGroups, detectorIds } from '../policy/detect/detect.ts';
import { cosignatureType } from '../tlog/cosignature.ts';
import { vkeyParts } from '../tlog/note.ts';
import { algorithms, certificateSubjects, networkOf, publicUrlProblem } from './values.ts';
import { compilePath, PathError, pathLength } from '../policy/paths.ts';

/** Of the file. Enough for 10,000 rules of 100 bytes. */
export const fileBytes = 1024 * 1024;
export const rulesCount = 10_000;
/** Redact rules, and of each its keys and its paths; globs of one matcher. */
export const listCount = 1_000;
export const nameBytes = 64;
export const globBytes = 256;
export const reasonBytes = 256;
/** UTF-16 units; the bound of `policy/condition.ts`. */
export const conditionLength = 8_192;
/** Names that sworn gives itself begin so. */
export const reserved = 'sworn:';
/** User ids are 32 bits, and the highest one stands for none. */
const largestUid = 0xffff_fffe;

/** Bytes of UTF-8, from 1 to `most`. */
function lengthFinding(value: string, most: number): Finding {
  if (value === '') return 'is empty';
  // three bytes a unit at most: short texts are not encoded
  const bytes = value.length * 3 <= most ? 0 : utf8(value).length;
  return bytes > most ? `has ${bytes.toLocaleString('en')} bytes, at most ${most} are allowed` : undefined;
}

const glob = () => text((value) => lengthFinding(value, globBytes), { minLength: 1, maxLength: globBytes });

const spanOfTime = () =>
  text((value) => (spanMs(value) === undefined ? { message: 'is no span of time', hint: 'a number and s, m, h, d or w, as in 90d' } : undefined), {
    pattern: '^[1-9][0-9]{0,5}[smhdw]$',
  });

/** As long as a request may wait for a person. */
const askTimeout = () =>
  text(
    (value) => {
      const ms = spanMs(value);
      return ms === undefined || ms > approvalWaitMs.most
        ? { message: 'is no span of time from 1s to 24h', hint: 'a number and s, m or h, as in 5m' }
        : undefined;
    },
    { pattern: '^[1-9][0-9]{0,5}[smhd]$' },
  );

const name = () =>
  text(
    (value) => {
      const length = lengthFinding(value, nameBytes);
      if (length !== undefined) return length;
      if (visible(value) !== value) return 'holds characters that cannot be seen';
      if (value.trim() !== value) return 'begins or ends with a blank';
      return value.startsWith(reserved) ? { message: `begins with ${reserved}, which is reserved`, hint: 'choose another name' } : undefined;
    },
    { minLength: 1, maxLength: nameBytes, pattern: `^(?!${reserved})` },
  );

const path = () =>
  text(
    (value) => {
      try {
        compilePath(value);
        return undefined;
      } catch (error) {
        if (!(error instanceof PathError)) throw error;
        return {
          message: `cannot be read: ${error.message}`,
          offset: error.offset,
          ...(value.startsWith('$')
            ? {}
            : {
                hint: `as in $.params.arguments.${/^\w+$/.test(value) ? value : 'ssn'} or, at any depth, $..${/^\w+$/.test(value) ? value : 'ssn'}`,
              }),
        };
      }
    },
    { minLength: 2, maxLength: pathLength, pattern: '^\\$[.\\[]' },
  );

/** One of it, or a list of at least one. */
const oneOrMany = <T extends z.ZodType>(one: T) => z.union([one, z.array(one).min(1).max(listCount)]);
/** As `oneOrMany`, and the list may be empty. */
const anyNumber = <T extends z.ZodType>(one: T) => z.union([one, z.array(one).max(listCount)]);
const globs = () => oneOrMany(glob());

const effect = z.enum(['read', 'write', 'unknown']);
const judged = z.enum(['request', 'result', 'notification']);
const level = z.enum(['none', 'metadata', 'request', 'full']);
const unrecordable = z.enum(['block', 'pass']);

const principal = z
  .strictObject({
    observed: z
      .strictObject({
        uid: oneOrMany(z.int().min(0).max(largestUid)).optional().meta({ description: 'User ids of the process.' }),
        executable: globs().optional().meta({ description: 'Globs over the absolute path of its program.' }),
      })
      .optional()
      .meta({ description: 'What the operating system says of the process at the other end.', minProperties: 1 }),
    verified: z
      .strictObject({
        subject: globs().optional().meta({ description: 'Globs over the subject.' }),
        issuer: globs().optional().meta({ description: 'Globs over the issuer.' }),
      })
      .optional()
      .meta({ description: 'What was checked, as from a signed token.', minProperties: 1 }),
    declared: z
      .strictObject({ name: globs().optional().meta({ description: 'Globs over the name.' }) })
      .optional()
      .meta({ description: 'What somebody says of itself. Anybody can say anything.', minProperties: 1 }),
  })
  .meta({ title: 'Who is behind it', description: 'The part must be named: observed, verified or declared.', minProperties: 1 });

const matchers = {
  server: globs().optional().meta({ description: 'Globs over the name of the server.' }),
  tool: globs()
    .optional()
    .meta({ description: 'Globs over tool, or server/tool cut at the first slash. The rule is then about tools/call and its results alone.' }),
  method: globs().optional().meta({ description: 'Globs over the method; of a result, that of its request.' }),
  client: globs().optional().meta({ description: 'Globs over the name of the client.' }),
  label: globs().optional().meta({ description: 'Globs over the labels, each of which is key=value.' }),
  principal: principal.optional(),
  effect: oneOrMany(effect).optional().meta({ description: 'What the message does.' }),
  direction: z.enum(['c2s', 's2c']).optional().meta({ description: 'c2s: from client to server; s2c: from server to client.' }),
  sensitive: z.boolean().optional().meta({ description: 'Whether it is about sensitive data.' }),
  destructive: z.boolean().optional().meta({ description: 'Whether it may destroy something.' }),
};

const rule = z
  .strictObject({
    name: name().meta({ description: 'Unique among the rules. It is recorded with what the rule decides.' }),
    allow: z.literal(true).optional().meta({ description: 'Lets the message pass.' }),
    deny: z.literal(true).optional().meta({ description: 'Blocks the message.' }),
    flag: z.literal(true).optional().meta({ description: 'Marks the message and lets it pass.' }),
    ask: z.literal(true).optional().meta({ description: 'The request waits until a person approves or denies it.' }),
    on: oneOrMany(judged).optional().meta({ description: 'What is judged. Default: request.' }),
    ...matchers,
    when: text(
      (value) =>
        value.trim() === ''
          ? 'is empty'
          : value.length > conditionLength
            ? `is longer than ${conditionLength.toLocaleString('en')} characters`
            : undefined,
      {
        minLength: 1,
        maxLength: conditionLength,
      },
    )
      .optional()
      .meta({ description: 'A condition in CEL.' }),
    reason: text((value) => lengthFinding(value, reasonBytes), { minLength: 1, maxLength: reasonBytes })
      .optional()
      .meta({ description: 'Told to whoever is refused.' }),
    enforce: z.boolean().optional().meta({ description: 'false: a shadow rule. What it would block or ask for is flagged. Default: true.' }),
    timeout: askTimeout()
      .optional()
      .meta({ description: 'Of a rule that asks: how long a request waits, 1s to 24h; then it is refused. Default: that of approvals.' }),
    approvers: z
      .strictObject({ uid: oneOrMany(z.int().min(0).max(largestUid)).meta({ description: 'User ids.' }) })
      .optional()
      .meta({ description: "Of a rule that asks: who may decide beside root and the recorder's account." }),
  })
  .meta({ id: 'rule', title: 'A rule', oneOf: ['allow', 'deny', 'flag', 'ask'].map((action) => ({ required: [action] })) });

const redactRule = z
  .strictObject({
    name: name().optional().meta({ description: 'Unique among the redact rules. Default: redact, redact-2, …' }),
    ...matchers,
    keys: anyNumber(glob()).optional().meta({ description: 'Globs over whole names of members, without regard to ASCII case.' }),
    paths: anyNumber(path()).optional().meta({ description: "Places in the message: $.params.arguments.ssn, $..token, $.items[*].id, $['a b']." }),
    detect: anyNumber(z.enum([...Object.keys(detectorGroups), ...detectorIds] as [string, ...string[]]))
      .optional()
      .meta({ description: 'Detectors, or groups of them.' }),
    keep: z
      .enum(['drop', 'checkable'])
      .optional()
      .meta({ description: 'drop: nothing is kept. checkable: a salted hash is kept, against which a guess can be checked. Default: drop.' }),
  })
  .meta({ id: 'redactRule', title: 'What is never stored', anyOf: [{ required: ['keys'] }, { required: ['paths'] }, { required: ['detect'] }] });

const captureRule = z
  .strictObject({ ...matchers, level: level.meta({ description: 'What is stored of a message that this rule is about.' }) })
  .meta({ id: 'captureRule', title: 'A capture rule' });

const toolSettings = z
  .strictObject({
    effect: z.enum(['read', 'write']).optional().meta({ description: 'What the tool does.' }),
    sensitive: z.boolean().optional().meta({ description: 'It is about sensitive data.' }),
    destructive: z.boolean().optional().meta({ description: 'It may destroy something.' }),
    untrusted: z.boolean().optional().meta({ description: 'Its results may hold what a stranger wrote.' }),
  })
  .meta({ title: 'A tool', description: 'What you know of this tool better than its server says.' });

const spanUnitsMs: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** `90d` in milliseconds; `undefined` for what is no span. */
export function spanMs(span: string): number | undefined {
  const parts = /^([1-9][0-9]{0,5})([smhdw])$/.exec(span);
  return parts === null ? undefined : Number(parts[1]) * spanUnitsMs[parts[2]!]!;
}

const url = () =>
  text(
    (value) => {
      const parsed = URL.parse(value);
      return parsed !== null && ['http:', 'https:'].includes(parsed.protocol) ? undefined : { message: 'is no http or https URL' };
    },
    { minLength: 1, pattern: '^https?://' },
  );

const absolutePath = () => text((value) => (value.startsWith('/') ? undefined : 'is no absolute path'), { minLength: 1, pattern: '^/' });

function upstreamUrlFinding(value: string): Finding {
  let url: URL;
  try {
    url = new URL(value);
  } catch {
    return { message: 'is no URL', hint: 'as in http://127.0.0.1:3001/mcp' };
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'is neither http nor https';
  return url.username !== '' || url.password !== '' ? { message: 'has a user or password', hint: 'use headers.setFrom' } : undefined;
}
const words = () => z.array(z.string()).min(1).max(64);

const encryption = z
  .union([
    z.strictObject({
      key: text(
        (value) =>
          /^file:\/./.test(value)
            ? undefined
            : { message: 'is no file: with an absolute path', hint: 'as in file:/etc/sworn/payload.key; make one with openssl rand -hex 32' },
        { pattern: '^file:/.' },
      ).meta({ description: 'The file with the wrapping key, 64 hex digits: file:/path.' }),
    }),
    z.strictObject({
      wrap: words().meta({ description: 'A command that gets a key on standard input and prints in base64 what is to be kept.' }),
      unwrap: words().meta({ description: 'A command that gets that on standard input and prints the key in base64.' }),
    }),
  ])
  .meta({
    title: 'Encryption',
    description: 'Payload segments that are begun from now on are encrypted, each with a key of its own that is wrapped with this one.',
  });

/** Of each kind of place. */
const anchorsCount = 16;

const anchors = z
  .strictObject({
    witnesses: z
      .array(
        z.strictObject({
          key: text(
            (value) =>
              vkeyParts(value)?.type === cosignatureType
                ? undefined
                : { message: 'is no key of a witness', hint: 'it looks like w1.example+1a2b3c4d+BA…; `sworn witness` prints its own' },
            { minLength: 1 },
          ).meta({ description: 'Its verifier key: name+hash+base64, as in a trust file.' }),
          url: url().meta({ description: 'Its submission prefix.' }),
        }),
      )
      .max(anchorsCount)
      .optional()
      .meta({ description: 'Whoever cosigns each checkpoint (C2SP tlog-witness), and so knows when one is changed, cut or replaced.' }),
    files: z
      .array(absolutePath())
      .max(anchorsCount)
      .optional()
      .meta({ description: 'Files to which each checkpoint is appended: on another disk, or one that can only grow.' }),
    commands: z
      .array(z.array(z.string()).min(1).max(64))
      .max(anchorsCount)
      .optional()
      .meta({ description: 'Commands, word by word and without a shell, that get each checkpoint on standard input.' }),
    urls: z.array(url()).max(anchorsCount).optional().meta({ description: 'Where each checkpoint is sent (POST).' }),
    timestamps: z.array(url()).max(anchorsCount).optional().meta({ description: 'Authorities that sign the time of each checkpoint (RFC 3161).' }),
  })
  .meta({ title: 'Anchors', description: 'Where checkpoints are kept beside the ledger, out of reach of whoever can rewrite it.' });

const issuersCount = 16;
const networksCount = 256;
/** Of an issuer, an audience and a claim's name, in UTF-16 units: as long as a subject may be. */
const claimLength = 512;
const claim = () => z.string().min(1).max(claimLength);

const keySet = () =>
  text(
    (value) => {
      if (value.startsWith('/')) return undefined;
      const parsed = URL.parse(value);
      if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) return 'is no https URL and no absolute path';
      // whoever can change the keys on their way can be everybody
      const isHere = ['127.0.0.1', 'localhost', '[::1]'].includes(parsed.hostname);
      return parsed.protocol === 'https:' || isHere ? undefined : { message: 'comes without encryption', hint: 'write https://' };
    },
    { minLength: 1, pattern: '^(/|https?://)' },
  );

const issuer = z
  .strictObject({
    issuer: claim().meta({ description: 'As its tokens name it in `iss`, letter by letter.' }),
    audience: z
      .union([claim(), z.array(claim()).min(1).max(issuersCount)])
      .meta({ description: 'What its tokens must be for (`aud`): one of these.' }),
    jwks: keySet().meta({ description: 'Its public keys: an https URL, or the absolute path of a file.' }),
    algorithms: z.array(z.enum(algorithms)).min(1).max(algorithms.length).optional().meta({
      description: 'Signatures that count. Default: RS256, PS256, ES256, EdDSA, Ed25519.',
    }),
    subject: claim().optional().meta({ description: 'The claim that says who it is. Default: sub.' }),
    clockToleranceS: z.int().min(0).max(300).optional().meta({ description: 'How far the clocks may be apart, in seconds. Default: 30.' }),
  })
  .meta({ title: 'An issuer', description: 'Whose tokens (JWT) are believed.' });

const auth = z
  .strictObject({
    required: z.boolean().optional().meta({ description: 'true: who cannot be verified is refused. Default: false, it is only noted.' }),
    issuers: z.array(issuer).max(issuersCount).optional().meta({ description: 'Whose tokens are believed.' }),
    apiKeys: absolutePath().optional().meta({ description: 'Absolute path of the file of hashes of keys.' }),
    clientCertificates: z
      .strictObject({
        ca: absolutePath().meta({ description: 'Absolute path of the certificates (PEM) of the authority that is believed, and of no other.' }),
        subject: z.enum(certificateSubjects).optional().meta({ description: 'The name in a certificate that counts. Default: cn.' }),
      })
      .optional()
      .meta({ description: 'Certificates of clients (mTLS).' }),
    trustForwardedFrom: z
      .array(
        text(
          (value) => (networkOf(value) === undefined ? { message: 'is no network', hint: 'as in 10.0.0.0/8, 192.0.2.7 or fd00::/8' } : undefined),
          {
            minLength: 1,
          },
        ),
      )
      .max(networksCount)
      .optional()
      .meta({ description: 'Networks (CIDR) of proxies in front of this one whose X-Forwarded-For is believed.' }),
  })
  .meta({ title: 'Who comes over HTTP', description: 'How `sworn proxy` finds out who is behind a request.' });

const upstreamsCount = 256;
const headersCount = 64;
/** RFC 9110 §5.6.2. */
const headerName = () =>
  text((value) => (/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/.test(value) ? undefined : 'is no name of a header'), { minLength: 1, maxLength: 128 });
/** RFC 9110 §5.5. */
const headerValue = () =>
  text((value) => (/^[\x20-\x7e\t]{0,4096}$/.test(value) ? undefined : 'holds characters that no header may have'), { maxLength: 4096 });

const upstream = z.union([
  z.strictObject({
    url: text(upstreamUrlFinding, { minLength: 8 }).meta({ description: 'The MCP endpoint of the server, http or https.' }),
    authorization: z
      .enum(['forward', 'drop'])
      .optional()
      .meta({ description: "forward: the client's own Authorization goes on to this server. Default: drop." }),
    headers: z
      .strictObject({
        remove: z.array(headerName()).max(headersCount).optional().meta({ description: 'Headers of requests that do not go on.' }),
        set: z.record(headerName(), headerValue()).optional().meta({ description: 'Headers of requests that are set, whatever the client says.' }),
        setFrom: z
          .record(headerName(), absolutePath())
          .optional()
          .meta({ description: 'The same, with the first line of a file as value: for credentials. Absolute paths.' }),
      })
      .optional()
      .meta({ description: 'What is changed of the headers of requests. Cookie and Proxy-Authorization never go on.' }),
    tls: z
      .strictObject({
        ca: absolutePath().optional().meta({ description: 'Certificates (PEM) of the authorities that are believed.' }),
        cert: absolutePath().optional().meta({ description: 'Our certificate (PEM).' }),
        key: absolutePath().optional().meta({ description: 'Its key (PEM).' }),
        serverName: z.string().min(1).max(253).optional().meta({ description: "The name in the server's certificate." }),
        insecureSkipVerify: z.literal(true).optional().meta({ description: 'The certificate is not checked: anybody could be the server.' }),
      })
      .check(({ value: { cert, key }, issues }) => {
        if ((cert === undefined) !== (key === undefined))
          issues.push({ code: 'custom', message: 'has one of cert and key: they belong together', input: undefined });
      })
      .optional()
      .meta({ description: 'For https.' }),
    upstreamTimeoutMs: z
      .int()
      .min(0)
      .max(86_400_000)
      .optional()
      .meta({ description: 'How long the first byte of an answer may take, in ms. Default: 0, as long as it takes.' }),
  }),
  z.strictObject({
    command: z.array(z.string()).min(1).max(256).meta({ description: 'The server command, word by word and without a shell.' }),
    sessions: z.enum(['each', 'shared']).optional().meta({ description: 'A process for each MCP session, or one for all clients. Default: each.' }),
  }),
]);

/** It stands in paths. */
const upstreamName = () =>
  text((value) => (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(value) ? undefined : 'is no name for a path: letters, digits, dots, - and _'), {
    minLength: 1,
    maxLength: 64,
  });

const proxy = z
  .strictObject({
    listen: text(
      (value) => (/^(?:\[[^\]]+\]|[^:\s]+):\d{1,5}$/.test(value) ? undefined : { message: 'is no HOST:PORT', hint: 'as in 127.0.0.1:4422' }),
      {
        minLength: 3,
      },
    )
      .optional()
      .meta({ description: 'Where the proxy listens. Default: 127.0.0.1:4422.' }),
    publicUrl: text(publicUrlProblem, { minLength: 8 })
      .optional()
      .meta({ description: 'How clients reach the proxy. OAuth metadata of servers is rewritten to it: tokens are then meant for the proxy.' }),
    allowHosts: z
      .array(z.string().min(1).max(253))
      .max(headersCount)
      .optional()
      .meta({ description: 'Further names, with or without port, in Host.' }),
    allowOrigins: z.array(z.string().min(1).max(300)).max(headersCount).optional().meta({ description: 'Origins of web pages that may come.' }),
    tls: z
      .strictObject({
        cert: absolutePath().meta({ description: 'Our certificate and those above it (PEM).' }),
        key: absolutePath().meta({ description: 'Its key (PEM).' }),
      })
      .optional()
      .meta({ description: 'The proxy speaks TLS. Read again when a file changes.' }),
    upstreams: z
      .record(upstreamName(), upstream)
      .check(({ value, issues }) => {
        if (Object.keys(value).length <= upstreamsCount) return;
        issues.push({ code: 'custom', message: `has more than ${upstreamsCount} servers`, input: value });
      })
      .optional()
      .meta({ description: 'Servers by name; a client reaches one at /name/mcp.' }),
  })
  .meta({ title: 'Proxy', description: 'What `sworn proxy` stands in front of.' });

/** `loop`, or `loop/read_*`. */
const ignored = () =>
  text(
    (value) => {
      const rule = value.split('/')[0]!;
      return (ruleIds as string[]).includes(rule)
        ? lengthFinding(value, globBytes)
        : { message: `is about no rule: there is no ${visible(rule)}`, hint: 'the names are in docs/findings.md' };
    },
    { minLength: 1, maxLength: globBytes },
  );

const ruleSetting = {
  count: z
    .int()
    .min(1)
    .max(2 ** 31),
  words: z.array(glob()).min(1).max(listCount),
};

const findings = z
  .strictObject({
    ignore: z
      .array(ignored())
      .max(listCount)
      .optional()
      .meta({ description: 'Rules, or rule/tool with a glob over the tool, whose findings nobody wants.' }),
    rules: z
      .strictObject(
        Object.fromEntries(
          Object.entries(ruleSettings)
            .filter(([, settings]) => Object.keys(settings).length > 0)
            .map(([id, settings]) => [
              id,
              z
                .strictObject(Object.fromEntries(Object.entries(settings).map(([name, kind]) => [name, ruleSetting[kind as 'count'].optional()])))
                .optional(),
            ]),
        ),
      )
      .optional()
      .meta({ description: 'What rules go by.' }),
    notify: z
      .array(
        z
          .strictObject({
            url: url().optional().meta({ description: 'Each new finding is sent there (POST, JSON).' }),
            command: words().optional().meta({ description: 'Or a command, word by word and without a shell, that gets it on standard input.' }),
            secret: absolutePath()
              .optional()
              .meta({ description: 'A file whose first line signs what is sent: HMAC-SHA256, in Sworn-Signature, or SWORN_SIGNATURE of a command.' }),
            from: z.enum(['high', 'medium', 'low', 'info']).optional().meta({ description: 'The least severity. Default: medium.' }),
          })
          .check(({ value, issues }) => {
            if ((value.url === undefined) === (value.command === undefined))
              issues.push({ code: 'custom', message: 'has either a url or a command', input: value });
          }),
      )
      .max(anchorsCount)
      .optional()
      .meta({ description: 'Who is told of new findings while sworn serve runs.' }),
  })
  .meta({ title: 'Findings', description: 'What the analyses of sworn report, serve and findings look for.' });

/** No colon: it ends the type of an entity. */
const entityType = () =>
  text(
    (value) =>
      /^(?:[a-z][a-z0-9_]{0,63}|\*|\?)$/.test(value)
        ? undefined
        : { message: 'is no type', hint: 'lower case letters, digits and _, as in employee; * for the words before id; ? for a bare id' },
    { pattern: '^(?:[a-z][a-z0-9_]{0,63}|\\*|\\?)$' },
  );

const entityRule = z
  .strictObject({
    type: entityType().meta({ description: 'What it is: employee. `*`: the words before `id`. `?`: of a bare `id`, what its surroundings say.' }),
    keys: z.array(glob()).min(1).max(listCount).meta({
      description: 'Globs over the name of the member, in words joined by _, lower case: employee_id. With the name of what it stands in: orders.no.',
    }),
    value: z.enum(valueShapes).meta({ description: 'What a value must look like.' }),
    in: z.enum(['arguments', 'result']).optional().meta({ description: 'Default: both.' }),
    tools: z.array(glob()).min(1).max(listCount).optional().meta({ description: 'Globs over the name of the tool. Default: all.' }),
  })
  .meta({ id: 'entityRule', title: 'A rule for entities' });

const entities = z
  .strictObject({
    rules: z
      .array(entityRule)
      .max(listCount)
      .optional()
      .meta({ description: 'The first one that fits a member counts; they go before the built-in ones.' }),
    defaults: z.boolean().optional().meta({ description: 'Whether the built-in rules count. Default: true.' }),
    attributes: z.array(glob()).max(listCount).optional().meta({
      description: 'Members beside an entity in a result that are told of it. Default: department, tenant, team, org, organization, region.',
    }),
    known: z
      .record(glob(), z.record(glob(), glob()))
      .optional()
      .meta({ description: 'What you know of entities, by glob over type:value; goes before what was seen.' }),
  })
  .meta({ title: 'Entities', description: 'What of arguments and results names a thing, for the data access map.' });

export const fileShape = z
  .strictObject({
    servers: z
      .record(
        glob(),
        z.strictObject({
          tools: z.record(glob(), toolSettings).optional().meta({ description: 'By glob over the name of the tool.' }),
        }),
      )
      .optional()
      .meta({ title: 'Servers', description: 'What you know of tools, by glob over the name of the server.' }),
    redact: z
      .union([redactRule, z.array(redactRule).max(listCount)])
      .optional()
      .meta({ title: 'Redaction', description: 'What is never stored: one rule or a list.' }),
    capture: z
      .strictObject({
        default: level.optional().meta({ description: 'What is stored of a message that no rule is about. Default: full.' }),
        rules: z.array(captureRule).max(rulesCount).optional().meta({ description: 'The first one that is about a message counts.' }),
      })
      .optional()
      .meta({ title: 'Capture', description: 'How much of a message is stored.' }),
    policy: z
      .strictObject({
        default: z.enum(['allow', 'deny']).optional().meta({ description: 'For a message on which no rule decides. Default: allow.' }),
        rules: z.array(rule).max(rulesCount).optional().meta({ description: 'In this order.' }),
      })
      .optional()
      .meta({ title: 'Policy', description: 'Which messages pass.' }),
    limits: limitsShape({ matchers, name }).optional(),
    approvals: z
      .strictObject({
        timeout: askTimeout().optional().meta({ description: 'How long a request waits where its rule does not say: 1s to 24h. Default: 5m.' }),
        webhook: z
          .strictObject({
            url: url().meta({ description: 'Each request that waits, and what was decided, is sent there (POST, JSON).' }),
            secret: absolutePath().meta({
              description:
                'A file whose first line, at least 16 characters, signs what is sent and what may be decided: HMAC-SHA256, in Sworn-Signature.',
            }),
            content: z.boolean().optional().meta({ description: 'Whether the content of requests is sent too. Default: false.' }),
          })
          .optional()
          .meta({ description: 'Told of by sworn serve, which takes signed decisions at /hooks/approvals; docs/approvals.md.' }),
      })
      .optional()
      .meta({ title: 'Approvals', description: 'How people decide on requests that rules with ask are about.' }),
    tools: z
      .strictObject({
        pin: z.enum(['warn', 'ask', 'block']).meta({
          description:
            'What becomes of calls of a tool whose definition changed, or that came later: warn marks them, ask lets them wait for a person, block refuses them.',
        }),
        pins: text((value) => lengthFinding(value, globBytes * 4), { minLength: 1 })
          .optional()
          .meta({
            description: 'A file of pins, from the folder of this file on: only what it says is trusted. `sworn tools list --pins-out` writes one.',
          }),
      })
      .optional()
      .meta({ title: 'Tools', description: 'Definitions of tools are pinned: those that a server lists first are trusted.' }),
    onUnrecordable: z
      .union([
        unrecordable,
        z.strictObject({
          default: unrecordable.optional().meta({ description: "For all other messages. Without it the tap's own --on-unrecordable counts." }),
          read: unrecordable.optional().meta({ description: 'For messages with effect read.' }),
          write: unrecordable.optional().meta({ description: 'For messages with effect write.' }),
          unknown: unrecordable.optional().meta({ description: 'For messages with effect unknown.' }),
        }),
      ])
      .optional()
      .meta({
        title: 'When recording fails',
        description: 'Whether a message that cannot be recorded is blocked or passes. A word alone is the default.',
      }),
    findings: findings.optional(),
    entities: entities.optional(),
    anchors: anchors.optional(),
    proxy: proxy.optional(),
    encryption: encryption.optional(),
    auth: auth.optional(),
    trustedTaps: z
      .array(z.union([z.int().min(0).max(largestUid), z.enum(['self'])]))
      .max(networksCount)
      .optional()
      .meta({
        title: 'Trusted taps',
        description: "Accounts (uid; self: the recorder's own) of proxies whose word about who is behind a request is believed. Default: none.",
      }),

    retention: z
      .strictObject({
        content: spanOfTime()
          .optional()
          .meta({ description: 'Content of sessions that is older is erased: a number and s, m, h, d or w. Entries and hashes stay.' }),
        entries: spanOfTime().optional().meta({
          description:
            'Entries that are older are deleted, for ever, in whole bundles from the beginning on; only their hashes stay. Not less than content.',
        }),
      })
      .optional()
      .meta({ title: 'Retention', description: 'How long content and entries are kept. What a hold covers is kept longer.' }),
  })
  .meta({
    title: 'sworn.yaml',
    description:
      'What sworn judges, redacts and captures; spec/policy.md explains it. For completion and checks in an editor begin the file with: # yaml-language-server: $schema=/path/to/sworn/spec/sworn.schema.json',
  });

/** What `fileShape` lets through. */
export type FileContent = z.output<typeof fileShape>;

/** JSON Schema, draft 2020-12. It is a little wider than the check of a file: lengths are in characters, and names, paths and conditions are not looked into. */
export const jsonSchema: object = z.toJSONSchema(fileShape, { target: 'draft-2020-12', io: 'input' });
