/** What kind of secret a name promises, whichever way it is written (`client_secret`, `clientSecret`, `Client Secret`). */
export type Family = 'password' | 'pass' | 'secret' | 'token' | 'weak-token' | 'authorization' | 'signature';

const password = /(?:password|passwd|passwort|kennwort|passphrase|passcode|pwd)$/;
/** `pass` also counts tests that passed; with these before it, it opens something. */
const pass =
  /^pass$|(?:db|database|user|smtp|mail|email|root|admin|mysql|postgres|pg|ftp|sftp|redis|ssh|sudo|key|store|http|proxy|ldap|imap|auth|basic|login|mongo|rabbitmq|my|app)pass$/;
const secret =
  /secret$|secretkeybase$|(?:api|access|private|secret|encryption|encrypt|decryption|signing|signature|master|account|auth|shared|service|subscription|storage|admin|client|write|webhook|license|session|cookie|jwt|hmac|crypto|root|ssh|deploy|consumer|application|ddapp|datadogapp|integration|registration|security|login|account|project|team|openai|anthropic|sendgrid|stripe)key$/;
const publicKey = /(?:publicaccess|publicapi|publishable)key$/;

/** What tokens that open nothing are called by: of language models, of pages of results, of compilers. */
const harmless =
  /(?:max|min|next|nextpage|page|paging|pagination|continuation|progress|cursor|sync|nextsync|total|count|num|number|prompt|completion|input|output|cached|reasoning|start|end|stop|eos|bos|sos|pad|unk|mask|sep|cls|special|resume|cancel|cancellation|idempotency|change|watch|delta|skip|first|last|previous|prev|current|per|budget|new|unexpected|expected|illegal|invalid|missing|lookahead|identifier|keyword|operator|design|abort|erc20|nft|base|quote|native)token$/;
const strong =
  /(?:access|auth|api|bearer|refresh|id|session|secret|private|bot|user|oauth|oauth2|personalaccess|deploy|ci|github|gitlab|gh|slack|npm|security|jwt|webhook|admin|verification|reset|login|vercel|cloudflare|twilio|vault|consul|hf|huggingface|discord|telegram|circleci|codecov|sentry|registry|docker|pypi|heroku|netlify|digitalocean|do|fly|sonar|snyk|jira|atlassian|confluence|linear|notion|figma|datadog|grafana|influx|influxdb|service|client|app|device|master|root|publish|release|webhookverify|signing|azure|aws)token$/;

export interface Named {
  /** Without separators, in lower case. */
  name: string;
  family: Family | undefined;
}

/** Answers for the last names as they are written: they are always the same few, and the expressions below cost more than everything else at an assignment. */
const answers = new Map<string, Named>();
const mostAnswers = 512;

/** `written`: letters, digits, `_`, `-`, `.` and blanks. */
export function named(written: string): Named {
  let answer = answers.get(written);
  if (answer === undefined) {
    const name = written.replace(/[-_. ]/g, '').toLowerCase();
    answer = { name, family: judged(name) };
    // words of a sentence are not worth keeping
    if (written.includes(' ')) return answer;
    if (answers.size >= mostAnswers) answers.clear();
    answers.set(copied(written), answer);
  }
  return answer;
}

/** A slice would keep the whole text that it was cut from. */
function copied(text: string): string {
  let copy = '';
  for (let at = 0; at < text.length; at++) copy += String.fromCharCode(text.charCodeAt(at));
  return copy;
}

function judged(name: string): Family | undefined {
  if (password.test(name)) return 'password';
  if (name.endsWith('token')) return harmless.test(name) ? undefined : strong.test(name) ? 'token' : 'weak-token';
  if (secret.test(name)) return publicKey.test(name) ? undefined : 'secret';
  if (name.endsWith('authorization')) return 'authorization';
  if (name === 'sig') return 'signature';
  return pass.test(name) ? 'pass' : undefined;
}
