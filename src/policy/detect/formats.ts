/**
 * Credentials that can be told by their first characters, as the vendors document them (or as their own tools print them).
 *
 * A format is a list of prefixes and what follows: literals, and runs written `alphabet:length` or `alphabet:min-max`. A run takes every character of its alphabet
 * (`scan.ts`), and a run of another length is another thing: an identifier, a hash, a picture in base64.
 */
import { alphabetNames, type Alphabet } from './scan.ts';

interface Run {
  alphabet: Alphabet;
  min: number;
  max: number;
}

export interface Format {
  rule: string;
  prefix: string;
  /** The prefix's fourth unit, 0 when it is shorter: most formats that share three units differ in the fourth. */
  fourth: number;
  parts: readonly (string | Run)[];
  /** The prefix alone says little: the value must hold a digit and a letter. */
  mixed: boolean;
  /** What must be said before it, in lower case. */
  near: RegExp | undefined;
}

/** How far before a value a word is looked for that names its vendor, in UTF-16 units. */
export const nearby = 64;

const all: Format[] = [];

function add(rule: string, prefixes: string, shape: string, also: { mixed?: true; near?: RegExp } = {}): void {
  const parts = shape.split(' ').map((part): string | Run => {
    const run = /^([a-z]+\d*):(\d+)(?:-(\d+))?$/.exec(part);
    if (run === null) return part;
    const alphabet = alphabetNames.indexOf(run[1] as (typeof alphabetNames)[number]) as Alphabet;
    return { alphabet, min: Number(run[2]), max: Number(run[3] ?? run[2]) };
  });
  for (const prefix of prefixes.split(' '))
    all.push({ rule, prefix, fourth: prefix.length > 3 ? prefix.charCodeAt(3) : 0, parts, mixed: also.mixed ?? false, near: also.near });
}

