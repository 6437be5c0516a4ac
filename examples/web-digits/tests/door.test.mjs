/** Through the door: the store, the back end and HTTP, each as a user runs it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { createClient } from 'redis';

import { heldOut, readWell, Server } from '../../../clients/server.mjs';
import { rasterise } from '../public/raster.js';
import { DIGITS } from '../public/strokes.js';

const MAIN = fileURLToPath(new URL('../main.mjs', import.meta.url));
const LISTENS = /^open (http:\S+)$/m;
const BLANK = Array(64).fill(0);

/** The program in a process of its own; what it writes is in `output`. */
class BackEnd {
  output = '';

  static async start(storePort) {
    const backEnd = new BackEnd();
    backEnd.process = spawn(
      process.execPath,
      [MAIN, '--port', '0', '--store', `redis://127.0.0.1:${storePort}`],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    process.once('exit', () => backEnd.process.kill('SIGKILL'));
    const { stdout, stderr } = backEnd.process;
    for (const stream of [stdout, stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        backEnd.output += text;
      });
    }
    while (!LISTENS.test(backEnd.output)) await once(stdout, 'data');
    [, backEnd.url] = LISTENS.exec(backEnd.output);
    return backEnd;
  }

  /** Asks at a path; gives status, headers and what was answered. */
  async ask(path, options) {
    const response = await fetch(new URL(path, this.url), options);
    const text = await response.text();
    const isJson = response.headers.get('content-type') === 'application/json';
    return {
      status: response.status,
      headers: response.headers,
      body: isJson ? JSON.parse(text) : text,
    };
  }

