import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomOf, written } from '../../test/property/json-forms.ts';
import { utf8 } from '../bytes/bytes.ts';
import { redactedRanges } from '../limits.ts';
import { filled, type Piece } from './fill.ts';
import type { RedactRule } from './policy.ts';
import { apart, compileRedaction, Redactor, valuesOf, type Redaction } from './redact.ts';

type Given = Partial<RedactRule>;

async function redactorOf(...rules: Given[]): Promise<Redactor> {
  return new Redactor(
    await Promise.all(rules.map((rule) => compileRedaction({ name: 'r', keys: [], paths: [], detect: [], keep: 'drop', ...rule }))),
  );
}

const decoder = new TextDecoder();
const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function pieces(bytes: Uint8Array, ranges: readonly Redaction[]): Piece[] {
  const out: Piece[] = [];
  let at = 0;
  for (const { start, end } of ranges) {
    out.push({ bytes: bytes.subarray(at, start) }, { missingBytes: end - start });
    at = end;
  }
  return [...out, { bytes: bytes.subarray(at) }];
}

/** The frame with `‹rule›` in place of what is left out, `‹rule?›` where it stays checkable. */
function shown(bytes: Uint8Array, ranges: readonly Redaction[]): string {
  let out = '';
  let at = 0;
  for (const { start, end, rule, keep } of ranges) {
    out += `${decoder.decode(bytes.subarray(at, start))}‹${rule}${keep === 'drop' ? '' : '?'}›`;
    at = end;
  }
  return out + decoder.decode(bytes.subarray(at));
}

function expectSound(bytes: Uint8Array, ranges: readonly Redaction[]): void {
  let at = 0;
  for (const { start, end } of ranges) {
    expect(start).toBeGreaterThanOrEqual(at);
    expect(end).toBeGreaterThan(start);
    at = end;
  }
  expect(at).toBeLessThanOrEqual(bytes.length);
}

const K: Given = { keys: ['password', '*_token', 'authorization', 'cookie', 'ssn', 'contraseña', 'caf?', 'secret*', 'a?c'] };
const D: Given = { detect: ['secrets', 'pii'] };
const P = (...paths: string[]): Given => ({ paths });
const X = '‹key:password›';
const S = (value: unknown): string => JSON.stringify(value);
/** A frame whose only text is this. */
const T = (text: string): string => S({ t: text });
const nested = (value: unknown, levels: number): string => {
  let text = S(value);
  for (let level = 0; level < levels; level++) text = S({ t: text });
  return text;
};
const deep = (levels: number, inside: string): string => `${'['.repeat(levels)}${inside}${']'.repeat(levels)}`;
const bytesOf = (...parts: (string | number[])[]): Uint8Array => Buffer.concat(parts.map((part) => Buffer.from(part as string)));

interface Row {
  what: string;
  frame: string | Uint8Array;
  rules?: Given[];
  left: string;
}

