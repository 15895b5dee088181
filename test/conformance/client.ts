/**
 * The client that the conformance suite expects, on the official SDK 2.x: `node client.ts <url>`, with the scenario's name, its context and the revision in
 * `MCP_CONFORMANCE_SCENARIO`, `_CONTEXT` and `_PROTOCOL_VERSION`. It lists what the server has and uses all of it once, with arguments made from the schemas;
 * where it is refused it authorizes itself as the server says. The status is 1 when that does not succeed, which some scenarios want.
 *
 * DPoP and workload identity are left out (see README.md).
 */
import {
  Client,
  ClientCredentialsProvider,
  CrossAppAccessProvider,
  PrivateKeyJwtProvider,
  requestJwtAuthorizationGrant,
  StreamableHTTPClientTransport,
  UnauthorizedError,
  type OAuthClientMetadata,
  type OAuthClientProvider,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from '@modelcontextprotocol/client';

const url = new URL(process.argv.at(-1)!);
const scenario = process.env['MCP_CONFORMANCE_SCENARIO'] ?? '';
const revision = process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] ?? '2025-11-25';
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}') as Record<string, string> & {
  toolCalls?: { name: string; arguments: Record<string, unknown> }[];
};

/** How often it authorizes itself before it gives up. */
const authorizationLimit = 3;

/** The authorization code flow, with a user agent that consents to everything: it follows the redirect by itself. */
class ConsentingUser implements OAuthClientProvider {
  readonly redirectUrl = 'http://localhost:3000/callback';
  /** Where the scenario expects it; nobody fetches it. */
  readonly clientMetadataUrl = 'https://conformance-test.local/client-metadata.json';
  readonly clientMetadata: OAuthClientMetadata = {
    client_name: 'sworn-conformance-client',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  };
  /** What the authorization server sent back with the user agent. */
  callback: URLSearchParams | undefined;
  #client: StoredOAuthClientInformation | undefined;
  #tokens: StoredOAuthTokens | undefined;
  #verifier = '';

  constructor(client?: StoredOAuthClientInformation) {
    this.#client = client;
  }

  clientInformation = (): StoredOAuthClientInformation | undefined => this.#client;
  saveClientInformation(client: StoredOAuthClientInformation): void {
    this.#client = client;
  }

  tokens = (): StoredOAuthTokens | undefined => this.#tokens;
  saveTokens(tokens: StoredOAuthTokens): void {
    this.#tokens = tokens;
  }

  codeVerifier = (): string => this.#verifier;
  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  invalidateCredentials(scope: 'all' | 'client' | 'tokens' | 'verifier' | 'discovery'): void {
    if (scope === 'all' || scope === 'client') this.#client = undefined;
    if (scope === 'all' || scope === 'tokens') this.#tokens = undefined;
  }

  async redirectToAuthorization(to: URL): Promise<void> {
    const response = await fetch(to, { redirect: 'manual' });
    const location = response.headers.get('location');
    if (location === null) throw new Error(`the authorization server answered ${response.status} without a redirect`);
    this.callback = new URL(location).searchParams;
  }
}

function providerFor(): OAuthClientProvider | undefined {
  const clientId = context['client_id'] ?? '';
  const clientSecret = context['client_secret'] ?? '';
  switch (scenario) {
    case 'auth/client-credentials-basic':
      return new ClientCredentialsProvider({ clientId, clientSecret });
    case 'auth/client-credentials-jwt':
      return new PrivateKeyJwtProvider({ clientId, privateKey: context['private_key_pem']!, algorithm: context['signing_algorithm']! });
    case 'auth/enterprise-managed-authorization':
      return new CrossAppAccessProvider({
        clientId,
        clientSecret,
        assertion: async ({ authorizationServerUrl, resourceUrl }) => {
          const { jwtAuthGrant } = await requestJwtAuthorizationGrant({
            tokenEndpoint: context['idp_token_endpoint']!,
            audience: authorizationServerUrl,
            resource: resourceUrl,
            idToken: context['idp_id_token']!,
            clientId: context['idp_client_id']!,
          });
          return jwtAuthGrant;
        },
      });
    case 'auth/pre-registration':
      return new ConsentingUser({ client_id: clientId, client_secret: clientSecret, issuer: context['issuer']! });
    default:
      return scenario.startsWith('auth/') ? new ConsentingUser() : undefined;
  }
}

const provider = providerFor();
let transport!: StreamableHTTPClientTransport;
let authorizations = 0;

/** Does it again after every authorization that it needed. */
async function authorized<T>(act: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      const callback = provider instanceof ConsentingUser ? provider.callback : undefined;
      if (!(error instanceof UnauthorizedError) || callback === undefined || ++authorizations >= authorizationLimit) throw error;
      await transport.finishAuth(callback);
    }
  }
}

function connect(): Promise<Client> {
  return authorized(async () => {
    transport = new StreamableHTTPClientTransport(url, provider === undefined ? {} : { authProvider: provider });
    const client = new Client(
      { name: 'sworn-conformance-client', version: '1.0.0' },
      {
        capabilities: { elicitation: { form: { applyDefaults: true } }, sampling: {}, roots: {} },
        versionNegotiation: { mode: revision >= '2026-07-28' ? 'auto' : 'legacy' },
      },
    );
    client.setRequestHandler('elicitation/create', ({ params }) => ({
      action: 'accept',
      // fields with a default are left to the SDK
      content: 'requestedSchema' in params && 'confirmed' in params.requestedSchema.properties ? { confirmed: true } : {},
    }));
    await client.connect(transport);
    return client;
  });
}

interface Schema {
  type?: string;
  properties?: Record<string, Schema>;
  required?: string[];
}

/** Something for every property that must be there. */
function sample({ type, properties = {}, required = [] }: Schema): unknown {
  if (type === 'object') return Object.fromEntries(required.map((name) => [name, sample(properties[name] ?? {})]));
  if (type === 'number' || type === 'integer') return 5;
  if (type === 'boolean') return true;
  return type === 'array' ? [] : 'value';
}

async function useTools(client: Client): Promise<void> {
  const { tools } = await authorized(() => client.listTools());
  // its schema names what must not be fetched, and no tool of that name can be called
  if (scenario === 'json-schema-ref-no-deref') return;
  const called =
    context.toolCalls ?? tools.map(({ name, inputSchema }) => ({ name, arguments: sample(inputSchema as Schema) as Record<string, unknown> }));
  const rich = tools.find(({ name }) => name === 'json_schema_2020_12_tool');
  for (const call of called) {
    if (call.name === 'json_schema_echo') call.arguments = { schema: rich?.inputSchema };
    await authorized(() => client.callTool(call));
  }
}

async function useRest(client: Client): Promise<void> {
  const can = client.getServerCapabilities();
  if (can?.resources !== undefined) {
    for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri });
  }
  if (can?.prompts !== undefined) {
    for (const { name, arguments: wanted = [] } of (await client.listPrompts()).prompts) {
      await client.getPrompt({ name, arguments: Object.fromEntries(wanted.map((one) => [one.name, 'value'])) });
    }
  }
}

const client = await connect();
if (client.getServerCapabilities()?.tools !== undefined) await useTools(client);
await useRest(client);
await client.close();
