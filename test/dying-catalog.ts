/** Brings a catalog up to its ledger and dies by SIGKILL: `rows` with all rows of the first transaction written and none committed, `any` whenever its parent kills it. */
import { Catalog } from '../src/catalog/catalog.ts';
import { RowWriter } from '../src/catalog/writer.ts';
import { nodeCrypto } from '../src/crypto-node.ts';

const [ledger, path, when] = process.argv.slice(2) as [string, string, 'rows' | 'any'];
if (when === 'rows') {
  // oxlint-disable-next-line unbound-method -- called on the writer that it is taken from
  const { flush } = RowWriter.prototype;
  RowWriter.prototype.flush = function (this: RowWriter): void {
    flush.call(this);
    process.kill(process.pid, 'SIGKILL');
  };
}
const catalog = await Catalog.open(ledger, { path, analysis: { crypto: nodeCrypto } });
process.stdout.write('open\n');
await catalog.catchUp();
catalog.close();
