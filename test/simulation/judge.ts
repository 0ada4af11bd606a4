/** What was found wrong in one seed. The first violation ends it. */
export interface Violation {
  /** The check's name: a sentence that should hold. */
  readonly check: string;
  readonly detail: string;
}

export class Judge {
  readonly violations: Violation[] = [];
  /** Lines of the story, when somebody wants to read it. */
  readonly #trace: ((line: string) => void) | undefined;

  constructor(trace?: (line: string) => void) {
    this.#trace = trace;
  }

  get hasFailed(): boolean {
    return this.violations.length > 0;
  }

  get isTracing(): boolean {
    return this.#trace !== undefined;
  }

  fail(check: string, detail: string): void {
    this.violations.push({ check, detail });
    this.#trace?.(`VIOLATED ${check}: ${detail}`);
  }

  expect(holds: boolean, check: string, detail: () => string): void {
    if (!holds) this.fail(check, detail());
  }

  tell(line: string): void {
    this.#trace?.(line);
  }
}
