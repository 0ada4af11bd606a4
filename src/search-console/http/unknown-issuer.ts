/**
 * Advice for a TLS error that means that no known authority signed the server's certificate. Usually a proxy or firewall
 * decrypts TLS and presents a certificate of its own. Empty for every other error code.
 */
export function adviceOnIssuer(code: string): string {
  if (!UNKNOWN_ISSUER.test(code)) return '';
  return ': if a proxy here decrypts TLS with a certificate authority of its own, name its file in NODE_EXTRA_CA_CERTS';
}

const UNKNOWN_ISSUER =
  /^(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_(?:GET_ISSUER_CERT|VERIFY_LEAF))/;
