/**
 * Texts with values that the detectors must find, and texts in which they must find nothing. Everything is made up: values come from a seeded generator, check digits are
 * computed here (independently of `src/policy/detect/checksums.ts`), and no vendor's prefix stands in this source in one piece, so that no scanner takes it for a leak.
 */

export interface TrueCase {
  text: string;
  finds: (readonly [rule: string, value: string])[];
}

/** Mulberry32: the same cases on every machine. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const lower = 'abcdefghijklmnopqrstuvwxyz';
const upper = lower.toUpperCase();
const figures = '0123456789';
const alnum = upper + lower + figures;
const hex = '0123456789abcdef';
const url = `${alnum}-_`;

/** One text of two parts that must not stand together in this source. */
const whole = (...parts: string[]): string => parts.join('');

class Maker {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = generator(seed);
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  from<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  /** `count` characters, the last three a letter, a digit and a letter where the alphabet has both: no value is left without either. */
  of(alphabet: string, count: number): string {
    let text = '';
    while (text.length < count) text += alphabet[this.below(alphabet.length)]!;
    if (alphabet.includes('a') && alphabet.includes('7') && count > 6) text = `${text.slice(0, 1)}a7e${text.slice(4)}`;
    else if (alphabet.includes('A') && alphabet.includes('7') && count > 6) text = `${text.slice(0, 1)}A7E${text.slice(4)}`;
    return /[-_=]$/.test(text) ? `${text.slice(0, -1)}k` : text;
  }

  digits(count: number, firsts = '123456789'): string {
    return this.of(firsts, 1) + this.of(figures, count - 1);
  }
}

const digitAt = (text: string, at: number): number => Number(text[at]);

function luhnDigit(body: string): string {
  let sum = 0;
  for (let at = 0; at < body.length; at++) {
    const doubled = digitAt(body, body.length - 1 - at) * (at % 2 === 0 ? 2 : 1);
    sum += Math.floor(doubled / 10) + (doubled % 10);
  }
  return String((10 - (sum % 10)) % 10);
}

/** The textbook tables of Verhoeff's check. */
const verhoeffProducts = '0123456789123406789523401789563401289567401239567859876043216598710432765982104387659321049876543210';
const verhoeffPlaces = ['0123456789', '1576283094', '5803796142', '8916043527', '9453126870', '4286573901', '2793806415', '7046913258'];
const verhoeffInverse = '0432156789';

function verhoeffDigit(body: string): string {
  let check = 0;
  for (let at = 0; at < body.length; at++) {
    const placed = Number(verhoeffPlaces[(at + 1) % 8]![digitAt(body, body.length - 1 - at)]);
    check = Number(verhoeffProducts[check * 10 + placed]);
  }
  return verhoeffInverse[check]!;
}

/** Tries endings until the sum of digits times weights fits. */
function weighted(maker: Maker, count: number, weights: readonly number[], modulus: number, fits: (digits: string) => boolean = () => true): string {
  for (;;) {
    const digits = maker.digits(count);
    let sum = 0;
    for (let at = 0; at < count; at++) sum += digitAt(digits, at) * weights[at]!;
    if (sum % modulus === 0 && new Set(digits).size > 2 && fits(digits)) return digits;
  }
}

function ibanOf(country: string, bban: string): string {
  const number = BigInt([...`${bban}${country}00`].map((letter) => parseInt(letter, 36)).join(''));
  return `${country}${String(98n - (number % 97n)).padStart(2, '0')}${bban}`;
}

function cpfOf(maker: Maker): string {
  const body = maker.digits(9);
  const check = (digits: string): number => {
    let sum = 0;
    for (let at = 0; at < digits.length; at++) sum += digitAt(digits, at) * (digits.length + 1 - at);
    return sum % 11 < 2 ? 0 : 11 - (sum % 11);
  };
  const first = check(body);
  return `${body}${first}${check(`${body}${first}`)}`;
}

function steuerIdOf(maker: Maker): string {
  for (;;) {
    const places = [...'0123456789'].sort(() => maker.below(3) - 1);
    places[9] = places[2]!;
    const body = places.join('');
    if (body[0] === '0' || new Set(body).size !== 9) continue;
    let product = 10;
    for (const figure of body) {
      const sum = (Number(figure) + product) % 10;
      product = ((sum === 0 ? 10 : sum) * 2) % 11;
    }
    return body + String((11 - product) % 10);
  }
}

function fiscalOf(maker: Maker): string {
  const body = `${maker.of('BCDFGLMNPRSTV', 6)}${maker.of(figures, 2)}${maker.from([...'ABCDEHLMPRST'])}${maker.from(['07', '15', '23', '48', '61'])}${maker.from([...'ADFHLZ'])}${maker.of(figures, 3)}`;
  const odd = 'BAFHJNPRTVCESULDGIMOQKWZYX';
  let sum = 0;
  for (let at = 0; at < 15; at++) {
    const place = /\d/.test(body[at]!) ? Number(body[at]) : body.charCodeAt(at) - 65;
    sum += at % 2 === 0 ? odd.charCodeAt(place) - 65 : place;
  }
  return body + String.fromCharCode(65 + (sum % 26));
}

function grouped(digits: string, lengths: readonly number[], separator: string): string {
  let at = 0;
  return lengths.map((length) => digits.slice(at, (at += length))).join(separator);
}

