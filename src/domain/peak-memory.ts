import { readFileSync } from 'node:fs';

/**
 * Peak resident memory of this process, in bytes. On Linux it is the kernel's figure for this program (`VmHWM`).
 * `process.resourceUsage` would include the time before the program was executed, so a process started by a large one
 * would report the size of that one.
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
