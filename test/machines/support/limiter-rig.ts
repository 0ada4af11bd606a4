import { type ActorRefFrom, createActor } from 'xstate';
import type { GrantEvent } from '../../../src/machines/messages.ts';
import type { BudgetRule } from '../../../src/machines/rate-limiter/quota-window.ts';
import {
  type RateLimiterEmitted,
  rateLimiterMachine,
} from '../../../src/machines/rate-limiter/rate-limiter.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { limiterInput } from './quota-world.ts';
import { type Bystander, createBystander } from './refs.ts';

/** A limiter under a manual clock, one who asks it for tokens, and all that it answers and tells. */
export interface LimiterRig {
  readonly clock: ManualClock;
  readonly limiter: ActorRefFrom<typeof rateLimiterMachine>;
  readonly client: Bystander<GrantEvent>;
  readonly answers: GrantEvent[];
  readonly emitted: RateLimiterEmitted[];
}

export function startLimiter(rules: readonly BudgetRule[]): LimiterRig {
  const clock = new ManualClock();
  const answers: GrantEvent[] = [];
  const emitted: RateLimiterEmitted[] = [];
  const client = createBystander<GrantEvent>('client', ({ event }) => answers.push(event));
  const limiter = createActor(rateLimiterMachine, { input: limiterInput(rules), clock });
  limiter.on('*', (event) => emitted.push(event));
  limiter.start();
  return { clock, limiter, client, answers, emitted };
}
