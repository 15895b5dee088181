/** A string of `sworn.yaml` that is looked into, and what that says of it: for shapes, and for whoever tells people. */
import * as z from 'zod';

/** What `explain.ts` finds in a custom issue beside its message. `offset`: of a character in the string, in UTF-16 units. */
export interface IssueDetails {
  hint?: string;
  offset?: number;
}

export type Finding = string | ({ message: string } & IssueDetails) | undefined;

/** A string with a check whose message goes behind the name of the field: ``` `tool` is empty```. */
export function text(check: (value: string) => Finding, schema: { minLength?: number; maxLength?: number; pattern?: string }) {
  return z
    .string()
    .check(({ value, issues }) => {
      const finding = check(value);
      if (finding === undefined) return;
      const { message, ...params } = typeof finding === 'string' ? { message: finding } : finding;
      issues.push({ code: 'custom', message, params, input: value });
    })
    .meta(schema);
}
