import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { connect } from 'node:net';
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Clock, systemClock } from '../domain/clock.ts';
import { LongtailError } from '../errors.ts';
import { findNativePackage } from './embedded-binaries.ts';
import { SERVER_DATABASE, SERVER_USER } from './embedded-cluster.ts';
import { LEAVE, onLines, readMessage } from './embedded-control.ts';
import { embeddedError } from './embedded-error.ts';
import {
  type EmbeddedFiles,
  embeddedFiles,
  readIfThere,
  readState,
  SHARED_DIRECTORY,
} from './embedded-files.ts';
import { openLog } from './embedded-log.ts';
import type { SupervisorOptions } from './embedded-supervisor.ts';
import { pause, within } from './embedded-wait.ts';
import { noteOurServer } from './surroundings.ts';

export interface EmbeddedOptions {
  /** Where the server keeps everything; made when missing. Default: `.longtail` in the working directory. */
  readonly directory?: string;
  /** What goes on, in sentences: a first set-up, a server that was lost. */
  readonly log?: (line: string) => void;
  /** Root only: where the data goes when PostgreSQL's account cannot reach `directory`. Default `/var/lib/longtail`. */
  readonly sharedDirectory?: string;
  /** False for tests alone: the set-up is not written through to the disk. */
  readonly sync?: boolean;
  readonly clock?: Clock;
}

/** The embedded PostgreSQL, and this process's part in it. */
export interface EmbeddedServer extends AsyncDisposable {
  /** `postgres://longtail:…@127.0.0.1:port/longtail`, with the password in it. */
  readonly url: string;
  /** The directory in use, without links in its path. */
  readonly directory: string;
  /**
   * Leaves the server. Resolves when it has stopped, or at once when others use it, or after `waitMs` (10,000): it then
   * stops by itself, as it does when this process dies. Safe to call twice.
   */
  close(options?: { readonly waitMs?: number }): Promise<void>;
}

const POLL_MS = 20;
const CLOSE_WAIT_MS = 10_000;
/** Includes the first set-up on a slow disk, and a recovery. */
const START_DEADLINE_MS = 180_000;

/**
 * Starts the embedded PostgreSQL of a directory, or joins the one that runs there already. It runs detached from this
 * process, survives a Ctrl-C, and stops when the last process that uses it has closed it or is gone.
 *
 * Rejects with `EMBEDDED_SERVER` when it is not installed, cannot run here, or the data is of another version.
 */
