/**
 * The server that the conformance suite expects (names and texts are the suite's: its `server` scenarios say them), on the official SDK 2.x. One definition
 * serves both eras and both transports; `server-http.ts` and `server-stdio.ts` put it behind them.
 *
 * Nothing in it varies between runs but ids, so that two runs of the suite can be compared check by check. The Tasks and Skills extensions are left out.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  completable,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  inputResponse,
  McpServer,
  ResourceTemplate,
  type CallToolResult,
  type ClientCapabilities,
  type ElicitRequestFormParams,
  type InputRequests,
  type McpRequestContext,
  type ServerContext,
} from '@modelcontextprotocol/server';
import * as z from 'zod';

/** One pixel, and a WAV without samples. */
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const wav = 'UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=';

const text = (value: string): CallToolResult => ({ content: [{ type: 'text', text: value }] });
const nothing = z.object({});

/** What the client of a modern request says that it can do. */
function capabilitiesOf(ctx: ServerContext): ClientCapabilities {
  // the SDK's own type of the envelope names none of its keys
  const envelope = ctx.mcpReq.envelope as Record<string, unknown> | undefined;
  return envelope?.[CLIENT_CAPABILITIES_META_KEY] ?? {};
}

/** The key is fixed: a state is opened by whichever instance the next round reaches. */
const states = createRequestStateCodec<{ round: number; name?: string }>({ key: 'conformance-fixture-request-state', ttlSeconds: 600 });

export interface Changes {
  tools(): void;
  prompts(): void;
}

/** `changes` tells open subscriptions of the modern era; without it the instance's own connection is told. */
export function everythingServer({ era }: Pick<McpRequestContext, 'era'>, changes?: Changes): McpServer {
  const server = new McpServer(
    { name: 'everything', version: '1.0.0' },
    {
      capabilities: {
        tools: { listChanged: true },
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        logging: {},
        completions: {},
      },
      requestState: { verify: (state, ctx) => states.verify(state, ctx) },
    },
  );
  contentTools(server);
  conversationTools(server);
  inputRequiredTools(server);
  subjects(server);
  server.registerTool('test_trigger_tool_change', { description: 'says that the tools changed', inputSchema: nothing }, () => {
    if (changes === undefined) server.sendToolListChanged();
    else changes.tools();
    return text('told');
  });
  server.registerTool('test_trigger_prompt_change', { description: 'says that the prompts changed', inputSchema: nothing }, () => {
    if (changes === undefined) server.sendPromptListChanged();
    else changes.prompts();
    return text('told');
  });
  // subscriptions are a method of the old era alone: the SDK answers them in the modern one
  if (era === 'legacy') {
    const subscribed = new Set<string>();
    server.server.setRequestHandler('resources/subscribe', ({ params }) => {
      subscribed.add(params.uri);
      return {};
    });
    server.server.setRequestHandler('resources/unsubscribe', ({ params }) => {
      subscribed.delete(params.uri);
      return {};
    });
  }
  return server;
}

/** Tools that answer at once with one kind of content each. */
function contentTools(server: McpServer): void {
  const image = { type: 'image' as const, data: png, mimeType: 'image/png' };
  const answer = (name: string, description: string, result: CallToolResult): void => {
    server.registerTool(name, { description, inputSchema: nothing }, () => result);
  };
  answer('test_simple_text', 'a text', text('This is a simple text response for testing.'));
  answer('test_image_content', 'an image', { content: [image] });
  answer('test_audio_content', 'a sound', { content: [{ type: 'audio', data: wav, mimeType: 'audio/wav' }] });
  answer('test_embedded_resource', 'a resource', {
    content: [
      {
        type: 'resource',
        resource: { uri: 'test://embedded-resource', mimeType: 'text/plain', text: 'This is an embedded resource content.' },
      },
    ],
  });
  answer('test_multiple_content_types', 'a text, an image and a resource', {
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      image,
      {
        type: 'resource',
        resource: { uri: 'test://mixed-content-resource', mimeType: 'application/json', text: '{"test":"data","value":123}' },
      },
    ],
  });
  server.registerTool('test_error_handling', { description: 'throws', inputSchema: nothing }, () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  server.registerTool(
    'json_schema_2020_12_tool',
    {
      description: 'Tool with JSON Schema 2020-12 features',
      inputSchema: fromJsonSchema<Record<string, unknown>>({
        $schema: 'https://json-schema.org/draft/2020-12/schema',
        type: 'object',
        $defs: {
          address: { $anchor: 'addressDef', type: 'object', properties: { street: { type: 'string' }, city: { type: 'string' } } },
        },
        properties: {
          name: { type: 'string' },
          address: { $ref: '#/$defs/address' },
          contactMethod: { type: 'string', enum: ['phone', 'email'] },
          phone: { type: 'string' },
          email: { type: 'string' },
        },
        allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
        if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
        // `then` is a keyword of the schema, and this no promise
        then: { required: ['phone'] },
        else: { required: ['email'] },
        additionalProperties: false,
      }),
    },
    (given) => text(JSON.stringify(given)),
  );
  // an argument that goes in a header too
  server.registerTool(
    'test_header_argument',
    { description: 'repeats its argument', inputSchema: z.object({ region: z.string().meta({ 'x-mcp-header': 'Region' }) }) },
    ({ region }) => text(`region ${region}`),
  );
}