/** Values that are told by their own shape. */
function shaped(m: Maker): Record<string, () => string> {
  const uuid = (): string => grouped(m.of(hex, 32), [8, 4, 4, 4, 12], '-');
  return {
    'aws-access-key': () => m.from([whole('AK', 'IA'), whole('AS', 'IA'), whole('AB', 'IA')]) + m.of(`${upper}234567`, 16),
    'gcp-api-key': () => whole('AI', 'za') + m.of(url, 35),
    'github-token': () =>
      m.below(3) === 0 ? whole('github', '_pat_') + m.of(alnum, 22) + '_' + m.of(alnum, 59) : 'gh' + m.from([...'pousr']) + '_' + m.of(alnum, 36),
    'gitlab-token': () =>
      m.below(4) === 0
        ? whole('gl', 'pat-') + m.of(url, 27) + '.01.' + m.of(lower + figures, 7)
        : 'gl' + m.from(['pat', 'dt', 'rt', 'cbt', 'ptt']) + '-' + m.of(url, 20),
    'slack-token': () =>
      m.from([whole('xo', 'xb-'), whole('xo', 'xp-'), whole('xo', 'xa-'), whole('xo', 'xr-'), whole('xo', 'xs-'), whole('xa', 'pp-1-')]) +
      m.digits(12) +
      '-' +
      m.digits(12) +
      '-' +
      m.of(alnum, 24),
    'slack-webhook': () =>
      whole('hooks.slack', '.com/services/T') + m.of(upper + figures, 8) + '/B' + m.of(upper + figures, 10) + '/' + m.of(alnum, 24),
    'stripe-key': () => m.from([whole('sk_', 'live_'), whole('rk_', 'live_'), whole('sk_', 'test_')]) + m.of(alnum, m.from([24, 99])),
    'openai-key': () =>
      m.below(2) === 0 ? whole('sk', '-proj-') + m.of(url, 74) : whole('sk', '-') + m.of(alnum, 20) + whole('T3Blbk', 'FJ') + m.of(alnum, 20),
    'anthropic-key': () => whole('sk', '-ant-api03-') + m.of(url, 93) + 'AA',
    'google-oauth': () => (m.below(2) === 0 ? whole('ya', '29.') + m.of(url, 120) : whole('GOC', 'SPX-') + m.of(url, 28)),
    'sendgrid-key': () => whole('SG', '.') + m.of(url, 22) + '.' + m.of(url, 43),
    'npm-token': () => whole('np', 'm_') + m.of(alnum, 36),
    'pypi-token': () => whole('py', 'pi-AgEIcHlwaS5vcmc') + m.of(url, 80),
    'huggingface-token': () => whole('h', 'f_') + m.of(alnum, 34),
    'digitalocean-token': () => 'do' + m.from([...'por']) + '_v1_' + m.of(hex, 64),
    'shopify-token': () => 'shp' + m.from(['at', 'ca', 'pa', 'ss']) + '_' + m.of(hex, 32),
    'square-token': () => (m.below(2) === 0 ? whole('sq0', 'atp-') + m.of(url, 22) : whole('sq0', 'csp-') + m.of(url, 43)),
    'mailgun-key': () => whole('ke', 'y-') + m.of(lower + figures, 32),
    'mailchimp-key': () => m.of(hex, 32) + whole('-u', 's') + String(1 + m.below(21)),
    'telegram-token': () => m.digits(m.from([8, 9, 10])) + whole(':A', 'A') + m.of(url, 33),
    'discord-token': () => m.from([...'MN']) + m.of(alnum, 23) + '.' + m.of(alnum, 6) + '.' + m.of(url, 38),
    'discord-webhook': () => whole('discord', '.com/api/webhooks/') + m.digits(18) + '/' + m.of(url, 68),
    'linear-key': () => whole('lin', '_api_') + m.of(alnum, 40),
    'notion-token': () => (m.below(2) === 0 ? whole('nt', 'n_') + m.digits(11) + m.of(alnum, 35) : whole('sec', 'ret_') + m.of(alnum, 43)),
    'databricks-token': () => whole('da', 'pi') + m.of(hex, 32) + m.from(['', '-2']),
    'vault-token': () => 'hv' + m.from([...'sb']) + '.' + m.of(url, 92),
    'doppler-token': () => 'dp' + m.from(['.pt.', '.ct.', '.sa.']) + m.of(alnum, 43),
    'sentry-token': () => whole('sntr', 'yu_') + m.of(hex, 64),
    'grafana-token': () => (m.below(2) === 0 ? whole('gl', 'sa_') + m.of(alnum, 32) + '_' + m.of(hex, 8) : whole('gl', 'c_') + m.of(alnum, 64)),
    'newrelic-key': () => whole('NR', 'AK-') + m.of(upper + figures, 27),
    'atlassian-token': () => whole('ATA', 'TT3xFfGF0') + m.of(url, 170) + '=' + m.of('0123456789ABCDEF', 8),
    'figma-token': () => whole('fi', 'gd_') + m.of(url, 40),
    'postman-key': () => whole('PM', 'AK-') + m.of(hex, 24) + '-' + m.of(hex, 34),
    'terraform-token': () => m.of(alnum, 14) + whole('.atlas', 'v1.') + m.of(url, 67),
    'docker-token': () => whole('dckr', '_pat_') + m.of(url, 27),
    'cloudflare-token': () => m.from([whole('cf', 'ut_'), whole('cf', 'at_'), whole('cf', 'k_')]) + m.of(alnum, 40) + m.of(hex, 8),
    'flyio-token': () => whole('fm', '2_') + m.of(`${alnum}+/`, 120),
    'supabase-key': () => whole('sb', 'p_') + m.of(hex, 40),
    'vercel-token': () => 'vc' + m.from([...'piark']) + '_' + m.of(alnum, 56),
    'age-secret-key': () => whole('AGE-SECRET', '-KEY-1') + m.of('QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L', 58),
    jwt: () => whole('ey', 'J') + m.of(alnum, 33) + whole('.ey', 'J') + m.of(alnum, m.from([40, 160])) + '.' + m.of(url, 43),
    'azure-client-secret': () => m.of(alnum, 3) + whole('8', 'Q~') + m.of(`${alnum}_.-`, 34),
    'groq-key': () => whole('gs', 'k_') + m.of(alnum, 52),
    'hubspot-token': () => whole('pat', '-na1-') + uuid(),
    'pulumi-token': () => whole('pu', 'l-') + m.of(hex, 40),
    'rubygems-key': () => whole('rubygems', '_') + m.of(hex, 48),
    'tailscale-key': () => whole('ts', 'key-auth-') + m.of(alnum, 12) + 'CNTRL-' + m.of(alnum, 32),
    'resend-key': () => whole('re', '_') + m.of(alnum, 8) + '_' + m.of(alnum, 24),
    'openrouter-key': () => whole('sk', '-or-v1-') + m.of(hex, 64),
    'xai-key': () => whole('xa', 'i-') + m.of(alnum, 80),
    'replicate-token': () => whole('r', '8_') + m.of(alnum, 37),
    'perplexity-key': () => whole('pp', 'lx-') + m.of(alnum, 48),
    'onepassword-token': () => whole('ops', '_eyJ') + m.of(alnum, 240),
    'alibaba-key': () => whole('LT', 'AI') + m.of(alnum, 20),
    'airtable-token': () => whole('pa', 't') + m.of(alnum, 14) + '.' + m.of(hex, 64),
    'dynatrace-token': () => whole('dt0', 'c01.') + m.of(upper + figures, 24) + '.' + m.of(upper + figures, 64),
    'easypost-key': () => whole('EZ', 'AK') + m.of(alnum, 54),
    'netlify-token': () => whole('nf', 'p_') + m.of(alnum, 36),
    'openshift-token': () => whole('sha', '256~') + m.of(url, 43),
    'planetscale-token': () => whole('pscale', '_pw_') + m.of(url, 43),
    'brevo-key': () => whole('xkey', 'sib-') + m.of(hex, 64) + '-' + m.of(alnum, 16),
    'sonar-token': () => whole('sq', 'u_') + m.of(hex, 40),
    'sourcegraph-token': () => whole('sg', 'p_') + m.of(hex, 40),
    'typeform-token': () => whole('tf', 'p_') + m.of(alnum, 44),
    'clojars-token': () => whole('CLO', 'JARS_') + m.of(lower + figures, 60),
    'plaid-token': () => whole('access', '-sandbox-') + uuid(),
    'langsmith-key': () => whole('lsv2', '_pt_') + m.of(hex, 32) + '_' + m.of(hex, 10),
    'pinecone-key': () => whole('pc', 'sk_') + m.of(url, 70),
    'buildkite-token': () => whole('bk', 'ua_') + m.of(hex, 40),
    'circleci-token': () => whole('CCI', 'PAT_') + m.of(alnum, 22) + '_' + m.of(hex, 40),
    'render-key': () => whole('rn', 'd_') + m.of(alnum, 32),
    'mapbox-token': () => whole('sk', '.eyJ') + m.of(alnum, 80) + '.' + m.of(url, 22),
    'contentful-token': () => whole('CF', 'PAT-') + m.of(url, 43),
    'facebook-token': () => whole('EA', 'AG') + m.of(alnum, 170),
    'heroku-key': () => whole('HR', 'KU-') + m.of(url, 60),
    email: () =>
      `${m.from(['joe.miller', 'a', 'x_y', 'first+tag', 'jürgen.weiß', 'o-brien99', 'INFO'])}@${m.from(['example.com', 'mail.example.co.uk', 'müller.example.de', 'xn--mller-kva.example', 'test-host.org', 'example.museum'])}`,
    phone: () =>
      m.from([
        `+1 415 555 ${m.digits(4)}`,
        `+49 151 2345${m.digits(4)}`,
        `+44 (0)20 7946 0${m.digits(3)}`,
        `+33612345${m.digits(3)}`,
        `(415) 555-${m.digits(4)}`,
        `415-555-${m.digits(4)}`,
        `415.555.${m.digits(4)}`,
        `1-800-555-${m.digits(4)}`,
        `06 12 34 56 ${m.digits(2)}`,
        `030 1234${m.digits(4)}`,
        `020 7946 ${m.digits(4)}`,
        `0151-2345${m.digits(4)}`,
        `(11) 91234-${m.digits(4)}`,
        `+91 98765 4${m.digits(4)}`,
        `+81-3-1234-${m.digits(4)}`,
        `138-1234-${m.digits(4)}`,
      ]),
    card: () => {
      const body = m.from([
        '4' + m.of(figures, 14),
        '5' + m.from([...'12345']) + m.of(figures, 13),
        '37' + m.of(figures, 12),
        '6011' + m.of(figures, 11),
        '3530' + m.of(figures, 11),
        '2223' + m.of(figures, 11),
      ]);
      const digits = body + luhnDigit(body);
      if (m.below(2) === 0) return digits;
      return grouped(digits, digits.length === 15 ? [4, 6, 5] : [4, 4, 4, 4], m.from([' ', '-']));
    },
    iban: () => {
      const code = m.from([
        ibanOf('DE', m.digits(18)),
        ibanOf('GB', `WEST${m.digits(14)}`),
        ibanOf('NL', `ABNA${m.digits(10)}`),
        ibanOf('FR', m.digits(23)),
        ibanOf('NO', m.digits(11)),
        ibanOf('MT', `MALT${m.digits(23)}`),
      ]);
      return m.below(2) === 0 ? code : code.replace(/(.{4})(?=.)/g, '$1 ');
    },
    'us-ssn': () => grouped(`${m.from(['123', '078', '512', '733'])}${m.from(['05', '45', '87'])}${m.digits(4)}`, [3, 2, 4], m.from(['-', ' '])),
    'uk-nino': () => {
      const digits = m.digits(6);
      return m.below(2) === 0 ? `AB${digits}${m.from([...'ABCD'])}` : `JK ${grouped(digits, [2, 2, 2], ' ')} ${m.from([...'ABCD'])}`;
    },
    'fr-nir': () => {
      const body = `${m.from(['1', '2'])}${m.digits(2)}${m.from(['01', '07', '12'])}75${m.digits(3)}${m.digits(3)}`;
      const code = body + String(97 - (Number(body) % 97)).padStart(2, '0');
      return m.below(2) === 0 ? code : grouped(code, [1, 2, 2, 2, 3, 3, 2], ' ');
    },
    'es-dni': () => {
      const digits = m.digits(8);
      const foreign = m.digits(7);
      return m.from([
        digits + letterOf(Number(digits)),
        `${digits}-${letterOf(Number(digits))}`,
        `X${foreign}${letterOf(Number(foreign))}`,
        `Y${foreign}${letterOf(Number(`1${foreign}`))}`,
      ]);
    },
    'it-codice-fiscale': () => fiscalOf(m),
    'se-personnummer': () => {
      const body = `${m.from(['81', '64', '79', '55'])}${m.from(['0218', '1131', '0607'])}${m.digits(3, '6789')}`;
      const short = body + luhnDigit(body);
      return m.from(['', '19']) + `${short.slice(0, 6)}-${short.slice(6)}`;
    },
    'br-cpf': () => {
      const digits = cpfOf(m);
      return `${grouped(digits.slice(0, 9), [3, 3, 3], '.')}-${digits.slice(9)}`;
    },
    'in-aadhaar': () => {
      const body = m.digits(11, '23456789');
      return grouped(body + verhoeffDigit(body), [4, 4, 4], m.from([' ', '-']));
    },
    'in-pan': () => `${m.of(upper, 3)}${m.from([...'PCHF'])}${m.of(upper, 1)}${m.digits(4)}${m.of(upper, 1)}`,
    'ca-sin': () => {
      const body = m.digits(8, '1234567');
      return grouped(body + luhnDigit(body), [3, 3, 3], m.from([' ', '-']));
    },
  };
}

