/** The program: options, wiring, and an end in good order. README.md is the tutorial. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { Reader } from './reader.mjs';
import { createWeb } from './web.mjs';

const USAGE = `Reads the digit that you draw on a page, with a Tensorkeep server behind it.

  --store URL   where that server listens (redis://127.0.0.1:6379)
  --host HOST   where to listen (127.0.0.1)
  --port PORT   and at which port (8080; 0 for a free one)
  --help        this text
`;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        store: { type: 'string', default: 'redis://127.0.0.1:6379' },
        host: { type: 'string', default: '127.0.0.1' },
        port: { type: 'string', default: '8080' },
        help: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${USAGE}`);
    return process.exit(2);
  }
}

const { store, host, port, help } = options();
if (help) {
  process.stdout.write(USAGE);
  process.exit(0);
}

const model = readFileSync(new URL('../digits/digits.onnx', import.meta.url));
const reader = new Reader(store, model, console.error);
const web = createWeb(reader, console.error);

web.on('error', (error) => {
  console.error(`cannot listen on ${host}:${port}: ${error.message}`);
  process.exit(1);
});
web.listen({ host, port });
await once(web, 'listening');
reader.open();
console.log(`open http://${host}:${web.address().port}/`);

/** Takes no more requests, answers those that are there, and lets go of the store. */
async function end() {
  const closed = once(web, 'close');
  web.close();
  await closed;
  await reader.close();
}
process.once('SIGTERM', end);
process.once('SIGINT', end);