/** Frame → what stays of it. Without rules: those of `K`. */
const rows: Row[] = [
  // names
  { what: 'a string', frame: '{"password":"hunter2"}', left: `{"password":"${X}"}` },
  { what: 'nothing', frame: '{"user":"alice"}', left: '{"user":"alice"}' },
  { what: 'no rule at all', frame: '{"password":"hunter2"}', rules: [], left: '{"password":"hunter2"}' },
  { what: 'letters of both cases', frame: '{"PassWord":"x"}', left: `{"PassWord":"${X}"}` },
  { what: 'not a part of a name', frame: '{"passwords":"x","mypassword":"y"}', left: '{"passwords":"x","mypassword":"y"}' },
  {
    what: 'no secrets by a longer name',
    frame: '{"max_tokens":5,"progressToken":7,"tokens":1}',
    left: '{"max_tokens":5,"progressToken":7,"tokens":1}',
  },
  { what: 'a glob', frame: '{"api_token":"x"}', left: '{"api_token":"‹key:*_token›"}' },
  { what: 'a glob, with nothing for the star', frame: '{"_token":"x","token":"y"}', left: '{"_token":"‹key:*_token›","token":"y"}' },
  { what: 'a hyphen for an underscore', frame: '{"Api-Token":"x"}', left: '{"Api-Token":"‹key:*_token›"}' },
  { what: 'an underscore for a hyphen', frame: '{"x_api_key":"x"}', rules: [{ keys: ['x-api-key'] }], left: '{"x_api_key":"‹key:x-api-key›"}' },
  { what: 'a question mark', frame: '{"abc":"x","ac":"y","abbc":"z"}', left: '{"abc":"‹key:a?c›","ac":"y","abbc":"z"}' },
  { what: 'a question mark for one character of several bytes', frame: '{"café":"x"}', left: '{"café":"‹key:caf?›"}' },
  { what: 'a question mark for a pair of surrogates', frame: '{"caf😀":"x"}', left: '{"caf😀":"‹key:caf?›"}' },
  { what: 'an escaped name', frame: '{"p\\u0061ssword":"x"}', left: `{"p\\u0061ssword":"${X}"}` },
  { what: 'a name of escapes only', frame: '{"\\u0073\\u0073\\u006E":"x"}', left: '{"\\u0073\\u0073\\u006E":"‹key:ssn›"}' },
  { what: 'a name beyond ASCII', frame: '{"contraseña":"x"}', left: '{"contraseña":"‹key:contraseña›"}' },
  { what: 'a name beyond ASCII, escaped', frame: '{"contrase\\u00f1a":"x"}', left: '{"contrase\\u00f1a":"‹key:contraseña›"}' },
  { what: 'a glob beyond the basic plane', frame: '{"\\ud83d\\ude00":"x"}', rules: [{ keys: ['😀'] }], left: '{"\\ud83d\\ude00":"‹key:😀›"}' },
  { what: 'a name twice', frame: '{"password":"x","a":1,"password":"y"}', left: `{"password":"${X}","a":1,"password":"${X}"}` },
  { what: '__proto__', frame: '{"__proto__":{"password":"x"},"constructor":"y"}', left: `{"__proto__":{"password":"${X}"},"constructor":"y"}` },
  {
    what: '__proto__ as a name',
    frame: '{"__proto__":"x","a":"y"}',
    rules: [{ keys: ['__proto__'] }],
    left: '{"__proto__":"‹key:__proto__›","a":"y"}',
  },
  { what: 'an empty name', frame: '{"":"x"}', rules: [{ keys: ['*'] }], left: '{"":"‹key:*›"}' },
  { what: 'every name', frame: '{"a":"x","b":{"c":1}}', rules: [{ keys: ['*'] }], left: '{"a":"‹key:*›","b":‹key:*›}' },
  { what: 'blanks around', frame: ' { "password" : "x" , "a" : 1 } ', left: ` { "password" : "${X}" , "a" : 1 } ` },
  // values
  { what: 'a number', frame: '{"password":1234,"a":1}', left: `{"password":${X},"a":1}` },
  {
    what: 'odd numbers stay',
    frame: '{"a":9007199254740993,"b":-0,"c":1.0,"d":1E+2,"password":-0.5e-7}',
    left: `{"a":9007199254740993,"b":-0,"c":1.0,"d":1E+2,"password":${X}}`,
  },
  { what: 'true', frame: '{"password":true}', left: `{"password":${X}}` },
  { what: 'null tells nothing', frame: '{"password":null}', left: '{"password":null}' },
  { what: 'the text null', frame: '{"password":"null"}', left: `{"password":"${X}"}` },
  { what: 'an empty text tells nothing', frame: '{"password":""}', left: '{"password":""}' },
  { what: 'an array', frame: '{"password":["a",{"b":2}],"c":3}', left: `{"password":${X},"c":3}` },
  { what: 'an object', frame: '{"password":{"value":"x","n":[1]}}', left: `{"password":${X}}` },
  { what: 'an empty object', frame: '{"password":{}}', left: `{"password":${X}}` },
  { what: 'below arrays', frame: '[[{"a":[{"password":"x"}]}]]', left: `[[{"a":[{"password":"${X}"}]}]]` },
  { what: 'escapes in the value', frame: '{"password":"a\\"b\\\\c\\n\\u0040"}', left: `{"password":"${X}"}` },
  { what: 'a value that ends in a backslash', frame: '{"password":"a\\\\","b":"c"}', left: `{"password":"${X}","b":"c"}` },
  { what: 'surrogates in the value', frame: '{"password":"\\ud83d\\ude00","b":"\\ud83d"}', left: `{"password":"${X}","b":"\\ud83d"}` },
  { what: 'several bytes before and behind', frame: '{"é€😀":"é","password":"ß😀","z":"é€😀"}', left: `{"é€😀":"é","password":"${X}","z":"é€😀"}` },
  // paths
  {
    what: 'a path',
    frame: '{"params":{"a":{"b":"x"}},"a":{"b":"y"}}',
    rules: [P('$.params.a.b')],
    left: '{"params":{"a":{"b":"‹path:$.params.a.b›"}},"a":{"b":"y"}}',
  },
  { what: 'a path to an object', frame: '{"a":{"b":1}}', rules: [P('$.a')], left: '{"a":‹path:$.a›}' },
  { what: 'a name in quotes', frame: '{"a b":{"c\'d":"x"}}', rules: [P("$['a b'][\"c'd\"]")], left: `{"a b":{"c'd":"‹path:$['a b']["c'd"]›"}}` },
  { what: 'an index', frame: '{"a":["x","y","z"]}', rules: [P('$.a[1]')], left: '{"a":["x","‹path:$.a[1]›","z"]}' },
  { what: 'an index is no name', frame: '{"a":{"1":"x"}}', rules: [P('$.a[1]')], left: '{"a":{"1":"x"}}' },
  { what: 'a name is no index', frame: '{"a":["x","y"]}', rules: [P("$.a['1']")], left: '{"a":["x","y"]}' },
  {
    what: 'every item',
    frame: '{"a":[{"b":"x"},{"b":2},3]}',
    rules: [P('$.a[*].b')],
    left: '{"a":[{"b":"‹path:$.a[*].b›"},{"b":‹path:$.a[*].b›},3]}',
  },
  {
    what: 'every member',
    frame: '{"a":{"x":"1","y":"2"},"b":"3"}',
    rules: [P('$.a.*')],
    left: '{"a":{"x":"‹path:$.a.*›","y":"‹path:$.a.*›"},"b":"3"}',
  },
  {
    what: 'at any depth',
    frame: '{"t":"1","a":[{"t":"2"}],"b":{"c":{"t":"3"}}}',
    rules: [P('$..t')],
    left: '{"t":"‹path:$..t›","a":[{"t":"‹path:$..t›"}],"b":{"c":{"t":"‹path:$..t›"}}}',
  },
  {
    what: 'at any depth below',
    frame: '{"t":"1","a":{"t":"2","b":{"t":"3"}}}',
    rules: [P('$.a..t')],
    left: '{"t":"1","a":{"t":"‹path:$.a..t›","b":{"t":"‹path:$.a..t›"}}}',
  },
  {
    what: 'any depth twice',
    frame: '{"a":{"x":{"a":{"y":"1"},"y":"2"}},"y":"3"}',
    rules: [P('$..a..a.y')],
    left: '{"a":{"x":{"a":{"y":"‹path:$..a..a.y›"},"y":"2"}},"y":"3"}',
  },
  { what: 'any depth, a name in quotes', frame: '{"b":[{"a b":"x"}]}', rules: [P("$..['a b']")], left: `{"b":[{"a b":"‹path:$..['a b']›"}]}` },
  {
    what: 'an escaped name on the way',
    frame: '{"p\\u0061rams":{"a":"x"}}',
    rules: [P('$.params.a')],
    left: '{"p\\u0061rams":{"a":"‹path:$.params.a›"}}',
  },
  { what: 'a name beyond ASCII on the way', frame: '{"\\u00fcber":"x"}', rules: [P('$.über')], left: '{"\\u00fcber":"‹path:$.über›"}' },
  {
    what: 'each message of a batch',
    frame: '[{"a":"x"},{"b":"y"},{"a":["z"]}]',
    rules: [P('$.a')],
    left: '[{"a":"‹path:$.a›"},{"b":"y"},{"a":‹path:$.a›}]',
  },
  { what: 'a path ends at a string', frame: S({ a: S({ b: 'x' }) }), rules: [P('$.a.b')], left: S({ a: S({ b: 'x' }) }) },
  {
    what: 'both of a name that is there twice',
    frame: '{"a":{"b":1},"a":{"b":2}}',
    rules: [P('$.a.b')],
    left: '{"a":{"b":‹path:$.a.b›},"a":{"b":‹path:$.a.b›}}',
  },
  // nested JSON
  { what: 'JSON in a string', frame: nested({ password: 'x' }, 1), left: '{"t":"{\\"password\\":\\"‹key:password›\\"}"}' },
  { what: 'JSON in a string, twice', frame: nested({ password: 'x' }, 2), left: nested({ password: 'QQ' }, 2).replace('QQ', X) },
  { what: 'JSON in a string, three times', frame: nested({ password: 'x' }, 3), left: nested({ password: 'QQ' }, 3).replace('QQ', X) },
  { what: 'JSON in a string, four times', frame: nested({ password: 'x' }, 4), left: nested({ password: 'QQ' }, 4).replace('QQ', X) },
  { what: 'JSON in a string, six times', frame: nested({ password: 'xyz' }, 6), left: nested({ password: 'QQ' }, 6).replace('QQ', X) },
  { what: 'an object in nested JSON', frame: nested({ password: { a: ['x'] }, b: 1 }, 1), left: `{"t":"{\\"password\\":${X},\\"b\\":1}"}` },
  {
    what: 'an escaped name in nested JSON',
    frame: '{"t":"{\\"p\\\\u0061ssword\\":\\"x\\"}"}',
    left: '{"t":"{\\"p\\\\u0061ssword\\":\\"‹key:password›\\"}"}',
  },
  {
    what: 'nested JSON in escapes',
    frame: '{"t":"\\u007b\\u0022password\\u0022:\\u0022x\\u0022}"}',
    left: '{"t":"\\u007b\\u0022password\\u0022:\\u0022‹key:password›\\u0022}"}',
  },
  { what: 'a nested array', frame: T('[{"password":"x"}]'), left: '{"t":"[{\\"password\\":\\"‹key:password›\\"}]"}' },
  {
    what: 'nested JSON with blanks',
    frame: T(' \n{\n  "password" : "x"\n}\n'),
    left: '{"t":" \\n{\\n  \\"password\\" : \\"‹key:password›\\"\\n}\\n"}',
  },
  {
    what: 'JSON in JSON in a text',
    frame: T(`Result: ${nested({ password: 'x y' }, 1)}`),
    left: T(`Result: ${nested({ password: 'QQ' }, 1)}`).replace('QQ', X),
  },
  { what: 'an object in a text', frame: T('Result: {"password":{"a":"x y"}} ok'), left: `{"t":"Result: {\\"password\\":${X}} ok"}` },
  { what: 'JSON that is cut', frame: T('{"password":"x y","b":'), left: '{"t":"{\\"password\\":\\"‹key:password›\\",\\"b\\":"}' },
  { what: 'a value with a quote in a text', frame: T('= {"password":"x\\"y z"} ok'), left: '{"t":"= {\\"password\\":\\"‹key:password›\\"} ok"}' },
  // assignments
  { what: 'an assignment', frame: T('password=hunter2'), left: `{"t":"password=${X}"}` },
  { what: 'of several', frame: T('user=alice password=hunter2 b=c'), left: `{"t":"user=alice password=${X} b=c"}` },
  { what: 'with a colon', frame: T('the password: hunter2, sir'), left: `{"t":"the password: ${X}, sir"}` },
  { what: 'in a column', frame: T('Password:            hunter2'), left: `{"t":"Password:            ${X}"}` },
  { what: 'before a column', frame: T('password            = hunter2'), left: `{"t":"password            = ${X}"}` },
  { what: 'in quotes', frame: T("password='a b c' x"), left: `{"t":"password='${X}' x"}` },
  { what: 'in quotes, over lines', frame: T('password="a\nb" x'), left: `{"t":"password=\\"${X}\\" x"}` },
  { what: 'in quotes that do not end', frame: T('password="a b\nc'), left: `{"t":"password=\\"${X}\\nc"}` },
  {
    what: 'other signs',
    frame: T('password := a; password => b; password == c'),
    left: `{"t":"password := ${X}; password => ${X}; password == ${X}"}`,
  },
  {
    what: 'an index of that name',
    frame: T('config["password"] = "x"; user[password]=y'),
    left: `{"t":"config[\\"password\\"] = \\"${X}\\"; user[password]=${X}"}`,
  },
  { what: 'a name with dots', frame: T('db.password=x'), left: `{"t":"db.password=${X}"}` },
  { what: 'a value with separators', frame: T('say password=a,b;c&d)e or'), left: `{"t":"say password=${X} or"}` },
  { what: 'a query', frame: T('https://x.example/?a=1&password=x&b=2#c'), left: `{"t":"https://x.example/?a=1&password=${X}&b=2#c"}` },
  {
    what: 'behind a long value',
    frame: T(`url=https://x.example/${'a'.repeat(100)}?b=1&password=x`),
    left: T(`url=https://x.example/${'a'.repeat(100)}?b=1&password=QQ`).replace('QQ', X),
  },
  { what: 'in a long value', frame: T(`note="${'a '.repeat(60)}password=x"`), left: T(`note="${'a '.repeat(60)}password=QQ"`).replace('QQ', X) },
  { what: 'in a call', frame: T('login(password=x) and'), left: `{"t":"login(password=${X}) and"}` },
  { what: 'an option', frame: T('mysql --password x -u root'), left: `{"t":"mysql --password ${X} -u root"}` },
  { what: 'an element', frame: T('<a><password>x y</password></a>'), left: `{"t":"<a><password>${X}</password></a>"}` },
  { what: 'YAML below a name', frame: T('a:\n  password:\n    - x\n    - y\n  b: c'), left: `{"t":"a:\\n  password:${X}\\n  b: c"}` },
  { what: 'a YAML block', frame: T('password: |\n  x\n  y\nb: c'), left: `{"t":"password: ${X}\\nb: c"}` },
  { what: 'nothing behind the sign', frame: T('password=\nuser=bob'), left: T('password=\nuser=bob') },
  { what: 'a name in a longer name', frame: T('mypassword=x max_tokens=5'), left: T('mypassword=x max_tokens=5') },
  { what: 'a name beyond ASCII in a text', frame: T('la contraseña: x'), left: '{"t":"la contraseña: ‹key:contraseña›"}' },
  { what: 'an assignment in a name', frame: '{"password=x":1}', left: `{"password=${X}":1}` },
  { what: 'an escaped assignment', frame: '{"t":"p\\u0061ssword\\u003dx y"}', left: `{"t":"p\\u0061ssword\\u003d${X} y"}` },
  { what: 'several bytes before an assignment', frame: T('é€😀\n password=ñ😀ñ é'), left: `{"t":"é€😀\\n password=${X} é"}` },
  // headers
  {
    what: 'a header',
    frame: T('GET / HTTP/1.1\r\nAuthorization: Bearer abc\r\nHost: x'),
    left: '{"t":"GET / HTTP/1.1\\r\\nAuthorization: ‹key:authorization›\\r\\nHost: x"}',
  },
  { what: 'two blanks in a header', frame: T('Authorization: Bearer  abc'), left: '{"t":"Authorization: ‹key:authorization›"}' },
  {
    what: 'a header of several parts',
    frame: T('Authorization: Digest username="u", response="r"\nA: b'),
    left: '{"t":"Authorization: ‹key:authorization›\\nA: b"}',
  },
  { what: 'cookies', frame: T('Cookie: a=1; b=2\nA: b'), left: '{"t":"Cookie: ‹key:cookie›\\nA: b"}' },
  { what: 'a header in an argument', frame: T("curl -H 'Cookie: a=1; b=2' https://x"), left: `{"t":"curl -H 'Cookie: ‹key:cookie›' https://x"}` },
  {
    what: 'a header as a member',
    frame: '{"headers":{"Authorization":"Bearer abc","Accept":"*/*"}}',
    left: '{"headers":{"Authorization":"‹key:authorization›","Accept":"*/*"}}',
  },
  { what: 'a scheme under another name', frame: T('my api_token: Bearer abc def'), left: '{"t":"my api_token: ‹key:*_token› def"}' },
  // detectors
  { what: 'an address', frame: '{"a":"mail alice@example.org now"}', rules: [D], left: '{"a":"mail ‹email› now"}' },
  { what: 'an escaped address', frame: '{"a":"alice\\u0040example.org\\n"}', rules: [D], left: '{"a":"‹email›\\n"}' },
  { what: 'an address as a name', frame: '{"alice@example.org":1}', rules: [D], left: '{"‹email›":1}' },
  { what: 'an escaped address as a name', frame: '{"\\u0061lice\\u0040example.org":1}', rules: [D], left: '{"‹email›":1}' },
  { what: 'an address behind several bytes', frame: '{"a":"é€😀 alice@example.org é"}', rules: [D], left: '{"a":"é€😀 ‹email› é"}' },
  {
    what: 'an address behind several bytes and an escape',
    frame: '{"a":"é€😀\\nalice@example.org é"}',
    rules: [D],
    left: '{"a":"é€😀\\n‹email› é"}',
  },
  { what: 'a password beyond ASCII', frame: T('password=Noël7geheim9Zx und'), rules: [D], left: '{"t":"password=‹password› und"}' },
  { what: 'a number as a number', frame: '{"card":4111111111111111,"n":5}', rules: [D], left: '{"card":‹card›,"n":5}' },
  {
    what: 'a key over two strings',
    frame: '{"a":"-----BEGIN PRIVATE KEY-----","n":7,"b":"MIIabc\\n-----END PRIVATE KEY-----"}',
    rules: [P('$.x')],
    left: '{"a":"-----BEGIN PRIVATE KEY-----","n":7,"b":"MIIabc\\n-----END PRIVATE KEY-----"}',
  },
  // several rules
  { what: 'the first rule names it', frame: '{"password":"x"}', rules: [K, { keys: ['pass*'] }], left: `{"password":"${X}"}` },
  { what: 'a key goes before a detector', frame: '{"password":"alice@example.org"}', rules: [D, K], left: `{"password":"${X}"}` },
  {
    what: 'drop goes before checkable',
    frame: '{"password":"x"}',
    rules: [{ keys: ['password'], keep: 'checkable' }, { keys: ['pass*'] }],
    left: `{"password":"‹key:password?›"}`,
  },
  {
    what: 'a path drops what a key keeps',
    frame: '{"password":"x"}',
    rules: [{ keys: ['password'], keep: 'checkable' }, P('$.password')],
    left: `{"password":"${X}"}`,
  },
  {
    what: 'drop inside of checkable',
    frame: '{"cookie":{"password":"x"},"b":1}',
    rules: [{ keys: ['cookie'], keep: 'checkable' }, { keys: ['password'] }],
    left: `{"cookie":${X},"b":1}`,
  },
  {
    what: 'checkable',
    frame: '{"password":"x","ssn":"y"}',
    rules: [{ keys: ['ssn'], keep: 'checkable' }, { keys: ['password'] }],
    left: `{"password":"${X}","ssn":"‹key:ssn?›"}`,
  },
  {
    what: 'one value, dropped here and checkable there',
    frame: '{"password":"secret-1","ssn":"secret-1"}',
    rules: [{ keys: ['ssn'], keep: 'checkable' }, { keys: ['password'] }],
    left: `{"password":"${X}","ssn":"‹key:ssn›"}`,
  },
  // repeated
  { what: 'a value again', frame: '{"password":"hunter2","t":"is hunter2."}', left: `{"password":"${X}","t":"is ‹repeated›."}` },
  { what: 'a value before', frame: '{"t":"is hunter2.","password":"hunter2"}', left: `{"t":"is ‹repeated›.","password":"${X}"}` },
  { what: 'a value in other escapes', frame: '{"password":"hunter2","t":"is h\\u0075nter2"}', left: `{"password":"${X}","t":"is ‹repeated›"}` },
  {
    what: 'a value in nested JSON',
    frame: S({ password: 'a"bcdef', t: S({ x: ['is a"bcdef'] }) }),
    left: `{"password":"${X}","t":"{\\"x\\":[\\"is ‹repeated›\\"]}"}`,
  },
  { what: 'a value as a name', frame: '{"password":"hunter2","hunter2":1}', left: `{"password":"${X}","‹repeated›":1}` },
  {
    what: 'a number in a number',
    frame: '{"password":12345678,"b":9123456780123,"c":"n12345678"}',
    left: `{"password":${X},"b":‹repeated›,"c":"n‹repeated›"}`,
  },
  { what: 'a value that an escape only looks like', frame: '{"password":"n12345","b":"\\n12345"}', left: `{"password":"${X}","b":"\\n12345"}` },
  {
    what: 'what an object held',
    frame: '{"password":{"a":"hunter2x","type":"string"},"b":"is hunter2x","c":"string"}',
    left: `{"password":${X},"b":"is ‹repeated›","c":"string"}`,
  },
  { what: 'a short value is not looked for', frame: '{"password":"abc","b":"abc"}', left: `{"password":"${X}","b":"abc"}` },
  { what: 'one letter is not looked for', frame: '{"password":"aaaaaaa","b":"aaaaaaaaa"}', left: `{"password":"${X}","b":"aaaaaaaaa"}` },
  // not JSON
  { what: 'an empty frame', frame: '', left: '' },
  { what: 'blanks', frame: ' \t\r', left: ' \t\r' },
  { what: 'cut JSON', frame: '{"password":"x', left: '‹unreadable›' },
  { what: 'garbage behind', frame: '{"a":1}}', left: '‹unreadable›' },
  { what: 'two documents', frame: '{"a":1}{"password":"x"}', left: '‹unreadable›' },
  { what: 'NaN', frame: '{"a":NaN}', left: '‹unreadable›' },
  { what: 'a comma too many', frame: '[1,]', left: '‹unreadable›' },
  { what: 'no such escape', frame: '{"a":"\\x"}', left: '‹unreadable›' },
  { what: 'half an escape', frame: '{"a":"\\u12"}', left: '‹unreadable›' },
  { what: 'a leading zero', frame: '{"a":01}', left: '‹unreadable›' },
  { what: 'a byte order mark', frame: '\ufeff{"a":1}', left: '‹unreadable›' },
  { what: 'plain words', frame: 'listening, password=hunter2 ok', left: `listening, password=${X} ok` },
  { what: 'cut JSON where only detectors look', frame: '{"a":"alice@example.org', rules: [D], left: '{"a":"‹email›' },
  { what: 'cut JSON with escapes where only detectors look', frame: '{"a":"alice\\u0040example.org', rules: [D], left: '‹unreadable›' },
  { what: '512 levels', frame: deep(511, '{"password":"x"}'), left: deep(511, `{"password":"${X}"}`) },
  { what: '514 levels', frame: deep(514, '1'), left: '‹unreadable›' },
  { what: 'not readable, all checkable', frame: '{"a', rules: [{ keys: ['a'], keep: 'checkable' }], left: '‹unreadable?›' },
  { what: 'not readable, one dropped', frame: '{"a', rules: [{ keys: ['a'], keep: 'checkable' }, D], left: '‹unreadable›' },
  {
    what: 'invalid UTF-8 around',
    frame: bytesOf('{"a":"', [0xff, 0xc3], '","password":"', [0xff, 0xfe], '"}'),
    left: `{"a":"\ufffd\ufffd","password":"${X}"}`,
  },
  { what: 'a control character in a string', frame: '{"a":"\u0001","password":"x"}', left: `{"a":"\u0001","password":"${X}"}` },
  { what: 'a text alone', frame: '"password=hunter2"', left: `"password=${X}"` },
  { what: 'a number alone', frame: '42', left: '42' },
];