const letterOf = (number: number): string => 'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]!;

/** Surroundings of a value, `#` in its place. None names what it is. */
const places = [
  '#',
  '# is what it said',
  'the last one was #',
  'Please use "#" for now.',
  '{"content":[{"type":"text","text":"found # in row 7"}]}',
  '{"value":"#","ok":true}',
  "[ 'a', '#', 'b' ]",
  'VALUE=#\nOTHER=1',
  '(#)',
  '… #, und so weiter für später',
  '値は「#」です',
  'первый: #; второй — нет',
  '<td>#</td><td>ok</td>',
  'line 1\n#\nline 3',
  'See: #.',
  '| name | # |',
];

/** Values that are told by the words before them: the value stands between `[[` and `]]`. */
function worded(m: Maker): Record<string, () => string> {
  const pw = (): string =>
    m.from(['hunter2', 'Tr0ub4dor&3', 'correcthorse', 'p@ssw0rd!', 'qwertz12', 'S3cr3t#9', 'ünïcödé77', 'letmein', '4711', 'zaq1@WSX']);
  const key = (): string => m.of(alnum, m.from([16, 24, 32]));
  const place = (...texts: string[]): string => m.from(texts);
  return {
    password: () =>
      place(
        `password=[[${pw()}]]`,
        `DB_PASSWORD="[[${pw()}]]"`,
        `{"user":"joe","password":"[[${pw()}]]"}`,
        `{\\"password\\":\\"[[${pw()}]]\\"}`,
        `spring.datasource.password=[[hunter2]]\nspring.x=1`,
        `  passwd: '[[${pw()}]]'\n`,
        `Pwd=[[s3cr3tX]];Server=db;User Id=sa`,
        `const password = "[[${pw()}]]";`,
        `https://example.com/login?user=joe&password=[[hunter2]]&next=1`,
        `mysql --password=[[hunter2]] -u root`,
        `["--password", "[[${pw()}]]", "--user"]`,
        `<password>[[${pw()}]]</password>`,
        `"passwords": 2, "password": ["[[${pw()}]]"]`,
        `smtp_pass: "[[${key()}]]"`,
        `:password => '[[${pw()}]]',`,
        `passphrase: "[[correct horse battery staple]]"`,
        `export PGPASSWORD=[[hunter2]]`,
        `config["password"] = "[[${pw()}]]"`,
        `Пароль: нет. password: [[hunter2]]`,
      ),
    'generic-secret': () =>
      place(
        `client_secret=[[${key()}]]&grant_type=x`,
        `"api_key": "[[${key()}]]"`,
        `apiKey: '[[${key()}]]',`,
        `API-KEY: [[${key()}]]`,
        `x-api-key: [[${key()}]]\r\nAccept: */*`,
        `SECRET_KEY = '[[${key()}]]'`,
        `secret: "[[${key()}]]"`,
        `{\\"clientSecret\\":\\"[[${key()}]]\\"}`,
        `encryption_key=[[${key()}]]`,
        `secret_key_base: [[${key()}]]`,
        `private_key: [[${key()}]]`,
        `<clientSecret>[[${key()}]]</clientSecret>`,
      ),
    'generic-token': () =>
      place(
        `access_token=[[${key()}]]`,
        `"refresh_token":"[[${key()}]]","expires_in":3600`,
        `auth_token: [[${key()}]]`,
        `//registry.example.org/:_authToken=[[${key()}]]`,
        `token = "[[${key()}]]"`,
        `curl --token [[${key()}]] https://example.com`,
        `https://example.com/cb?token=[[${key()}]]&state=1`,
        `"sessionToken": "[[${key()}]]"`,
        `BOT_TOKEN='[[${key()}]]'`,
      ),
    authorization: () =>
      place(
        `Authorization: Bearer [[${m.of(alnum, 40)}]]`,
        `"Authorization": "Bearer [[${m.of(url, 32)}]]"`,
        `authorization: Basic [[am9lOmh1bnRlcjI=]]`,
        `curl -H 'Authorization: Bearer [[${m.of(alnum, 24)}]]' https://example.com`,
        `Proxy-Authorization: Basic [[${m.of(alnum, 20)}]]`,
        `send Bearer [[${m.of(alnum, 40)}]] with it`,
        `{"headers":{"authorization":"token [[${m.of(alnum, 40)}]]"}}`,
        `Authorization: [[${m.of(alnum, 40)}]]`,
      ),
    'url-password': () =>
      place(
        `postgres://joe:[[hunter2]]@db.example.org:5432/main`,
        `"DATABASE_URL": "mysql://root:[[${m.of(alnum, 12)}]]@127.0.0.1/x"`,
        `git clone https://joe:[[${m.of(alnum, 20)}]]@git.example.org/a/b.git`,
        `redis://:[[${m.of(alnum, 16)}]]@cache:6379/0`,
        `(amqp://guest:[[s3cr3tPw]]@mq)`,
        `mongodb+srv://app:[[${m.of(alnum, 14)}]]@cluster0.example.net/db?retryWrites=true`,
        `siehe ftp://jürgen:[[geheim77]]@ftp.example.de/`,
        `http_proxy=http://u:[[${m.of(alnum, 9)}]]@proxy:3128`,
      ),
    'aws-secret-key': () => {
      const value = m.of(`${alnum}/+`, 40);
      return place(
        `aws_secret_access_key = [[${value}]]`,
        `"SecretAccessKey": "[[${value}]]"`,
        `AWS_SECRET_ACCESS_KEY=[[${value}]]`,
        `AWS Secret Access Key: [[${value}]]`,
        `{\\"secretAccessKey\\":\\"[[${value}]]\\"}`,
        `secret_key="[[${value}]]"`,
      );
    },
    'azure-storage-key': () => {
      const value = `${m.of(alnum, 86)}==`;
      return place(
        `DefaultEndpointsProtocol=https;AccountName=x;AccountKey=[[${value}]];EndpointSuffix=core.windows.net`,
        `AccountKey=[[${value}]]`,
        `"accountKey": "[[${value}]]"`,
        `Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=[[${m.of(alnum, 43)}=]]`,
      );
    },
    'azure-sas': () =>
      place(
        `https://x.blob.core.windows.net/c/b.txt?sv=2023-01-03&sr=b&sig=[[${m.of(alnum, 43)}%3D]]&se=2026`,
        `?st=1&sig=[[${m.of(alnum, 41)}%2B%3D]]`,
        `sig=[[${m.of(alnum, 43)}=]]`,
      ),
    'datadog-key': () =>
      place(
        `DD_API_KEY=[[${m.of(hex, 32)}]]`,
        `datadog_api_key: "[[${m.of(hex, 32)}]]"`,
        `DD-APPLICATION-KEY: [[${m.of(hex, 40)}]]`,
        `"ddApiKey":"[[${m.of(hex, 32)}]]"`,
      ),
    'twilio-token': () =>
      place(`TWILIO_AUTH_TOKEN=[[${m.of(hex, 32)}]]`, `"twilioAuthToken": "[[${m.of(hex, 32)}]]"`, `twilio.auth_token: [[${m.of(hex, 32)}]]`),
    'twilio-key': () =>
      place(`TWILIO_ACCOUNT_SID=[[AC${m.of(hex, 32)}]]`, `twilio api key [[SK${m.of(hex, 32)}]]`, `"account_sid": "[[AC${m.of(hex, 32)}]]"`),
    'cloudflare-key': () =>
      place(`CLOUDFLARE_API_TOKEN=[[${m.of(url, 40)}]]`, `CF_API_KEY=[[${m.of(hex, 37)}]]`, `"cloudflareApiToken":"[[${m.of(url, 40)}]]"`),
    'launchdarkly-key': () =>
      place(
        `LAUNCHDARKLY_SDK=[[sdk-${grouped(m.of(hex, 32), [8, 4, 4, 4, 12], '-')}]]`,
        `launchdarkly uses [[api-${grouped(m.of(hex, 32), [8, 4, 4, 4, 12], '-')}]] here`,
      ),
    'private-key': () => {
      const kind = m.from([
        'RSA PRIVATE KEY',
        'PRIVATE KEY',
        'EC PRIVATE KEY',
        'OPENSSH PRIVATE KEY',
        'ENCRYPTED PRIVATE KEY',
        'PGP PRIVATE KEY BLOCK',
      ]);
      const line = m.from(['\n', '\\n', '\r\n']);
      const block = [`-----BEGIN ${kind}-----`, m.of(alnum, 64), m.of(`${alnum}/+`, 64), `${m.of(alnum, 22)}==`, `-----END ${kind}-----`].join(line);
      return place(`[[${block}]]`, `key is:\n[[${block}]]\nend`, `{"private_key":"[[${block}]]\\n","x":1}`, `KEY="[[${block}]]"`);
    },
    phone: () =>
      place(
        `"phone": "[[${m.digits(10)}]]"`,
        `tel:[[${m.digits(11)}]]`,
        `Mobile number: [[${m.digits(10)}]]`,
        `[[0049 30 1234${m.digits(4)}]] (Zentrale)`,
        `Call +1 (415) 555-2671`.replace('+1 (415) 555-2671', '[[+1 (415) 555-2671]]'),
        `fax [[040/123456]]78`.replace(']]78', '78]]'),
      ),
    'us-ssn': () => place(`"ssn":"[[${m.from(['219', '457'])}${m.digits(6, '12345')}]]"`, `Social Security Number: [[51245${m.digits(4)}]]`),
    'de-steuer-id': () => {
      const value = steuerIdOf(m);
      return place(
        `Steuer-ID: [[${value}]]`,
        `"steuerIdentifikationsnummer":"[[${value}]]"`,
        `Meine IdNr. lautet [[${grouped(value, [2, 3, 3, 3], ' ')}]].`,
        `tax id [[${value}]]`,
      );
    },
    'nl-bsn': () => {
      const value = weighted(m, 9, [9, 8, 7, 6, 5, 4, 3, 2, 10], 11);
      return place(
        `BSN: [[${value}]]`,
        `"bsn": "[[${value}]]"`,
        `burgerservicenummer [[${value}]]`,
        `BSN [[${grouped(value, [3, 3, 3], ' ')}]], adres`,
      );
    },
    'pl-pesel': () => {
      const value = weighted(m, 11, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1], 10, (digits) => /^..(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d)/.test(digits));
      return place(`PESEL: [[${value}]]`, `"pesel":"[[${value}]]"`, `Numer PESEL [[${value}]] został zapisany`, `pesel=[[${value}]]`);
    },
    'br-cpf': () => place(`CPF: [[${cpfOf(m)}]]`, `"cpf":"[[${cpfOf(m)}]]"`),
    'in-aadhaar': () => {
      const body = m.digits(11, '23456789');
      return place(`Aadhaar: [[${body}${verhoeffDigit(body)}]]`, `"aadhaar_number":"[[${body}${verhoeffDigit(body)}]]"`);
    },
    'ca-sin': () => {
      const body = m.digits(8, '1234567');
      return place(`SIN: [[${body}${luhnDigit(body)}]]`, `"sin":"[[${body}${luhnDigit(body)}]]"`);
    },
    'au-tfn': () => {
      const value = weighted(m, 9, [1, 4, 3, 7, 5, 8, 6, 9, 10], 11);
      return place(`TFN: [[${value}]]`, `"tfn": "[[${value}]]"`, `tax file number [[${grouped(value, [3, 3, 3], ' ')}]]`, `my TFN is [[${value}]].`);
    },
    'se-personnummer': () => {
      const body = `640823${m.digits(3)}`;
      return place(`personnummer: [[19${body}${luhnDigit(body)}]]`, `"personnummer":"[[${body}${luhnDigit(body)}]]"`);
    },
  };
}

