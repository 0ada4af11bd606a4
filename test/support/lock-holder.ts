import { connect } from '../../src/db/connect.ts';
import { lockProperty } from '../../src/db/property-lock.ts';
import { systemClock } from '../../src/domain/clock.ts';

/** A process that takes a property's lock and says what came of it, then holds it until it is killed or disconnected. */
const [url = '', siteUrl = ''] = process.argv.slice(2);
const database = await connect(url, { max: 2, applicationName: 'lock-holder' });
const locking = await lockProperty(database.sql, siteUrl, systemClock);
process.send?.(locking.kind);
process.once('disconnect', () => process.exit(0));