test('the table is long enough', () => {
  expect(rows.length).toBeGreaterThanOrEqual(80);
});

test.for(rows)('$what', async ({ frame, rules = [K], left }) => {
  const redactor = await redactorOf(...rules);
  const bytes = typeof frame === 'string' ? utf8(frame) : frame;
  const before = bytes.slice();
  const ranges = redactor.ranges(bytes);
  expect(shown(bytes, ranges)).toBe(left);
  expect(bytes).toEqual(before);
  expectSound(bytes, ranges);
  // a redactor keeps nothing of one frame for the next
  expect(redactor.ranges(bytes)).toEqual(ranges);
  // nor does it matter where the bytes stand
  expect(redactor.ranges(bytes, 1000)).toEqual(ranges.map((one) => ({ ...one, start: one.start + 1000, end: one.end + 1000 })));
});

test('members beyond count, and ranges beyond count', async () => {
  const redactor = await redactorOf(K);
  const many = utf8(`{${Array.from({ length: 50_000 }, (_, at) => `"k${at}":${at}`).join(',')},"password":"x"}`);
  const ranges = redactor.ranges(many);
  expect(ranges).toEqual([{ start: many.length - 3, end: many.length - 2, rule: 'key:password', keep: 'drop' }]);
  const most = utf8(`[${Array.from({ length: redactedRanges }, () => '{"password":"x"}').join(',')}]`);
  expect(redactor.ranges(most)).toHaveLength(redactedRanges);
  const over = utf8(`[${Array.from({ length: 10 * redactedRanges }, () => '{"password":"x"}').join(',')},{"a":1}]`);
  const [one, ...more] = redactor.ranges(over);
  expect(more).toEqual([]);
  expect(latin(over.subarray(0, one!.start))).toBe('[{"password":"');
  expect(latin(over.subarray(one!.end))).toBe('"},{"a":1}]');
});

