/** What a call asks of its run's leases. */
export interface CallPermit {
  /** Whether a request may be sent now. */
  mayCall(): boolean;
  /** Waits until one may. False: the leases are lost or given up, or the signal was aborted. */
  whenKept(signal: AbortSignal): Promise<boolean>;
}
