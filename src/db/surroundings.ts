import { userInfo } from 'node:os';
import type { Surroundings } from './database-url.ts';

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
