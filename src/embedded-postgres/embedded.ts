import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync } from 'node:fs';
import { connect } from 'node:net';
import { extname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Clock, systemClock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import { pause, within } from '../domain/wait.ts';
import { noteOurServer } from '../postgres/connection/surroundings.ts';
import { findNativePackage } from './binaries.ts';
import { FORMER_USER, SERVER_DATABASE } from './cluster.ts';
import { type ControlMessage, LEAVE, onLines, readMessage } from './control.ts';
import { embeddedError } from './error.ts';
import { FILES, openLongtailFolder, readPassword, readState, SHARED_DIRECTORY, socketOf } from './files.ts';
import { currentUser, type Folder, openToAppend, readTail } from './folder.ts';
import type { SupervisorOptions } from './supervisor.ts';

export interface EmbeddedOptions {
  /** The server's folder. Created when missing. @default `.longtail` in the working directory */
  readonly directory?: string;
  /** Receives events as sentences: a first set-up, a lost server. */
  readonly log?: (line: string) => void;
  /** Root only: where the data goes when PostgreSQL's account cannot reach `directory`. @default '/var/lib/longtail' */
  readonly sharedDirectory?: string;
  /** False for tests only: the set-up is not flushed to disk. */
  readonly sync?: boolean;
  readonly clock?: Clock;
  /** Aborts the start: it rejects immediately, and the server does not start, or stops again unless others use it. */
  readonly signal?: AbortSignal;
}

/** This process's share of the embedded PostgreSQL. */
export interface EmbeddedServer extends AsyncDisposable {
  /** `postgres://postgres:…@127.0.0.1:port/longtail?…`, with the password. */
  readonly url: string;
  /** The directory in use, with links resolved. */
  readonly directory: string;
  /**
   * Leaves the server. Resolves when it has stopped, immediately if others use it, or after `waitMs` (milliseconds, default
   * 10,000): the server then stops by itself, as it does when this process dies. Safe to call twice.
   */
  close(options?: { readonly waitMs?: number }): Promise<void>;
}

const NEVER = new AbortController().signal;
const POLL_MS = 20;
const CLOSE_WAIT_MS = 10_000;
/** Includes a first set-up on a slow disk, and a recovery. */
const START_DEADLINE_MS = 180_000;

/**
 * Starts the embedded PostgreSQL of a directory, or joins it if it is running. The server is detached from this process,
 * survives Ctrl-C, and stops when the last process that uses it has closed it or has ended.
 *
 * Rejects with `EMBEDDED_SERVER` if it is not installed, cannot run here, or the data is from another version, and with
 * the signal's reason if the start is aborted.
 */
export async function startEmbedded(options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  const { log = () => undefined, clock = systemClock, signal = NEVER } = options;
  signal.throwIfAborted();
  supervisorScript();
  await findNativePackage();
  const folder = await openLongtailFolder(absolute(options.directory ?? '.longtail'));
  const supervisorOptions: SupervisorOptions = {
    directory: folder.path,
    sharedDirectory: absolute(options.sharedDirectory ?? SHARED_DIRECTORY),
    sync: options.sync ?? true,
  };
  let leaving: Promise<void> | undefined;
  const isLeaving = (): boolean => leaving !== undefined;
  /** `givenUp` aborts only the first start. After a loss, re-entering continues until the server is left. */
  const enter = (givenUp: AbortSignal): Promise<Membership> =>
    join(folder, supervisorOptions, { isLeaving, givenUp }, clock, log);

  let membership = enter(signal);
  let port: number;
  let url: string;
  try {
    const first = await membership;
    port = first.port;
    const password = readPassword(folder);
    if (password === undefined) {
      await first.leave();
      throw embeddedError(`${folder.shown(FILES.password)} is missing.`, 'Start longtail again.');
    }
    url = urlOf(first, password);
  } catch (error) {
    folder.close();
    throw error;
  }

  /** When a supervisor dies, nothing would stop its PostgreSQL: a new supervisor takes it over, on the same port. */
  const watch = async (): Promise<void> => {
    for (;;) {
      const { lost } = await membership;
      const reason = await lost;
      if (isLeaving()) return;
      log(`The embedded PostgreSQL was lost: ${reason.text}`);
      if (reason.kind === 'final') return;
      membership = enter(NEVER);
      const again = await membership;
      if (again.port !== port)
        log(`The embedded PostgreSQL is running again on another port: ${again.port}.`);
    }
  };
  watch().catch((error: unknown) => {
    if (!isLeaving()) log(error instanceof Error ? error.message : String(error));
  });

  const leave = async (waitMs: number): Promise<void> => {
    // This process may be re-entering right now. That gets no more time than the rest.
    const left = membership.then(
      (last) => last.leave(),
      () => undefined,
    );
    left.finally(() => folder.close()).catch(() => undefined);
    await within(clock, waitMs, left);
  };
  const close: EmbeddedServer['close'] = ({ waitMs = CLOSE_WAIT_MS } = {}) => {
    leaving ??= leave(waitMs);
    return leaving;
  };
  noteOurServer(url);
  return { url, directory: folder.path, close, [Symbol.asyncDispose]: () => close() };
}

/** Complete, so that libpq's environment variables in this process have no effect. */
function urlOf({ user, port }: Membership, password: string): string {
  const url = new URL(`postgres://127.0.0.1:${port}/${SERVER_DATABASE}`);
  url.search = 'sslmode=disable&target_session_attrs=read-write';
  url.username = user;
  url.password = password;
  return url.href;
}

function absolute(path: string): string {
  try {
    return resolve(path);
  } catch (error) {
    throw embeddedError(
      'The working directory no longer exists.',
      'Start longtail in another directory.',
      error,
    );
  }
}

/** A connection to the supervisor. The server runs as long as it is open. */
interface Membership {
  readonly port: number;
  readonly user: string;
  /** Resolves when the connection ends unexpectedly. `final`: it was ended on purpose or cannot continue. */
  readonly lost: Promise<{ readonly kind: 'crashed' | 'final'; readonly text: string }>;
  /** Resolves when the supervisor has confirmed it; for the last client, when server and supervisor have ended. */
  leave(): Promise<void>;
}

/** Joins the running server. Meanwhile a supervisor of this process waits for the lock, to take over if it becomes free. */
async function join(
  folder: Folder,
  options: SupervisorOptions,
  { isLeaving, givenUp }: { readonly isLeaving: () => boolean; readonly givenUp: AbortSignal },
  clock: Clock,
  log: (line: string) => void,
): Promise<Membership> {
  const deadlineMs = clock.now() + START_DEADLINE_MS;
  let candidate: ChildProcess | undefined;
  try {
    while (clock.now() < deadlineMs && !isLeaving()) {
      const membership = await tryToJoin(folder, deadlineMs - clock.now(), givenUp, clock, log);
      givenUp.throwIfAborted();
      if (membership !== undefined) return membership;
      candidate ??= await spawnSupervisor(folder, options);
      if (candidate.exitCode !== null || candidate.signalCode !== null) {
        const said = lastError(readTail(folder, FILES.log));
        throw embeddedError(
          `The embedded PostgreSQL's supervisor did not start: ${said}`,
          `Read ${folder.shown(FILES.log)}.`,
        );
      }
      await pause(clock, POLL_MS);
    }
  } finally {
    // Another process's supervisor accepted us, or none did. Ours ends with its standard input, unless it has clients.
    candidate?.stdin?.destroy();
    candidate?.unref();
  }
  throw embeddedError('The embedded PostgreSQL did not start in time.', `See ${folder.shown(FILES.log)}.`);
}

type Ready = Extract<ControlMessage, { kind: 'ready' }>;

/** One attempt. Undefined: no supervisor answers. Rejects if one answers but cannot start the server. */
async function tryToJoin(
  folder: Folder,
  timeoutMs: number,
  givenUp: AbortSignal,
  clock: Clock,
  log: (line: string) => void,
): Promise<Membership | undefined> {
  const state = readState(folder);
  const controlPath = state === undefined ? undefined : socketOf(folder, state);
  if (controlPath === undefined) return undefined;
  const socket = connect(controlPath);
  // Closing the connection tells the supervisor that this client no longer waits.
  const giveUp = () => socket.destroy();
  givenUp.addEventListener('abort', giveUp, { once: true });
  if (givenUp.aborted) giveUp();
  const closed = new Promise<void>((done) => socket.once('close', () => done()));
  // `close` follows and carries the reason.
  socket.on('error', () => undefined);

  let final: string | undefined;
  let onLeft: () => void = () => undefined;
  const left = new Promise<void>((done) => {
    onLeft = done;
  });
  const answer = new Promise<Ready | LongtailError>((done) => {
    onLines(socket, (line) => {
      const message = readMessage(line);
      if (message?.kind === 'note') log(message.text);
      if (message?.kind === 'ready') done(message);
      if (message?.kind === 'left') onLeft();
      if (message?.kind === 'stopped') final = 'it was stopped from outside.';
      if (message?.kind === 'failed') {
        final = message.message;
        done(new LongtailError('EMBEDDED_SERVER', message.message, message.nextStep));
      }
    });
  });
  let first: Ready | LongtailError | undefined;
  const settled = Promise.race([answer, closed]).then((value) => {
    first = value ?? undefined;
  });
  await within(clock, timeoutMs, settled);
  givenUp.removeEventListener('abort', giveUp);
  if (first === undefined || first instanceof LongtailError || givenUp.aborted) {
    socket.destroy();
    if (first instanceof LongtailError) throw first;
    return undefined;
  }
  // A process that forgets to close the server must still be able to end.
  socket.unref();
  return {
    port: first.port,
    user: first.user ?? FORMER_USER,
    lost: closed.then(() =>
      final === undefined
        ? { kind: 'crashed', text: 'its supervisor has died; starting a new one.' }
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

/** The supervisor's script: a separate file that is run with Node. */
function supervisorScript(): string {
  // In a CommonJS bundle, `import.meta.url` is undefined. Not a single expression: bundlers would treat it as an asset.
  const here: string | undefined = import.meta.url;
  // The sources are TypeScript, which Node runs directly. The build is JavaScript.
  const script = here?.startsWith('file:')
    ? fileURLToPath(new URL(`./supervisor${extname(here)}`, here))
    : undefined;
  if (script === undefined || !existsSync(script)) {
    throw embeddedError(
      'No database URL was given, and the embedded PostgreSQL does not work in a bundle: it needs files of the package longtail.',
      'Pass a database URL, or exclude longtail from the bundle (esbuild: --external:longtail; Next: serverExternalPackages).',
    );
  }
  return script;
}

/** Starts a supervisor in a session of its own. It waits for the lock as long as this process holds its standard input open. */
async function spawnSupervisor(folder: Folder, options: SupervisorOptions): Promise<ChildProcess> {
  const script = supervisorScript();
  let output: number;
  try {
    output = openToAppend(folder, FILES.log);
  } catch (error) {
    if (error instanceof LongtailError) throw error;
    throw embeddedError(
      `${folder.shown(FILES.log)} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
      'Run longtail as the owner of that directory, or in another one.',
      error,
    );
  }
  // As root in a folder of the `sudo` user: use only that user's rights there.
  const account = folder.owner.uid === currentUser().uid ? {} : folder.owner;
  try {
    const child = spawn(
      process.execPath,
      // The lock uses node:sqlite, for which older Node versions print an experimental warning.
      ['--disable-warning=ExperimentalWarning', script, JSON.stringify(options)],
      {
        detached: true,
        // By its descriptor, so that it cannot be replaced in between.
        cwd: folder.at(),
        env: supervisorEnvironment(),
        stdio: ['pipe', 'ignore', output],
        ...account,
      },
    );
    child.stdin?.on('error', () => undefined);
    await once(child, 'spawn');
    return child;
  } finally {
    closeSync(output);
  }
}

/** The last line that names an error: a crash ends with a stack trace and Node's version. */
function lastError(log: string): string {
  const lines = log.trim().split('\n');
  return lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? '';
}

/** Only what the supervisor needs. Debugger flags and the like in `NODE_OPTIONS` are meant for this process alone. */
function supervisorEnvironment(): NodeJS.ProcessEnv {
  const names = ['PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH'];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}
