/**
 * The AI commands through sendCommand: what is sent comes back, models and scripts answer as they
 * should, and errors have the server's text.
 */
import assert from 'node:assert/strict';
import { before, beforeEach, describe, it } from 'node:test';

import { digitsModel, heldOut, readWell } from '../server.mjs';
import { bytes, numbers, tour } from './majors.mjs';

const SCRIPT = `
def total(tensors: List[Tensor], keys: List[str], args: List[str]):
    sum = tensors[0]
    for tensor in tensors[1:]:
        sum = sum + tensor
    return sum * int(args[0])

def through_a_key(tensors: List[Tensor], keys: List[str], args: List[str]):
    redis.execute("SET", [keys[0], args[0]])
    return torch.tensor(int(str(redis.execute("GET", [keys[0]]))))
`;
const NUMBERS = [
  ['FLOAT', Float32Array.of(0.5, -1.25, 3e38, NaN)],
  ['DOUBLE', Float64Array.of(0.1, -1e300, Infinity, -0)],
  ['INT8', Int8Array.of(-128, -1, 0, 127)],
  ['INT16', Int16Array.of(-32768, -1, 0, 32767)],
  ['INT32', Int32Array.of(-(2 ** 31), -1, 0, 2 ** 31 - 1)],
  ['INT64', BigInt64Array.of(-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n)],
  ['UINT8', Uint8Array.of(0, 1, 254, 255)],
  ['UINT16', Uint16Array.of(0, 1, 65534, 65535)],
  ['BOOL', Uint8Array.of(1, 0, 1, 0)],
];

/** A word of a command: numbers are written out. */
const word = (value) => (Buffer.isBuffer(value) ? value : String(value));

