/** What a call asks its run's leases. */
export interface CallPermit {
  /** Whether a request may be sent now. */
  mayCall(): boolean;
  /** Waits until a request may be sent. False: the leases are lost or released, or the signal was aborted. */
  whenKept(signal: AbortSignal): Promise<boolean>;
}
