/**
 * The majors of the package `redis` that the tour goes through, each with the protocols that it
 * speaks, and what they call by different names. Nothing here knows the server.
 */
import { after, afterEach, before, beforeEach, describe } from 'node:test';

import * as redis6 from 'redis';
import * as redis4 from 'redis-4';
import * as redis5 from 'redis-5';

import { Server } from '../server.mjs';

/**
 * What one major does its own way.
 * @typedef {object} Major
 * @property {string} title
 * @property {object} module what the package exports
 * @property {object} options what chooses the protocol
 * @property {2 | 3} protocol
 * @property {string} library what it says of itself with CLIENT SETINFO
 * @property {(client: object) => object} withBuffers the client, whose bulk strings are Buffers
 * @property {(client: object, words: (string | Buffer)[]) => Promise<any>} sendForBuffers
 *   sendCommand, whose bulk strings are Buffers
 * @property {(client: object) => Promise<void>} close waits for replies, then closes
 * @property {(client: object, options: object) => AsyncIterable<string>} scan every key, one by one
 */

/** What modern majors make of bulk strings, when asked for Buffers. */
const asBuffers = (module) => ({ [module.RESP_TYPES.BLOB_STRING]: Buffer });

/** From 5 on: the protocol is chosen, the types of replies are mapped, scans come in pages. */
const modern = {
  close: (client) => client.close(),
  async *scan(client, options) {
    for await (const keys of client.scanIterator(options)) yield* keys;
  },
};
const sixth = {
  ...modern,
  module: redis6,
  withBuffers: (client) => client.withTypeMapping(asBuffers(redis6)),
  sendForBuffers: (client, words) => sixth.withBuffers(client).sendCommand(words),
  library: '6.3.1',
};
const fifth = {
  ...modern,
  module: redis5,
  withBuffers: (client) => client.withTypeMapping(asBuffers(redis5)),
  // Its sendCommand forgets what withTypeMapping was told.
  sendForBuffers: (client, words) => client.sendCommand(words, { typeMapping: asBuffers(redis5) }),
  library: '5.12.1',
};

/** 4 speaks RESP2, takes an option with each command, and yields key by key. */
const fourth = {
  module: redis4,
  withBuffers(client) {
    const buffers = redis4.commandOptions({ returnBuffers: true });
    return {
      get: (key) => client.get(buffers, key),
      hGetAll: (key) => client.hGetAll(buffers, key),
      keys: (pattern) => client.keys(buffers, pattern),
    };
  },
  sendForBuffers: (client, words) => client.sendCommand(words, { returnBuffers: true }),
  close: (client) => client.quit(),
  scan: (client, options) => client.scanIterator(options),
  library: '1.6.0', // of the package @redis/client
};

/** @type {Major[]} */
export const MAJORS = [
  { ...sixth, title: 'redis 6, RESP3', options: {}, protocol: 3 },
  { ...sixth, title: 'redis 6, RESP2', options: { RESP: 2 }, protocol: 2 },
  { ...fifth, title: 'redis 5, RESP3', options: { RESP: 3 }, protocol: 3 },
  { ...fifth, title: 'redis 5, RESP2', options: {}, protocol: 2 },
  { ...fourth, title: 'redis 4, RESP2', options: {}, protocol: 2 },
];

/** What a test asks with: one major's clients, and the server that all tests of a file share. */
export class Guest {
  #clients = [];

  /** @param {Major} major */
  constructor(major) {
    this.major = major;
  }

  /**
   * Makes a client that is closed after the test; it is not connected yet.
   * @param {object} [options] as the package takes them
   */
  create({ socket, ...options } = {}) {
    const { major } = this;
    const client = major.module.createClient({
      ...major.options,
      ...options,
      socket: { port: Guest.server.port, ...socket },
    });
    client.on('error', () => {}); // Without a listener, Node ends the program.
    this.#clients.push(client);
    return client;
  }

  /** A client that is connected, with `options` as the package takes them. */
  async connect(options) {
    const client = this.create(options);
    await client.connect();
    return client;
  }

  /** Another connection with the same options. */
  async another(client) {
    const duplicate = client.duplicate();
    duplicate.on('error', () => {});
    this.#clients.push(duplicate);
    await duplicate.connect();
    return duplicate;
  }

  /** Closes what the test has opened. */
  async leave() {
    for (const client of this.#clients.splice(0)) {
      if (client.isOpen) await this.major.close(client);
    }
  }
}

/**
 * Goes through the same tests with each major, on one server that starts empty for each test.
 * @param {(guest: Guest) => void} tests defines them; `guest.client` is connected in each
 */
export function tour(tests) {
  before(async () => {
    Guest.server = await Server.start();
  });
  after(() => Guest.server.stop());
  for (const major of MAJORS) {
    describe(major.title, () => {
      const guest = new Guest(major);
      beforeEach(async () => {
        guest.client = await guest.connect();
        await guest.client.flushAll();
      });
      afterEach(() => guest.leave());
      tests(guest);
    });
  }
}

/**
 * The bytes of a typed array, as the package takes them.
 * @param {ArrayBufferView} array
 * @returns {Buffer}
 */
export function bytes(array) {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

/**
 * A blob as numbers; copied, since a Buffer may begin anywhere in memory.
 * @template {ArrayBufferView} T
 * @param {{new (memory: ArrayBuffer): T}} Numbers such as Float32Array
 * @param {Buffer} blob
 * @returns {T}
 */
export function numbers(Numbers, blob) {
  return new Numbers(Uint8Array.from(blob).buffer);
}
