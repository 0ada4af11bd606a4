/**
 * A backend with OpenTelemetry's SDK and a Prometheus exporter: copies a property, is halted in a second run, and stays in a
 * third one. Started with `fork`: says `ready` after the second, goes on at any message, and ends with its parent.
 */
import { NodeSDK } from '@opentelemetry/sdk-node';
import { createSync } from '../../../src/sync/sync.ts';

const { DATABASE = '', API_ROOT, SITE = '' } = process.env;
const sdk = new NodeSDK({ spanProcessors: [], logRecordProcessors: [] });
sdk.start();

const options = {
  siteUrl: SITE,
  database: DATABASE,
  credentials: { accessToken: 'a', account: 'me' },
  apiRoot: API_ROOT,
  days: 6,
  datasets: ['page'],
};

const first = createSync(options);
await first.run();
await first.close();
const second = createSync({ ...options, refresh: true });
second.on('started', () => void second.halt('for the test'));
await second.run();
await second.close();
process.on('disconnect', () => process.exit(0));
process.once('message', () => void createSync({ ...options, refresh: true }).run());
process.send?.('ready');
