/**
 * Asks the store what digit a picture shows: one request, one round trip.
 *
 * The only file that knows the store. It connects, and connects again; it stores the network where
 * that is missing; and it tells a store that is away from one that refuses.
 */
import { createClient, ErrorReply, RESP_TYPES } from 'redis';

const MODEL = 'web-digits:network';
const MISSING = 'ERR model key is empty';
const RUN_LIMIT = 2_000; // milliseconds that a request may wait for its turn
const SILENCE_LIMIT = 3_000; // milliseconds until a store that says nothing counts as away
const RETRY = 200; // milliseconds between attempts to connect

/** The store cannot be asked just now. */
export class StoreAway extends Error {}

/**
 * @typedef {object} Answer
 * @property {number} digit the most probable one
 * @property {number[]} probabilities of the digits 0 to 9
 */

export class Reader {
  #client;
  #model;

  /**
   * @param {string} url of the store, such as `redis://127.0.0.1:6379`
   * @param {Buffer} model the network as ONNX
   * @param {(line: string) => void} log is told when the store comes and goes
   */
  constructor(url, model, log) {
    this.#model = model;
    this.#client = createClient({
      url,
      name: 'web-digits',
      disableOfflineQueue: true, // who asks shall be told now, not when the store is back
      pingInterval: SILENCE_LIMIT / 3,
      socket: { reconnectStrategy: () => RETRY, socketTimeout: SILENCE_LIMIT },
      commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    });
    let known = null; // each attempt fails again: one line is enough
    this.#client.on('error', (error) => {
      if (known !== error.message) log(`the store is away: ${error.message || error.code}`);
      known = error.message;
    });
    this.#client.on('ready', async () => {
      known = null;
      try {
        await this.#prepare();
        log('the store is there, with the network');
      } catch (error) {
        log(`the network could not be stored: ${error.message}`);
      }
    });
  }

  /** Connects, now or when the store comes; does not wait for it. */
  open() {
    this.#client.connect().catch(() => {}); // closed before it could connect
  }

  /** Lets go of the store, after the answers to what was asked. */
  async close() {
    if (this.#client.isReady) await this.#client.close();
    else this.#client.destroy();
  }

  /**
   * Says whether pictures can be read now.
   * @throws {StoreAway} they cannot
   */
  async check() {
    await this.#ask(['AI.MODELGET', MODEL, 'META']);
  }

  /**
   * Reads a picture.
   * @param {Float32Array} picture 64 pixels from 0 to 1
   * @returns {Promise<Answer>}
   * @throws {StoreAway}
   */
  async read(picture) {
    const blob = Buffer.from(picture.buffer, picture.byteOffset, picture.byteLength);
    const reply = await this.#ask([
      'AI.DAGEXECUTE_RO', 'ROUTING', MODEL, 'TIMEOUT', String(RUN_LIMIT),
      '|>', 'AI.TENSORSET', 'picture', 'FLOAT', '1', '1', '8', '8', 'BLOB', blob,
      '|>', 'AI.MODELEXECUTE', MODEL, 'INPUTS', '1', 'picture', 'OUTPUTS', '1', 'answer',
      '|>', 'AI.TENSORGET', 'answer', 'BLOB',
    ]);
    if (reply === 'TIMEDOUT') throw new StoreAway('the store is busy');
    const failed = reply.find((part) => part instanceof Error);
    if (failed) throw failed;
    // Copied: a Buffer may begin at any byte, a Float32Array may not.
    const probabilities = [...new Float32Array(Uint8Array.from(reply[2]).buffer)];
    return { digit: probabilities.indexOf(Math.max(...probabilities)), probabilities };
  }

  /** Sends a command that needs the network, which is stored if it is not there. */
  async #ask(words) {
    try {
      return await this.#send(words);
    } catch (error) {
      if (error.message !== MISSING) throw error;
      await this.#prepare();
      return this.#send(words);
    }
  }

  /** Stores the network if it is not there. */
  async #prepare() {
    try {
      await this.#send(['AI.MODELGET', MODEL, 'META']);
    } catch (error) {
      if (error.message !== MISSING) throw error;
      await this.#send(['AI.MODELSTORE', MODEL, 'ONNX', 'CPU', 'BLOB', this.#model]);
    }
  }

  async #send(words) {
    try {
      return await this.#client.sendCommand(words);
    } catch (error) {
      // What the store has answered is an ErrorReply; all else is about the way to it.
      if (error instanceof ErrorReply) throw error;
      throw new StoreAway('the store is away', { cause: error });
    }
  }
}
