/** The client, with its connections to the server going to the proxy that stands in its place. */
import { dialFront } from './same-origin.ts';

dialFront(new URL(process.argv.at(-1)!));
await import('./client.ts');
