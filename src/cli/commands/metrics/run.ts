/** `longtail metrics`: serves the database's metrics until it is told to stop. */
import { serveLoopback } from '../../../watch/loopback-server.ts';
import { createMetrics } from '../../../watch/metrics.ts';
import { EXIT } from '../../process/exit-code.ts';
import { openDatabase } from '../database-place.ts';
import type { Session } from '../session.ts';

/** The options, read and each right by itself. */
export interface MetricsFlags {
  readonly port: number;
  readonly databaseUrl?: string;
}

/** @throws LongtailError where the port is taken, or the embedded server cannot run. */
export async function runMetrics({ port, databaseUrl }: MetricsFlags, session: Session): Promise<void> {
  const { output } = session;
  const { asked } = session.catchSignals('Stopping.');
  const database = await Promise.race([openDatabase(databaseUrl, session), asked]);
  if (database === undefined) return session.endWith(EXIT.complete);
  try {
    await using metrics = createMetrics({ database: database.url });
    const server = await serveLoopback(port, (request) =>
      new URL(request.url).pathname === '/metrics'
        ? metrics.handle(request)
        : Promise.resolve(new Response('See /metrics\n', { status: 404 })),
    );
    try {
      output.print(`Prometheus reads ${server.url}/metrics. Ctrl-C stops it.`);
      await asked;
    } finally {
      await server.close();
    }
  } finally {
    await database.close();
  }
  session.endWith(EXIT.complete);
}