test('a hostile nesting does not multiply the ways of a path', async () => {
  const redactor = await redactorOf(P(`$${'..a'.repeat(30)}`));
  const frame = utf8(`${'{"a":'.repeat(500)}1${'}'.repeat(500)}`);
  const [outer] = redactor.ranges(frame);
  expect(outer!.start).toBe(30 * 5);
});

describe('lists and pairs, whatever else is in the frame', () => {
  const secret = 'Vx9q81Rq4W';
  const KD: Given = { keys: ['password', '*_token', 'authorization'], detect: ['secrets', 'pii'] };
  const both = [KD];
  const keys = [{ keys: KD.keys! }];
  const detect = [{ detect: KD.detect! }];
  test.for<[what: string, value: unknown, rules: Given[]]>([
    ['an option and its value', { args: ['--password', secret] }, keys],
    ['an option and its value, by detector', { args: ['--password', secret] }, detect],
    ['an option and its value, by both', { args: ['--password', secret] }, both],
    ['one dash', { args: ['run', '-password', secret] }, keys],
    ['a path before its name', { args: ['--set', '--db.password', secret] }, keys],
    ['an option with hyphens', { args: ['--api-token', secret] }, keys],
    ['an option and a list', { args: ['--password', [secret]] }, keys],
    ['an option and an object', { args: ['--password', { a: secret }] }, keys],
    ['curl', { args: ['curl', '-u', `bob:${secret}`] }, detect],
    ['curl, in a list in a list', [[['curl', '-s', '-u', `bob:${secret}`, 'https://x.example']]], detect],
    ['mysql', { command: 'mysql', args: [`-p${secret}`] }, detect],
    ['mysql, further back', { command: 'mysql', cwd: '/tmp', args: ['-u', 'root', `-p${secret}`] }, detect],
    ['sshpass', { argv: ['sshpass', '-p', secret, 'ssh', 'x'] }, detect],
    ['docker', { command: 'docker login', args: ['-u', 'bob', '-p', secret] }, detect],
    ['a list in a string', { body: JSON.stringify(['curl', '-u', `bob:${secret}`]) }, detect],
    ['a name with a blank', { 'Password ': secret }, detect],
    ['a name with a blank, by its name', { 'Password ': secret }, keys],
    ['a name with brackets', { 'user[password]': secret }, detect],
    ['a name with brackets, by its name', { 'user[password]': secret }, keys],
    ['a name with quotes in brackets', { "user['password']": secret }, detect],
    ['a header', { headers: [{ name: 'Authorization', value: secret }] }, keys],
    ['a header, the other way round', { headers: [{ value: secret, name: 'Authorization' }] }, keys],
    ['a header with several values', { headers: [{ key: 'Authorization', values: [secret] }] }, keys],
    ['a header as a pair', { headers: [['Authorization', secret]] }, keys],
    [
      'a header as a pair in a string',
      {
        headers: JSON.stringify([
          ['Accept', 'x'],
          ['Authorization', `${secret}"`],
        ]),
      },
      keys,
    ],
  ])('%s', async ([, value, rules]) => {
    const redactor = await redactorOf(...rules);
    for (const more of [{}, { note: 'a\nb' }, { note: 'a   b' }]) {
      const frame = utf8(S({ value, ...more, said: `it is ${secret}` }));
      const ranges = redactor.ranges(frame, 0, [], true);
      expectSound(frame, ranges);
      expect(shown(frame, ranges)).not.toContain(secret);
      JSON.parse(decoder.decode(filled(pieces(frame, ranges))));
    }
    const escaped = utf8(S({ value }).replaceAll('-', '\\u002d').replaceAll('9', '\\u0039'));
    const left = shown(escaped, redactor.ranges(escaped, 0, [], true));
    expect(left).not.toContain('q81Rq4W');
  });

  test('what is none stays', async () => {
    for (const value of [
      { args: ['--verbose', secret, '--password-file', 'abc'] },
      { columns: ['password', 'username'] },
      { pairs: [['password', 'username', 'mail']] },
      { properties: [{ name: 'user', value: secret }] },
      { name: 'password', text: secret },
      { command: 'mkdir', args: [`-p${secret}`] },
    ]) {
      for (const more of [{}, { note: 'a\nb' }]) {
        const frame = utf8(S({ value, ...more }));
        expect(shown(frame, (await redactorOf(KD)).ranges(frame))).toBe(S({ value, ...more }));
      }
    }
  });
});

