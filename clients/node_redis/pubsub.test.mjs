/** Messages: channels, patterns, keyspace events, MONITOR, beside ordinary commands. */
import assert from 'node:assert/strict';
import { it } from 'node:test';

import { tour } from './majors.mjs';

/** A listener that keeps what it is told, and lets others wait until that is enough. */
class Heard {
  messages = [];
  #waiting = [];

  listener = (...message) => {
    this.messages.push(message);
    for (const look of this.#waiting) look();
  };

  /** @param {number} count of messages to wait for */
  until(count) {
    return new Promise((resolve) => {
      const look = () => this.messages.length >= count && resolve(this.messages);
      this.#waiting.push(look);
      look();
    });
  }
}

tour((guest) => {
  const { major } = guest;

  it('a duplicate hears what is published, until it has enough', async () => {
    const subscriber = await guest.another(guest.client);
    const heard = new Heard();
    await subscriber.subscribe('news', heard.listener);
    assert.equal(await guest.client.publish('news', 'first ключ'), 1);
    assert.equal(await guest.client.publish('other', 'unheard'), 0);
    assert.deepEqual(await heard.until(1), [['first ключ', 'news']]);
    assert.deepEqual(await guest.client.pubSubChannels(), ['news']);
    const counted = await guest.client.pubSubNumSub(['news', 'other']);
    assert.deepEqual({ ...counted }, { news: 1, other: 0 });
    await subscriber.unsubscribe('news', heard.listener);
    assert.equal(await guest.client.publish('news', 'unheard'), 0);
    assert.equal(heard.messages.length, 1);
    assert.equal(await subscriber.get('nothing'), null); // an ordinary connection again
  });

  it('patterns, and several channels at once', async () => {
    const subscriber = await guest.another(guest.client);
    const patterns = new Heard();
    const channels = new Heard();
    await subscriber.pSubscribe('news.*', patterns.listener);
    await subscriber.subscribe(['news.a', 'sports'], channels.listener);
    assert.equal(await guest.client.pubSubNumPat(), 1);
    assert.equal(await guest.client.publish('news.a', '1'), 2);
    assert.equal(await guest.client.publish('news.b', '2'), 1);
    assert.equal(await guest.client.publish('sports', '3'), 1);
    assert.deepEqual(await patterns.until(2), [['1', 'news.a'], ['2', 'news.b']]);
    assert.deepEqual(await channels.until(2), [['1', 'news.a'], ['3', 'sports']]);
    if (major.title.startsWith('redis 6')) {
      await subscriber.unsubscribe();
    } else {
      // Without names, 4 and 5 wait for ever while there are patterns, with redis-server too.
      await subscriber.unsubscribe('news.a');
      await subscriber.unsubscribe('sports');
    }
    assert.deepEqual(await guest.client.pubSubChannels(), []);
    await subscriber.pUnsubscribe('news.*');
    assert.equal(await guest.client.pubSubNumPat(), 0);
  });

  it('messages of bytes', async () => {
    const subscriber = await guest.another(guest.client);
    const heard = new Heard();
    const message = Buffer.from([0xff, 0x00, 0x0d, 0x0a]);
    await subscriber.subscribe('bytes', heard.listener, true);
    await guest.client.publish('bytes', message);
    assert.deepEqual(await heard.until(1), [[message, Buffer.from('bytes')]]);
    await subscriber.unsubscribe('bytes');
  });

  it('shard channels', async () => {
    const subscriber = await guest.another(guest.client);
    const heard = new Heard();
    await subscriber.sSubscribe('shard', heard.listener);
    assert.equal(await guest.client.sPublish('shard', '1'), 1);
    assert.deepEqual(await heard.until(1), [['1', 'shard']]);
    await subscriber.sUnsubscribe('shard');
  });

  it('a subscriber hears again after its connection was lost', async () => {
    const subscriber = await guest.connect({ socket: { reconnectStrategy: () => 5 } });
    const id = await subscriber.clientId();
    const heard = new Heard();
    await subscriber.subscribe('news', heard.listener);
    const again = new Promise((resolve) => subscriber.once('ready', resolve));
    assert.equal(await guest.client.sendCommand(['CLIENT', 'KILL', 'ID', String(id)]), 1);
    await again;
    assert.equal(await guest.client.publish('news', 'back'), 1);
    assert.deepEqual(await heard.until(1), [['back', 'news']]);
    await subscriber.unsubscribe('news');
  });

  it('RESP3 hears on the connection that asks, RESP2 does not', async () => {
    const client = await guest.connect();
    const heard = new Heard();
    await client.subscribe('news', heard.listener);
    if (major.protocol === 3) {
      assert.equal(await client.set('a', '1'), 'OK');
      assert.equal(await client.publish('news', 'to myself'), 1);
      assert.deepEqual(await heard.until(1), [['to myself', 'news']]);
    } else {
      await assert.rejects(client.get('a'), /only \(P\|S\)SUBSCRIBE|PubSub mode/);
    }
    await client.unsubscribe('news');
  });

  it('changes of tensors and other keys are told', async () => {
    const { client } = guest;
    const subscriber = await guest.another(client);
    const heard = new Heard();
    await client.configSet('notify-keyspace-events', 'KEAn');
    try {
      await subscriber.pSubscribe('__keyevent@0__:*', heard.listener);
      await client.sendCommand(['AI.TENSORSET', 'x', 'INT8', '1', 'VALUES', '1']);
      await client.set('a', '1');
      await client.rename('x', 'y');
      await client.hSet('h', 'f', '1');
      await client.del(['y', 'a']);
      const told = (await heard.until(10)).map(([key, channel]) => [channel.split(':')[1], key]);
      assert.deepEqual(told, [
        ['new', 'x'], ['new', 'a'], ['set', 'a'], ['new', 'y'], ['rename_from', 'x'],
        ['rename_to', 'y'], ['new', 'h'], ['hset', 'h'], ['del', 'y'], ['del', 'a'],
      ]);
    } finally {
      await client.configSet('notify-keyspace-events', '');
      await subscriber.pUnsubscribe('__keyevent@0__:*');
    }
  });

  it('MONITOR shows what others send', async () => {
    const heard = new Heard();
    const monitor = await guest.connect();
    if (monitor.monitor) { // 4 has no such method
      await monitor.monitor(heard.listener);
      await guest.client.sendCommand(['AI.TENSORSET', 'x', 'INT8', '1', 'VALUES', '1']);
      const [[line]] = await heard.until(1);
      assert.match(line, /^[\d.]+ \[0 127\.0\.0\.1:\d+\] "AI\.TENSORSET" "x" "INT8" "1" /);
      await monitor.reset();
      assert.equal(await monitor.set('a', '1'), 'OK');
    }
  });
});