add('aws-access-key', 'AKIA ASIA ABIA ACCA', 'upper:16');
add('gcp-api-key', 'AIza', 'url:35');
add('github-token', 'ghp_ gho_ ghu_ ghs_ ghr_', 'alnum:36-255');
add('github-token', 'github_pat_', 'url:82');
// the prefixes of each kind of token: docs.gitlab.com, "Token prefixes"; routable ones have up to 310 characters and two more parts
add('gitlab-token', 'glpat- gldt- glrt- glrtr- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct- glwt-', 'url:20-310');
add('gitlab-token', 'GR1348941', 'url:20');
add('gitlab-token', 'glpat- glrt- glrtr- gldt- glcbt- glptt-', 'url:20-310 . lower:2 . lower:7-9');
add('slack-token', 'xoxa- xoxb- xoxe- xoxp- xoxr- xoxs- xoxo- xoxc- xoxd- xapp-', 'url:16-400', { mixed: true });
add('slack-token', 'xoxe.xoxb- xoxe.xoxp-', 'url:16-400', { mixed: true });
add('slack-webhook', 'hooks.slack.com/services/ hooks.slack.com/workflows/ hooks.slack.com/triggers/', 'alnum:7-14 / alnum:7-24 / alnum:16-64');
add('stripe-key', 'sk_live_ sk_test_ rk_live_ rk_test_', 'alnum:16-247');
add('stripe-key', 'whsec_', 'base64:24-88', { mixed: true });
add('anthropic-key', 'sk-ant-', 'url:24-200', { mixed: true });
add('openai-key', 'sk-proj- sk-svcacct- sk-admin- sk-None-', 'url:20-250', { mixed: true });
add('openai-key', 'sk-', 'alnum:32-80', { mixed: true });
add('openrouter-key', 'sk-or-v1-', 'hex:64');
add('google-oauth', 'ya29.', 'url:20-1000', { mixed: true });
add('google-oauth', 'GOCSPX-', 'url:24-40');
add('google-oauth', '1//0', 'url:35-120', { mixed: true });
add('sendgrid-key', 'SG.', 'url:16-32 . url:32-64');
add('twilio-key', 'SK AC', 'hex:32', { near: /twilio|account_?-?sid|api_?-?key|(?:^|[^a-z])sid/ });
add('npm-token', 'npm_', 'alnum:36');
add('pypi-token', 'pypi-Ag', 'url:50-1000');
add('huggingface-token', 'hf_', 'alnum:30-40');
add('huggingface-token', 'api_org_', 'alnum:30-40');
add('digitalocean-token', 'dop_v1_ doo_v1_ dor_v1_', 'hex:64');
add('shopify-token', 'shpat_ shpca_ shppa_ shpss_ shpua_', 'hex:32');
add('square-token', 'sq0atp-', 'url:22');
add('square-token', 'sq0csp- sq0idp-', 'url:43');
add('square-token', 'EAAA', 'url:60', { mixed: true });
add('mailgun-key', 'key-', 'lower:32', { mixed: true });
add('linear-key', 'lin_api_ lin_oauth_', 'alnum:40-64');
add('notion-token', 'ntn_', 'alnum:40-60');
add('notion-token', 'secret_', 'alnum:43', { mixed: true });
add('databricks-token', 'dapi', 'hex:32');
add('databricks-token', 'dapi', 'hex:32 - alnum:1');
add('vault-token', 'hvs. hvb. hvr.', 'url:24-300');
add('doppler-token', 'dp.pt. dp.ct. dp.sa. dp.scim. dp.audit.', 'alnum:40-44');
add('doppler-token', 'dp.st.', 'alnum:40-44');
add('doppler-token', 'dp.st.', 'url:2-35 . alnum:40-44');
add('sentry-token', 'sntrys_', 'base64:20-400 _ base64:20-60');
add('sentry-token', 'sntrys_', 'url:60-500', { mixed: true });
add('sentry-token', 'sntryu_ sntryi_ sntrya_', 'hex:64');
add('grafana-token', 'glsa_', 'alnum:32 _ alnum:8');
add('grafana-token', 'glc_', 'base64:32-400');
add('newrelic-key', 'NRAK- NRAA- NRBR- NRRA-', 'upper:27');
add('newrelic-key', 'NRII- NRIQ-', 'url:32');
add('atlassian-token', 'ATATT3 ATCTT3', 'url:60-400', { mixed: true });
add('atlassian-token', 'ATATT3 ATCTT3', 'url:60-400 = alnum:8');
add('atlassian-token', 'ATBB', 'alnum:28-36', { mixed: true });
add('figma-token', 'figd_ figo_ figu_ figoh_ figor_', 'url:36-64');
add('postman-key', 'PMAK-', 'hex:24 - hex:34');
add('postman-key', 'PMAT-', 'upper:26');
add('docker-token', 'dckr_pat_', 'url:27');
add('docker-token', 'dckr_oat_', 'url:27-36');
// developers.cloudflare.com, "Token formats"
add('cloudflare-token', 'cfk_ cfut_ cfat_', 'alnum:40-56');
add('cloudflare-token', 'v1.0-', 'hex:24 - hex:146');
add('flyio-token', 'fm2_ fm1a_ fm1r_', 'base64:60-4000');
add('flyio-token', 'fo1_', 'url:43');
add('supabase-key', 'sbp_ sbp_oauth_', 'hex:40');
add('supabase-key', 'sb_secret_', 'url:31-48', { mixed: true });
add('vercel-token', 'vcp_ vci_ vca_ vcr_ vck_', 'alnum:24-64', { mixed: true });
add('age-secret-key', 'AGE-SECRET-KEY-1', 'upper:58');
add('discord-webhook', 'discord.com/api/webhooks/ discordapp.com/api/webhooks/', 'alnum:17-20 / url:60-80');
// what gitleaks and GitHub also look for
add('groq-key', 'gsk_', 'alnum:52');
add('xai-key', 'xai-', 'alnum:70-90');
add('replicate-token', 'r8_', 'alnum:37');
add('perplexity-key', 'pplx-', 'alnum:48-56');
add('onepassword-token', 'ops_eyJ', 'base64:200-2000');
add('alibaba-key', 'LTAI', 'alnum:16-24', { mixed: true });
add('airtable-token', 'pat', 'alnum:14 . hex:64');
add('dynatrace-token', 'dt0c01. dt0s16. dt0s01.', 'upper:8-24 . upper:64');
add('easypost-key', 'EZAK EZTK', 'alnum:54');
add('hubspot-token', 'pat-na1- pat-na2- pat-eu1-', 'hex:8 - hex:4 - hex:4 - hex:4 - hex:12');
add('netlify-token', 'nfp_', 'alnum:36');
add('openshift-token', 'sha256~', 'url:43');
add('planetscale-token', 'pscale_pw_ pscale_tkn_ pscale_oauth_', 'dotted:32-64');
add('pulumi-token', 'pul-', 'hex:40');
add('rubygems-key', 'rubygems_', 'hex:48');
add('brevo-key', 'xkeysib-', 'hex:64 - alnum:16');
add('sonar-token', 'sqp_ squ_ sqa_', 'hex:40');
add('sourcegraph-token', 'sgp_', 'hex:40');
add('sourcegraph-token', 'sgp_', 'hex:16 _ hex:40');
add('tailscale-key', 'tskey-auth- tskey-api- tskey-client- tskey-webhook-', 'url:16-64', { mixed: true });
add('typeform-token', 'tfp_', 'dotted:40-64', { mixed: true });
add('clojars-token', 'CLOJARS_', 'lower:60');
add('launchdarkly-key', 'sdk- api- mob-', 'hex:8 - hex:4 - hex:4 - hex:4 - hex:12', { near: /launch ?_?-?darkly|sdk_?-?key|ld_/ });
add('plaid-token', 'access-sandbox- access-development- access-production-', 'hex:8 - hex:4 - hex:4 - hex:4 - hex:12');
add('resend-key', 're_', 'alnum:8 _ alnum:24');
add('langsmith-key', 'lsv2_pt_ lsv2_sk_', 'hex:32 _ hex:10');
add('pinecone-key', 'pcsk_', 'url:60-80', { mixed: true });
add('buildkite-token', 'bkua_', 'hex:40');
add('circleci-token', 'CCIPAT_', 'alnum:20-24 _ hex:40');
add('render-key', 'rnd_', 'alnum:32');
add('mapbox-token', 'sk.eyJ', 'url:60-120 . url:22');
add('contentful-token', 'CFPAT-', 'url:43');
add('facebook-token', 'EAACEdEose0cBA EAAB EAAC EAAG EAAM', 'alnum:80-400', { mixed: true });
add('heroku-key', 'HRKU-', 'url:36-66', { mixed: true });

const slots = 4096;

/** From the first three units of a word to a number below `slots`. */
export const slotOf = (a: number, b: number, c: number): number => ((a * 31 + b) * 31 + c) & (slots - 1);

/** Not zero where some format's first three units lead: one look decides for nearly all words. Prefixes of two units fill the slots of all hex digits after them. */
export const slotInUse = new Uint8Array(slots);
const none: readonly Format[] = [];
const bySlot: (readonly Format[])[] = Array.from({ length: slots }, () => none);
for (const format of all) {
  const firsts = format.prefix.length > 2 ? [format.prefix] : [...'0123456789abcdef'].map((third) => format.prefix + third);
  for (const first of firsts) {
    const slot = slotOf(first.charCodeAt(0), first.charCodeAt(1), first.charCodeAt(2));
    slotInUse[slot] = 1;
    bySlot[slot] = [...bySlot[slot]!, format];
  }
}

export const formatsAt = (slot: number): readonly Format[] => bySlot[slot]!;
export const formatRules: readonly string[] = [...new Set(all.map((format) => format.rule))];
