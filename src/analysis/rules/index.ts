/** The finding rules that a projection runs. */
import type { Rule } from '../events.ts';

export const rules: readonly Rule[] = [];