/** Tools that say something before they answer: notifications, and requests of the old era's servers. */
function conversationTools(server: McpServer): void {
  server.registerTool('test_tool_with_logging', { description: 'logs three times', inputSchema: nothing }, async (_args, ctx) => {
    await ctx.mcpReq.log('info', 'Tool execution started');
    await sleep(50);
    await ctx.mcpReq.log('info', 'Tool processing data');
    await sleep(50);
    await ctx.mcpReq.log('info', 'Tool execution completed');
    return text('Tool with logging executed successfully');
  });
  server.registerTool('test_logging_tool', { description: 'logs once', inputSchema: nothing }, async (_args, ctx) => {
    await ctx.mcpReq.log('info', 'a line of the log');
    return text('logged, where that was asked for');
  });
  server.registerTool('test_tool_with_progress', { description: 'reports progress', inputSchema: nothing }, async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      if (progress > 0) await sleep(50);
      if (progressToken !== undefined) {
        await ctx.mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress, total: 100, message: `Completed step ${progress} of 100` },
        });
      }
    }
    return text(`progress reported to ${String(progressToken ?? 'nobody')}`);
  });
  server.registerTool(
    'test_sampling',
    { description: "asks the client's model", inputSchema: z.object({ prompt: z.string() }) },
    async ({ prompt }, ctx) => {
      const { content } = await ctx.mcpReq.requestSampling({
        messages: [{ role: 'user', content: { type: 'text', text: prompt } }],
        maxTokens: 100,
      });
      const [first] = Array.isArray(content) ? content : [content];
      return text(`LLM response: ${first?.type === 'text' ? first.text : 'no text'}`);
    },
  );
  const elicit = (name: string, description: string, params: ElicitRequestFormParams, said: string): void => {
    server.registerTool(name, { description, inputSchema: nothing }, async (_args, ctx) => {
      const { action, content } = await ctx.mcpReq.elicitInput(params);
      return text(`${said}: action=${action}, content=${JSON.stringify(content ?? {})}`);
    });
  };
  server.registerTool(
    'test_elicitation',
    { description: 'asks the user', inputSchema: z.object({ message: z.string() }) },
    async ({ message }, ctx) => {
      const { action, content } = await ctx.mcpReq.elicitInput({
        message,
        requestedSchema: {
          type: 'object',
          properties: {
            username: { type: 'string', description: "User's response" },
            email: { type: 'string', description: "User's email address" },
          },
          required: ['username', 'email'],
        },
      });
      return text(`User response: action: ${action}, content: ${JSON.stringify(content ?? {})}`);
    },
  );
  elicit(
    'test_elicitation_sep1034_defaults',
    'asks with a default for every primitive type',
    {
      message: 'Please review and update the form fields with defaults',
      requestedSchema: {
        type: 'object',
        properties: {
          name: { type: 'string', description: 'User name', default: 'John Doe' },
          age: { type: 'integer', description: 'User age', default: 30 },
          score: { type: 'number', description: 'User score', default: 95.5 },
          status: { type: 'string', description: 'User status', enum: ['active', 'inactive', 'pending'], default: 'active' },
          verified: { type: 'boolean', description: 'Verification status', default: true },
        },
        required: [],
      },
    },
    'Elicitation completed',
  );
  const titled = (word: string, name: string): { const: string; title: string }[] =>
    ['First', 'Second', 'Third'].map((title, i) => ({ const: `${name}${i + 1}`, title: `${title} ${word}` }));
  const options = ['option1', 'option2', 'option3'];
  elicit(
    'test_elicitation_sep1330_enums',
    'asks with every form of enumeration',
    {
      message: 'Please select options',
      requestedSchema: {
        type: 'object',
        properties: {
          untitledSingle: { type: 'string', enum: options },
          titledSingle: { type: 'string', oneOf: titled('Option', 'value') },
          legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
          untitledMulti: { type: 'array', items: { type: 'string', enum: options } },
          titledMulti: { type: 'array', items: { anyOf: titled('Choice', 'value') } },
        },
        required: [],
      },
    },
    'Elicitation completed',
  );
  server.registerTool('test_reconnection', { description: 'closes its stream before it answers', inputSchema: nothing }, async (_args, ctx) => {
    await sleep(50);
    ctx.http?.closeSSE?.();
    await sleep(100);
    return text('Reconnection test completed successfully');
  });
}

