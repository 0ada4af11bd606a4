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
  /** Where the server keeps everything; made when missing. Default: `.longtail` in the working directory. */
  readonly directory?: string;
  /** What goes on, in sentences: a first set-up, a server that was lost. */
  readonly log?: (line: string) => void;
  /** Root only: where the data goes when PostgreSQL's account cannot reach `directory`. Default `/var/lib/longtail`. */
  readonly sharedDirectory?: string;
  /** False for tests alone: the set-up is not written through to the disk. */
  readonly sync?: boolean;
  readonly clock?: Clock;
  /** Gives up the start: it rejects at once, and the server, unless others use it, does not come up or stops again. */
  readonly signal?: AbortSignal;
}

/** The embedded PostgreSQL, and this process's part in it. */
export interface EmbeddedServer extends AsyncDisposable {
  /** `postgres://postgres:…@127.0.0.1:port/longtail?…`, with the password in it. */
  readonly url: string;
  /** The directory in use, without links in its path. */
  readonly directory: string;
  /**
   * Leaves the server. Resolves when it has stopped, or at once when others use it, or after `waitMs` (10,000): it then
   * stops by itself, as it does when this process dies. Safe to call twice.
   */
  close(options?: { readonly waitMs?: number }): Promise<void>;
}

const NEVER = new AbortController().signal;
const POLL_MS = 20;
const CLOSE_WAIT_MS = 10_000;
/** Includes the first set-up on a slow disk, and a recovery. */
const START_DEADLINE_MS = 180_000;

/**
 * Starts the embedded PostgreSQL of a directory, or joins the one that runs there already. It runs detached from this
 * process, survives a Ctrl-C, and stops when the last process that uses it has closed it or is gone.
 *
 * Rejects with `EMBEDDED_SERVER` when it is not installed, cannot run here, or the data is of another version; with the signal's
 * reason when it is given up.
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
  /** `givenUp` ends the first start alone: who was lost and comes back is waited for until it is left. */
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

  /** A supervisor that died leaves a PostgreSQL that nobody would stop: a new one takes it over, on the same port. */
  const watch = async (): Promise<void> => {
    for (;;) {
      const { lost } = await membership;
      const reason = await lost;
      if (isLeaving()) return;
      log(`The embedded PostgreSQL was lost: ${reason.text}`);
      if (reason.kind === 'final') return;
      membership = enter(NEVER);
      const again = await membership;
      if (again.port !== port) log(`The embedded PostgreSQL is back on another port: ${again.port}.`);
    }
  };
  watch().catch((error: unknown) => {
    if (!isLeaving()) log(error instanceof Error ? error.message : String(error));
  });

  const leave = async (waitMs: number): Promise<void> => {
    // It may be entered again at this moment: that is waited for no longer than all the rest.
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

/** Complete, so that none of libpq's variables in this process's environment is asked for the rest. */
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
      'The working directory does not exist any more.',
      'Start longtail in another one.',
      error,
    );
  }
}

/** A connection to the supervisor. While it is open, the server runs. */
interface Membership {
  readonly port: number;
  readonly user: string;
  /** Resolves when it ends without our doing. `final`: it was ended on purpose, or cannot go on. */
  readonly lost: Promise<{ readonly kind: 'crashed' | 'final'; readonly text: string }>;
  /** Resolves when the supervisor has let us go; for the last one, when the server and the supervisor are gone. */
  leave(): Promise<void>;
}

/** Joins the running server, while a supervisor of our own stands by to take over as soon as none holds the lock. */
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
    // Another one's supervisor took us, or nobody did: ours ends when its standard input does, unless it has clients.
    candidate?.stdin?.destroy();
    candidate?.unref();
  }
  throw embeddedError('The embedded PostgreSQL did not start in time.', `Read ${folder.shown(FILES.log)}.`);
}

type Ready = Extract<ControlMessage, { kind: 'ready' }>;

/** One attempt: undefined when no supervisor answers. Rejects when there is one, and it cannot start the server. */
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
  // The supervisor sees that nobody waits any more.
  const giveUp = () => socket.destroy();
  givenUp.addEventListener('abort', giveUp, { once: true });
  if (givenUp.aborted) giveUp();
  const closed = new Promise<void>((done) => socket.once('close', () => done()));
  // The reason comes with `close`.
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
      if (message?.kind === 'stopped') final = 'it was ended from outside.';
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
  // A process that forgets to close it must be able to end.
  socket.unref();
  return {
    port: first.port,
    user: first.user ?? FORMER_USER,
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

/** The supervisor's program, which is a file of its own: Node is started with it. */
function supervisorScript(): string {
  // Bundled as CommonJS, a module has no address. Not written in one expression: bundlers would take it for an asset.
  const here: string | undefined = import.meta.url;
  // From source we are TypeScript, which Node runs as it is; built, we are JavaScript.
  const script = here?.startsWith('file:')
    ? fileURLToPath(new URL(`./supervisor${extname(here)}`, here))
    : undefined;
  if (script === undefined || !existsSync(script)) {
    throw embeddedError(
      'No PostgreSQL was given, and the embedded one does not run out of a bundle: it needs files of the package longtail.',
      'Give a database URL, or leave longtail out of the bundle (esbuild: --external:longtail; Next: serverExternalPackages).',
    );
  }
  return script;
}

/** Starts a supervisor in a session of its own. It waits for the lock as long as we hold its standard input open. */
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
  // Root in the folder of the one who called `sudo`: nothing is done there with more rights than that user has.
  const account = folder.owner.uid === currentUser().uid ? {} : folder.owner;
  try {
    const child = spawn(
      process.execPath,
      // Its lock is made with node:sqlite, which warns in older versions that it may change.
      ['--disable-warning=ExperimentalWarning', script, JSON.stringify(options)],
      {
        detached: true,
        // By its descriptor: it cannot be exchanged for another one on the way.
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
