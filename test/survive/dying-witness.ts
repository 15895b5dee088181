/**
 * A witness that is killed before one of its steps to the disk, or after the last: `node dying-witness.ts <dir> <vkey> <steps>`. The steps of its start
 * do not count. Prints its address.
 */
import type { AddressInfo } from 'node:net';
import { nodeCrypto } from '../../src/crypto-node.ts';
import { parseVkey } from '../../src/tlog/note.ts';
import { holdFolder, witnessKey } from '../../src/witness/key.ts';
import { witnessServer } from '../../src/witness/server.ts';
import { nodeDisk, WitnessStore, type Disk } from '../../src/witness/store.ts';
import { Witness } from '../../src/witness/witness.ts';

const [folder, vkey, steps] = process.argv.slice(2) as [string, string, string];
let left = Infinity;
function step(): void {
  if (left-- <= 0) process.kill(process.pid, 'SIGKILL');
}
const disk: Disk = {
  async write(path, bytes, mode) {
    step();
    // killed with half of the file written
    if (left < 0.5) await nodeDisk.write(path, bytes.subarray(0, bytes.length / 2), mode);
    step();
    await nodeDisk.write(path, bytes, mode);
  },
  async rename(from, to) {
    step();
    await nodeDisk.rename(from, to);
  },
  async syncFolder(path) {
    step();
    await nodeDisk.syncFolder(path);
    // everything is on the disk, and nobody has been told
    step();
  },
};
await holdFolder(folder);
const key = await witnessKey(folder);
const store = await WitnessStore.open(folder, key.cosigner, disk);
const server = witnessServer(new Witness({ logs: [parseVkey(nodeCrypto, vkey)!], key, store }), key.vkey);
server.listen(0, '127.0.0.1', () => {
  left = Number(steps);
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
