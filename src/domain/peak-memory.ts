import { readFileSync } from 'node:fs';

/**
 * The most memory that this process has held at once: its resident set, in bytes. On Linux it is what the kernel has seen
 * of this program alone (`VmHWM`): `process.resourceUsage` counts there from before the program began, so that a process
 * which a large one has started is said to have been as large.
 */
export function peakRssBytes(): number {
  return ownPeakBytes() ?? process.resourceUsage().maxRSS * 1_024;
}

function ownPeakBytes(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    return kilobytes === undefined ? undefined : Number(kilobytes) * 1_024;
  } catch {
    return undefined;
  }
}
