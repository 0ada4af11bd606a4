/** Resolves once `holds` does; rejects after half a minute. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what = 'it never came about',
): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
