/**
 * Sets up OpenTelemetry's SDK for one command, when the standard variables ask for it. The library itself speaks the API
 * alone; the SDK is an optional package.
 */
import { inspect } from 'node:util';
import { type DiagLogger, DiagLogLevel, diag } from '@opentelemetry/api';
import type { NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import { VERSION } from '../../domain/version.ts';
import { variable } from '../commands/options.ts';
import type { Session } from '../commands/session.ts';
import type { Output } from '../terminal/output.ts';

export interface TelemetrySdk {
  /** Hands over what was collected and ends. At most `deadlineMs`; safe to call again. Never rejects. */
  end(deadlineMs: number): Promise<void>;
}

const NOTHING: TelemetrySdk = { end: () => Promise.resolve() };

/** Which signals the variables ask for, as OpenTelemetry's specification reads them, but off when none is set. */
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

/** Starts the SDK if it is asked for and there. It is ended with the process, if nobody ends it before. */
export async function startTelemetry({ env, output, clock, beforeExit }: Session): Promise<TelemetrySdk> {
  const { traces, metrics } = wantedSignals(env);
  if (!traces && !metrics) return NOTHING;
  let module: typeof import('@opentelemetry/sdk-node');
  try {
    module = await import('@opentelemetry/sdk-node');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND')) throw error;
    output.note('OTEL_* asks for telemetry, and the package for it is not installed: going on without.');
    output.note('Install it beside longtail: npm install @opentelemetry/sdk-node');
    return NOTHING;
  }
  const configuration: Partial<NodeSDKConfiguration> = {
    ...(isNamed(env) ? {} : { serviceName: 'longtail' }),
    // What was not asked for would go to the default address, and fail there.
    ...(traces ? {} : { spanProcessors: [] }),
    ...(metrics ? {} : { metricReaders: [] }),
    logRecordProcessors: [],
  };
  // The SDK reads them from the process alone, and this process is the command's own.
  process.env.OTEL_RESOURCE_ATTRIBUTES = resourceAttributes(env);
  process.env.OTEL_NODE_RESOURCE_DETECTORS = resourceDetectors(env);
  speakThrough(output, env);
  const sdk = new module.NodeSDK(configuration);
  sdk.start();
  const shutdown = (): Promise<void> =>
    sdk.shutdown().catch((error: unknown) => {
      output.note(`Telemetry was not delivered: ${error instanceof Error ? error.message : String(error)}`);
    });
  let ending: Promise<void> | undefined;
  let hurried: (() => void) | undefined;
  const telemetry: TelemetrySdk = {
    end(deadlineMs) {
      ending ??= Promise.race([
        shutdown(),
        new Promise<void>((resolve) => {
          hurried = resolve;
        }),
      ]);
      // The first deadline holds, unless a later one is sooner.
      clock.setTimeout(() => hurried?.(), deadlineMs);
      return ending;
    },
  };
  beforeExit((deadlineMs) => telemetry.end(deadlineMs));
  return telemetry;
}

/**
 * What the SDK finds out about where it runs. All that was asked for but the process: that is the command line, and a
 * database's password may stand in it.
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

/** With `OTEL_LOG_LEVEL` the SDK writes to the console: past the redactor, and between the lines of a result. */
function speakThrough(output: Output, env: NodeJS.ProcessEnv): void {
  const level = variable(env, 'OTEL_LOG_LEVEL')?.toUpperCase();
  const logLevel = DIAG_LEVELS.find((name) => name === level);
  if (logLevel === undefined) return;
  const tell = (message: string, ...more: readonly unknown[]): void =>
    output.note(
      ['otel:', message, ...more.map((value) => (typeof value === 'string' ? value : inspect(value)))].join(
        ' ',
      ),
    );
  // Or it would put a logger of its own in the place of this one.
  delete process.env.OTEL_LOG_LEVEL;
  const logger: DiagLogger = { error: tell, warn: tell, info: tell, debug: tell, verbose: tell };
  diag.setLogger(logger, { logLevel: DiagLogLevel[logLevel], suppressOverrideMessage: true });
}

const DIAG_LEVELS = ['NONE', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'VERBOSE', 'ALL'] as const;

function isNamed(env: NodeJS.ProcessEnv): boolean {
  return (
    variable(env, 'OTEL_SERVICE_NAME') !== undefined ||
    /(^|,)\s*service\.name\s*=/.test(variable(env, 'OTEL_RESOURCE_ATTRIBUTES') ?? '')
  );
}
