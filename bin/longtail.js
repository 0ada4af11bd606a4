#!/usr/bin/env node
// Nothing is imported before the Node version is known: older ones fail on syntax alone, with a stack trace.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(
    `longtail needs Node.js 22.18 or newer; this is ${process.versions.node}.\n` +
      'In a checkout, run it as `npx longtail` after `npm ci`: the right Node comes with it.\n',
  );
  process.exitCode = 2;
} else {
  const { main } = await import('../dist/cli/process/main.js');
  await main(process.argv);
}