export async function startEmbedded(options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  const { log = () => undefined, clock = systemClock } = options;
  await findNativePackage();
  const files = await embeddedFiles(resolve(options.directory ?? '.longtail'));
  const supervisorOptions: SupervisorOptions = {
    directory: files.directory,
    sharedDirectory: resolve(options.sharedDirectory ?? SHARED_DIRECTORY),
    sync: options.sync ?? true,
  };
  const enter = (): Promise<Membership> => join(files, supervisorOptions, clock, log);

  let membership = enter();
  const { port } = await membership;
  const password = (await readIfThere(files.password))?.trim();
  if (password === undefined) throw embeddedError(`${files.password} is missing.`, 'Start longtail again.');
  let leaving: Promise<void> | undefined;

  /** A supervisor that died leaves a PostgreSQL that nobody would stop: a new one takes it over, on the same port. */
  const watch = async (): Promise<void> => {
    for (;;) {
      const { lost } = await membership;
      const reason = await lost;
      if (leaving !== undefined) return;
      log(`The embedded PostgreSQL was lost: ${reason.text}`);
      if (reason.kind === 'final') return;
      membership = enter();
      const again = await membership;
      if (again.port !== port) log(`The embedded PostgreSQL is back on another port: ${again.port}.`);
    }
  };
  watch().catch((error: unknown) => log(error instanceof Error ? error.message : String(error)));

  const leave = async (waitMs: number): Promise<void> => {
    const last = await membership.catch(() => undefined);
    if (last !== undefined) await within(clock, waitMs, last.leave());
  };
  const close: EmbeddedServer['close'] = ({ waitMs = CLOSE_WAIT_MS } = {}) => {
    leaving ??= leave(waitMs);
    return leaving;
  };
  const url = `postgres://${SERVER_USER}:${password}@127.0.0.1:${port}/${SERVER_DATABASE}`;
  noteOurServer(url);
  return {
    url,
    directory: files.directory,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** A connection to the supervisor. While it is open, the server runs. */
interface Membership {
  readonly port: number;
  /** Resolves when it ends without our doing. `final`: it was ended on purpose, or cannot go on. */
  readonly lost: Promise<{ readonly kind: 'crashed' | 'final'; readonly text: string }>;
  /** Resolves when the supervisor has let us go; for the last one, when the server and the supervisor are gone. */
  leave(): Promise<void>;
}

/** Joins the running server, while a supervisor of our own stands by to take over as soon as none holds the lock. */
async function join(
  files: EmbeddedFiles,
  options: SupervisorOptions,
  clock: Clock,
  log: (line: string) => void,
): Promise<Membership> {
  const deadlineMs = clock.now() + START_DEADLINE_MS;
  let candidate: ChildProcess | undefined;
  try {
    while (clock.now() < deadlineMs) {
      const membership = await tryToJoin(files, deadlineMs - clock.now(), clock, log);
      if (membership !== undefined) return membership;
      candidate ??= await spawnSupervisor(files, options);
      if (candidate.exitCode !== null || candidate.signalCode !== null) {
        const said = lastError((await readIfThere(files.log)) ?? '');
        throw embeddedError(
          `The embedded PostgreSQL's supervisor did not start: ${said}`,
          `Read ${files.log}.`,
        );
      }
      await pause(clock, POLL_MS);
    }
  } finally {
    // Another one's supervisor took us, or nobody did: ours ends when its standard input does, unless it has clients.
    candidate?.stdin?.destroy();
    candidate?.unref();
  }
  throw embeddedError('The embedded PostgreSQL did not start in time.', `Read ${files.log}.`);
}

/** One attempt: undefined when no supervisor answers. Rejects when there is one, and it cannot start the server. */
async function tryToJoin(
  files: EmbeddedFiles,
  timeoutMs: number,
  clock: Clock,
  log: (line: string) => void,
): Promise<Membership | undefined> {
  const controlPath = (await readState(files))?.controlPath;
  if (controlPath === undefined) return undefined;
  const socket = connect(controlPath);
  const closed = new Promise<void>((done) => socket.once('close', () => done()));
  // The reason comes with `close`.
  socket.on('error', () => undefined);

  let final: string | undefined;
  let onLeft: () => void = () => undefined;
  const left = new Promise<void>((done) => {
    onLeft = done;
  });
  const answer = new Promise<{ port: number } | LongtailError>((done) => {
    onLines(socket, (line) => {
      const message = readMessage(line);
      if (message?.kind === 'note') log(message.text);
      if (message?.kind === 'ready') done(message);
      if (message?.kind === 'left') onLeft();
      if (message?.kind === 'stopped') final = 'it was ended from outside.';
      if (message?.kind === 'failed') {
        final = message.message;
        done(new LongtailError('EMBEDDED_SERVER', message.message, message.nextStep));
      }
    });
  });
  let first: { port: number } | LongtailError | undefined;
  const settled = Promise.race([answer, closed]).then((value) => {
    first = value ?? undefined;
  });
  await within(clock, timeoutMs, settled);
  if (first === undefined || first instanceof LongtailError) {
    socket.destroy();
    if (first === undefined) return undefined;
    throw first;
  }
  // A process that forgets to close it must be able to end.
  socket.unref();
  return {
    port: first.port,
    lost: closed.then(() =>
      final === undefined
        ? { kind: 'crashed', text: 'its supervisor is gone; starting another one.' }
        : { kind: 'final', text: final },
    ),
    async leave() {
      socket.ref();
      if (socket.writable) socket.write(LEAVE);
      await Promise.race([left, closed]);
      socket.destroy();
    },
  };
}

/** Starts a supervisor in a session of its own. It waits for the lock as long as we hold its standard input open. */
async function spawnSupervisor(files: EmbeddedFiles, options: SupervisorOptions): Promise<ChildProcess> {
  // From source we are TypeScript, which Node runs as it is; built, we are JavaScript.
  const script = new URL(`./embedded-supervisor${extname(import.meta.url)}`, import.meta.url);
  let output: number;
  try {
    output = openLog(files.log);
  } catch (error) {
    throw embeddedError(
      `${files.log} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
      'Run longtail as the owner of that directory, or in another one.',
      error,
    );
  }
  try {
    const child = spawn(
      process.execPath,
      // Its lock is made with node:sqlite, which warns in older versions that it may change.
      ['--disable-warning=ExperimentalWarning', fileURLToPath(script), JSON.stringify(options)],
      { detached: true, cwd: '/', env: supervisorEnvironment(), stdio: ['pipe', 'ignore', output] },
    );
    child.stdin?.on('error', () => undefined);
    await once(child, 'spawn');
    return child;
  } finally {
    closeSync(output);
  }
}

/** The last line that names an error: a crash ends with a stack and the version of Node. */
function lastError(log: string): string {
  const lines = log.trim().split('\n');
  return lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? '';
}

/** The little it needs. Debugger flags and the like in `NODE_OPTIONS` are meant for this process, not for that one. */
function supervisorEnvironment(): NodeJS.ProcessEnv {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH'];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}
