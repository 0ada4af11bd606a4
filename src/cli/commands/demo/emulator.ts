/**
 * The process beside the demo that plays Google. It ends with its parent, however that ends: when the channel between
 * them closes. A Ctrl-C does not reach it, so that the halt has someone to talk to.
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
// Only demo-run.ts starts this, with these options.
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
