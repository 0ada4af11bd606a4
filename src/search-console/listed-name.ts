import { hasSpellings, propertyKey } from '../domain/property-name.ts';
import { listSites, type SitesOptions } from './sites.ts';

/**
 * What Search Console calls a property. It knows names to the letter, and lists those that are not ASCII in one of several
 * spellings: so for them its list is asked, once. Where it cannot be had, or has no such property, the name stays as it is, and
 * Google says what is wrong.
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
