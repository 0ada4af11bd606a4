/**
 * Waits until the test run that started it is over, even by kill -9. Then it ends what the run has left and removes the
 * run's folder. It knows the processes by the folder: they work in it, or have it in their arguments or their environment.
 */
import { readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [, , folder = ''] = process.argv;
// Every process has the empty text in its arguments.
if (!/\/lt-\w{6}$/.test(folder)) throw new Error(`${folder} is not the folder of a test run`);
/** Servers and their supervisors see by themselves that they are alone. */
const GRACE_MS = 10_000;
const POLL_MS = 100;

function processesOfRun(): number[] {
  const pids = readOr(() => readdirSync('/proc'), []).map(Number);
  return pids.filter((pid) => pid > 0 && pid !== process.pid && isOfRun(pid));
}

function isOfRun(pid: number): boolean {
  return ['cmdline', 'environ', 'cwd'].some((name) => {
    const path = `/proc/${pid}/${name}`;
    return readOr(() => (name === 'cwd' ? readlinkSync(path) : readFileSync(path, 'utf8')), '').includes(
      folder,
    );
  });
}

/** A process may be gone, or somebody else's; not every system has these files. */
function readOr<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

async function clearAway(): Promise<void> {
  for (let waitedMs = 0; waitedMs < GRACE_MS && processesOfRun().length > 0; waitedMs += POLL_MS) {
    await sleep(POLL_MS);
  }
  for (let waitedMs = 0; waitedMs < GRACE_MS && processesOfRun().length > 0; waitedMs += POLL_MS) {
    for (const pid of processesOfRun()) readOr(() => process.kill(pid, 'SIGKILL'), false);
    await sleep(POLL_MS);
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

process.on('disconnect', () => {
  clearAway().finally(() => process.exit());
});
