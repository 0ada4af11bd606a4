/**
 * Loaded before a process's own code (`node --import`): some time after its start the wall clock jumps, as when somebody
 * sets it. Timers go on as they were, as they do in reality.
 */
const afterMs = Number(process.env.CLOCK_MOVES_AFTER_MS);
const byMs = Number(process.env.CLOCK_MOVES_BY_MS);
const RealDate = Date;
const realNow = Date.now.bind(Date);
const startedAtMs = realNow();
const now = () => (realNow() - startedAtMs < afterMs ? realNow() : realNow() + byMs);

globalThis.Date = class MovedDate extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(now());
    else super(...given);
  }
  static now() {
    return now();
  }
};
