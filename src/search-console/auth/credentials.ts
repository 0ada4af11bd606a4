/** Where access tokens come from. */
export type Credentials =
  /**
   * `account` is the name of the tokens' account: all synchronisations with the same name share one quota, in every
   * process. Without it, Longtail asks Google (tokeninfo). Accounts that Google does not name share one quota.
   */
  | { readonly getAccessToken: () => string | Promise<string>; readonly account?: string | undefined }
  | { readonly accessToken: string; readonly account?: string | undefined }
  /**
   * A credentials file of any type that google-auth-library reads. Two sign-ins to one account produce two files, and
   * neither names the account: give both the same `account`, otherwise each uses a whole quota.
   */
  | { readonly file: string; readonly account?: string | undefined }
  /** Application Default Credentials, with the name of their account. */
  | { readonly account: string };
