import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/support/interrupted/hanging.fixture.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
  },
});
