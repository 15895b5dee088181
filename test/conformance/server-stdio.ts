/** The conformance server on stdio. */
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { everythingServer } from './everything.ts';

serveStdio((context) => everythingServer(context));