/** What the modern era asks in its results instead. */
function inputRequiredTools(server: McpServer): void {
  const named = z.object({ name: z.string() });
  const confirmed = z.object({ ok: z.boolean() });
  const askName = (message: string) => inputRequired.elicit({ message, requestedSchema: named });
  const sample = (question: string, maxTokens: number) =>
    inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: question } }], maxTokens });
  const sampledText = (responses: Record<string, unknown> | undefined, key: string): string | undefined => {
    const view = inputResponse(responses, key);
    if (view.kind !== 'sampling') return undefined;
    const [first] = Array.isArray(view.result.content) ? view.result.content : [view.result.content];
    return first?.type === 'text' ? first.text : '';
  };

  server.registerTool('test_input_required_result_elicitation', { description: 'asks for a name', inputSchema: nothing }, (_args, ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'user_name', named);
    return answer === undefined ? inputRequired({ inputRequests: { user_name: askName('What is your name?') } }) : text(`Hello, ${answer.name}!`);
  });
  server.registerTool('test_input_required_result_sampling', { description: 'asks for a capital', inputSchema: nothing }, (_args, ctx) => {
    const answer = sampledText(ctx.mcpReq.inputResponses, 'capital_question');
    return answer === undefined
      ? inputRequired({ inputRequests: { capital_question: sample('What is the capital of France?', 100) } })
      : text(`The model says: ${answer}`);
  });
  server.registerTool('test_input_required_result_list_roots', { description: 'asks for roots', inputSchema: nothing }, (_args, ctx) => {
    const view = inputResponse(ctx.mcpReq.inputResponses, 'client_roots');
    return view.kind === 'roots'
      ? text(`Roots: ${view.roots.map((root) => root.uri).join(', ')}`)
      : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });
  const confirm = async (said: string, ctx: ServerContext) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'confirm', confirmed);
    if (answer !== undefined && ctx.mcpReq.requestState<{ round: number }>()?.round === 1) return text(said);
    return inputRequired({
      inputRequests: { confirm: inputRequired.elicit({ message: 'Please confirm', requestedSchema: confirmed }) },
      requestState: await states.mint({ round: 1 }),
    });
  };
  server.registerTool('test_input_required_result_request_state', { description: 'asks with a state', inputSchema: nothing }, (_args, ctx) =>
    confirm('state-ok', ctx),
  );
  server.registerTool('test_input_required_result_tampered_state', { description: 'refuses a changed state', inputSchema: nothing }, (_args, ctx) =>
    confirm('confirmed', ctx),
  );
  server.registerTool(
    'test_input_required_result_multiple_inputs',
    { description: 'asks for three things', inputSchema: nothing },
    async (_args, ctx) => {
      const responses = ctx.mcpReq.inputResponses;
      const who = acceptedContent(responses, 'user_name', named);
      const greeting = sampledText(responses, 'greeting');
      const roots = inputResponse(responses, 'client_roots');
      if (who !== undefined && greeting !== undefined && roots.kind === 'roots') return text(`${greeting} ${who.name}, ${roots.roots.length} roots`);
      return inputRequired({
        inputRequests: {
          user_name: askName('What is your name?'),
          greeting: sample('Generate a greeting', 50),
          client_roots: inputRequired.listRoots(),
        },
        requestState: await states.mint({ round: 1 }),
      });
    },
  );
  server.registerTool('test_input_required_result_multi_round', { description: 'asks twice', inputSchema: nothing }, async (_args, ctx) => {
    const state = ctx.mcpReq.requestState<{ round: number; name?: string }>();
    const responses = ctx.mcpReq.inputResponses;
    const first = acceptedContent(responses, 'step1', named);
    const color = z.object({ color: z.string() });
    const second = acceptedContent(responses, 'step2', color);
    if (state?.round === 2 && second !== undefined) return text(`${state.name} likes ${second.color}`);
    if (state?.round === 1 && first !== undefined) {
      return inputRequired({
        inputRequests: { step2: inputRequired.elicit({ message: 'Step 2: What is your favorite color?', requestedSchema: color }) },
        requestState: await states.mint({ round: 2, name: first.name }),
      });
    }
    return inputRequired({ inputRequests: { step1: askName('Step 1: What is your name?') }, requestState: await states.mint({ round: 1 }) });
  });
  server.registerTool(
    'test_input_required_result_capabilities',
    { description: 'asks only for what the client can do', inputSchema: nothing },
    (_args, ctx) => {
      const can = capabilitiesOf(ctx);
      const inputRequests: InputRequests = {};
      if (can.elicitation !== undefined) inputRequests['user_name'] = askName('What is your name?');
      if (can.sampling !== undefined) inputRequests['greeting'] = sample('Generate a greeting', 50);
      if (can.roots !== undefined) inputRequests['client_roots'] = inputRequired.listRoots();
      const answered = Object.keys(inputRequests).some((key) => inputResponse(ctx.mcpReq.inputResponses, key).kind !== 'missing');
      return answered || Object.keys(inputRequests).length === 0 ? text('nothing left to ask') : inputRequired({ inputRequests });
    },
  );
  // to a client that cannot sample the SDK answers -32021, by itself
  server.registerTool('test_missing_capability', { description: 'needs sampling', inputSchema: nothing }, (_args, ctx) => {
    const answer = sampledText(ctx.mcpReq.inputResponses, 'greeting');
    return answer === undefined ? inputRequired({ inputRequests: { greeting: sample('Generate a greeting', 50) } }) : text(answer);
  });
  server.registerTool('test_streaming_elicitation', { description: 'says something, then asks', inputSchema: nothing }, async (_args, ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'user_name', named);
    if (answer !== undefined) return text(`Hello, ${answer.name}!`);
    const progressToken = ctx.mcpReq._meta?.progressToken ?? 'streaming';
    await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress: 1, total: 2 } });
    return inputRequired({ inputRequests: { user_name: askName('What is your name?') } });
  });
  const context = z.object({ context: z.string() });
  server.registerPrompt('test_input_required_result_prompt', { description: 'asks for a context' }, (ctx) => {
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'user_context', context);
    if (answer === undefined) {
      return inputRequired({
        inputRequests: {
          user_context: inputRequired.elicit({ message: 'What context should the prompt use?', requestedSchema: context }),
        },
      });
    }
    return { messages: [{ role: 'user', content: { type: 'text', text: `Use this context: ${answer.context}` } }] };
  });
}

