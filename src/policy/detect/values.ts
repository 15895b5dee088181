/** What stands where a secret would stand and is none: placeholders, names, kinds, places, words of a sentence. */

const words = new Set(
  (
    'null none nil undefined true false yes no on off void any unknown never string number integer boolean object array text str bool bytes buffer secretstr ' +
    'required optional missing empty blank hidden masked invalid incorrect wrong expired valid correct disabled enabled default unset not set ' +
    'redacted removed censored filtered placeholder example sample dummy test changeme changeit change_me change-me replaceme replace_me todo tbd fixme n/a secret ' +
    'password passwd passphrase pass passwort kennwort token user username user:pass your yours ' +
    'must should shall will would can could may might cannot please enter type choose create forgot forgotten reset update updated changed confirm new old current ' +
    'the this that these those there here what when where which who why how and but for from with without within into onto only also then than they them their ' +
    'has have had was were been being are does did done use uses used using see read click check make sure keep never always same different strong weak short long ' +
    'minimum maximum least most more less many some all each every other another it its your our include same-origin omit inline prompt stdin env file ' +
    'success failed failure error denied accepted rejected ok okay pending hash hashed plain plaintext encrypted field input label value varchar char basic bearer digest'
  ).split(' '),
);

/** Two or more of the same sign, dots and stars and the like, or something that is filled in later. */
export function isPlaceholder(text: string): boolean {
  const first = text.charCodeAt(0);
  // < [ { ( are the brackets of something that is filled in, or of a list
  if (first === 60 || first === 91 || first === 123 || first === 40) return true;
  if (text.length <= 16 && words.has(text)) return true;
  const bounded = text.length > 64 ? text.slice(0, 64) : text;
  if (/[*•…$%#@{<]|[xX]{4}|\.\.\./.test(bounded) && isFilledIn(bounded)) return true;
  if (isOneCharacter(text)) return first < 48 || first > 57;
  if (text.length > 40) return false;
  if (/^(?:your|my|example|sample|placeholder|dummy|insert|replace|redacted|change|enter|put)/i.test(text) && sample.test(text)) return true;
  if (text.length > 16 || !/^[A-Za-z]/.test(text)) return false;
  const lower = text.toLowerCase();
  return words.has(lower) || (/[?!.,;:)]$/.test(lower) && words.has(lower.replace(/[?!.,;:)]+$/, '')));
}

const sample = /^(?:your|my|example|sample|placeholder|dummy|insert|replace|redacted|changeme|change[-_]me|enter|put)(?:[-_ ]|$)/i;

/** $NAME, ${NAME}, $(command), %NAME%, #{name}, @name@, {{ name }}, stars, and values of which only the ends are shown. */
function isFilledIn(text: string): boolean {
  if (/^\$(?:[{(]|[A-Za-z_]\w*$|env:)|^%[A-Za-z_]\w*%$|^%\(|^%[sdv]$|^#\{|^@\w+@$/.test(text)) return true;
  return /^[*•.xX_#?-]+$|\*{4}|•{4}|x{6}|X{6}|\.{3}$|…|\$\{|\{\{|%\{|#\{|<[a-z]/i.test(text);
}

function isOneCharacter(text: string): boolean {
  for (let at = 1; at < text.length; at++) if (text.charCodeAt(at) !== text.charCodeAt(0)) return false;
  return true;
}

/** A name of something in code that holds the value, not the value: `req.body.password`, `getToken(`, `user_password`, `my-tls-secret`. */
export function isIdentifier(text: string): boolean {
  if (!/^[A-Za-z_$]/.test(text)) return false;
  const bounded = text.length > 128 ? text.slice(0, 128) : text;
  if (text.includes('(') && /^[A-Za-z_$][\w$]*(?:[.?![\]:]{1,2}[A-Za-z_$][\w$]*)*\(/.test(bounded)) return true;
  if (/^[A-Za-z_$][A-Za-z_$]*(?:(?:\?|!)?\.|::|->)[A-Za-z_$]/.test(bounded) && !/\d{2}/.test(bounded) && /^[\w$.?!:[\]>-]+$/.test(bounded))
    return true;
  return /^[A-Za-z_$-]+$/.test(bounded) && /passw|secret|token|key|pwd|credential/i.test(bounded);
}

/** A place: an absolute path, a path of a drive, an address. */
export function isPath(text: string): boolean {
  return /^(?:~?\/[\w.-]+\/|~\/|\.{1,2}\/|\/(?:[a-z_.-]+)$|[A-Za-z]:[\\/]|(?:https?|file|ftp|arn|vault|op|urn):)/.test(text);
}

/** Words of a sentence or of a form. `plain` values are whole texts, so a single word that is none of ours may be a poor password. */
export function isProse(text: string, plain: boolean): boolean {
  if (!/\s/.test(text)) return !plain && text.length < 6 && /^[a-z]+$/.test(text) && words.has(text);
  const count = text.split(/\s+/, 12).length;
  if (count > 11) return true;
  if (
    /passw|passwort|secret|kennwort|please|enter|must|should|required|characters|forgot|invalid|your|\b(?:the|is|was|are|has|de|la|le|der|die|das)\b/i.test(
      text,
    )
  )
    return true;
  return !(/\d/.test(text) || count >= 4);
}
