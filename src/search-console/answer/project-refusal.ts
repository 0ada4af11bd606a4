/**
 * Recognises refusals that concern the Google Cloud project, its billing or its policies. The property's settings cannot
 * fix them.
 */

interface ProjectRefusal {
  readonly code: 'API_NOT_ENABLED' | 'PROJECT_REFUSED';
  readonly nextStep: string;
}

interface Rule extends ProjectRefusal {
  /** Google's reasons. The rule applies if one of them is given, or if the text fits `message`. */
  readonly reasons: readonly string[];
  readonly message: RegExp;
}

/** The first rule that applies decides: "requires a quota project" also has the reason of an API that is not enabled. */
const RULES: readonly Rule[] = [
  {
    code: 'PROJECT_REFUSED',
    reasons: ['userProjectMissing'],
    message: /requires a quota project|quota project (?:is |has )?not (?:been )?set|set a quota project/i,
    nextStep:
      'Name the project that the requests are charged to: `gcloud auth application-default set-quota-project PROJECT`, or use a service account’s key; then run again.',
  },
  {
    code: 'PROJECT_REFUSED',
    reasons: ['USER_PROJECT_DENIED', 'userProjectDenied'],
    message: /permission to use project|serviceusage\.services\.use/i,
    nextStep:
      'Give this account the role “Service Usage Consumer” in that Google Cloud project (IAM), or name a project that it may use; then run again.',
  },
  {
    code: 'PROJECT_REFUSED',
    reasons: ['BILLING_DISABLED', 'billingDisabled', 'billingNotEnabled'],
    message: /requires billing|billing (?:account|to be enabled|is disabled|has not been enabled)/i,
    nextStep: 'Check the project’s billing in the Google Cloud console, then run again.',
  },
  {
    code: 'PROJECT_REFUSED',
    reasons: [
      'CONSUMER_INVALID',
      'CONSUMER_SUSPENDED',
      'RESOURCE_PROJECT_INVALID',
      'PROJECT_INVALID',
      'userProjectInvalid',
      'projectNotLinked',
    ],
    message:
      /project\b.{0,60}\b(?:has been deleted|is deleted|was deleted|not found|does not exist|is invalid|has been suspended)|consumer\b.{0,60}\b(?:invalid|suspended)|unknown project id/is,
    nextStep:
      'The Google Cloud project of these credentials is gone, suspended or misspelled: use credentials of one that works, or name another quota project; then run again.',
  },
  {
    code: 'PROJECT_REFUSED',
    reasons: ['SECURITY_POLICY_VIOLATED', 'ORG_RESTRICTION_VIOLATION', 'LOCATION_POLICY_VIOLATED'],
    message:
      /prohibited by organization.{0,4}s policy|vpcServiceControls|VPC Service Controls|org(?:anization)? policy/i,
    nextStep:
      'A policy of the organisation blocks this machine or account: ask its administrator in Google Cloud (VPC Service Controls, organisation policies).',
  },
  {
    code: 'PROJECT_REFUSED',
    reasons: [
      'API_KEY_INVALID',
      'API_KEY_SERVICE_BLOCKED',
      'API_KEY_IP_ADDRESS_BLOCKED',
      'API_KEY_HTTP_REFERRER_BLOCKED',
      'ipRefererBlocked',
      'refererBlocked',
      'keyInvalid',
      'keyExpired',
    ],
    message:
      /IP address restriction|API key\b.{0,40}\b(?:not valid|expired|blocked)|blocked by .{0,40}restriction/i,
    nextStep:
      'The restrictions of the project’s key or client block this machine: change them in the Google Cloud console under “APIs & Services → Credentials”.',
  },
  {
    code: 'API_NOT_ENABLED',
    reasons: ['accessNotConfigured', 'ACCESS_NOT_CONFIGURED', 'SERVICE_DISABLED', 'SERVICE_NOT_VISIBLE'],
    message: /has not been used in project|API .{0,60}is disabled|it is disabled\. Enable it/i,
    nextStep:
      'Enable the “Google Search Console API” for the project in the Google Cloud console, then run again.',
  },
];

/** Returns undefined if the refusal does not concern the project. */
export function projectRefusal(said: {
  readonly reasons: readonly string[];
  readonly message: string;
}): ProjectRefusal | undefined {
  const rule = RULES.find(
    ({ reasons, message }) =>
      reasons.some((reason) => said.reasons.includes(reason)) || message.test(said.message),
  );
  return rule && { code: rule.code, nextStep: rule.nextStep };
}