test.for<[frame: string, left: string]>([
  ['{"password":"k9!Lz","note":"my code k9!Lz"}', '{"password":"‹key:password›","note":"my code ‹repeated›"}'],
  ['{"note":"é7x","password":"é7x"}', '{"note":"‹repeated›","password":"‹key:password›"}'],
  ['{"password":"k9!","note":"my code k9!"}', '{"password":"‹key:password›","note":"my code k9!"}'],
  ['{"password":"12345","note":"my code 12345"}', '{"password":"‹key:password›","note":"my code 12345"}'],
  ['{"password":"true","note":"true"}', '{"password":"‹key:password›","note":"true"}'],
])('short values are looked for where they are no words or numbers: %s', async ([frame, left]) => {
  const bytes = utf8(frame);
  expect(shown(bytes, (await redactorOf(K)).ranges(bytes))).toBe(left);
});

test('a detector that reaches over several strings leaves a frame that can be read', async () => {
  const redactor = await redactorOf(D);
  const frame = utf8(S({ a: '-----BEGIN PRIVATE KEY-----', n: 7, b: ['MIIabcdefghijklmnop', true], c: '-----END PRIVATE KEY-----', d: 'last' }));
  const ranges = redactor.ranges(frame);
  expectSound(frame, ranges);
  expect(Object.keys(JSON.parse(decoder.decode(filled(pieces(frame, ranges)))) as object)).toEqual(['a', 'n', 'b', 'c', 'd']);
});

