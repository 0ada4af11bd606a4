/** One process of ours: what is meant for it does not reach it once it is dead. */
export class Process {
  readonly name: string;
  isAlive = true;
  /** Nothing reaches it before: the machine it is on stands still. */
  frozenUntil = 0;

  constructor(name: string) {
    this.name = name;
  }

  kill(): void {
    this.isAlive = false;
  }
}
