import { readFileSync } from 'node:fs';

export interface Import {
  readonly path: string;
  /** `import type` or `export type`: gone at run time. */
  readonly typeOnly: boolean;
}

/** What a source file imports, or exports from elsewhere, statically and dynamically. */
export function importsOf(file: URL): readonly Import[] {
  const code = readFileSync(file, 'utf8').replaceAll(/^\s*(\/\*[\s\S]*?\*\/|\/\/.*)$/gm, '');
  const statements = code.matchAll(/^\s*(?:import|export)\s+(type\s)?[^;'"`]*?\bfrom\s+'([^']+)'/gm);
  const bare = code.matchAll(/^\s*import\s+'([^']+)'/gm);
  const dynamic = code.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g);
  return [
    ...[...statements].map(([, type, path]) => ({ path: path ?? '', typeOnly: type !== undefined })),
    ...[...bare, ...dynamic].map(([, path]) => ({ path: path ?? '', typeOnly: false })),
  ];
}
