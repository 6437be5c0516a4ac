/**
 * Connections: what the package says at the beginning, pools, other interfaces, a server that goes
 * and comes back, and what is refused.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

import { Server } from '../server.mjs';
import { Guest, tour } from './majors.mjs';

/** The next event of a name; `events.once` would fail at the errors that come before it. */
const next = (client, event) => new Promise((resolve) => client.once(event, resolve));

tour((guest) => {
  const { major } = guest;
  const { ErrorReply } = major.module;

  it('the server knows the client by its name, library and protocol', async () => {
    const client = await guest.connect({ name: 'tourist', database: 3 });
    const [mine] = (await client.clientList()).filter((each) => each.name === 'tourist');
    assert.equal(mine.db, 3);
    const info = await client.sendCommand(['CLIENT', 'INFO']);
    assert.ok(info.includes(
      ` resp=${major.protocol} lib-name=node-redis lib-ver=${major.library}`), info);
    const own = await client.clientInfo();
    assert.equal(own.id, await client.clientId());
    assert.equal(own.user, 'default');
    assert.equal(await client.clientGetName(), 'tourist');
  });

  it('HELLO tells the protocol and the AI module', async () => {
    const hello = await guest.client.hello();
    const { proto, version } = hello;
    assert.equal(proto, major.protocol);
    assert.match(version, /^7\./);
    const listed = await guest.client.sendCommand(['MODULE', 'LIST']);
    const [ai] = listed.map((each) => (Array.isArray(each) ? each : Object.entries(each).flat()));
    assert.deepEqual(ai.slice(0, 2), ['name', 'ai']);
  });

  it('INFO, CONFIG and COMMAND answer in the forms that the package expects', async () => {
    assert.match(await guest.client.info('modules'), /module:name=ai,ver=\d+/);
    assert.match(await guest.client.info(), /redis_version:7\./);
    assert.deepEqual({ ...await guest.client.configGet('maxmemory') }, { maxmemory: '0' });
    const [get] = await guest.client.commandInfo(['ai.modelexecute']);
    assert.equal(get.name, 'ai.modelexecute');
    assert.ok(await guest.client.commandCount() > 150);
    assert.deepEqual(
      await guest.client.commandGetKeys(
        ['AI.MODELEXECUTE', 'm', 'INPUTS', '2', 'a', 'b', 'OUTPUTS', '1', 'y']),
      ['m', 'a', 'b', 'y']);
  });

  it('databases are apart', async () => {
    await guest.client.set('where', 'zero');
    const other = await guest.connect({ database: 1 });
    assert.equal(await other.get('where'), null);
    await other.set('where', 'one');
    await other.select(0);
    assert.equal(await other.get('where'), 'zero');
    await other.select(1);
    assert.equal(await other.get('where'), 'one');
  });

  it('errors are ErrorReply with the server\'s text', async () => {
    await assert.rejects(guest.client.sendCommand(['NOSUCH', 'word']), (error) => {
      assert.ok(error instanceof ErrorReply);
      assert.equal(error.message,
        "ERR unknown command 'NOSUCH', with args beginning with: 'word' ");
      return true;
    });
    await guest.client.set('text', 'abc');
    await assert.rejects(guest.client.lPush('text', 'x'), {
      message: 'WRONGTYPE Operation against a key holding the wrong kind of value',
    });
    await assert.rejects(guest.client.incr('text'), {
      message: 'ERR value is not an integer or out of range',
    });
    await assert.rejects(guest.client.sendCommand(['AUTH', 'wrong']), {
      message: 'ERR AUTH <password> called without any password configured for the default user.'
        + ' Are you sure your configuration is correct?',
    });
  });

  it('a hundred commands sent at once are answered in order', async () => {
    const replies = await Promise.all(
      Array.from({ length: 100 }, (_, number) => guest.client.incrBy('sum', number)));
    assert.deepEqual(replies, Array.from({ length: 100 }, (_, n) => (n * (n + 1)) / 2));
  });

  it('a server that goes and comes back is found again', async () => {
    const first = await Server.start();
    const { port } = first;
    const socket = { port, reconnectStrategy: () => 20 };
    const patient = await guest.connect({ socket });
    const hasty = await guest.connect({ socket, disableOfflineQueue: true });
    await patient.set('kept', 'in memory');
    const gone = [next(patient, 'reconnecting'), next(hasty, 'reconnecting')];
    await first.stop();
    await Promise.all(gone);

    const waiting = patient.get('kept'); // in the queue until the server is back
    await assert.rejects(hasty.get('kept'), { constructor: major.module.ClientOfflineError });
    await assert.rejects(
      guest.connect({ socket: { port, reconnectStrategy: false } }), /ECONNREFUSED/);

    const again = [next(patient, 'ready'), next(hasty, 'ready')];
    const second = await Server.start(port);
    await Promise.all(again);
    assert.equal(await waiting, null);
    assert.equal(await hasty.set('kept', 'anew'), 'OK');
    assert.equal(await patient.get('kept'), 'anew');
    assert.match(await hasty.sendCommand(['CLIENT', 'INFO']), / lib-name=node-redis /);
    await guest.leave();
    await second.stop();
  });

  describe('several connections', () => {
    it('a client that is duplicated keeps its options', async () => {
      const client = await guest.connect({ name: 'original', database: 2 });
      const other = await guest.another(client);
      assert.equal(await other.clientGetName(), 'original');
      assert.notEqual(await other.clientId(), await client.clientId());
      await other.set('shared', '1');
      assert.equal(await client.get('shared'), '1');
    });

    it('a pool shares its connections out', async () => {
      const ids = new Set();
      const ask = async (client) => {
        ids.add(await client.clientId());
        await client.sendCommand(['AI.TENSORSET', 'x', 'INT8', '1', 'VALUES', '5']);
        return client.sendCommand(['AI.TENSORGET', 'x', 'VALUES']);
      };
      const { createClientPool } = major.module;
      if (createClientPool === undefined) {
        // 4 has no pool of this name; each client has one inside, for commands that block.
        const client = await guest.connect({ isolationPoolOptions: { min: 1, max: 3 } });
        const asked = Array.from({ length: 20 }, () => client.executeIsolated(ask));
        assert.deepEqual(await Promise.all(asked), Array(20).fill([5]));
        assert.ok(!ids.has(await client.clientId()));
      } else {
        const pool = createClientPool(
          { ...major.options, socket: { port: Guest.server.port } }, { minimum: 1, maximum: 3 });
        pool.on('error', () => {});
        await pool.connect();
        const asked = Array.from({ length: 20 }, () => pool.execute(ask));
        assert.deepEqual(await Promise.all(asked), Array(20).fill([5]));
        assert.deepEqual(await pool.sendCommand(['AI.TENSORGET', 'x', 'VALUES']), [5]);
        assert.deepEqual(await pool.multi().set('a', '1').get('a').exec(), ['OK', '1']);
        assert.ok(pool.totalClients <= 3);
        await pool.close();
      }
      assert.ok(ids.size >= 1 && ids.size <= 3, `${ids.size} connections`);
    });

    it('a connection that is killed by another is opened anew', async () => {
      const socket = { reconnectStrategy: () => 5 };
      const victim = await guest.connect({ name: 'victim', socket });
      const id = await victim.clientId();
      const again = next(victim, 'ready');
      assert.equal(await guest.client.sendCommand(['CLIENT', 'KILL', 'ID', String(id)]), 1);
      await again;
      assert.notEqual(await victim.clientId(), id);
      assert.equal(await victim.clientGetName(), 'victim');
    });

    it('a watched tensor that was changed stops the transaction', async () => {
      const { WatchError } = major.module;
      const attempt = async (client, other) => {
        await client.watch('x');
        await other.sendCommand(['AI.TENSORSET', 'x', 'INT8', '1', 'VALUES', '1']);
        await assert.rejects(client.multi().set('done', '1').exec(), WatchError);
        await client.watch('x');
        assert.deepEqual(await client.multi().set('done', '2').exec(), ['OK']);
      };
      await attempt(await guest.another(guest.client), guest.client);
      assert.equal(await guest.client.get('done'), '2');
    });
  });

  it('callbacks, as in the package\'s old versions', async () => {
    const fourth = guest.client.legacy ? null : await guest.connect({ legacyMode: true });
    const legacy = fourth ?? guest.client.legacy();
    const ask = (...words) => promisify(legacy.sendCommand).call(legacy, ...words);
    assert.equal(await ask('AI.TENSORSET', 'x', 'FLOAT', '2', 'VALUES', '1', '2'), 'OK');
    assert.deepEqual(await ask('AI.TENSORGET', 'x', 'META'), ['dtype', 'FLOAT', 'shape', [2]]);
    assert.equal(await promisify(legacy.set).call(legacy, 'key', 'value'), 'OK');
    assert.equal(await promisify(legacy.get).call(legacy, 'key'), 'value');
    await assert.rejects(ask('AI.TENSORGET', 'nothing'),
      { message: 'ERR tensor key is empty or in a different shard' });
    await fourth?.disconnect(); // its quit wants a callback, too
  });

  it('what only another server has is refused in words', async () => {
    await assert.rejects(guest.client.sendCommand(['CLIENT', 'TRACKING', 'ON']), {
      message: 'ERR CLIENT TRACKING is not supported: this server does not tell clients which of '
        + 'the keys that they have cached were changed',
    });
    await assert.rejects(guest.client.sendCommand(['CLUSTER', 'SLOTS']), {
      message: 'ERR This instance has cluster support disabled',
    });
    if (major.protocol === 3) {
      const client = guest.create({
        clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: 'LRU' },
        socket: { reconnectStrategy: false },
      });
      await assert.rejects(client.connect(), /CLIENT TRACKING is not supported/);
    }
  });
});
