/** The bench's child processes. Each receives its task as its first message, answers over IPC, and ends with this process. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Child extends AsyncDisposable {
  readonly process: ChildProcess;
  /** The next message from it. Rejects if it ends without one. */
  next(): Promise<unknown>;
  /** Sends a message and waits for the next one. */
  ask(message: unknown): Promise<unknown>;
}

export interface ChildOptions {
  /**
   * Runs it as JavaScript, because stripping types takes Node about 17 MB, which would count as the library's. Such a script
   * may import only Node's modules, and what its task names.
   */
  readonly plain?: boolean;
  readonly nodeOptions?: readonly string[];
}

export async function startChild(script: URL, task: unknown, options: ChildOptions = {}): Promise<Child> {
  const folder = options.plain === true ? await mkdtemp(join(tmpdir(), 'longtail-bench-')) : undefined;
  const source = fileURLToPath(script);
  let path = source;
  if (folder !== undefined) {
    path = join(folder, basename(source).replace(/\.ts$/, '.mjs'));
    await writeFile(path, stripTypeScriptTypes(await readFile(source, 'utf8')));
  }
  const child = fork(path, [], {
    execArgv: [...(options.nodeOptions ?? [])],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const messages: unknown[] = [];
  const waiting: { readonly resolve: (message: unknown) => void; readonly reject: (error: Error) => void }[] =
    [];
  let isGone = false;
  const gone = (): Error => new Error(`${basename(source)} ended with ${child.exitCode ?? child.signalCode}`);
  child.on('message', (message) => {
    const taker = waiting.shift();
    if (taker === undefined) messages.push(message);
    else taker.resolve(message);
  });
  child.on('exit', () => {
    isGone = true;
    for (const { reject } of waiting.splice(0)) reject(gone());
  });
  // Tasks are plain objects, because only JSON can be sent.
  child.send(task as object);
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (messages.length > 0) resolve(messages.shift());
      else if (isGone) reject(gone());
      else waiting.push({ resolve, reject });
    });
  return {
    process: child,
    next,
    ask: (message) => {
      child.send(message as object);
      return next();
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        if (child.connected) child.disconnect();
        await exited;
      }
      if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}
