/** Regular expressions of the formats of JSON Schema: of each, the usual ones. */
const DATE =
  '\\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))';
const TIME = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)';
const LABEL = '[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?';
const HOST = `(${LABEL}\\.){1,4}[a-z]{2,10}`;
const BYTE = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';

export const FORMATS: ReadonlyMap<string, string> = new Map([
  ['date', `^${DATE}$`],
  ['time', `^${TIME}$`],
  ['date-time', `^${DATE}T${TIME}$`],
  [
    'duration',
    '^P(\\d{1,4}D|\\d{1,4}W|(\\d{1,4}D)?T(\\d{1,4}H(\\d{1,4}M)?(\\d{1,4}S)?|\\d{1,4}M(\\d{1,4}S)?|\\d{1,4}S))$',
  ],
  ['email', `^[A-Za-z0-9_+-]{1,30}(\\.[A-Za-z0-9_+-]{1,30}){0,3}@${HOST}$`],
  ['hostname', `^${HOST}$`],
  ['ipv4', `^(${BYTE}\\.){3}${BYTE}$`],
  ['ipv6', '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$'],
  ['uri', `^https?://${HOST}(/[A-Za-z0-9._~-]{1,60}){0,10}/?(\\?[A-Za-z0-9._~=&-]{1,100})?$`],
  ['uuid', '^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'],
]);
