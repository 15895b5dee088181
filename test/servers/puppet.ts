/** A server without a mind: its stdio is joined to a socket, so that a test holds both ends of the conversation. Ends when the socket does. */
import { connect } from 'node:net';

const socket = connect({ path: process.argv[2]!, allowHalfOpen: true });
process.stdin.on('data', (chunk: Buffer) => {
  if (!socket.write(chunk)) {
    process.stdin.pause();
    socket.once('drain', () => process.stdin.resume());
  }
});
process.stdin.on('end', () => socket.end());
socket.on('data', (chunk) => {
  if (!process.stdout.write(chunk)) {
    socket.pause();
    process.stdout.once('drain', () => socket.resume());
  }
});
// behind all that it was given to say
socket.on('end', () => process.stdout.write('', () => process.exit(Number(process.argv[3] ?? 0))));
socket.on('error', () => process.exit(Number(process.argv[3] ?? 0)));
process.stdout.on('error', () => undefined);
