/** Plain data by the typed methods: strings, lists, hashes, sets, expiry, scans, transactions. */
import assert from 'node:assert/strict';
import { it } from 'node:test';

import { tour } from './majors.mjs';

tour((guest) => {
  const { major } = guest;

  it('strings', async () => {
    const { client } = guest;
    assert.equal(await client.set('a', 'ключ 十'), 'OK');
    assert.equal(await client.get('a'), 'ключ 十');
    assert.equal(await client.set('a', 'other', { NX: true }), null);
    assert.equal(await client.set('a', 'new', { GET: true }), 'ключ 十');
    assert.equal(await client.get('nothing'), null);
    assert.equal(await client.append('a', '!'), 4);
    assert.equal(await client.strLen('a'), 4);
    assert.equal(await client.getRange('a', 1, -1), 'ew!');
    assert.equal(await client.setRange('a', 3, '?'), 4);
    assert.equal(await client.getSet('a', 'x'), 'new?');
    assert.equal(await client.getDel('a'), 'x');
    assert.equal(await client.mSet({ one: '1', two: '2' }), 'OK');
    assert.deepEqual(await client.mGet(['one', 'nothing', 'two']), ['1', null, '2']);
    assert.equal(Number(await client.mSetNX({ two: '3', three: '3' })), 0);
    assert.equal(await client.incrBy('one', 41), 42);
    assert.equal(await client.decr('one'), 41);
    assert.equal(Number(await client.incrByFloat('one', 0.5)), 41.5);
  });

  it('expiry', async () => {
    const { client } = guest;
    await client.set('a', '1', { EX: 100 });
    const seconds = await client.ttl('a');
    assert.ok(seconds > 90 && seconds <= 100, String(seconds));
    assert.equal(await client.pTTL('nothing'), -2);
    assert.equal(Number(await client.persist('a')), 1);
    assert.equal(await client.ttl('a'), -1);
    assert.equal(Number(await client.pExpire('a', 60_000, 'NX')), 1);
    assert.equal(Number(await client.expire('a', 10, 'GT')), 0);
    assert.equal(await client.getEx('a', { PERSIST: true }), '1');
    const when = Math.ceil(Date.now() / 1000) + 500;
    assert.equal(Number(await client.expireAt('a', when)), 1);
    assert.equal(await client.expireTime('a'), when);
    await client.pExpire('a', 1);
    while (await client.exists('a')); // ends by the test's time limit at the latest
    assert.equal(await client.get('a'), null);
  });

  it('lists', async () => {
    const { client } = guest;
    assert.equal(await client.rPush('l', ['b', 'c']), 2);
    assert.equal(await client.lPush('l', 'a'), 3);
    assert.deepEqual(await client.lRange('l', 0, -1), ['a', 'b', 'c']);
    assert.equal(await client.lLen('l'), 3);
    assert.equal(await client.lIndex('l', -1), 'c');
    assert.equal(await client.lIndex('l', 9), null);
    assert.equal(await client.lSet('l', 1, 'B'), 'OK');
    assert.equal(await client.lInsert('l', 'AFTER', 'B', 'b2'), 4);
    assert.equal(await client.lPos('l', 'b2'), 2);
    assert.equal(await client.lRem('l', 0, 'b2'), 1);
    assert.equal(await client.lMove('l', 'm', 'LEFT', 'RIGHT'), 'a');
    assert.equal(await client.lPop('l'), 'B');
    assert.deepEqual(await client.rPopCount('l', 5), ['c']);
    assert.equal(await client.lPop('l'), null);
    assert.equal(await client.lTrim('m', 1, 0), 'OK');
    assert.equal(await client.exists('m'), 0);
  });

  it('hashes', async () => {
    const { client } = guest;
    assert.equal(await client.hSet('h', { one: '1', two: '2', ключ: 'δέκα' }), 3);
    assert.equal(await client.hSet('h', 'one', '1.5'), 0);
    assert.deepEqual({ ...(await client.hGetAll('h')) }, { one: '1.5', two: '2', ключ: 'δέκα' });
    assert.deepEqual({ ...(await client.hGetAll('nothing')) }, {});
    assert.equal(await client.hGet('h', 'two'), '2');
    assert.equal((await client.hGet('h', 'three')) ?? null, null);
    assert.deepEqual(await client.hmGet('h', ['two', 'three']), ['2', null]);
    assert.equal(await client.hIncrBy('h', 'two', 40), 42);
    assert.equal(Number(await client.hIncrByFloat('h', 'one', 1)), 2.5);
    assert.deepEqual((await client.hKeys('h')).sort(), ['one', 'two', 'ключ']);
    assert.equal(await client.hLen('h'), 3);
    assert.equal(Number(await client.hExists('h', 'two')), 1);
    assert.equal(await client.hStrLen('h', 'two'), 2);
    assert.equal(await client.hDel('h', ['one', 'nothing']), 1);
    assert.deepEqual((await client.hVals('h')).sort(), ['42', 'δέκα']);
    const scanned = await client.hScan('h', major.title.startsWith('redis 4') ? 0 : '0');
    const entries = scanned.entries ?? scanned.tuples;
    assert.deepEqual(entries.map(({ field }) => field).sort(), ['two', 'ключ']);
  });

  it('sets', async () => {
    const { client } = guest;
    const members = (reply) => [...reply].sort();
    assert.equal(await client.sAdd('s', ['a', 'b', 'c']), 3);
    assert.equal(await client.sAdd('t', ['b', 'c', 'd']), 3);
    assert.deepEqual(members(await client.sMembers('s')), ['a', 'b', 'c']);
    assert.equal(Number(await client.sIsMember('s', 'a')), 1);
    assert.deepEqual((await client.smIsMember('s', ['a', 'z'])).map(Number), [1, 0]);
    assert.deepEqual(members(await client.sInter(['s', 't'])), ['b', 'c']);
    assert.deepEqual(members(await client.sDiff(['s', 't'])), ['a']);
    assert.equal(await client.sUnionStore('u', ['s', 't']), 4);
    assert.equal(await client.sInterCard(['s', 't']), 2);
    assert.equal(await client.sCard('u'), 4);
    assert.equal(Number(await client.sMove('s', 't', 'a')), 1);
    assert.equal(await client.sRem('s', ['b', 'nothing']), 1);
    assert.equal(await client.sRandMember('s'), 'c');
    assert.deepEqual([await client.sPop('s')].flat(), ['c']);
    assert.deepEqual([...(await client.sMembers('s'))], []);
  });

  it('keys', async () => {
    const { client } = guest;
    await client.mSet({ a: '1', b: '2' });
    await client.sendCommand(['AI.TENSORSET', 'x', 'INT8', '1', 'VALUES', '1']);
    assert.equal(await client.exists(['a', 'b', 'x', 'nothing']), 3);
    assert.equal(await client.type('x'), 'AI_TENSOR');
    assert.equal(await client.type('a'), 'string');
    assert.equal(await client.rename('x', 'y'), 'OK');
    assert.equal(Number(await client.renameNX('y', 'a')), 0);
    assert.equal(Number(await client.copy('a', 'c')), 1);
    assert.deepEqual((await client.keys('?')).sort(), ['a', 'b', 'c', 'y']);
    assert.equal(await client.dbSize(), 4);
    assert.ok(['a', 'b', 'c', 'y'].includes(await client.randomKey()));
    assert.equal(await client.touch(['a', 'b']), 2);
    assert.equal(await client.objectEncoding('a'), 'int');
    assert.ok((await client.memoryUsage('a')) > 0);
    assert.equal(await client.del(['a', 'nothing']), 1);
    assert.equal(await client.unlink('b'), 1);
    assert.equal(Number(await client.move('c', 1)), 1);
    await assert.rejects(client.copy('y', 'z'), {
      message: 'ERR not supported for this module key',
    });
  });

  it('a scan comes across every key once when nothing changes', async () => {
    const { client } = guest;
    const pairs = Array.from({ length: 500 }, (_, number) => [`key:${number}`, 'value']);
    await client.mSet(pairs);
    await client.sAdd('other', 'member');
    const found = [];
    for await (const key of major.scan(client, { MATCH: 'key:*', COUNT: 50 })) found.push(key);
    assert.deepEqual(found.sort(), pairs.map(([key]) => key).sort());
    const sets = [];
    for await (const key of major.scan(client, { TYPE: 'set' })) sets.push(key);
    assert.deepEqual(sets, ['other']);
  });

  it('scans of a set and of a hash come across every member once', async () => {
    const { client } = guest;
    const names = Array.from({ length: 700 }, (_, number) => `name:${number}`);
    await client.sAdd('s', names);
    await client.hSet('h', Object.fromEntries(names.map((name, number) => [name, String(number)])));
    const members = [];
    for await (const page of client.sScanIterator('s', { COUNT: 100 })) members.push(page);
    assert.deepEqual(members.flat().sort(), [...names].sort());
    const entries = [];
    for await (const page of client.hScanIterator('h', { COUNT: 100 })) entries.push(page);
    assert.deepEqual(Object.fromEntries(entries.flat().map(({ field, value }) => [field, value])), {
      ...(await client.hGetAll('h')),
    });
    assert.equal(entries.flat().length, names.length);
  });

  it('keys and values that are not UTF-8 stay what they are', async () => {
    const { client } = guest;
    const buffers = major.withBuffers(client);
    const key = Buffer.from([0xff, 0x00, 0xfe, 0x0d, 0x0a]);
    const value = Buffer.from([0x80, 0x0a, 0x0d, 0xc3, 0x28]);
    await client.set(key, value);
    assert.deepEqual(await buffers.get(key), value);
    assert.deepEqual(await buffers.keys('*'), [key]);
    await client.del(key);
    await client.sendCommand(['AI.TENSORSET', key, 'UINT8', '5', 'BLOB', value]);
    assert.deepEqual(await major.sendForBuffers(client, ['AI.TENSORGET', key, 'BLOB']), value);
    const hash = { field: value };
    await client.hSet('h', hash);
    assert.deepEqual({ ...(await buffers.hGetAll('h')) }, hash);
  });

  it('values of some megabytes, many at once', async () => {
    const { client } = guest;
    const value = Buffer.alloc(4 * 2 ** 20, 'tensor');
    const keys = ['a', 'b', 'c', 'd'];
    await Promise.all(keys.map((key) => client.set(key, value)));
    const got = await Promise.all(keys.map((key) => major.withBuffers(client).get(key)));
    for (const each of got) assert.equal(Buffer.compare(each, value), 0);
  });

  it('a transaction is done as one, or not at all', async () => {
    const { client } = guest;
    assert.deepEqual(await client.multi().set('a', '1').incr('a').lPush('l', 'x').exec(), [
      'OK',
      2,
      1,
    ]);
    await assert.rejects(
      client.multi().set('a', '3').addCommand(['NOSUCH']).exec(),
      /EXECABORT|unknown command|MultiErrorReply|errored/i,
    );
    assert.equal(await client.get('a'), '2');
    await assert.rejects(client.multi().set('a', '3').lPush('a', 'x').exec(), (error) => {
      assert.ok(error instanceof major.module.MultiErrorReply);
      assert.equal(error.replies[0], 'OK');
      assert.equal(
        error.replies[1].message,
        'WRONGTYPE Operation against a key holding the wrong kind of value',
      );
      return true;
    });
    assert.equal(await client.get('a'), '3');
  });
});
