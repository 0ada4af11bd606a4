const FRAMES_TOLD = 6;

/** For a bug hunt: where it was thrown, as `sync.js:12:3 < main.js:40:1`. No message, no folders. */
export function framesOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const places = [...stack.matchAll(/([^\s/\\(]+:\d+:\d+)\)?$/gm)].map(([, place = '']) => place);
  return places.slice(0, FRAMES_TOLD).join(' < ');
}