describe('what was found is looked for in the answer', () => {
  const found = async (request: string, answer: string, asked: Given[], answering = asked): Promise<string> => {
    const bytes = utf8(request);
    const values = valuesOf(bytes, (await redactorOf(...asked)).ranges(bytes))!;
    const reply = utf8(answer);
    return shown(reply, (await redactorOf(...answering)).ranges(reply, 0, values));
  };

  test.for<[what: string, request: string, answer: string, left: string]>([
    ['in a sentence', '{"password":"hunter2x"}', '{"t":"is hunter2x!"}', '{"t":"is ‹repeated›!"}'],
    ['other escapes', '{"password":"hunter2x"}', '{"t":"is h\\u0075nter2x!"}', '{"t":"is ‹repeated›!"}'],
    ['escaped in the request', '{"password":"h\\u0075nter2x"}', '{"t":"is hunter2x!"}', '{"t":"is ‹repeated›!"}'],
    ['nested in the answer', '{"password":"a\\"bcdef"}', S({ t: S({ x: 'a"bcdef' }) }), '{"t":"{\\"x\\":\\"‹repeated›\\"}"}'],
    ['nested in the request', S({ t: S({ password: 'a"bc\\def' }) }), T('is a"bc\\def'), '{"t":"is ‹repeated›"}'],
    ['a long one', S({ password: `q7${'ab'.repeat(5000)}` }), T(`is q7${'ab'.repeat(5000)}!`), '{"t":"is ‹repeated›!"}'],
    ['JSON in a string', '{"password":"{\\"inside\\":\\"hunter2x\\"}"}', T('is hunter2x'), '{"t":"is ‹repeated›"}'],
    [
      'quoted JSON in a sentence',
      S({ password: 'a7"bc\\def' }),
      T(`Answer: ${S({ again: S({ x: 'a7"bc\\def' }) })}`),
      T(`Answer: ${S({ again: S({ x: 'QQ' }) })}`).replace('QQ', '‹repeated›'),
    ],
    ['the word behind a scheme', '{"authorization":"Bearer abc-123-def"}', T('is abc-123-def'), '{"t":"is ‹repeated›"}'],
    ['one of several cookies', T('Cookie: a=abc-123-def; b=ok'), T('is abc-123-def ok'), '{"t":"is ‹repeated› ok"}'],
    ['of an object', '{"password":{"a":"hunter2x"}}', T('is hunter2x'), '{"t":"is ‹repeated›"}'],
    ['a number', '{"password":12345678}', '{"t":"is 12345678","n":12345678}', '{"t":"is ‹repeated›","n":‹repeated›}'],
    ['beyond ASCII', '{"password":"contrase\\u00f1a"}', T('es contraseña!'), '{"t":"es ‹repeated›!"}'],
    ['without JSON', '{"password":"hunter2x"}', 'is hunter2x!', 'is ‹repeated›!'],
  ])('%s', async ([, request, answer, left]) => {
    expect(await found(request, answer, [K])).toBe(left);
  });

  test('with rules that are about the request alone', async () => {
    expect(await found('{"password":"hunter2x"}', T('is hunter2x'), [K], [])).toBe('{"t":"is ‹repeated›"}');
  });

  test('as it was kept there', async () => {
    const checkable: Given = { keys: ['ssn'], keep: 'checkable' };
    expect(await found('{"password":"hunter2x"}', T('is hunter2x'), [K], [checkable])).toBe('{"t":"is ‹repeated›"}');
    expect(await found('{"ssn":"hunter2x"}', T('is hunter2x'), [checkable], [K])).toBe('{"t":"is ‹repeated?›"}');
  });

  test('many of them', async () => {
    const values = Array.from({ length: 60 }, (_, at) => `value-${at}-x`);
    const left = await found(S(values.map((password) => ({ password }))), S(values), [K]);
    expect(left).toBe(S(values.map(() => '‹repeated›')));
  });
});

