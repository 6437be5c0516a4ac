/** Clients over TLS, with and without a certificate of their own. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Server } from '../server.mjs';
import { MAJORS } from './majors.mjs';

/** A port that nobody listens on. */
const freePort = () => new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address();
    probe.close(() => resolve(port));
  });
});

/** Makes a certificate that is its own authority, and its key. */
function sign(folder, name) {
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    '-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`),
  ], { stdio: 'ignore' });
}

describe('TLS', () => {
  let folder, server;
  const file = (name) => join(folder, name);
  const read = (name) => readFileSync(file(name));

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tensorkeep-tls-'));
    sign(folder, 'server');
    sign(folder, 'alice');
    server = await Server.start(0, [
      '--tls-port', String(await freePort()), '--tls-cert-file', file('server.crt'),
      '--tls-key-file', file('server.key'), '--tls-ca-cert-file', file('alice.crt'),
      '--tls-auth-clients', 'optional', '--tls-auth-clients-user', 'CN',
    ]);
  });

  after(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  for (const major of MAJORS) {
    const connect = async (tls) => {
      const socket = { tls: true, host: 'localhost', port: server.port, ca: read('server.crt'), ...tls };
      const client = major.module.createClient({ ...major.options, socket });
      client.on('error', () => {});
      await client.connect();
      return client;
    };

    it(`${major.title}: values of all sizes pass`, async () => {
      const client = await connect({});
      const large = Buffer.alloc(3 << 20, 'x').toString();
      await client.set('key', large);
      assert.equal(await client.get('key'), large);
      await client.sendCommand(['AI.TENSORSET', 't', 'FLOAT', '2', 'VALUES', '1', '2']);
      const values = await client.sendCommand(['AI.TENSORGET', 't', 'VALUES']);
      assert.deepEqual(values.map(Number), [1, 2]);
      await major.close(client);
    });

    it(`${major.title}: a certificate is its user`, async () => {
      const admin = await connect({});
      await admin.sendCommand(['ACL', 'SETUSER', 'alice', 'on', '+@all', '~*']);
      const alice = await connect({ cert: read('alice.crt'), key: read('alice.key') });
      assert.equal(await alice.sendCommand(['ACL', 'WHOAMI']), 'alice');
      assert.equal(await admin.sendCommand(['ACL', 'WHOAMI']), 'default');
      await major.close(alice);
      await major.close(admin);
    });
  }

  it('a server that is not trusted is not spoken to', async () => {
    const [{ module }] = MAJORS;
    const socket = { tls: true, host: 'localhost', port: server.port, reconnectStrategy: false };
    const client = module.createClient({ socket });
    client.on('error', () => {});
    await assert.rejects(client.connect(), /self-signed|unable to verify/);
  });
});
