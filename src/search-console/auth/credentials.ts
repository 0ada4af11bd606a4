/** Where access tokens come from. */
export type Credentials =
  /**
   * `account` names whose tokens they are: all synchronisations under one name share its quota, in every process. Without,
   * Google is asked (tokeninfo); if it does not say, all accounts that nobody knows share one.
   */
  | { readonly getAccessToken: () => string | Promise<string>; readonly account?: string | undefined }
  | { readonly accessToken: string; readonly account?: string | undefined }
  /**
   * A credentials file of any type that google-auth-library reads. Two sign-ins of one account are two files, and Google does
   * not say whose: give both the same `account`, or each takes a whole quota.
   */
  | { readonly file: string; readonly account?: string | undefined }
  /** Application Default Credentials, by the name of the account that they are of. */
  | { readonly account: string };