test('apart: ascending, joined where they meet, dropped before checkable', () => {
  const one = (start: number, end: number, rule: string, keep: Redaction['keep'] = 'drop'): Redaction => ({ start, end, rule, keep });
  expect(apart([])).toEqual([]);
  expect(apart([one(5, 9, 'a', 'checkable'), one(0, 6, 'b')])).toEqual([one(0, 9, 'a')]);
  expect(apart([one(5, 9, 'email'), one(5, 9, 'key:x')])).toEqual([one(5, 9, 'key:x')]);
  expect(apart([one(0, 5, 'a'), one(5, 9, 'b', 'checkable')])).toEqual([one(0, 5, 'a'), one(5, 9, 'b', 'checkable')]);
});

test('filled: strings stay strings, values stay values, escapes stay whole', () => {
  const fill = (...parts: (string | number)[]): string =>
    decoder.decode(filled(parts.map((part) => (typeof part === 'number' ? { missingBytes: part } : { bytes: utf8(part) }))));
  expect(fill('{"a":"', 3, '"}')).toBe('{"a":"xxx"}');
  expect(fill('{"a":', 3, '}')).toBe('{"a":0  }');
  expect(fill('{"a\\"":"b\\\\', 2, '","c":', 1, '}')).toBe('{"a\\"":"b\\\\xx","c":0}');
  expect(fill(4)).toBe('0   ');
  expect(fill('', 0)).toBe('');
});

describe('our own texts', () => {
  test.for<[unknown, unknown]>([
    [
      ['--password', 'x', 'y'],
      ['--password', '[redacted key:password]', 'y'],
    ],
    [
      ['-password', 'x'],
      ['-password', '[redacted key:password]'],
    ],
    [
      ['--x-token=abc', 'b'],
      ['--x-token=[redacted key:*_token]', 'b'],
    ],
    [
      ['--x-token', 'abc'],
      ['--x-token', '[redacted key:*_token]'],
    ],
    [
      ['--db.password', 'x'],
      ['--db.password', '[redacted key:password]'],
    ],
    [
      ['--contraseña', 'x'],
      ['--contraseña', '[redacted key:contraseña]'],
    ],
    [
      ['-p', 'x'],
      ['-p', 'x'],
    ],
    [
      ['PASSWORD=x', 'node'],
      ['PASSWORD=[redacted key:password]', 'node'],
    ],
    [
      ['-H', 'Authorization: Bearer x y'],
      ['-H', 'Authorization: [redacted key:authorization]'],
    ],
    ['run --password x é', 'run --password [redacted key:password] é'],
    ['é password=ñ é', 'é password=[redacted key:password] é'],
    [
      { password: 'x', a: 'y' },
      { password: '[redacted key:password]', a: 'y' },
    ],
    [{ contraseña: 'x' }, { contraseña: '[redacted key:contraseña]' }],
    [
      { password: 12, a: 12 },
      { password: null, a: 12 },
    ],
    [{ password: { a: 'x', b: [1, true, ''], c: null } }, { password: { a: '[redacted key:password]', b: [null, true, ''], c: null } }],
    [{ 'password=x': 1 }, { 'password=[redacted key:password]': 1 }],
    [JSON.parse('{"__proto__":{"password":"x"}}'), JSON.parse('{"__proto__":{"password":"[redacted key:password]"}}')],
    [undefined, undefined],
    [null, null],
    ['', ''],
  ])('%j', async ([value, cleaned]) => {
    expect((await redactorOf(K)).cleanAll(value)).toEqual(cleaned);
  });

  test('-p where the file says so, and nothing without rules', async () => {
    expect((await redactorOf({ keys: ['p'] })).cleanAll(['-p', 'x', '-q', 'y'])).toEqual(['-p', '[redacted key:p]', '-q', 'y']);
    expect((await redactorOf()).cleanAll(['--password', 'x'])).toEqual(['--password', 'x']);
    expect((await redactorOf(D)).clean('mail é alice@example.org é')).toBe('mail é [redacted email] é');
  });
});

// properties

const names = ['password', 'Api-Token', 'AUTHORIZATION', 'contraseña', 'café', 'ssn', 'secret_stuff'];

