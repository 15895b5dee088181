/**
 * Preloaded (`--import`) into the suite and the bridge, whose servers listen on every interface: here they listen on 127.0.0.1 alone.
 *
 * `_listen2` is where Node binds, at once if no host is named; `listen(port, host)` would look the host up first, and the suite reads the port before that.
 */
import { Server } from 'node:net';

type Bind = (this: Server, address: string | null, port: number, family: number, ...rest: unknown[]) => void;
const prototype = Server.prototype as unknown as { _listen2: Bind };
const bind = prototype._listen2;
if (typeof bind !== 'function') throw new Error('this Node binds in another place');
prototype._listen2 = function (address, port, family, ...rest) {
  // without an address and with a port it would be all of them; a socket's path has no port
  if (address === null && port >= 0) bind.call(this, '127.0.0.1', port, 4, ...rest);
  else bind.call(this, address, port, family, ...rest);
};
