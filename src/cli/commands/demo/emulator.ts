/**
 * The process in which the demo's emulator runs. It exits when the channel to its parent closes, however the parent ends.
 * Ctrl-C does not reach it, so the demo can halt while the API still answers.
 */
import { startEmulator } from '../../../emulator/index.ts';

export interface DemoEmulatorOptions {
  readonly siteUrl: string;
  readonly rowsPerDay: number;
}

export type DemoEmulatorMessage =
  | { readonly kind: 'ready'; readonly url: string }
  | { readonly kind: 'failed'; readonly reason: string };

const [argument = '{}'] = process.argv.slice(2);
// Only run.ts starts this, with these options.
const { siteUrl, rowsPerDay } = JSON.parse(argument) as DemoEmulatorOptions;

process.on('disconnect', () => process.exit());
const tell = (message: DemoEmulatorMessage): void => {
  process.send?.(message);
};
try {
  const { url } = await startEmulator({ sites: [siteUrl], rowsPerDay });
  tell({ kind: 'ready', url });
} catch (error) {
  tell({ kind: 'failed', reason: error instanceof Error ? error.message : String(error) });
}
