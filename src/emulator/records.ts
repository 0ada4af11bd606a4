import type { EmulatorCounters, RequestRecord } from './options.ts';
import type { QuotaMeter } from './quota.ts';

/** What the emulator has seen: the newest calls, and counters over all of them. */
export class Records {
  readonly #keep: number;
  readonly #cpuAtStart = process.cpuUsage();
  readonly requests: RequestRecord[] = [];
  #httpCalls = 0;
  #apiCalls = 0;
  #refusals = 0;
  #underWay = 0;
  #maxUnderWay = 0;
  #rows = 0;

  constructor(keep: number) {
    this.#keep = keep;
  }

  /** Returns the call's number, from 1. */
  callBegan(): number {
    this.#httpCalls += 1;
    this.#underWay += 1;
    this.#maxUnderWay = Math.max(this.#maxUnderWay, this.#underWay);
    return this.#httpCalls;
  }

  callEnded(): void {
    this.#underWay -= 1;
  }

  add(record: RequestRecord, refused: boolean): void {
    this.#apiCalls += 1;
    if (refused) this.#refusals += 1;
    this.requests.push(record);
    // Drops a tenth in one step, so that the cost is not paid on each call.
    if (this.requests.length > this.#keep * 1.1 + 1)
      this.requests.splice(0, this.requests.length - this.#keep);
  }

  addRows(rows: number): void {
    this.#rows += rows;
  }

  counters(meter: QuotaMeter): EmulatorCounters {
    const cpu = process.cpuUsage(this.#cpuAtStart);
    const widestWindows = meter.widest();
    return {
      httpCalls: this.#httpCalls,
      apiCalls: this.#apiCalls,
      refusals: this.#refusals,
      maxConcurrentCalls: this.#maxUnderWay,
      maxInAnyWindow: widestWindows.all,
      widestWindows,
      rows: this.#rows,
      cpuMs: Math.round((cpu.user + cpu.system) / 1_000),
    };
  }
}
