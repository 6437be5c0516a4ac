/**
 * The installed server in a process of its own, for tests in Node.js, as conftest.py has it for
 * those in Python: it must live until it is told to end, end in good order, and write nothing that
 * looks like a bug into its log.
 *
 * The variable TENSORKEEP_SERVER_PYTHON names the Python of the environment that holds the server.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const DIGITS = fileURLToPath(new URL('../examples/digits/', import.meta.url));
const LISTENS = /127\.0\.0\.1:(\d+)/;
const UNFORESEEN = /Traceback|unexpectedly|Exception in|never awaited/;
const LIMIT = 30_000; // milliseconds to start, and to stop
const READ_HELD_OUT = `
import json, sys, numpy
with numpy.load(sys.argv[1]) as held_out:
    pictures = held_out["images"].reshape(-1, 64).tolist()
    print(json.dumps({"pictures": pictures, "labels": held_out["labels"].tolist()}))
`;

// Node's test runner ends a file that takes too long with SIGTERM, which by itself tells nobody.
process.once('SIGTERM', () => process.exit(1));

/** @returns {string} the Python of the environment that holds the server. */
function python() {
  const path = process.env.TENSORKEEP_SERVER_PYTHON;
  assert.ok(path, 'TENSORKEEP_SERVER_PYTHON must name the Python that has the server');
  return path;
}

/** A running server; `port` is where it listens. */
export class Server {
  #process;
  #folder;
  #kill = () => this.#process.kill('SIGKILL'); // does nothing when it has ended

  /**
   * Starts a server and waits until it listens.
   * @param {number} [port] where to; by default the system chooses
   * @param {string[]} [options] what else it is told
   * @returns {Promise<Server>}
   */
  static async start(port = 0, options = []) {
    const server = new Server(port, options);
    try {
      server.port = await server.#listening();
    } catch (error) {
      server.#discard();
      throw error;
    }
    return server;
  }

  /**
   * @param {number} port
   * @param {string[]} options
   */
  constructor(port, options) {
    this.#folder = mkdtempSync(join(tmpdir(), 'tensorkeep-'));
    const log = openSync(join(this.#folder, 'server.log'), 'w');
    const mine = ([name]) => !name.startsWith('TENSORKEEP_');
    const serve = ['-m', 'tensorkeep_server', 'serve', '--port', String(port), ...options];
    this.#process = spawn(python(), serve, {
      stdio: ['ignore', log, log],
      cwd: this.#folder,
      env: Object.fromEntries(Object.entries(process.env).filter(mine)),
    });
    closeSync(log);
    process.once('exit', this.#kill); // a test that is given up leaves nothing behind
  }

  /** @returns {string} what the server has written so far. */
  get log() {
    return readFileSync(join(this.#folder, 'server.log'), 'utf8');
  }

  /** Holds the server, which keeps its connections and answers nothing, until `resume`. */
  pause() {
    this.#process.kill('SIGSTOP');
  }

  /** Lets a server that was held go on. */
  resume() {
    this.#process.kill('SIGCONT');
  }

  /** Ends the server; fails if it had ended by itself, ends badly, or its log shows a bug. */
  async stop() {
    try {
      assert.ok(this.#runs, `the server ended by itself:\n${this.log}`);
      this.#process.kill('SIGTERM');
      await once(this.#process, 'exit', { signal: AbortSignal.timeout(LIMIT) });
      assert.equal(this.#process.exitCode, 0, this.log);
      assert.doesNotMatch(this.log, UNFORESEEN);
    } finally {
      this.#discard();
    }
  }

  get #runs() {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Waits until the server says where it listens. */
  async #listening() {
    const deadline = Date.now() + LIMIT;
    while (Date.now() < deadline) {
      const ready = LISTENS.exec(this.log);
      if (ready) return Number(ready[1]);
      assert.ok(this.#runs, `the server did not start:\n${this.log}`);
      await sleep(10);
    }
    throw new Error(`the server did not start in ${LIMIT / 1000} s:\n${this.log}`);
  }

  #discard() {
    process.off('exit', this.#kill);
    this.#kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * The network of examples/digits in a format.
 * @param {string} name such as `digits.onnx`
 * @returns {Buffer}
 */
export function digitsModel(name) {
  return readFileSync(join(DIGITS, name));
}

/**
 * Pictures that the network has not seen: 64 grey values from 0 to 16 each, and what they show.
 * @returns {{pictures: number[][], labels: number[]}}
 */
export function heldOut() {
  return JSON.parse(execFileSync(python(), ['-c', READ_HELD_OUT, join(DIGITS, 'heldout.npz')]));
}

/**
 * Whether these answers, ten for each picture, are probabilities, and right as a rule.
 * @param {Float32Array} probabilities
 * @param {number[]} labels
 */
export function readWell(probabilities, labels) {
  assert.equal(probabilities.length, labels.length * 10);
  let right = 0;
  labels.forEach((label, number) => {
    const row = probabilities.subarray(10 * number, 10 * number + 10);
    const sum = row.reduce((total, each) => total + each, 0);
    assert.ok(Math.abs(sum - 1) < 1e-5, `row ${number} adds up to ${sum}`);
    right += row.indexOf(Math.max(...row)) === label ? 1 : 0;
  });
  assert.ok(right / labels.length > 0.98, `${right} of ${labels.length} were read rightly`);
}