/** Documents with `§n§` where a secret is to stand, each below a name that is looked for. */
const planted = fc.letrec((tie) => ({
  plain: fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom('a=b', 'x: y', 'password', '{"a":', '["x"]', '\\', '"', 'é€😀', 'n', 'u0041'),
  ),
  secret: fc.record({ '§': fc.constantFrom('string', 'array', 'object', 'nested', 'number'), name: fc.constantFrom(...names) }),
  inString: fc.record({ '§§': tie('any') }),
  inText: fc.record({
    '§=': fc.constantFrom('password=', 'the ssn: ', 'x_token => ', '{"password" : ', '--password '),
    tail: fc.constantFrom('', ' and more', '\nb=c', ', user: u'),
  }),
  object: fc.dictionary(fc.string({ maxLength: 6 }), tie('any'), { maxKeys: 4, noNullPrototype: true }),
  array: fc.array(tie('any'), { maxLength: 4 }),
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    tie('plain'),
    tie('secret'),
    tie('inText'),
    tie('object'),
    tie('array'),
    tie('inString'),
  ),
}));

/** Plants a secret at each mark. */
function plant(node: unknown, random: () => number, secrets: string[]): unknown {
  if (Array.isArray(node)) return node.map((item) => plant(item, random, secrets));
  if (typeof node !== 'object' || node === null) return node;
  const marked = node as Record<string, unknown>;
  if ('§§' in marked) return written(plant(marked['§§'], random, secrets), random);
  const word = (extra: string): string => `s${Math.floor(random() * 1e9).toString(36)}Q${Math.floor(random() * 1e9).toString(36)}${extra}z`;
  if ('§=' in marked) {
    const secret = word(['', '', 'é', '😀', '/+'][Math.floor(random() * 5)]!);
    secrets.push(secret);
    const before = String(marked['§=']);
    return `note ${before}${before.endsWith(': ') && before.startsWith('{') ? JSON.stringify(secret) : secret}${String(marked['tail'])}`;
  }
  if ('§' in marked) {
    const secret =
      marked['§'] === 'number'
        ? String(1e11 + Math.floor(random() * 8e11))
        : word(['', '', '"', '\\', '\n', 'é', '😀', '/', ' b', '\u0001'][Math.floor(random() * 10)]!);
    secrets.push(secret);
    const value =
      marked['§'] === 'number'
        ? Number(secret)
        : marked['§'] === 'array'
          ? [secret, 1]
          : marked['§'] === 'object'
            ? { value: secret, more: [true] }
            : marked['§'] === 'nested'
              ? written({ inside: secret }, random)
              : secret;
    return { a: 1, [String(marked['name'])]: value, z: 'last' };
  }
  return Object.fromEntries(Object.entries(marked).map(([name, inner]) => [name, plant(inner, random, secrets)]));
}

/** All that a reader could make of what is left: as it stands, and every string in it decoded, also strings in strings. */
function everyReading(text: string, levels = 6): string {
  let all = text;
  let last = text;
  for (let level = 0; level < levels; level++) {
    const next = last.replaceAll(/\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))/g, (_, hex: string | undefined, letter: string | undefined) =>
      hex === undefined
        ? (({ b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' } as Record<string, string>)[letter!] ?? letter!)
        : String.fromCharCode(Number.parseInt(hex, 16)),
    );
    if (next === last) break;
    all += `\n${next}`;
    last = next;
  }
  return all;
}

/** The names of the objects that are not left out as a whole. */
function sameKeys(before: unknown, after: unknown): void {
  if (typeof after !== 'object' || after === null) return;
  expect(Array.isArray(after)).toBe(Array.isArray(before));
  const names = Object.keys(after);
  expect(names).toEqual(Object.keys(before as object));
  for (const name of names) sameKeys((before as Record<string, unknown>)[name], (after as Record<string, unknown>)[name]);
}

test('planted secrets do not stay, in any form, and everything else does', { timeout: 120_000 }, async () => {
  const redactors = [
    await redactorOf(K),
    await redactorOf({ keys: K.keys!, keep: 'checkable' }, { detect: ['secrets'] }),
    await redactorOf(K, D, P('$..nothing', '$.a[*].b')),
  ];
  fc.assert(
    fc.property(planted.any, fc.integer(), fc.nat(2), (model, seed, which) => {
      const random = randomOf(seed);
      const secrets: string[] = [];
      const document = { jsonrpc: '2.0', params: plant(model, random, secrets), last: 1 };
      const bytes = utf8(written(document, random));
      const ranges = redactors[which]!.ranges(bytes);
      expectSound(bytes, ranges);
      let at = 0;
      let kept = '';
      for (const { start, end } of [...ranges, { start: bytes.length, end: bytes.length }]) {
        kept += `${Buffer.from(bytes.subarray(at, start)).toString()}\u0000`;
        at = end;
      }
      const readings = everyReading(kept);
      for (const secret of secrets) {
        expect(readings).not.toContain(secret);
        expect(readings).not.toContain(JSON.stringify(secret).slice(1, -1));
      }
      const whole = JSON.parse(decoder.decode(filled(pieces(bytes, ranges)))) as unknown;
      sameKeys(JSON.parse(decoder.decode(bytes)), whole);
    }),
    { numRuns: 3000 },
  );
});

test('any bytes at all give ranges that are in order and leave the rest as it was', () => {
  const some = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .array(
        fc.constantFrom(
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '"',
          '\\',
          '\\"',
          '\\u0041',
          'password',
          '"password":',
          '=',
          ' ',
          '\n',
          'x',
          '1',
          '-',
          '<',
          '>',
          "'",
          'é',
          'alice@example.org',
          'null',
        ),
        { maxLength: 40 },
      )
      .map((parts) => utf8(parts.join(''))),
    fc.json().map(utf8),
  );
  const redactors = Promise.all([
    redactorOf(K),
    redactorOf(D),
    redactorOf(K, D, P('$..x', '$[*].a', '$.*')),
    redactorOf({ keys: ['*'], keep: 'checkable' }),
  ]);
  return redactors.then((all) =>
    fc.assert(
      fc.property(some, fc.nat(3), fc.array(fc.string(), { maxLength: 3 }), (bytes, which, known) => {
        const before = bytes.slice();
        const ranges = all[which]!.ranges(bytes, 0, known);
        expect(bytes).toEqual(before);
        expectSound(bytes, ranges);
        expect(filled(pieces(bytes, ranges))).toHaveLength(bytes.length);
        let isJson = true;
        try {
          JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
        } catch {
          isJson = false;
        }
        if (isJson) JSON.parse(decoder.decode(filled(pieces(bytes, ranges))));
      }),
      { numRuns: 4000 },
    ),
  );
});
