/**
 * Text that speaks to a model instead of informing it: where it stands in a tool's result or in its definition, somebody may want to steer the agent. Found by its
 * wording, so a hint for a person and never a proof: an article about such attacks quotes them.
 */

import { folded } from '../folded.ts';

/** So much of a text is looked at, in UTF-16 units: from its beginning, and the last eighth of it from its end. */
const lookedAt = 64 * 1024;

interface Wording {
  /** Without the flag `g`. Bounded in every repetition: it runs over what strangers wrote. */
  readonly pattern: RegExp;
  /** Weighs as much as is needed by itself. */
  readonly isPlain: boolean;
}

const wordings: readonly Wording[] = [
  { pattern: /\battention\b[,:]? (?:all |any )?(?:ai|llm|language model|assistant|agent)s?\b/i, isPlain: true },
  {
    pattern:
      /\b(?:ignore|disregard|forget|override)\b[^.!?\n]{0,24}\b(?:previous|prior|above|earlier|preceding|system|your)\b[^.!?\n]{0,16}\b(?:instructions?|prompts?|rules|directions|guidelines|messages?)\b/i,
    isPlain: true,
  },
  { pattern: /<\/?\s?(?:important|system|instructions?|assistant|admin)\s?>/i, isPlain: true },
  { pattern: /\[\/?INST\]|<\|im_(?:start|end)\|>|<\|(?:system|assistant|user)\|>/, isPlain: true },
  {
    pattern:
      /\b(?:do not|don't|never|without)\b[^.!?\n]{0,8}\b(?:tell|telling|mention|mentioning|inform|informing|reveal|notify|notifying|alert)\b[^.!?\n]{0,16}\b(?:the user|user|them|anyone|human)\b/i,
    isPlain: true,
  },
  { pattern: /\byou are now\b[^.!?\n]{0,60}\b(?:mode|assistant|agent|model|ai|unrestricted|admin|dan)\b/i, isPlain: true },
  {
    pattern: /\b(?:new|updated|real|actual|secret|hidden) (?:system )?instructions?\b\s?(?::|for (?:the )?(?:ai|assistant|agent|model))/i,
    isPlain: true,
  },
  {
    pattern:
      /\b(?:attention|note|message|instructions?|important)\b[^.!?\n]{0,12}\b(?:to|for)\b (?:the |any |all )?(?:ai|llm|language model|assistant|agent|model)s?\b/i,
    isPlain: true,
  },
  {
    pattern:
      /\b(?:if you are|as) an? (?:ai|llm|language model|ai assistant|assistant|agent)\b[^.!?\n]{0,40}\b(?:you must|must|please|should|do|send|call|run|execute)\b/i,
    isPlain: true,
  },
  {
    pattern:
      /\b(?:you must|you should|make sure to|be sure to|it is required to|always|first)\b[^.!?\n]{0,40}\b(?:call|invoke|use|run|execute)\b[^.!?\n]{0,20}\b(?:tool|function|command)\b/i,
    isPlain: false,
  },
  {
    pattern: /\bbefore (?:using|calling|running|you use|answering|responding)\b[^.!?\n]{0,60}\b(?:read|send|call|fetch|open|pass|include)\b/i,
    isPlain: false,
  },
  {
    pattern:
      /\b(?:send|forward|post|upload|email|exfiltrate|leak|pass)\b[^.!?\n]{0,60}\b(?:contents?|secrets?|passwords?|keys?|credentials|history|conversation|system prompt|tokens?)\b[^.!?\n]{0,30}\b(?:to|as|into)\b/i,
    isPlain: false,
  },
  { pattern: /(?:~\/|\/home\/\w{1,32}\/)?\.(?:ssh\/|aws\/credentials|cursor\/mcp\.json|env\b|npmrc\b|netrc\b)/i, isPlain: false },
  { pattern: /\b(?:system prompt|jailbreak|developer mode|this is (?:very )?important|very important)\b/i, isPlain: false },
];

/** Signs that nobody sees and a model reads: tags, and rows of zero-width ones or of changes of direction. */
const unseen = /[\u{e0000}-\u{e007f}]{2,}|[\u200b\u200c\u2060\u2062-\u2064\ufeff]{4,}|[\u202a-\u202e\u2066-\u2069]{2,}/u;

/**
 * The words of `text` that look like instructions to a model, at most `limits` 4 of 160 units each, in the order of the list; empty where nothing does. One plain wording is enough,
 * or two others together.
 */
export function instructionsIn(text: string): string[] {
  const looked = text.length <= lookedAt ? text : text.slice(0, lookedAt) + text.slice(-lookedAt / 8);
  const plain = folded(looked);
  const found: string[] = [];
  let weight = 0;
  for (const { pattern, isPlain } of wordings) {
    const match = pattern.exec(plain);
    if (match === null) continue;
    weight += isPlain ? 2 : 1;
    if (found.length < 4) found.push(around(plain, match.index, match[0].length));
  }
  const hidden = unseen.exec(looked);
  if (hidden !== null) {
    weight += 2;
    found.unshift(`${hidden[0].length} signs that nobody sees`);
  }
  return weight >= 2 ? found.slice(0, 4) : [];
}

/** A match with some of what follows, on one line. */
function around(text: string, at: number, length: number): string {
  return text
    .slice(at, at + Math.min(160, length + 80))
    .replaceAll(/\s+/g, ' ')
    .trim();
}
