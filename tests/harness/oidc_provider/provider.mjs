// An identity provider for tests: node provider.mjs PORT REDIRECT_URL. Whoever posts a name to the sign-in page is signed in.

import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [port, redirectUrl] = process.argv.slice(2);
const client = {
  client_id: "pycalc",
  client_secret: "a secret: of the client's/own",
  redirect_uris: [redirectUrl],
  response_types: ["code"],
  grant_types: ["authorization_code"],
};
const claimsOf = new Map();

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client],
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  conformIdTokenClaims: false, // claims of scopes go into the ID token too, as with most providers
  claims: { openid: ["sub", "groups"], profile: ["preferred_username"], email: ["email"], acr: null },
  acrValues: ["mfa", "password"],
  cookies: { keys: ["a key of the tests"] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, ...claimsOf.get(sub) }) }),
  async loadExistingGrant({ oidc }) {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid profile email");
    await grant.save();
    return grant;
  },
});

createServer(async (request, response) => {
  if (!request.url.startsWith("/interaction/")) return provider.callback()(request, response);
  if (request.method !== "POST") return response.end("Who are you?");
  let body = "";
  for await (const part of request) body += part;
  const { sub, acr, ...claims } = JSON.parse(body);
  claimsOf.set(sub, claims);
  return provider.interactionFinished(request, response, { login: { accountId: sub, acr } });
}).listen(Number(port), "127.0.0.1");
