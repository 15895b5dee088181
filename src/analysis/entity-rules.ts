/** What of arguments and results names a thing. Rules are data: the first that fits a member's name and value counts, those of the configuration before these. */

/** What a value must look like: `id` a word or a whole number, `number` one with a digit in it. */
export const valueShapes = ['id', 'number', 'path', 'uri', 'table', 'sql', 'email', 'text'] as const;
export type ValueShape = (typeof valueShapes)[number];

export interface EntityRule {
  /**
   * What it is: `employee`. `*`: the words before `id` (`employee_id`, `employeeId`). `?`: a bare `id`, of what the list is called that it stands in, its parameter's
   * description says, is known by that id, or the tool is about, in this order.
   */
  type: string;
  /** Globs over the member's name, in words joined by `_`, lower case; `entities.name`: with the name of what it stands in. In a list the list's name counts. */
  keys: readonly string[];
  value: ValueShape;
  /** Default: both. */
  in?: 'arguments' | 'result';
  /** Globs over tools; default all. */
  tools?: readonly string[];
}

export interface EntityOptions {
  rules?: readonly EntityRule[];
  /** `false`: only the rules above. */
  defaults?: boolean;
  /** Members beside an entity that are told of it, in words joined by `_`; default `attributeNames`. */
  attributes?: readonly string[];
  /** What is known of entities, by glob over `<type>:<value>`; goes before values seen. */
  known?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export const attributeNames: readonly string[] = ['department', 'tenant', 'team', 'org', 'organization', 'organisation', 'region'];

/** Ids of the conversation itself. */
export const idleIds: readonly string[] = [
  'request',
  'session',
  'trace',
  'span',
  'correlation',
  'call',
  'tool_call',
  'progress',
  'token',
  'client',
  'connection',
  'idempotency',
  'process',
  'parent_span',
  'log',
  'stream',
];

/** Words before the noun of an id that say whose or which: `target_user_id` is a user's. */
export const qualifiers: readonly string[] = [
  'new',
  'old',
  'target',
  'source',
  'from',
  'to',
  'parent',
  'sender',
  'recipient',
  'current',
  'my',
  'other',
  'next',
  'previous',
  'related',
  'assigned',
  'external',
];

/** Named by a word: `customer: acme`. */
const named =
  'account bucket channel customer database domain employee host organization patient project repo repository team tenant user vm workspace'.split(
    ' ',
  );
/** Words there say how, not what (`order: asc`, `event: click`), so that a value needs a digit. */
const numbered =
  'company contact container device document event group invoice issue order payment person policy product record server service task ticket transaction volume'.split(
    ' ',
  );

export const entityRules: readonly EntityRule[] = [
  {
    type: 'node',
    keys: ['entities.name', 'nodes.name', 'relations.from', 'relations.to', 'names', 'entity_name', 'entity_names'],
    value: 'text',
    tools: ['*entit*', '*node*', '*relation*', '*observation*', '*graph*'],
  },
  { type: 'table', keys: ['sql', 'query', 'queries', 'statement', 'statements', 'sql_query'], value: 'sql', in: 'arguments' },
  { type: 'table', keys: ['table', 'tables', 'table_name', 'table_names'], value: 'table' },
  {
    type: 'file',
    keys: [
      'path',
      'paths',
      'file',
      'files',
      '*_path',
      '*_paths',
      'filename',
      'file_name',
      'filepath',
      '*_file',
      'directory',
      'dir',
      'folder',
      'cwd',
      'root',
    ],
    value: 'path',
    in: 'arguments',
  },
  { type: 'file', keys: ['source', 'destination', 'src', 'dst', 'dest', 'from', 'to', 'target'], value: 'path', in: 'arguments' },
  { type: 'file', keys: ['path', 'file_path', 'filepath'], value: 'path', in: 'result' },
  { type: 'url', keys: ['url', 'urls', 'uri', 'uris', '*_url', '*_uri', 'href', 'link', 'endpoint'], value: 'uri', in: 'arguments' },
  { type: 'url', keys: ['url', 'uri'], value: 'uri', in: 'result' },
  { type: 'email', keys: ['email', 'emails', '*_email', 'to', 'cc', 'bcc', 'recipient', 'recipients', 'attendees'], value: 'email' },
  { type: '?', keys: ['id', 'ids', 'uuid', 'uuids', 'guid'], value: 'id' },
  { type: '*', keys: ['*_id', '*_ids', '*_uuid', '*_uuids', '*_guid'], value: 'id' },
  {
    type: '*',
    keys: ['order_number', 'invoice_number', 'account_number', 'issue_number', 'ticket_number', 'customer_number', 'pull_number'],
    value: 'id',
  },
  ...named.map((type): EntityRule => ({ type, keys: [type, `${type}s`], value: 'id', in: 'arguments' })),
  ...numbered.map((type): EntityRule => ({ type, keys: [type, `${type}s`], value: 'number', in: 'arguments' })),
];
