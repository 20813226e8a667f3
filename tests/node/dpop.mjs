// Refreshes a session that is bound to a key, with the nonce dance, and uses it. Given JSON on standard input, tells JSON.

import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const { issuer, username, password, client, alg } = JSON.parse(readFileSync(0))
const insecure = { [oauth.allowInsecureRequests]: true } // localhost
const at = new URL(issuer)
const web = { client_id: 'web' }
const server = await oauth.processDiscoveryResponse(at, await oauth.discoveryRequest(at, { algorithm: 'oauth2', ...insecure }))

const keys = await oauth.generateKeyPair(alg) // the private one cannot be taken out
const DPoP = oauth.DPoP(web, keys)
const nonces = { asked: 0 }

// As the library's own examples do: once more where the server wants its nonce in the proof.
const again = async (attempt) => {
  try {
    return await attempt()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    nonces.asked += 1
    return attempt()
  }
}
const refresh = (token, proof = DPoP) =>
  again(async () =>
    oauth.processRefreshTokenResponse(
      server,
      web,
      await oauth.refreshTokenGrantRequest(server, web, oauth.None(), token, { DPoP: proof, ...insecure }),
    ),
  )
const failed = (error) => ({ error: error.error ?? error.cause?.[0]?.parameters?.error ?? error.code, status: error.status })

// The session begins at our own route, which the library does not know: a proof by its own hand.
const signIn = async (nonce) => {
  const url = new URL('/auth/login', at)
  const jwk = await crypto.subtle.exportKey('jwk', keys.publicKey)
  const text = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const { kty, crv, x, y } = jwk
  const head = text({ typ: 'dpop+jwt', alg, jwk: JSON.parse(JSON.stringify({ kty, crv, x, y })) })
  const body = text({ jti: crypto.randomUUID(), htm: 'POST', htu: url.href, iat: Math.floor(Date.now() / 1000), nonce })
  const by = alg === 'ES256' ? { name: 'ECDSA', hash: 'SHA-256' } : { name: 'Ed25519' }
  const made = await crypto.subtle.sign(by, keys.privateKey, Buffer.from(`${head}.${body}`))
  const proof = `${head}.${body}.${Buffer.from(made).toString('base64url')}`
  const asked = JSON.stringify({ username, password, mode: 'body' })
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', DPoP: proof }, body: asked })
  return nonce ? answer.json() : signIn(answer.headers.get('dpop-nonce'))
}

const first = await signIn()
const second = await refresh(first.refresh_token)
const third = await refresh(second.refresh_token)
const me = new URL('/auth/me', at)
const used = await (await oauth.protectedResourceRequest(third.access_token, 'GET', me, undefined, undefined, { DPoP, ...insecure })).json()
const asBearer = (await fetch(me, { headers: { authorization: `Bearer ${third.access_token}` } })).status
const thief = oauth.DPoP(web, await oauth.generateKeyPair(alg))
const stolen = await refresh(third.refresh_token, thief).catch(failed)
const keyless = await again(async () =>
  oauth.processRefreshTokenResponse(
    server, web, await oauth.refreshTokenGrantRequest(server, web, oauth.None(), third.refresh_token, insecure),
  ),
).catch(failed)
const fourth = await refresh(third.refresh_token)

// A client of its own, by a key of its own; no secret anywhere.
let own
if (client) {
  const backend = { client_id: client.id }
  const key = await crypto.subtle.importKey('jwk', client.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  const proof = oauth.PrivateKeyJwt({ key, kid: client.kid })
  const asked = await oauth.clientCredentialsGrantRequest(server, backend, proof, { scope: 'introspect' }, insecure)
  own = await oauth.processClientCredentialsResponse(server, backend, asked)
  const told = await oauth.introspectionRequest(server, backend, proof, fourth.access_token, insecure)
  own.introspected = await oauth.processIntrospectionResponse(server, backend, told)
}

const thumbprint = await DPoP.calculateThumbprint()
console.log(JSON.stringify({ first, second, fourth, used, asBearer, stolen, keyless, own, thumbprint, nonces: nonces.asked }))
