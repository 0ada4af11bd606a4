/** This package's version, as in package.json. Written here, because in a bundle there is no package.json to read. */
export const VERSION = '0.1.0';
