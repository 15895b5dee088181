/** A stretch of text or bytes that must not be stored: [start, end), and what found it. */
export interface Hit {
  start: number;
  end: number;
  /** `key:*_token`, `path:$.params.arguments.ssn`, or the id of a detector such as `email`. */
  rule: string;
}
