/** A name as SQL has it, in double quotes: for statements that are shown to people. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