/** Resources and prompts. */
function subjects(server: McpServer): void {
  server.registerResource('static-text', 'test://static-text', { description: 'a text', mimeType: 'text/plain' }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' }],
  }));
  server.registerResource('static-binary', 'test://static-binary', { description: 'an image', mimeType: 'image/png' }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: 'image/png', blob: png }],
  }));
  server.registerResource(
    'watched-resource',
    'test://watched-resource',
    { description: 'a text to subscribe to', mimeType: 'text/plain' },
    (uri) => ({ contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'Watched resource content' }] }),
  );
  server.registerResource(
    'template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'a text with a parameter', mimeType: 'application/json' },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }),
        },
      ],
    }),
  );

  const user = (value: string) => ({ role: 'user' as const, content: { type: 'text' as const, text: value } });
  server.registerPrompt('test_simple_prompt', { description: 'a prompt' }, () => ({
    messages: [user('This is a simple prompt for testing.')],
  }));
  const words = (value: string): string[] => ['paris', 'park', 'party'].filter((word) => word.startsWith(value));
  server.registerPrompt(
    'test_prompt_with_arguments',
    {
      description: 'a prompt with arguments',
      argsSchema: z.object({
        arg1: completable(z.string().describe('First test argument'), words),
        arg2: completable(z.string().describe('Second test argument'), words),
      }),
    },
    ({ arg1, arg2 }) => ({ messages: [user(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)] }),
  );
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    { description: 'a prompt with a resource', argsSchema: z.object({ resourceUri: z.string().describe('URI of the resource to embed') }) },
    ({ resourceUri }) => ({
      messages: [
        {
          role: 'user',
          content: { type: 'resource', resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' } },
        },
        user('Please process the embedded resource above.'),
      ],
    }),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'a prompt with an image' }, () => ({
    messages: [{ role: 'user', content: { type: 'image', data: png, mimeType: 'image/png' } }, user('Please analyze the image above.')],
  }));
}
