// Verifies an access token as a resource server on Node.js would. Given JSON on standard input, tells JSON.

import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { issuer, token } = JSON.parse(readFileSync(0))
const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', issuer))
const options = { issuer, audience: issuer, typ: 'at+jwt', algorithms: ['EdDSA'], requiredClaims: ['exp', 'sub', 'sid', 'jti'] }

const outcome = async (text, more) => {
  try {
    return (await jwtVerify(text, keys, { ...options, ...more })).payload
  } catch (error) {
    return error.code
  }
}
const [head, body, signature] = token.split('.')
const changed = { ...JSON.parse(Buffer.from(body, 'base64url')), sub: 'sub_somebody' }
const forged = [head, Buffer.from(JSON.stringify(changed)).toString('base64url'), signature].join('.')

console.log(
  JSON.stringify({
    claims: await outcome(token),
    forged: await outcome(forged),
    elsewhere: await outcome(token, { audience: 'https://elsewhere.example.com' }),
    late: await outcome(token, { currentDate: new Date(Date.now() + 7_200_000) }),
  }),
)
