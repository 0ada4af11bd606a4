const MAX_FRAMES = 6;

/** For debugging: the stack as `sync.js:12:3 < main.js:40:1`. No message, no folders. */
export function framesOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const places = [...stack.matchAll(/([^\s/\\(]+:\d+:\d+)\)?$/gm)].map(([, place = '']) => place);
  return places.slice(0, MAX_FRAMES).join(' < ');
}
