// A real provider of OpenID Connect, with its own pages for typing a name (any password is right).
//
// node provider.mjs NODE_MODULES REDIRECT: says at which port it listens, and ends with its standard input.
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const [modules, redirect] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));

// Who is in which groups; everybody else is in none.
const GROUPS = { otto: ['ops', 'all'], vera: ['all'] };

const server = createServer().listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://localhost:${port}`, {
    clients: [{
      client_id: 'ebbtide',
      client_secret: 'a secret of sixteen or more',
      redirect_uris: [redirect],
    }],
    claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
    scopes: ['openid', 'groups'],
    findAccount: (context, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, groups: GROUPS[id] ?? [] }),
    }),
    // Nobody is asked what may be told.
    loadExistingGrant: async (context) => {
      const { client, session, params } = context.oidc;
      const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
      grant.addOIDCScope(params.scope);
      await grant.save();
      return grant;
    },
  });
  server.on('request', provider.callback());
  console.log(`port ${port}`);
  // Nobody reads what it says from here on.
  for (const kind of ['log', 'info', 'warn', 'error']) console[kind] = () => {};
});
process.stdin.resume().on('end', () => process.exit());
