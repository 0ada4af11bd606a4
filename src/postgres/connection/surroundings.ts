import { userInfo } from 'node:os';
import type { Surroundings } from '../driver/database-url.ts';

/** Places of servers that this process has started or joined: what the environment says about databases is about others. */
const ours = new Set<string>();

/** From now on the environment has no say in a URL that leads to the same place. */
export function noteOurServer(url: string): void {
  ours.add(new URL(url).host);
}

/** What stands in for what this URL leaves out. */
export function surroundingsOf(url: string, environment?: Surroundings['environment']): Surroundings {
  const place = URL.parse(url)?.host;
  return surroundings(place !== undefined && ours.has(place) ? {} : environment);
}

/** What stands in for what a URL leaves out. */
export function surroundings(environment: Surroundings['environment'] = process.env): Surroundings {
  const { USER, LOGNAME, USERNAME } = process.env;
  let osUser = USER ?? LOGNAME ?? USERNAME ?? '';
  try {
    osUser = userInfo().username;
  } catch {
    // A user id without a name, as in many containers.
  }
  return { environment, osUser };
}
