// node-vault against a running server: VAULT_ADDR and ROOT_TOKEN say which.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

const vault = createRequire(process.env.NODE_VAULT_FROM)('node-vault');
const endpoint = process.env.VAULT_ADDR;
const as = (token) => vault({ endpoint, token });
// A client of its own for each test: node-vault goes on as the token that it made last.
const administrator = () => as(process.env.ROOT_TOKEN);
const refused = (call, status) => assert.rejects(call, (error) => {
  assert.equal(error.response?.statusCode, status, error.message);
  return true;
});

test('health is told without a token', async () => {
  const health = await vault({ endpoint }).health();
  assert.equal(health.initialized, true);
  assert.equal(health.sealed, false);
});

test('kv 2: write, read, list, delete', async () => {
  const root = administrator();
  await root.write('secret/data/node/a', { data: { user: 'ada', n: 3, deep: { list: [1, null, 'x'] } } });
  const read = await root.read('secret/data/node/a');
  assert.deepEqual(read.data.data, { user: 'ada', n: 3, deep: { list: [1, null, 'x'] } });
  assert.equal(read.data.metadata.version, 1);
  assert.deepEqual((await root.list('secret/metadata/node')).data.keys, ['a']);
  await root.delete('secret/data/node/a');
  await refused(root.read('secret/data/node/a'), 404);
});

test('kv 2: check-and-set refuses an old version', async () => {
  const root = administrator();
  await root.write('secret/data/node/cas', { data: { n: 1 } });
  await refused(root.write('secret/data/node/cas', { data: { n: 2 }, options: { cas: 0 } }), 400);
  await root.write('secret/data/node/cas', { data: { n: 2 }, options: { cas: 1 } });
});

test('a token that may read one path reads that path alone', async () => {
  const root = administrator();
  await root.write('secret/data/node/mine', { data: { k: 'v' } });
  await root.addPolicy({ name: 'node-one', rules: 'path "secret/data/node/mine" { capabilities = ["read"] }' });
  assert.ok((await root.policies()).policies.includes('node-one'));
  const made = await root.tokenCreate({ policies: ['node-one'], ttl: '10m' });
  const one = as(made.auth.client_token);
  assert.equal((await one.read('secret/data/node/mine')).data.data.k, 'v');
  await refused(one.read('secret/data/node/other'), 403);
  await refused(one.write('secret/data/node/mine', { data: { k: 'w' } }), 403);
  await refused(one.list('secret/metadata/node'), 403);
  await refused(one.mounts(), 403);
});

test('tokens: look up, renew, revoke', async () => {
  const root = administrator();
  const made = await root.tokenCreate({ policies: ['default'], ttl: '10m', renewable: true });
  const own = as(made.auth.client_token);
  assert.deepEqual((await own.tokenLookupSelf()).data.policies, ['default']);
  assert.ok((await own.tokenRenewSelf({ increment: '5m' })).auth.lease_duration <= 600);
  await administrator().tokenRevoke({ token: made.auth.client_token });
  await refused(own.tokenLookupSelf(), 403);
});

test('no token and a wrong one are refused', async () => {
  await refused(vault({ endpoint }).read('secret/data/node/mine'), 403);
  await refused(as('hvs.wrong').read('secret/data/node/mine'), 403);
});

test('mounts and what is not mounted', async () => {
  const root = administrator();
  await root.mount({ mount_point: 'nodekv', type: 'kv', description: 'from node' });
  assert.equal((await root.mounts())['nodekv/'].type, 'kv');
  await root.write('nodekv/x', { k: 'v' });
  await root.unmount({ mount_point: 'nodekv' });
  await refused(root.read('nodekv/x'), 404);
  await refused(root.mount({ mount_point: 'bad', type: 'nosuch' }), 400);
});

test('a wrapped reply opens once', async () => {
  const root = administrator();
  await root.write('secret/data/node/wrapped', { data: { k: 'inside' } });
  const reply = await root.read('secret/data/node/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } });
  const opened = await as(reply.wrap_info.token).unwrap();
  assert.equal(opened.data.data.k, 'inside');
  await assert.rejects(as(reply.wrap_info.token).unwrap());
});

test('path-help', async () => {
  const root = administrator();
  const help = await root.help('secret/data/x');
  assert.ok(help.help.length > 0);
});
