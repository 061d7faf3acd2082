// node-oidc-provider (certified) on a loopback port that the system chooses: every refresh token is good once, and
// one that is presented twice ends its grant. One JSON line on stdout says where it is and who its clients are; it ends
// with its standard input. All is held in memory.
//
//   node server.js [--packages DIR] [--access-token-life SECONDS]
//
//   GET /stats     what the token endpoint has seen, and how often reuse was detected

import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

// Debian 12 has Node 18, and the provider is made for a later one. These two are all that it misses.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
};

// What the provider has to say belongs on stderr.
console.log = console.error;
console.info = console.error;

const { values: options } = parseArgs({
  options: {
    packages: { type: 'string', default: fileURLToPath(new URL('.', import.meta.url)) },
    'access-token-life': { type: 'string', default: '3600' },
    // Refresh tokens for those who ask for offline_access, and for nobody else.
    'by-scope': { type: 'boolean', default: false },
  },
});
const installed = createRequire(`${options.packages}/package.json`);
const { default: Provider } = await import(pathToFileURL(installed.resolve('oidc-provider')).href);

const secret = () => randomBytes(24).toString('base64url');
const callback = 'http://127.0.0.1/callback';
const signing = generateKeyPairSync('rsa', { modulusLength: 2048 });
const assertion = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwk = (key, kid, alg) => ({ ...key.export({ format: 'jwk' }), kid, alg, use: 'sig' });

// ---- who may ask ----

const interactive = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
// A native client may come back to any port of this machine (RFC 8252 section 7.3).
const person = { application_type: 'native', redirect_uris: [callback], grant_types: interactive };
const clients = [
  { ...person, client_id: 'basic', client_secret: secret(), token_endpoint_auth_method: 'client_secret_basic' },
  { ...person, client_id: 'post', client_secret: secret(), token_endpoint_auth_method: 'client_secret_post' },
  { ...person, client_id: 'public', token_endpoint_auth_method: 'none' },
  {
    ...person,
    client_id: 'key',
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: { keys: [jwk(assertion.publicKey, 'key-1', 'ES256')] },
  },
];
for (const client of clients) {
  if (client.client_id !== 'public') {
    client.grant_types = [...client.grant_types, 'client_credentials'];
  }
}

// ---- the provider ----

function provide(issuer) {
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys: [jwk(signing.privateKey, 'signing-1', 'RS256')] },
    cookies: { keys: [secret()] },
    scopes: ['openid', 'offline_access', 'read', 'write'],
    responseTypes: ['code'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    // A grant outlives the browser's session, whatever scope was asked for.
    issueRefreshToken: (ctx, client, code) => client.grantTypeAllowed('refresh_token')
      && (!options['by-scope'] || code.scopes.has('offline_access')),
    expiresWithSession: () => false,
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    features: {
      devInteractions: { enabled: true },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
    },
    ttl: {
      AccessToken: Number(options['access-token-life']),
      ClientCredentials: Number(options['access-token-life']),
      RefreshToken: 14 * 24 * 3600,
      Grant: 14 * 24 * 3600,
      Session: 3600,
      Interaction: 600,
      IdToken: 3600,
    },
  });
  count(provider);
  return provider;
}

// ---- what has happened ----

const stats = {
  token_requests: 0,
  by_grant: {},
  refreshes: 0,
  refused: 0,
  reuse_detected: 0,
  grants_revoked: 0,
  in_flight: 0,
  most_in_flight: 0,
};

function count(provider) {
  const revoked = new Set();
  provider.on('grant.success', (ctx) => {
    stats.refreshes += ctx.oidc.params.grant_type === 'refresh_token' ? 1 : 0;
  });
  provider.on('grant.error', (ctx, error) => {
    stats.refused += 1;
    stats.reuse_detected += error.error_detail === 'refresh token already used' ? 1 : 0;
  });
  provider.on('grant.revoked', (ctx, grantId) => {
    revoked.add(grantId);
    stats.grants_revoked = revoked.size;
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  provider.use(async (ctx, next) => {
    if (ctx.path !== '/token') {
      return next();
    }
    stats.token_requests += 1;
    stats.in_flight += 1;
    stats.most_in_flight = Math.max(stats.most_in_flight, stats.in_flight);
    try {
      await next();
    } finally {
      stats.in_flight -= 1;
      const grant = ctx.oidc?.params?.grant_type ?? 'none';
      stats.by_grant[grant] = (stats.by_grant[grant] ?? 0) + 1;
    }
  });
}

// ---- its life ----

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const answer = provide(issuer).callback();
  server.on('request', (request, response) => {
    if (request.url !== '/stats') {
      return answer(request, response);
    }
    return server.getConnections((_, connections) => {
      response.setHeader('content-type', 'application/json');
      // Whoever asks is one of them.
      response.end(JSON.stringify({ ...stats, connections: connections - 1 }));
    });
  });
  const secrets = Object.fromEntries(clients.map((client) => [client.client_id, client.client_secret]));
  const key = assertion.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const ready = { issuer, stats: `${issuer}/stats`, redirect_uri: callback, secrets, key, key_id: 'key-1' };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
});

process.stdin.on('end', () => process.exit(0)).on('error', () => process.exit(0)).resume();