  /** Sends a picture, or whatever else. */
  post(body, headers = { 'Content-Type': 'application/json' }) {
    return this.ask('/api/read', {
      method: 'POST',
      headers,
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** Waits until a request for a path has this status. */
  async until(path, status) {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const answer = await this.ask(path);
      if (answer.status === status) return answer;
      assert.ok(Date.now() < deadline, `${path} still answers ${answer.status}\n${this.output}`);
      await sleep(20);
    }
  }

  /** Ends it, which must be in good order. */
  async stop() {
    this.process.kill('SIGTERM');
    const [code] = await once(this.process, 'exit', { signal: AbortSignal.timeout(30_000) });
    assert.equal(code, 0, this.output);
    assert.doesNotMatch(this.output, /unforeseen/);
  }
}

describe('with a store', () => {
  let store;
  let backEnd;
  before(async () => {
    store = await Server.start();
    backEnd = await BackEnd.start(store.port);
    await backEnd.until('/health', 200);
  });
  after(async () => {
    await backEnd.stop();
    await store.stop();
  });

  it('pictures that the network has not seen are read rightly', async () => {
    const { pictures, labels } = heldOut();
    const rows = [];
    for (let first = 0; first < pictures.length; first += 20) {
      // twenty at a time
      const asked = pictures.slice(first, first + 20).map((pixels) => backEnd.post({ pixels }));
      rows.push(...(await Promise.all(asked)));
    }
    for (const { status, body } of rows) {
      assert.equal(status, 200);
      assert.equal(body.digit, body.probabilities.indexOf(Math.max(...body.probabilities)));
      assert.ok(body.milliseconds > 0);
    }
    readWell(Float32Array.from(rows.flatMap(({ body }) => body.probabilities)), labels);
  });

  it('digits that are drawn are read rightly, large and small, slanted and unsteady', async (t) => {
    let seed = 1;
    const random = () => {
      // the same in every run
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return seed / 2 ** 31 - 0.5;
    };
    const byHand = (strokes) => {
      const [size, slant, wide] = [2 + 3 * random(), 0.5 * random(), 1 + 0.5 * random()];
      return strokes.map((stroke) =>
        stroke.map(([x, y]) => [
          (x + slant * (50 - y)) * wide * size + 3 * random(),
          y * size + 3 * random(),
        ]),
      );
    };
    let right = 0;
    let drawn = 0;
    for (const [digit, strokes] of DIGITS.entries()) {
      for (const hand of [strokes, ...Array.from({ length: 20 }, () => byHand(strokes))]) {
        const { body } = await backEnd.post({ pixels: rasterise(hand) });
        right += body.digit === digit;
        drawn += 1;
        if (hand === strokes) assert.equal(body.digit, digit, JSON.stringify(body));
      }
    }
    t.diagnostic(`${right} of ${drawn} drawings`);
    assert.ok(right / drawn > 0.95, `${right} of ${drawn}`);
  });

  it('what is wrong with a request is said, with the name of the field', async () => {
    const bad = [
      ['{"pixels":', 'body', /^the body must be JSON: /],
      ['[]', 'body', /^the body must be an object with the field pixels$/],
      ['null', 'body', /^the body must be an object with the field pixels$/],
      [{}, 'pixels', /^pixels must be a list of 64 numbers$/],
      [{ pixels: 'black' }, 'pixels', /^pixels must be a list of 64 numbers$/],
      [{ pixels: [1, 2] }, 'pixels', /^pixels must be 64 numbers, not 2$/],
      [
        { pixels: BLANK.with(3, 17) },
        'pixels[3]',
        /^pixels\[3\] must be a number from 0 to 16, not 17$/,
      ],
      [{ pixels: BLANK.with(9, '1') }, 'pixels[9]', /^pixels\[9\] must be a number .*, not "1"$/],
      [{ pixels: BLANK.with(0, null) }, 'pixels[0]', /^pixels\[0\] must be a number .*, not null$/],
      [{ pixels: BLANK, colour: 1 }, 'colour', /^colour is not a field of a request$/],
    ];
    for (const [sent, field, text] of bad) {
      const { status, body } = await backEnd.post(sent);
      assert.deepEqual([status, body.field], [400, field]);
      assert.match(body.error, text);
    }
  });

  it('other requests are refused by their status', async () => {
    assert.equal((await backEnd.ask('/nothing')).status, 404);
    assert.equal((await backEnd.ask('/__proto__')).status, 404);
    const { status, headers } = await backEnd.ask('/api/read');
    assert.deepEqual([status, headers.get('allow')], [405, 'POST']);
    assert.equal((await backEnd.post('{}', { 'Content-Type': 'text/plain' })).status, 415);
    for (const length of [20_000, 5_000_000]) {
      assert.equal((await backEnd.post(' '.repeat(length))).status, 413);
    }
    assert.equal((await backEnd.post({ pixels: BLANK })).status, 200);
  });

  it('somebody who goes in the middle of a request leaves no trace', async () => {
    const socket = connect(new URL(backEnd.url).port, '127.0.0.1');
    socket.write(
      'POST /api/read HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n' +
        'Content-Length: 100\r\n\r\n{"pixels": [',
    );
    await once(socket, 'connect');
    assert.equal((await backEnd.ask('/health')).status, 200); // the half request is there by now
    socket.destroy();
    assert.equal((await backEnd.post({ pixels: BLANK })).status, 200);
  }); // what is logged is looked at in the end

  it('the page and what belongs to it are there', async () => {
    const page = await backEnd.ask('/');
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-type'), /^text\/html/);
    assert.match(page.headers.get('content-security-policy'), /default-src 'self'/);
    const parts = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path);
    assert.deepEqual(parts, ['icon.svg', 'style.css', 'page.js']);
    for (const path of [...parts, 'raster.js', 'strokes.js']) {
      assert.equal((await backEnd.ask(path)).status, 200, path);
    }
    assert.equal((await backEnd.ask('/', { method: 'HEAD' })).body, '');
  });

  it('a network that was deleted is stored again', async () => {
    const client = await createClient({ socket: { port: store.port } }).connect();
    await client.flushAll();
    const asked = await Promise.all(
      Array.from({ length: 5 }, () => backEnd.post({ pixels: BLANK })),
    );
    assert.deepEqual(
      asked.map(({ status }) => status),
      Array(5).fill(200),
    );
    assert.deepEqual(await client.sendCommand(['AI._MODELSCAN']), [['web-digits:network', '']]);
    await client.close();
  });
});

it('a store that is away is told of, and found when it comes', async () => {
  let store = await Server.start();
  const { port } = store;
  await store.stop();
  const backEnd = await BackEnd.start(port); // begins without it
  const away = await backEnd.post({ pixels: BLANK });
  assert.deepEqual([away.status, away.body], [503, { error: 'the store is away' }]);
  assert.equal(away.headers.get('retry-after'), '1');
  assert.equal((await backEnd.post({ pixels: [] })).status, 400); // is looked at first

  store = await Server.start(port);
  await backEnd.until('/health', 200);
  assert.equal((await backEnd.post({ pixels: BLANK })).status, 200);

  await store.stop(); // it forgets everything
  assert.equal((await backEnd.until('/health', 503)).body.error, 'the store is away');
  store = await Server.start(port);
  await backEnd.until('/health', 200);
  assert.equal((await backEnd.post({ pixels: BLANK })).status, 200);

  store.pause(); // and now it keeps its connections, but says nothing
  assert.equal((await backEnd.post({ pixels: BLANK })).status, 503);
  store.resume();
  await backEnd.until('/health', 200);
  assert.equal((await backEnd.post({ pixels: BLANK })).status, 200);

  await backEnd.stop();
  await store.stop();
});

it('a request that is under way is answered when the program is told to end', async () => {
  const store = await Server.start();
  const backEnd = await BackEnd.start(store.port);
  await backEnd.until('/health', 200);
  const body = JSON.stringify({ pixels: BLANK });
  const request = httpRequest(new URL('/api/read', backEnd.url), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Content-Length': body.length },
  });
  const answered = once(request, 'response');
  request.write(body.slice(0, 10));
  await backEnd.ask('/health'); // the half request is there by now
  const ended = backEnd.stop();
  await sleep(100);
  request.end(body.slice(10));
  const [response] = await answered;
  assert.equal(response.statusCode, 200);
  response.resume();
  await ended;
  await assert.rejects(fetch(backEnd.url));
  await store.stop();
});

it('options that do not exist are refused, and help is given', async () => {
  const run = async (...options) => {
    const child = spawn(process.execPath, [MAIN, ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data) => {
        text += data;
      });
    const [code] = await once(child, 'close');
    return [code, text];
  };
  const [wrong, told] = await run('--stroe', 'redis://127.0.0.1');
  assert.equal(wrong, 2);
  assert.match(told, /Unknown option '--stroe'/);
  const [right, help] = await run('--help');
  assert.equal(right, 0);
  assert.match(help, /--store URL/);
});
