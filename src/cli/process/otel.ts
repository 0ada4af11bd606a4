/**
 * Sets up OpenTelemetry's SDK for one command if the standard variables ask for it. The library itself uses only the API;
 * the SDK is an optional package.
 */
import { inspect } from 'node:util';
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import type { NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { VERSION } from '../../domain/version.ts';
import { variable } from '../commands/options.ts';
import type { Session } from '../commands/session.ts';
import type { Output } from '../terminal/output.ts';

export interface TelemetrySdk {
  /** Exports what was collected and shuts down, within `deadlineMs`. May be called again. Never rejects. */
  end(deadlineMs: number): Promise<void>;
}

const NOTHING: TelemetrySdk = { end: () => Promise.resolve() };

/** The signals that the variables ask for, as in OpenTelemetry's specification, but none if no variable is set. */
export function wantedSignals(env: NodeJS.ProcessEnv): {
  readonly traces: boolean;
  readonly metrics: boolean;
} {
  if (variable(env, 'OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return { traces: false, metrics: false };
  const everywhere = variable(env, 'OTEL_EXPORTER_OTLP_ENDPOINT');
  const wanted = (signal: 'TRACES' | 'METRICS'): boolean => {
    const exporter = variable(env, `OTEL_${signal}_EXPORTER`);
    if (exporter !== undefined) return exporter.toLowerCase() !== 'none';
    return (everywhere ?? variable(env, `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`)) !== undefined;
  };
  return { traces: wanted('TRACES'), metrics: wanted('METRICS') };
}

/** Starts the SDK if it is requested and installed. It shuts down when the process exits, unless `end` is called before. */
export async function startTelemetry({ env, output, clock, beforeExit }: Session): Promise<TelemetrySdk> {
  const { traces, metrics } = wantedSignals(env);
  if (!traces && !metrics) return NOTHING;
  let module: typeof import('@opentelemetry/sdk-node');
  try {
    module = await import('@opentelemetry/sdk-node');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
    output.note('OTEL_* asks for telemetry, but its package is not installed: continuing without telemetry.');
    output.note('Install it beside longtail: npm install @opentelemetry/sdk-node');
    return NOTHING;
  }
  const configuration: Partial<NodeSDKConfiguration> = {
    ...(isNamed(env) ? {} : { serviceName: 'longtail' }),
    // Otherwise signals that were not requested would be sent to the default address, and fail.
    ...(traces ? {} : { spanProcessors: [] }),
    ...(metrics ? {} : { metricReaders: [] }),
    logRecordProcessors: [],
  };
  // The SDK reads them only from `process.env`. This process belongs to the command, so changing it is safe.
  process.env.OTEL_RESOURCE_ATTRIBUTES = resourceAttributes(env);
  process.env.OTEL_NODE_RESOURCE_DETECTORS = resourceDetectors(env);
  logThrough(output, env);
  const sdk = new module.NodeSDK(configuration);
  sdk.start();
  const shutdown = (): Promise<void> =>
    sdk.shutdown().catch((error: unknown) => {
      output.note(`Telemetry was not delivered: ${error instanceof Error ? error.message : String(error)}`);
    });
  let ending: Promise<void> | undefined;
  let stopWaiting: (() => void) | undefined;
  const telemetry: TelemetrySdk = {
    end(deadlineMs) {
      ending ??= Promise.race([
        shutdown(),
        new Promise<void>((resolve) => {
          stopWaiting = resolve;
        }),
      ]);
      // The earliest of all deadlines applies.
      clock.setTimeout(() => stopWaiting?.(), deadlineMs);
      return ending;
    },
  };
  beforeExit((deadlineMs) => telemetry.end(deadlineMs));
  return telemetry;
}

/**
 * The SDK's resource detectors: the requested ones, except `process`. That one reports the command line, which may contain
 * the password of a database.
 */
export function resourceDetectors(env: NodeJS.ProcessEnv): string {
  // `env` reads what `resourceAttributes` makes, this package's version among it.
  return [...new Set(['env', ...askedDetectors(env)])].filter((name) => name !== 'process').join(',');
}

function askedDetectors(env: NodeJS.ProcessEnv): readonly string[] {
  const asked = (variable(env, 'OTEL_NODE_RESOURCE_DETECTORS') ?? 'all')
    .split(',')
    .map((name) => name.trim());
  return asked.includes('all')
    ? ['env', 'host', 'os', 'serviceinstance']
    : asked.filter((name) => name !== 'none');
}

/** What the user says about this service, and the version if they do not. */
export function resourceAttributes(env: NodeJS.ProcessEnv): string {
  const isAsked = askedDetectors(env).includes('env');
  const given = isAsked ? variable(env, 'OTEL_RESOURCE_ATTRIBUTES') : undefined;
  if (given === undefined) return `service.version=${VERSION}`;
  return /(^|,)\s*service\.version\s*=/.test(given) ? given : `${given},service.version=${VERSION}`;
}

/** Sends the SDK's log to the output. By itself it goes to the console: past the redactor, and into the lines of a result. */
function logThrough(output: Output, env: NodeJS.ProcessEnv): void {
  const level = variable(env, 'OTEL_LOG_LEVEL')?.toUpperCase();
  const logLevel = DIAG_LEVELS.find((name) => name === level);
  if (logLevel === undefined) return;
  const write = (message: string, ...more: readonly unknown[]): void =>
    output.note(
      ['otel:', message, ...more.map((value) => (typeof value === 'string' ? value : inspect(value)))].join(
        ' ',
      ),
    );
  // Otherwise the SDK would replace this logger by its own.
  delete process.env.OTEL_LOG_LEVEL;
  const logger: DiagLogger = { error: write, warn: write, info: write, debug: write, verbose: write };
  diag.setLogger(logger, { logLevel: DiagLogLevel[logLevel], suppressOverrideMessage: true });
}

const DIAG_LEVELS = ['NONE', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'VERBOSE', 'ALL'] as const;

function isNamed(env: NodeJS.ProcessEnv): boolean {
  return (
    variable(env, 'OTEL_SERVICE_NAME') !== undefined ||
    /(^|,)\s*service\.name\s*=/.test(variable(env, 'OTEL_RESOURCE_ATTRIBUTES') ?? '')
  );
}
