/** All rules, the weightier ones first. */
import type { Rule } from '../events.ts';
import { selfApproved, unpinnedTool } from './approvals.ts';
import { otherAttribute } from './attribute.ts';
import { gap, replyToNothing, strayStdout } from './conversation.ts';
import { changedDefinition, hiddenInstructions, neverListed } from './definitions.ts';
import { hung, slow } from './duration.ts';
import { unverifiable, unwitnessed } from './evidence.ts';
import { headerMismatch } from './headers.ts';
import { limited } from './limited.ts';
import { enumeration, missingEntity } from './lookups.ts';
import { sensitiveThenOutward } from './outward.ts';
import { personalData, secret } from './private-values.ts';
import { burst, loop, retryStorm } from './repetition.ts';
import { injectionThenUnusual } from './steered.ts';
import { unapprovedWrite } from './unapproved.ts';

export const rules: readonly Rule[] = [
  unverifiable,
  injectionThenUnusual,
  hiddenInstructions,
  sensitiveThenOutward,
  otherAttribute,
  unapprovedWrite,
  changedDefinition,
  enumeration,
  missingEntity,
  secret,
  personalData,
  headerMismatch,
  gap,
  loop,
  retryStorm,
  neverListed,
  unpinnedTool,
  selfApproved,
  slow,
  hung,
  burst,
  limited,
  strayStdout,
  replyToNothing,
  unwitnessed,
];
