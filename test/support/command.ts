import { fileURLToPath } from 'node:url';

/** The built command line, for Node. */
export const BIN = fileURLToPath(new URL('../../bin/longtail.js', import.meta.url));