/** At least eight cases for every detector, each in other surroundings. */
export function trueCases(): TrueCase[] {
  const cases: TrueCase[] = [];
  const maker = new Maker(20_260_301);
  let place = 0;
  for (const [rule, make] of Object.entries(shaped(maker))) {
    for (let count = 0; count < 8; count++) {
      const value = make();
      cases.push({ text: places[place++ % places.length]!.replace('#', () => value), finds: [[rule, value]] });
    }
    place++;
  }
  for (const [rule, make] of Object.entries(worded(maker))) {
    for (let count = 0; count < (rule === 'password' ? 40 : 12); count++) {
      const marked = make();
      const value = /\[\[(.*)\]\]/s.exec(marked)![1]!;
      cases.push({ text: marked.replace(/\[\[(.*)\]\]/s, () => value), finds: [[rule, value]] });
    }
  }
  return [...cases, ...mixedCases(maker), ...commandCases(maker)];
}

/** Passwords in command lines. */
function commandCases(m: Maker): TrueCase[] {
  const commands = [
    `curl -u me:[[hunter2]] https://api.example.com/v1/items`,
    `curl -sSu admin:[[${m.of(alnum, 12)}]] -X POST https://example.com`,
    `curl -uadmin:[[${m.of(alnum, 9)}]] https://example.com | jq .`,
    `curl --user "me:[[correct horse 9]]" https://example.com`,
    `curl -X POST "https://example.com/?a=1&b=2" -d '{}' -u 'me.too:[[p4ss;w|rd&]]'`,
    `curl --proxy-user proxy:[[geheim99]] -U other https://example.com`,
    `cd /tmp && curl -fsSL -u deploy:[[${m.of(alnum, 20)}]], which is wrong`,
    `curl \\\n  -H 'Accept: */*' \\\n  -u me:[[hunter2]] \\\n  https://example.com`,
    `{"command":"curl","args":["-s","-u","me:[[${m.of(alnum, 14)}]]","https://example.com"]}`,
    `http -a me:[[${m.of(alnum, 10)}]] PUT example.com/x`,
    `mysql -u root -p[[hunter2]] main < dump.sql`,
    `docker exec -i db mysqldump -uroot -p'[[hunter 2]]' main > dump.sql`,
    `mariadb -h db.example.org -p[[${m.of(alnum, 16)}]] -e 'select 1'`,
    `mysqladmin --user=root --password=[[${m.of(alnum, 11)}]] ping`,
    `mysql --host db --password [[${m.of(alnum, 11)}]] main`,
    `PGPASSWORD=[[hunter2]] psql -h db -U me main`,
    `export PGPASSWORD='[[${m.of(alnum, 13)}]]'; psql -c 'select 1'`,
    `MYSQL_PWD=[[${m.of(alnum, 8)}]] mysql -u root`,
    `sshpass -p [[hunter2]] ssh -p2222 me@host`,
    `sshpass -p'[[hunter 2]]' scp a me@host:/b`,
    `docker login -u me -p [[${m.of(alnum, 18)}]] registry.example.org`,
    `redis-cli -h cache -p 6379 -a [[${m.of(alnum, 18)}]] ping`,
    `mongodump --host db -u me -p "[[${m.of(alnum, 10)}]]" --out /b`,
    `ldapsearch -x -D cn=admin,dc=example -w [[${m.of(alnum, 10)}]] -b dc=example`,
  ];
  return commands.map((marked) => {
    const value = /\[\[(.*)\]\]/s.exec(marked)![1]!;
    return { text: marked.replace(/\[\[(.*)\]\]/s, () => value), finds: [['password', value]] };
  });
}

