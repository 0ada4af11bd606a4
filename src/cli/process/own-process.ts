import { mayBeSecret } from '../../domain/secrets.ts';
import type { Redactor } from '../terminal/redact.ts';

/**
 * Takes the secrets out of what others see of this process: `ps`, `/proc`, and whoever reads `process.argv`, as telemetry
 * does. It cannot undo the moment before, nor the shell's history: for those there is `DATABASE_URL`.
 */
export function hideSecretsInArguments(redactor: Redactor): void {
  const { argv } = process;
  const isHidden = argv.map((word, index) => {
    const shown = index < 2 ? word : hidden(word, redactor);
    argv[index] = shown;
    return shown !== word;
  });
  if (isHidden.includes(true))
    process.title = argv.map((word, index) => (index === 0 ? 'node' : word)).join(' ');
}

function hidden(word: string, redactor: Redactor): string {
  const shown = redactor.redact(word);
  return shown === word && mayBeSecret(word) ? '***' : shown;
}

/**
 * Node's warnings about the code of packages (deprecated, experimental) mean nothing to whoever runs a command, and they are
 * not ours to be read in its output. Those about this machine's set-up, such as a file of certificates that cannot be read, are told.
 */
export function tellWarnings(tell: (text: string) => void): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => {
    if (name !== 'DeprecationWarning' && name !== 'ExperimentalWarning') tell(`Warning: ${message}`);
  });
}
