/**
 * The client behind a proxy of the same origin: connections to the server go to another loopback address, on the same port, where a
 * proxy listens. So the URL that the client dials is the server's own, as behind a proxy under the public host name, and OAuth's comparisons of origins hold.
 * An authorization server has a port of its own and is dialled as always.
 */
import { Socket } from 'node:net';

/** Where the proxy listens: loopback too. */
export const frontAddress = '127.0.0.2';

interface Address {
  host?: string;
  port?: number | string;
}

/** To be called once, in the client's process. */
export function dialFront(url: URL): void {
  const connect = Socket.prototype.connect as (this: Socket, ...args: unknown[]) => Socket;
  Socket.prototype.connect = function (this: Socket, ...args: unknown[]): Socket {
    // `net.connect` hands its normalized arguments on as one array
    const [first] = args;
    const address = (Array.isArray(first) ? (first as unknown[])[0] : first) as Address;
    if (address.host === url.hostname && Number(address.port) === Number(url.port)) address.host = frontAddress;
    return connect.apply(this, args);
  };
}
