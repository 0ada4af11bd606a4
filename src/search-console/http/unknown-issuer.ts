/**
 * What to say beside an error of TLS whose code means that nobody vouches for the server's certificate: a proxy, or a guard
 * of the network, opened the line and closed it again with one of its own. Empty for every other code.
 */
export function adviceOnIssuer(code: string): string {
  if (!UNKNOWN_ISSUER.test(code)) return '';
  return ': if a proxy here opens TLS with a certificate authority of its own, name its file in NODE_EXTRA_CA_CERTS';
}

const UNKNOWN_ISSUER =
  /^(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER_CERT|VERIFY_LEAF))/;
