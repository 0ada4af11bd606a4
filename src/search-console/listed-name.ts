import { hasSpellings, propertyKey } from '../domain/property-name.ts';
import { listSites, type SitesOptions } from './sites.ts';

/**
 * Finds the name under which Search Console lists a property. It compares names exactly and lists a non-ASCII name in one of
 * several spellings, so for those the list is fetched once. If that fails or lacks the property, the name stays unchanged
 * and Google reports the error.
 */
export function createListedName(
  siteUrl: string,
  options: Omit<SitesOptions, 'accessToken' | 'signal'>,
): (access: Pick<SitesOptions, 'accessToken' | 'signal'>) => Promise<string> {
  let known = hasSpellings(siteUrl) ? undefined : siteUrl;
  return async (access) => {
    if (known !== undefined) return known;
    const listed = await listSites({ ...options, ...access });
    if (listed.kind !== 'ok') return siteUrl;
    const key = propertyKey(siteUrl);
    known = listed.sites.find((site) => propertyKey(site.siteUrl) === key)?.siteUrl ?? siteUrl;
    return known;
  };
}
