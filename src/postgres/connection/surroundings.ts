import { userInfo } from 'node:os';
import type { Surroundings } from '../driver/database-url.ts';

/** Addresses of servers that this process started or joined. The environment's database settings do not apply to them. */
const ours = new Set<string>();

/** From now on, URLs to this address ignore the environment. */
export function noteOurServer(url: string): void {
  ours.add(new URL(url).host);
}

/** What completes this URL. */
export function surroundingsOf(url: string, environment?: Surroundings['environment']): Surroundings {
  const place = URL.parse(url)?.host;
  return surroundings(place !== undefined && ours.has(place) ? {} : environment);
}

/** What completes a URL that leaves parts out. */
export function surroundings(environment: Surroundings['environment'] = process.env): Surroundings {
  const { USER, LOGNAME, USERNAME } = process.env;
  let osUser = USER ?? LOGNAME ?? USERNAME ?? '';
  try {
    osUser = userInfo().username;
  } catch {
    // The user id has no name, as in many containers.
  }
  return { environment, osUser };
}
