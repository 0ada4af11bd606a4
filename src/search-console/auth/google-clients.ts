import {
  type AuthClient,
  AwsClient,
  ExternalAccountAuthorizedUserClient,
  type gaxios,
  IdentityPoolClient,
  Impersonated,
  JWT,
  PluggableAuthClient,
  UserRefreshClient,
} from 'google-auth-library';

type Json = Readonly<Record<string, unknown>>;

export interface ClientSettings {
  readonly transporterOptions: Required<
    Pick<gaxios.GaxiosOptions, 'adapter' | 'agent' | 'timeout' | 'retryConfig'>
  >;
}

const CLOUD_SCOPE = 'https://www.googleapis.com/auth/cloud-platform';

/**
 * Creates the library's client for checked credentials. Calls the constructor of each kind, because the library's own
 * function for any JSON prints a warning to the console.
 */
export function makeGoogleClient(json: Json, scopes: string[], settings: ClientSettings): AuthClient {
  const of = (name: string): string => (typeof json[name] === 'string' ? json[name] : '');
  switch (json.type) {
    case 'authorized_user':
      return new UserRefreshClient({
        clientId: of('client_id'),
        clientSecret: of('client_secret'),
        refreshToken: of('refresh_token'),
        ...settings,
      });
    case 'service_account':
      return new JWT({ email: of('client_email'), key: of('private_key'), scopes, ...settings });
    case 'external_account':
      return externalClient(json, scopes, settings);
    case 'external_account_authorized_user':
      return new ExternalAccountAuthorizedUserClient(
        trusted<ConstructorParameters<typeof ExternalAccountAuthorizedUserClient>[0]>({
          ...json,
          ...settings,
        }),
      );
    case 'impersonated_service_account':
      return impersonatedClient(json, scopes, settings);
    default:
      throw new Error(`no client for credentials of type ${String(json.type).slice(0, 60)}`);
  }
}

/** The source of the identity proof decides which of three clients is used. */
function externalClient(json: Json, scopes: string[], settings: ClientSettings): AuthClient {
  const source = json.credential_source;
  const has = (name: string) => typeof source === 'object' && source !== null && Object.hasOwn(source, name);
  const options = { ...json, scopes, ...settings };
  if (has('environment_id'))
    return new AwsClient(trusted<ConstructorParameters<typeof AwsClient>[0]>(options));
  if (has('executable')) {
    return new PluggableAuthClient(trusted<ConstructorParameters<typeof PluggableAuthClient>[0]>(options));
  }
  return new IdentityPoolClient(trusted<ConstructorParameters<typeof IdentityPoolClient>[0]>(options));
}

function impersonatedClient(json: Json, scopes: string[], settings: ClientSettings): AuthClient {
  const url = String(json.service_account_impersonation_url);
  const source = json.source_credentials;
  return new Impersonated({
    sourceClient: makeGoogleClient(trusted<Json>(source), [CLOUD_SCOPE], settings),
    targetPrincipal: /\/serviceAccounts\/([^/:]+):/.exec(url)?.[1] ?? '',
    targetScopes: scopes,
    ...(Array.isArray(json.delegates) && { delegates: json.delegates.map(String) }),
    ...settings,
  });
}

/** Types JSON for the library's constructors. They check the fields themselves. */
const trusted = <T>(value: unknown): T => value as T;
