/** A quoted SQL identifier, for statements shown to people. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