/** Several values in one text, and one inside another. */
function mixedCases(maker: Maker): TrueCase[] {
  const make = shaped(maker);
  const pairs: [string, string][] = [
    ['email', 'card'],
    ['github-token', 'email'],
    ['phone', 'iban'],
    ['jwt', 'npm-token'],
    ['in-pan', 'us-ssn'],
    ['it-codice-fiscale', 'email'],
  ];
  return pairs.map(([a, b]) => {
    const first = make[a]!();
    const second = make[b]!();
    return {
      text: `first ${first} then, later: "${second}"`,
      finds: [
        [a, first],
        [b, second],
      ],
    } satisfies TrueCase;
  });
}

/** One text a line: what MCP servers and clients say all day. */
const harmlessLines = String.raw`
{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"roots":{"listChanged":true}},"clientInfo":{"name":"client","version":"1.4.2"}}}
{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{"cursor":"eyJwYWdlIjoyfQ=="}}
{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"abc123","progress":50,"total":100}}
{"method":"tools/call","params":{"name":"search","arguments":{"q":"weather"},"_meta":{"progressToken":17}}}
{"jsonrpc":"2.0","id":9,"error":{"code":-32602,"message":"Unknown tool: delete_all"}}
{"nextCursor":"MTcwOTIzNDU2Nzg5MA","hasMore":true}
{"nextPageToken":"CAUQAA1bZ9xK3mP0qR7tY2","resultSizeEstimate":201}
{"continuationToken":"a1b2c3d4e5f6a7b8c9d0e1f2","count":40}
{"usage":{"prompt_tokens":1204,"completion_tokens":312,"total_tokens":1516}}
{"max_tokens":4096,"temperature":0.7,"top_p":0.95,"stop":["\n\n"]}
max_tokens=2048 token_count=1533 tokens_per_second=48.2
maxTokens: 100000, contextWindow: 200000
"token_type":"Bearer","expires_in":3600,"scope":"read write"
{"tokenizer":"cl100k_base","token_limit":8191,"eos_token":"<|endoftext|>","pad_token":"[PAD]"}
"bos_token": "<s>", "unk_token": "<unk>", "additional_special_tokens": []
SyntaxError: Unexpected token < in JSON at position 0
SyntaxError: Unexpected token: punc (})
Unexpected token 'export' at line 12:7
unexpected_token: "identifier_expected_here_1"
password: required
Password: required, at least 12 characters
password_policy: strict
"password_policy":{"minLength":12,"requireDigits":true}
password reset: done
Password must be at least 8 characters long and contain a number.
password: string;
password?: string | undefined
password: z.string().min(8).max(72),
const password = req.body.password;
const token = await getToken(user, { refresh: true });
let secret = process.env.CLIENT_SECRET;
password = os.environ["DB_PASSWORD"]
password=<password>
password=\${PASSWORD}
PASSWORD=$DB_PASSWORD
PASSWORD=$(cat /run/secrets/db)
password: {{ vault_db_password }}
password: ****
password=********
"password":"***"
"password": "xxxx"
"password": "[REDACTED]"
"password": null, "token": null
"secret": true, "token": false
password: changeme
password=changeme
api_key: YOUR_API_KEY
api_key="your-api-key-here"
apiKey: example
API_KEY=<your key>
OPENAI_API_KEY=sk-...
api_key=xxxxxxxxxxxxxxxxxxxxxxxx
client_secret=REPLACE_ME
access_token: string
"access_token": "•••••••••"
secretName: my-tls-secret
secret: my-tls-secret
secretKeyRef: { name: db, key: password }
kubectl get secret my-app -n default -o yaml
kind: Secret
private_key_path: /etc/ssl/private/server.key
private_key = "/etc/ssl/private/server.key"
PWD=/home/user/project
OLDPWD=/tmp
pwd: /var/www/html
ssh_key: ~/.ssh/id_ed25519
primary_key: user_id
foreign_key="order_id"
"keyboard":"qwerty", "monkey": "banana42"
"publicKey": "MCowBQYDK2VwAyEA"
"cache_key":"user:42:profile:v3"
<input type="password" name="password" placeholder="Password" autocomplete="current-password">
<label for="password">Password</label><br/>
<a href="/password/reset">Forgot password?</a>
<token>identifier</token>
if (token === undefined) throw new Error('no token: sign in first');
if (password == other) return false;
for (const token of tokens) count[token] = (count[token] ?? 0) + 1;
token := lexer.Next()
return { type: 'token', value: text.slice(start, end) };
function setPassword(password) { this.password = hash(password); }
def check_password(self, password: str) -> bool:
fn token(&self) -> Option<Token> { self.tokens.get(self.at) }
credentials: 'include',
fetch(url, { credentials: "same-origin", mode: 'cors' })
The secret: patience, and a good oven.
The token: a small piece of metal.
Please enter your password: 
Enter passphrase (empty for no passphrase): 
Authorization: Bearer <token>
Authorization: Bearer \${TOKEN}
Authorization: Bearer YOUR_TOKEN
"Authorization": "Bearer " + token
WWW-Authenticate: Bearer realm="example", error="invalid_token"
The Bearer scheme is defined in RFC 6750.
Bearer of good news arrived at 10:42.
authorization: required
postgres://localhost:5432/main
https://user@example.com/path
https://<user>:<password>@example.com
postgres://user:\${DB_PASS}@db/main
http://localhost:8080/@scope/pkg
https://example.com/a:b@c
https://example.com:8443/path?x=1&y=2#z
ssh://git@github.com/example/repo.git
git@github.com:example/repo.git
-----BEGIN CERTIFICATE----- MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBa -----END CERTIFICATE-----
-----BEGIN PUBLIC KEY-----
-----BEGIN PRIVATE KEY----- ... -----END PRIVATE KEY-----
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2l0dXJlIGtleSBleGFtcGxlIGhlcmU host
ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7
---------- 8< ---------- cut here ----------
react@18.2.0 added 12 packages in 3s
npm i @types/node@24.1.0 typescript@5.9.2 --save-dev
uses: actions/checkout@v4.1.1
docker pull nginx@sha256:3f2a9c81d7e6b5a4c3d2e1f009182736454637281f0e9d8c7b6a59483726150f
logo@2x.png icon@3x.webp
@Override public String toString() { return name; }
@media (min-width: 1024px) { .grid { display: grid } }
@decorator def f(): pass
meet me @ noon, or @home
root@build-host:~$ ls -la
a@b c@d e@f
user@localhost
foo@bar.123
matrix @ vector.T
2024-01-15T10:30:00.000Z INFO  server started on port 8080
2024-01-15 10:30:00,123 WARN [main] retry 3 of 5 after 1500 ms
[2024-01-15 10:30:00 +0100] "GET /index.html HTTP/1.1" 200 5316
Mon, 15 Jan 2024 10:30:00 GMT
Date: 15/01/2024 Time: 10:30:00
20240115-103000.log 20240115103000.log
backup-20240115-1030.tar.gz
15.01.2024, 10:30 Uhr, 01.02.03
01-02-2024 and 12-31-1999
valid 05/2024 to 11/2027
timestamp: 1700000000 ms: 1700000000000 us: 1700000000000000 ns: 1700000000000000000
1700000000123,1700000000456,1700000000789
uptime 12 days, 3:45, load average: 0.52, 0.58, 0.59
192.168.1.1 10.0.0.254 172.16.31.4 255.255.255.0
127.0.0.1:8080 -> 10.12.34.56:443
2001:0db8:85a3:0000:0000:8a2e:0370:7334 fe80::1ff:fe23:4567:890a
MAC 00:1b:44:11:3a:b7 and 00-1B-44-11-3A-B7
v1.2.3 v10.20.30-rc.1+build.456 1.0.0.0
Python 3.12.4, Node v24.21.0, gcc 13.2.0-1ubuntu2
version 415.555.12
Chrome/126.0.6478.127 Safari/537.36 Mozilla/5.0 (X11; Linux x86_64)
$1,299.00 €1.299,00 £12.50 ¥120000
price: 1 234 567,89 EUR
Total: 12 345 678 bytes in 1 234 files
1,234,567,890 rows
GDP 27 360 935 000 000 USD
3.14159265358979323846 2.718281828459045
0.30000000000000004
x = -b + sqrt(b*b - 4*a*c) / (2*a)
1+2345678+90 = 2345769
f(415) 555
diff: +1234 -567 lines
@@ -120,7 +120,9 @@ function search(scan) {
+    return 1234567890;
index 83db48f..bf269f4 100644
commit 3f2a9c81d7e6b5a4c3d2e1f00918273645546372
Merge: 83db48f bf269f4
sha1: da39a3ee5e6b4b0d3255bfef95601890afd80709
sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
md5 d41d8cd98f00b204e9800998ecf8427e  empty.txt
integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
etag: W/"33a64df551425fcc55e4d42a148795d9f25f89d4"
data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7
{"type":"image","mimeType":"image/jpeg","data":"/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////"}
UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=
f47ac10b-58cc-4372-a567-0e02b2c3d479
{"id":"550e8400-e29b-41d4-a716-446655440000","parent":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"}
01HQ3K5V7W9X1Y3Z5A7B9C1D3E 01ARZ3NDEKTSV4RRFFQ69G5FAV
507f1f77bcf86cd799439011
V1StGXR8_Z5jdHi6B-myT
ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2
ISBN-10: 0306406152, ISSN 2049-3630
EAN 4006381333931, UPC 036000291452
Order #10023456 shipped, tracking 1Z999AA10123456784
Invoice INV-2024-000123, customer C-10293
order 4539-1234-98 is open
RFC 9110, ISO 8601:2019, DIN 5008
case no. 12-cv-03456
SKU ABC-12345-XYZ qty 3
part AB123456 rev C
flight LH 1234 gate A12 seat 23C
52.520008, 13.404954
{"lat":-33.868820,"lng":151.209296,"zoom":12}
40°42′46″N 74°00′22″W
LINESTRING (30 10, 10 30, 40 40)
bbox=-122.4194,37.7749,-122.3894,37.8049
#ff8800 #FFF rgba(255, 136, 0, 0.5) hsl(120deg 100% 50%)
.btn-primary{margin:0 12px 24px 0;padding:8px 16px;font:400 14px/1.5 sans-serif}
.sk-cube-grid .sk-cube1 { animation-delay: 0.2s; }
transform: translate3d(0, -50%, 0) rotate(45deg);
grid-template-columns: repeat(12, minmax(0, 1fr));
M10 10 L20 20 C 30 30, 40 40, 50 50 Z
<svg viewBox="0 0 24 24"><path d="M12 2L2 7l10 5 10-5-10-5z"/></svg>
<div id="root" class="container mx-auto px-4 py-8" data-id="42"></div>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script src="https://cdn.example.com/lib@1.2.3/dist/index.min.js"></script>
&nbsp;&copy; 2024 &mdash; all rights reserved
SELECT id, name FROM users WHERE created_at > '2024-01-01' ORDER BY id LIMIT 100;
INSERT INTO orders (id, total) VALUES (10023, 129.90), (10024, 0.00);
ALTER TABLE users ADD COLUMN password_hash VARCHAR(255) NOT NULL;
UPDATE t SET a = 1, b = 'x' WHERE id IN (1, 2, 3, 5, 8, 13, 21);
CREATE INDEX idx_token ON sessions (token);
    at Object.<anonymous> (/home/user/app/src/index.ts:42:13)
    at async Promise.all (index 0)
Traceback (most recent call last): File "/usr/lib/python3.12/asyncio/runners.py", line 194, in run
panic: runtime error: index out of range [5] with length 3 goroutine 1 [running]: main.main() /tmp/x.go:9 +0x1d
java.lang.NullPointerException: Cannot invoke "String.length()" because "s" is null
thread 'main' panicked at src/main.rs:4:5
0x7ffee4b8a9c0 0xdeadbeef 0x00000000004005d0
00000000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00
01 02 03 04 05 06 07 08 09 10
00 01 02 03 04 05 0a 0b 0c
src/index.ts src/cli/main.ts test/a.test.ts README.md
-rw-r--r-- 1 user user 48213 Jan 15 10:30 package-lock.json
drwxr-xr-x  12 user  staff   384 15 Jan 10:30 node_modules
/usr/local/lib/node_modules/npm/bin/npm-cli.js
C:\Users\joe\AppData\Local\Temp\npm_cache\_logs
file:///home/user/project/docs/guide.md#L10-L24
npm_config_registry=https://registry.npmjs.org/ npm_package_version=1.0.0
npm ERR! code ERESOLVE
hf_hub_download(repo_id="example/model", filename="config.json")
git log --oneline --since=2.weeks --author=joe
curl -sS -X POST https://api.example.com/v1/items -d '{"a":1}'
docker run --rm -p 8080:80 -v /data:/data nginx:1.27-alpine
curl -u \${USER}:\${PASS} https://example.com
curl -u "\$USER:\$PASSWORD" https://example.com
curl -u me https://example.com
curl -u me: https://example.com
curl -u user:password https://example.com
curl -u <user>:<password> https://example.com
curl -u USERNAME:API_KEY https://example.com
curl -fsSLu - https://example.com/a:b
curl https://example.com | docker run -i -u 1000:1000 tool
curl https://example.com; gunicorn -u deploy:group99 app
curl -s https://example.com && chown -u deploy:group99
docker run -u 1000:1000 curlimages/curl https://example.com
docker run --name mysql -p 3306:3306 mysql:8
docker run --name mysql -p3306:3306 mysql:8
docker run -d --name redis-cli -p 127.0.0.1:6379:6379/tcp redis
mysql -u root -p main
mysql -u root -p\$DB_PASSWORD main
mysql -p<password> main
mysql -P3306 -h db main
mysql --password
ssh -p2222 deploy-host uptime
mkdir -pv /srv/a/b; cp -pR a b
git log -p --stat -3
psql -U me -p 5432 main
sshpass -p "\$SSHPASS" ssh host
sshpass -e ssh -p2222 host
docker login -p "\${TOKEN}" registry.example.org
redis-cli -h cache -p 6379 ping
use mongosh with -p when a password is wanted
uvicorn -w 4 main:app --port 8000
ldapsearch -x -W -b dc=example
PGPASSWORD=\$PW psql -h db
PGPASSFILE=~/.pgpass psql -h db
tar --exclude=node_modules -czf out.tgz .
ffmpeg -i in.mp4 -vf scale=1280:720 -c:v libx264 -crf 23 out.mp4
use --token when you have one, --password otherwise
gh auth login --with-token
--secret id=npmrc,src=.npmrc
EXPOSE 3000 HEALTHCHECK --interval=30s --timeout=3s
CPU 23.4% MEM 512MiB / 2GiB NET 1.2kB / 648B
p50=12ms p95=48ms p99=130ms max=1204ms n=100000
PASS  src/a.test.ts (12 tests) 345ms
Tests: 2 failed, 148 passed, 150 total
pass: 42, fail: 0, skip: 3
pass = true
{"passed":true,"pass":"ok","bypass":"none"}
{"status":"ok","code":200,"elapsed_ms":12.5}
{"a":1,"b":[1,2,3],"c":{"d":null}}
{"name":"token","type":"string","description":"The token to use"}
{"type":"object","properties":{"password":{"type":"string","minLength":8},"token":{"type":"string"}},"required":["password"]}
{"password":"Mot de passe","username":"Nom"}
{"errors":{"password":"is too short"}}
{"field":"password","message":"can't be blank"}
Der Bericht vom 15. März 2024 umfasst 48 Seiten und 12 Abbildungen.
Bitte das Passwort ändern und danach neu anmelden.
Le rapport du 15 mars 2024 compte 48 pages et 12 figures.
El informe del 15 de marzo tiene 48 páginas y 12 figuras.
Il rapporto del 15 marzo conta 48 pagine e 12 figure.
Отчёт от 15 марта 2024 года содержит 48 страниц.
2024年3月15日の報告書は48ページです。
报告共48页,图12幅,发布于2024年3月15日。
تقرير من 48 صفحة بتاريخ 15 مارس 2024
Raport z 15 marca 2024 ma 48 stron i 12 rysunków.
Relatório de 15 de março de 2024, 48 páginas.
The quick brown fox jumps over the lazy dog 13 times in 4.2 seconds.
In 1999 about 12 345 people lived here, in 2024 some 54 321.
Chapter 3, pages 120-145, figures 3.1-3.7
Scores: 12-5, 7-3, 21-18; set 6-4 6-4
Room 123-45, building 7
Population 331 449 281 (2020)
2 + 2 = 4; 10^9 = 1000000000; 2^53 = 9007199254740992
pi ≈ 355/113, e ≈ 2.71828
9007199254740993 18446744073709551615
[0.0123, -0.4567, 0.8901, 0.2345, -0.6789]
1e-9 6.022e23 1.6e-19 +3.5E+10
[1,1,2,3,5,8,13,21,34,55,89,144,233,377,610,987,1597,2584,4181,6765]
1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
4 8 15 16 23 42 108
0 0 0 0 0 0 0 0
0000000000000000 1111111111111111 9999999999999999
1234567890 0123456789 123456789
1234 5678 9012 3456
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
AKIA is how a key id begins
the prefix is ghp_ followed by 36 characters
xoxb-token and xapp-token are two kinds
sk-learn, sk-icon-button-large, task-list-item-checkbox-container
SG.1 and SG.2 are shards
eyJ is how JSON begins in base64
eyJhbGciOiJub25lIn0
dapi.v2.client.connect
key-value-store-with-a-long-name-in-lower-case
secret_santa_list_for_the_office_party_2024
hvs. hvb. hvr. are prefixes
NRAK and PMAK
ACCOUNT SKU SKILL ACME
GB is a country, so is DE; GB82 WEST is not enough
DE 2024 Q3 report
AB 12 CD 34
ABCDEFGHIJ ABCDE12345 ABC12
JK1234 QQ123456C BG123456A
X1234 Y2K Z80
12345678a 12345678-a
RSSMRA85T10A562T
Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor
🎉 release 2.0 🎉 👍 +1
👩‍💻 wrote 1204 lines
+1 for this idea; +1000 points
UTC+01:00 GMT+2 +0530
C++11 C++17 C++20 a+b+c
x+12345678901
5 + 12345 + 678
T+00:12:45.678
~5 minutes ~/.config ~= 1.2
a ~ b Q~ 3Q~
tel: see the list
phone: unknown
Phone number is required.
Call 911 or 112 in an emergency.
extension 4711
(1) first (2) second (3) third
(2024) 12-34 (a) 5555
(12) 3456
fn(123) 456-7890x
SSN is never stored here.
ssn: null
SSN format: AAA-GG-SSSS
000-12-3456 666-12-3456 900-12-3456 123-00-4567
IBAN: please ask the bank
DE00 0000 0000 0000 0000 00
GB82 WEST 1234 5698 7654 33
4111 1111 1111 1112
4111111111111112
id_4111111111111111 x4111111111111111y
41111111111111111111111
111.222.333-44
PESEL: 12345678901
BSN 123456789
CPF 123.456.789-00
Steuer-ID 12345678901
TFN 123456789
SIN 123 456 789
`;

