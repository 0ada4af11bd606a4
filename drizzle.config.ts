import { defineConfig } from 'drizzle-kit';

export default defineConfig({
  dialect: 'postgresql',
  schema: './src/postgres/schema/schema.ts',
  out: './drizzle',
  // A host that uses Drizzle too has a table of its own: in a shared one, either's migrations would be skipped.
  migrations: { schema: 'longtail', table: 'migrations' },
  schemaFilter: ['longtail', 'public'],
});