tour((guest) => {
  const { major } = guest;
  const send = (...words) => guest.client.sendCommand(words.map(word));
  const sendForBuffers = (...words) => major.sendForBuffers(guest.client, words.map(word));
  const refuses = (text, ...words) => assert.rejects(send(...words), (error) => {
    assert.ok(error instanceof major.module.ErrorReply);
    assert.equal(error.message, text);
    return true;
  });

  describe('tensors', () => {
    for (const [type, array] of NUMBERS) {
      it(`a typed array of ${type} comes back as it was sent`, async () => {
        assert.equal(await send('AI.TENSORSET', 'x', type, 2, 2, 'BLOB', bytes(array)), 'OK');
        const blob = await sendForBuffers('AI.TENSORGET', 'x', 'BLOB');
        assert.deepEqual(numbers(array.constructor, blob), array);
        assert.deepEqual(await send('AI.TENSORGET', 'x', 'META'), ['dtype', type, 'shape', [2, 2]]);
      });
    }

    it('meta and blob come together, names as Buffers too', async () => {
      const sent = Float32Array.of(1, 2, 3);
      await send('AI.TENSORSET', 'x', 'FLOAT', 3, 1, 'BLOB', bytes(sent));
      const [dtype, type, shape, lengths, blob, data] = await sendForBuffers('AI.TENSORGET', 'x');
      assert.deepEqual([dtype, type, shape, blob].map(String), ['dtype', 'FLOAT', 'shape', 'blob']);
      assert.deepEqual(lengths, [3, 1]);
      assert.deepEqual(numbers(Float32Array, data), sent);
    });

    it('values are numbers where the protocol has them', async () => {
      await send('AI.TENSORSET', 'x', 'DOUBLE', 3, 'VALUES', 0.1, 2, '-inf');
      const [first, ...others] = await send('AI.TENSORGET', 'x', 'VALUES');
      if (major.protocol === 3) {
        // The package reads digit by digit, and may be off in the last one.
        assert.ok(Math.abs(first - 0.1) < 1e-16, String(first));
        assert.deepEqual(others, [2, -Infinity]);
      } else {
        assert.deepEqual([first, ...others], ['0.10000000000000001', '2', '-inf']);
      }
      await send('AI.TENSORSET', 'x', 'INT64', 2, 'VALUES', 1, 2 ** 40);
      assert.deepEqual(await send('AI.TENSORGET', 'x', 'META', 'VALUES'),
        ['dtype', 'INT64', 'shape', [2], 'values', [1, 2 ** 40]]);
    });

    it('strings come back in any alphabet', async () => {
      const words = ['tensor', 'ключ', 'δέκα', '十'];
      await send('AI.TENSORSET', 'words', 'STRING', 2, 2, 'VALUES', ...words);
      assert.deepEqual(await send('AI.TENSORGET', 'words', 'VALUES'), words);
      assert.equal(await send('AI.TENSORGET', 'words', 'BLOB'), `${words.join('\0')}\0`);
    });

    it('a tensor without dimensions is a number', async () => {
      await send('AI.TENSORSET', 'x', 'INT32', 'VALUES', 7);
      assert.deepEqual(await send('AI.TENSORGET', 'x', 'META', 'VALUES'),
        ['dtype', 'INT32', 'shape', [], 'values', [7]]);
    });

    it('a tensor of some megabytes comes back as it was sent', async () => {
      const sent = Float32Array.from({ length: 2_000_000 }, (_, number) => number);
      await send('AI.TENSORSET', 'x', 'FLOAT', 1000, 2000, 'BLOB', bytes(sent));
      const blob = await sendForBuffers('AI.TENSORGET', 'x', 'BLOB');
      assert.equal(Buffer.compare(blob, bytes(sent)), 0);
    });

    it('the server says what is wrong, in the words of the original', async () => {
      await refuses('ERR tensor key is empty or in a different shard', 'AI.TENSORGET', 'nothing');
      await refuses('ERR invalid data type', 'AI.TENSORSET', 'x', 'FLOAT32', 1, 'VALUES', 1);
      await refuses('ERR data length does not match tensor shape and type',
        'AI.TENSORSET', 'x', 'FLOAT', 2, 'BLOB', Buffer.alloc(7));
      await refuses('ERR invalid value', 'AI.TENSORSET', 'x', 'INT8', 1, 'VALUES', 'one');
      await refuses("ERR wrong number of arguments for 'AI.TENSORSET' command",
        'AI.TENSORSET', 'x');
      await guest.client.set('text', 'abc');
      await refuses('WRONGTYPE Operation against a key holding the wrong kind of value',
        'AI.TENSORGET', 'text');
      assert.equal(await guest.client.exists('x'), 0);
    });
  });

  describe('models', () => {
    const model = digitsModel('digits.onnx');
    let pictures;
    let labels;
    let input;

    before(() => {
      ({ pictures, labels } = heldOut());
      input = Float32Array.from(pictures.flat(), (grey) => grey / 16);
    });

    beforeEach(async () => {
      assert.equal(await send('AI.MODELSTORE', 'digits', 'ONNX', 'CPU', 'BLOB', model), 'OK');
    });

    const setPictures = () => send(
      'AI.TENSORSET', 'pictures', 'FLOAT', labels.length, 1, 8, 8, 'BLOB', bytes(input));

    it('a stored model reads the pictures', async () => {
      await setPictures();
      assert.equal(await send(
        'AI.MODELEXECUTE', 'digits', 'INPUTS', 1, 'pictures', 'OUTPUTS', 1, 'answers'), 'OK');
      const blob = await sendForBuffers('AI.TENSORGET', 'answers', 'BLOB');
      readWell(numbers(Float32Array, blob), labels);
      assert.deepEqual(await send('AI.TENSORGET', 'answers', 'META'),
        ['dtype', 'FLOAT', 'shape', [labels.length, 10]]);
    });

    it('many requests at once are answered each with its own', async () => {
      const asked = labels.map(async (_, number) => {
        const row = bytes(input.subarray(64 * number, 64 * number + 64));
        const [, , blob] = await Promise.all([
          send('AI.TENSORSET', `x${number}`, 'FLOAT', 1, 1, 8, 8, 'BLOB', row),
          send('AI.MODELEXECUTE', 'digits', 'INPUTS', 1, `x${number}`, 'OUTPUTS', 1, `y${number}`),
          sendForBuffers('AI.TENSORGET', `y${number}`, 'BLOB'),
        ]);
        return [...numbers(Float32Array, blob)];
      });
      readWell(Float32Array.from((await Promise.all(asked)).flat()), labels);
    });

    it('a model comes back byte for byte, with what it was stored with', async () => {
      await send('AI.MODELSTORE', 'other', 'ONNX', 'CPU', 'TAG', 'v1', 'BATCHSIZE', 8,
        'MINBATCHSIZE', 2, 'MINBATCHTIMEOUT', 5, 
        'BLOB', model.subarray(0, 1000), model.subarray(1000));
      const blob = await sendForBuffers('AI.MODELGET', 'other', 'BLOB');
      assert.equal(Buffer.compare(blob, model), 0);
      assert.deepEqual(await send('AI.MODELGET', 'other', 'META'), [
        'backend', 'ONNX', 'device', 'CPU', 'tag', 'v1', 'batchsize', 8, 'minbatchsize', 2,
        'inputs', ['images'], 'outputs', ['probabilities'], 'minbatchtimeout', 5,
      ]);
    });

    it('a model is got in chunks of the size that was set', async () => {
      try {
        await send('AI.CONFIG', 'MODEL_CHUNK_SIZE', 50_000);
        assert.equal(await send('AI.CONFIG', 'GET', 'MODEL_CHUNK_SIZE'), 50_000);
        const chunks = await sendForBuffers('AI.MODELGET', 'digits', 'BLOB');
        assert.deepEqual(chunks.map((chunk) => chunk.length), [50_000, 50_000, 50_000, 4049]);
        assert.equal(Buffer.compare(Buffer.concat(chunks), model), 0);
      } finally {
        await send('AI.CONFIG', 'MODEL_CHUNK_SIZE', 511 * 1024 * 1024);
      }
    });

    it('runs are counted, and models are listed with their tags', async () => {
      await setPictures();
      await send('AI.MODELEXECUTE', 'digits', 'INPUTS', 1, 'pictures', 'OUTPUTS', 1, 'answers');
      const info = await send('AI.INFO', 'digits');
      const named = Object.fromEntries(
        info.flatMap((name, at) => (at % 2 ? [] : [[name, info[at + 1]]])));
      assert.ok(named.duration > 0);
      assert.deepEqual({ ...named, duration: 1 }, {
        key: 'digits', type: 'MODEL', backend: 'ONNX', device: 'CPU', tag: '',
        duration: 1, samples: labels.length, calls: 1, errors: 0,
      });
      assert.equal(await send('AI.INFO', 'digits', 'RESETSTAT'), 'OK');
      assert.equal((await send('AI.INFO', 'digits'))[15], 0);
      assert.deepEqual(await send('AI._MODELSCAN'), [['digits', '']]);
      assert.equal(await send('AI.MODELDEL', 'digits'), 'OK');
      assert.deepEqual(await send('AI._MODELSCAN'), []);
    });

    it('a run that does not fit is refused', async () => {
      await refuses('ERR model key is empty',
        'AI.MODELEXECUTE', 'nothing', 'INPUTS', 1, 'x', 'OUTPUTS', 1, 'y');
      await refuses('ERR tensor key is empty or in a different shard',
        'AI.MODELEXECUTE', 'digits', 'INPUTS', 1, 'nothing', 'OUTPUTS', 1, 'y');
      await refuses('Number of keys given as INPUTS here does not match model definition',
        'AI.MODELEXECUTE', 'digits', 'INPUTS', 2, 'x', 'x', 'OUTPUTS', 1, 'y');
      await refuses('ERR unsupported backend', 'AI.MODELSTORE', 'm', 'CAFFE', 'CPU', 'BLOB', model);
    });

    it('a DAG answers all of its parts in one reply', async () => {
      await setPictures();
      const dag = ['AI.DAGEXECUTE', 'LOAD', 1, 'pictures', 'PERSIST', 1, 'answers',
        '|>', 'AI.TENSORSET', 'one', 'FLOAT', 1, 1, 8, 8, 'BLOB', bytes(input.subarray(0, 64)),
        '|>', 'AI.MODELEXECUTE', 'digits', 'INPUTS', 1, 'pictures', 'OUTPUTS', 1, 'answers',
        '|>', 'AI.MODELEXECUTE', 'digits', 'INPUTS', 1, 'one', 'OUTPUTS', 1, 'answer',
        '|>', 'AI.TENSORGET', 'answers', 'BLOB', '|>', 'AI.TENSORGET', 'answer', 'META'];
      const [set, many, one, blob, meta] = await sendForBuffers(...dag);
      assert.deepEqual([set, many, one].map(String), ['OK', 'OK', 'OK']);
      readWell(numbers(Float32Array, blob), labels);
      assert.deepEqual(meta[3], [1, 10]);
      assert.equal(await guest.client.exists(['answers']), 1);
      assert.equal(await guest.client.exists(['one', 'answer']), 0);
    });

    it('a part of a DAG that fails is an error among its replies', async () => {
      const replies = await send('AI.DAGEXECUTE_RO', 'ROUTING', 'here',
        '|>', 'AI.TENSORSET', 'flat', 'FLOAT', 2, 'VALUES', 1, 2,
        '|>', 'AI.MODELEXECUTE', 'digits', 'INPUTS', 1, 'flat', 'OUTPUTS', 1, 'answer',
        '|>', 'AI.TENSORGET', 'answer', 'VALUES');
      assert.equal(replies.length, 3);
      assert.equal(replies[0], 'OK');
      assert.ok(replies[1] instanceof major.module.ErrorReply);
      assert.match(replies[1].message, /Invalid rank for input: images/);
      assert.equal(replies[2], 'NA');
      await refuses('ERR PERSIST cannot be specified in a read-only DAG',
        'AI.DAGEXECUTE_RO', 'PERSIST', 1, 'x', '|>', 'AI.TENSORGET', 'x');
      await refuses('ERR INPUT key cannot be found in DAG',
        'AI.DAGEXECUTE', 'ROUTING', 'here', '|>', 'AI.TENSORGET', 'x', 'META');
    });

    it('a pipeline of the package runs models, one after the other', async () => {
      const zeros = bytes(new Float32Array(64));
      const [set, run, meta] = await guest.client.multi()
        .addCommand(['AI.TENSORSET', 'x', 'FLOAT', '1', '1', '8', '8', 'BLOB', zeros])
        .addCommand(['AI.MODELEXECUTE', 'digits', 'INPUTS', '1', 'x', 'OUTPUTS', '1', 'y'])
        .addCommand(['AI.TENSORGET', 'y', 'META'])
        .execAsPipeline();
      assert.deepEqual([set, run, meta], ['OK', 'OK', ['dtype', 'FLOAT', 'shape', [1, 10]]]);
    });

    it('a transaction stores and reads tensors, and refuses to run models', async () => {
      const stored = await guest.client.multi()
        .addCommand(['AI.TENSORSET', 'x', 'INT8', '2', 'VALUES', '1', '2'])
        .addCommand(['AI.TENSORGET', 'x', 'VALUES'])
        .set('text', 'abc')
        .get('text')
        .exec();
      assert.deepEqual(stored, ['OK', [1, 2], 'OK', 'abc']);
      const refused = guest.client.multi()
        .addCommand(['AI.MODELEXECUTE', 'digits', 'INPUTS', '1', 'x', 'OUTPUTS', '1', 'y'])
        .addCommand(['AI.TENSORGET', 'x', 'VALUES'])
        .exec();
      await assert.rejects(refused, (error) => {
        assert.ok(error instanceof major.module.MultiErrorReply);
        assert.deepEqual(error.errorIndexes, [0]);
        assert.equal(error.replies[0].message,
          'ERR Cannot run RedisAI command within a transaction or a LUA script');
        assert.deepEqual(error.replies[1], [1, 2]);
        return true;
      });
    });
  });

  describe('scripts', () => {
    beforeEach(async () => {
      assert.equal(await send('AI.SCRIPTSTORE', 'script', 'CPU', 'TAG', 'v1', 'ENTRY_POINTS', 2,
        'total', 'through_a_key', 'SOURCE', SCRIPT), 'OK');
    });

    it('a script computes with tensors and arguments', async () => {
      await send('AI.TENSORSET', 'a', 'FLOAT', 2, 'VALUES', 1, 2);
      await send('AI.TENSORSET', 'b', 'FLOAT', 2, 'VALUES', 10, 20);
      assert.equal(await send('AI.SCRIPTEXECUTE', 'script', 'total', 'INPUTS', 2, 'a', 'b',
        'ARGS', 1, 3, 'OUTPUTS', 1, 'sum'), 'OK');
      const blob = await sendForBuffers('AI.TENSORGET', 'sum', 'BLOB');
      assert.deepEqual(numbers(Float32Array, blob), Float32Array.of(33, 66));
    });

    it('a script reaches keys', async () => {
      await send('AI.SCRIPTEXECUTE', 'script', 'through_a_key', 'KEYS', 1, 'text', 'ARGS', 1, 42,
        'OUTPUTS', 1, 'answer');
      assert.deepEqual(await send('AI.TENSORGET', 'answer', 'VALUES'), [42]);
      assert.equal(await guest.client.get('text'), '42');
    });

    it('a script comes back as it was stored, and goes', async () => {
      assert.equal(await send('AI.SCRIPTGET', 'script', 'SOURCE'), SCRIPT);
      assert.deepEqual(await send('AI.SCRIPTGET', 'script', 'META'),
        ['device', 'CPU', 'tag', 'v1', 'Entry Points', ['total', 'through_a_key']]);
      assert.deepEqual(await send('AI._SCRIPTSCAN'), [['script', 'v1']]);
      assert.equal(await send('AI.SCRIPTDEL', 'script'), 'OK');
      await refuses('ERR script key is empty', 'AI.SCRIPTGET', 'script');
    });

    it('errors of scripts have their text', async () => {
      await refuses('Function lacking does not exist in the given script.',
        'AI.SCRIPTSTORE', 'other', 'CPU', 'ENTRY_POINTS', 1, 'lacking', 'SOURCE', SCRIPT);
      await assert.rejects(
        send('AI.SCRIPTEXECUTE', 'script', 'total', 'INPUTS', 0, 'ARGS', 1, 3, 'OUTPUTS', 1, 'sum'),
        /list index out of range/);
    });
  });
});
