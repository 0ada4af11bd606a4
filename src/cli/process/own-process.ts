import { mayBeSecret } from '../../domain/secrets.ts';
import type { Redactor } from '../terminal/redact.ts';

/**
 * Removes secrets from what others see of this process: in `ps`, `/proc` and, as telemetry does, `process.argv`. Until this
 * call they are visible, and they stay in the shell's history. `DATABASE_URL` avoids both.
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
 * Prints Node's warnings about this machine's set-up, such as a certificate file that cannot be read. Hides those about the
 * code of packages (deprecated, experimental), which mean nothing to the user of a command.
 */
export function tellWarnings(tell: (text: string) => void): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => {
    if (name !== 'DeprecationWarning' && name !== 'ExperimentalWarning') tell(`Warning: ${message}`);
  });
}