/** Harmless texts whose numbers and letters come from the generator. */
function harmlessMade(m: Maker): string[] {
  const uuid = (): string => grouped(m.of(hex, 32), [8, 4, 4, 4, 12], '-').replace(/^(.{14})./, '$14');
  const version = (): string => `${m.below(30)}.${m.below(40)}.${m.below(60)}`;
  const ip = (): string => [1 + m.below(250), m.below(256), m.below(256), 1 + m.below(250)].join('.');
  const time = (): string =>
    `20${10 + m.below(20)}-${String(1 + m.below(12)).padStart(2, '0')}-${String(1 + m.below(28)).padStart(2, '0')}T${String(m.below(24)).padStart(2, '0')}:${String(m.below(60)).padStart(2, '0')}:${String(m.below(60)).padStart(2, '0')}.${m.digits(3)}Z`;
  const word = (): string =>
    m.from(['report', 'index', 'order', 'invoice', 'notes', 'summary', 'config', 'draft', 'übersicht', 'résumé', 'таблица', '計画']);
  const makers: (() => string)[] = [
    () => `{"id":"${uuid()}","name":"${word()}","updatedAt":"${time()}"}`,
    () => `${time()} INFO [${m.of(lower, 6)}-${m.below(40)}] request ${uuid()} from ${ip()} took ${m.below(4000)} ms`,
    () => `commit ${m.of(hex, 40)}\nAuthor: joe\nDate: ${time()}`,
    () => `"integrity":"sha512-${m.of(`${alnum}+/`, 86)}=="`,
    () => `sha256:${m.of(hex, 64)}`,
    () => `data:image/png;base64,iVBORw0KGgo${m.of(`${alnum}+/`, 200)}`,
    () => `${word()}@${version()}: ${m.below(900)} files, ${m.below(90000)} bytes`,
    () => `price ${m.below(9999)}.${m.digits(2)} EUR, qty ${m.below(90)}, sum ${m.below(99)} ${m.digits(3)},${m.digits(2)}`,
    () => `/srv/${word()}/${m.of(hex, 8)}/${word()}-${m.below(2000)}.txt:${m.below(800)}:${m.below(80)}`,
    () => `{"nextCursor":"${m.of(alnum, 24)}","total":${m.below(90000)}}`,
    () => `{"_meta":{"progressToken":"${m.of(alnum, 20)}"},"max_tokens":${m.below(9000)}}`,
    () => `at ${m.of(lower, 7)} (/app/dist/${m.of(alnum, 8)}.js:${m.below(900)}:${m.below(90)})`,
    () => `https://cdn.example.org/${m.of(hex, 12)}/${word()}.js?v=${version()}&h=${m.of(hex, 16)}`,
    () => `SELECT * FROM ${word()} WHERE id = ${m.below(900_000)} AND at > '${time()}'`,
    () => `[${m.below(100)}.${m.digits(6)}, -${m.below(100)}.${m.digits(6)}]`,
    () => `snowflake 1${m.digits(17)}, trace ${m.of(hex, 32)}, span ${m.of(hex, 16)}`,
    () => `#${m.of(hex, 6)} rgb(${m.below(256)}, ${m.below(256)}, ${m.below(256)})`,
    () => `order ${m.digits(7)} of ${m.below(28) + 1}.${m.below(12) + 1}.2024, ${m.below(40)} × ${word()}`,
  ];
  return makers.flatMap((make) => Array.from({ length: 14 }, make));
}

/** Texts in which no detector may find anything. */
export function falseCases(): string[] {
  const lines = harmlessLines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replaceAll('\\$', '$'));
  return [...lines, ...harmlessMade(new Maker(7))];
}
