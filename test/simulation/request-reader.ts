/** Reads what our client sends, with a reader of the simulation's own: strict, for one client's way of writing. */

export interface AskedPage {
  readonly contentId: string;
  readonly siteUrl: string;
  readonly startDate: string;
  readonly endDate: string;
  readonly dimensions: readonly string[];
  /** The search appearance that is filtered; empty: all. */
  readonly appearance: string;
  readonly type: string;
  readonly rowLimit: number;
  readonly startRow: number;
}

export interface SentRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

const QUERY = /\/webmasters\/v3\/sites\/([^/]+)\/searchAnalytics\/query\?prettyPrint=false$/;

/** @throws Error for anything that Google would not take. */
export function readRequest({ url, headers, body = '' }: SentRequest): {
  readonly isBatch: boolean;
  readonly pages: readonly AskedPage[];
} {
  const text = typeof body === 'string' ? body : Buffer.from(body).toString('utf8');
  const { pathname, search } = new URL(url);
  if (pathname !== '/batch') return { isBatch: false, pages: [readPage('', `${pathname}${search}`, text)] };
  const boundary = /^multipart\/mixed; boundary=([\w'()+,\-./:=?]{1,70})$/.exec(
    headers['content-type'] ?? '',
  )?.[1];
  if (boundary === undefined) throw new Error(`no boundary in ${headers['content-type']}`);
  const parts = text.split(`--${boundary}`);
  if (parts.shift() !== '' || parts.pop() !== '--\r\n')
    throw new Error('the batch has a wrong beginning or end');
  const pages = parts.map((part) => {
    const match =
      /^\r\n(?:[\w-]+: [^\r\n]*\r\n)*?Content-ID: <([^>\r\n]+)>\r\n\r\nPOST (\S+) HTTP\/1\.1\r\n([\s\S]*?)\r\n\r\n([\s\S]*)\r\n$/.exec(
        part,
      );
    if (match === null) throw new Error(`a part that cannot be read: ${JSON.stringify(part)}`);
    const [, contentId = '', path = '', head = '', json = ''] = match;
    const length = /^Content-Length: (\d+)$/m.exec(head.replaceAll('\r', ''))?.[1];
    if (Number(length) !== Buffer.byteLength(json)) throw new Error(`Content-Length ${length} is wrong`);
    return readPage(contentId, path, json);
  });
  if (new Set(pages.map(({ contentId }) => contentId)).size !== pages.length) throw new Error('an id twice');
  return { isBatch: true, pages };
}

function readPage(contentId: string, path: string, json: string): AskedPage {
  const site = QUERY.exec(path)?.[1];
  if (site === undefined) throw new Error(`the path ${path}`);
  const body: unknown = JSON.parse(json);
  if (typeof body !== 'object' || body === null) throw new Error('the body is no object');
  const { startDate, endDate, dimensions, dimensionFilterGroups, type, dataState, rowLimit, startRow } =
    body as Record<string, unknown>;
  if (
    typeof startDate !== 'string' ||
    typeof endDate !== 'string' ||
    !Array.isArray(dimensions) ||
    typeof type !== 'string' ||
    dataState !== 'all' ||
    typeof rowLimit !== 'number' ||
    typeof startRow !== 'number' ||
    rowLimit < 1 ||
    rowLimit > 25_000 ||
    startRow < 0 ||
    startDate > endDate
  ) {
    throw new Error(`the query ${json}`);
  }
  return {
    contentId,
    siteUrl: decodeURIComponent(site),
    startDate,
    endDate,
    dimensions: dimensions.map(String),
    appearance: readAppearance(dimensionFilterGroups),
    type,
    rowLimit,
    startRow,
  };
}

function readAppearance(groups: unknown): string {
  if (groups === undefined) return '';
  const match =
    /^\[\{"groupType":"and","filters":\[\{"dimension":"searchAppearance","operator":"equals","expression":("[^"]+")\}\]\}\]$/.exec(
      JSON.stringify(groups),
    );
  if (match === null) throw new Error(`the filters ${JSON.stringify(groups)}`);
  return String(JSON.parse(match[1] ?? '""'));
}
