// Discovers, refreshes, introspects, revokes, gets a token of its own. Given JSON on standard input, tells JSON.

import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const { issuer, refreshToken, secret } = JSON.parse(readFileSync(0))
const insecure = { [oauth.allowInsecureRequests]: true } // localhost
const at = new URL(issuer)
const web = { client_id: 'web' }
const backend = { client_id: 'backend' }
const proofs = { basic: oauth.ClientSecretBasic(secret), post: oauth.ClientSecretPost(secret) }

const server = await oauth.processDiscoveryResponse(at, await oauth.discoveryRequest(at, { algorithm: 'oauth2', ...insecure }))

const refresh = async (token) =>
  oauth.processRefreshTokenResponse(server, web, await oauth.refreshTokenGrantRequest(server, web, oauth.None(), token, insecure))

const introspect = async (token, proof) =>
  oauth.processIntrospectionResponse(server, backend, await oauth.introspectionRequest(server, backend, proof, token, insecure))

const second = await refresh(refreshToken)
const request = new Request(`${issuer}/auth/me`, { headers: { authorization: `Bearer ${second.access_token}` } })
const claims = await oauth.validateJwtAccessToken(server, request, issuer, insecure)
const living = await introspect(second.access_token, proofs.basic)
const own = await oauth.processClientCredentialsResponse(
  server,
  backend,
  await oauth.clientCredentialsGrantRequest(server, backend, proofs.post, { scope: 'introspect' }, insecure),
)
await oauth.processRevocationResponse(await oauth.revocationRequest(server, web, oauth.None(), second.refresh_token, insecure))
const ended = await introspect(second.access_token, proofs.post)
const refused = await refresh(second.refresh_token).catch((error) => ({ error: error.error, status: error.status }))

console.log(JSON.stringify({ server, second, claims, living, own, ended, refused }))
