// A page's session that is bound to a key of this browser (DPoP, RFC 9449). Reasons: docs/browser.md

const utf8 = new TextEncoder()
const now = () => Date.now() / 1000
const base64 = (data) =>
  btoa(String.fromCharCode(...new Uint8Array(data))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
const part = (value) => base64(utf8.encode(JSON.stringify(value)))
const ES256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

const refusal = (code, message, status, retryAfter = 0) =>
  Object.assign(Error(message), { name: 'LedgerError', code, status, retryAfter })

// The keys and tokens of this browser, for all tabs; the private key is kept, and never shown, by the browser itself.
function kept(name) {
  const opened = new Promise((done, fail) => {
    const asked = indexedDB.open(name, 1)
    asked.onupgradeneeded = () => asked.result.createObjectStore('session')
    asked.onsuccess = () => done(asked.result)
    asked.onerror = () => fail(asked.error)
  })
  const run = async (mode, work) => {
    const transaction = (await opened).transaction('session', mode, { durability: 'strict' })
    const asked = work(transaction.objectStore('session'))
    return new Promise((done, fail) => {
      transaction.oncomplete = () => done(asked.result)
      transaction.onabort = () => fail(transaction.error)
    })
  }
  return {
    get: () => run('readonly', (store) => store.get('it')),
    set: (it) => run('readwrite', (store) => (it ? store.put(it, 'it') : store.delete('it'))),
    close: async () => (await opened).close(),
  }
}

// The same for this page alone, until it is left.
function held() {
  let it
  return { get: async () => it, set: async (next) => void (it = next), close: async () => void (it = undefined) }
}

export function createBoundClient({ baseUrl = '/', clientId = 'web', apis = [], keep = true, timeout = 5, apiTimeout = 30 } = {}) {
  const base = new URL(baseUrl, location)
  const trusted = [location, base, ...apis].map((one) => new URL(one).origin)
  const name = `session-ledger ${base.origin} ${clientId} bound`
  const store = keep ? kept(name) : held()
  const channel = keep && globalThis.BroadcastChannel ? new BroadcastChannel(name) : undefined
  const listeners = new Set()
  const nonces = new Map()
  let it // { keys, token, refresh, family, life, ends }
  let over = 'token_unknown'
  let skew = 0 // how far the service's clock is ahead of this one

  const nobody = () => refusal(over, 'not signed in', 401)
  const limit = () => AbortSignal.timeout(timeout * 1000)
  const fresh = (one, used) => one && one.token !== used && one.ends - now() > Math.min(30, one.life / 20)

  async function proof(keys, method, url, token) {
    const { origin, pathname } = new URL(url)
    const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', keys.publicKey)
    const iat = Math.floor(now() + skew)
    const said = { jti: crypto.randomUUID(), htm: method, htu: origin + pathname, iat, nonce: nonces.get(origin) }
    if (token) said.ath = base64(await crypto.subtle.digest('SHA-256', utf8.encode(token)))
    const text = part({ typ: 'dpop+jwt', alg: 'ES256', jwk: { kty, crv, x, y } }) + '.' + part(said)
    return text + '.' + base64(await crypto.subtle.sign(ES256, keys.privateKey, utf8.encode(text)))
  }

  // With a proof; once more where the server wants its nonce in it, or tells a time that differs from ours.
  async function prove(request, keys, token) {
    const again = request.clone()
    const { origin } = new URL(request.url)
    request.headers.set('DPoP', await proof(keys, request.method, request.url, token))
    const answer = await globalThis.fetch(request)
    const nonce = answer.headers.get('DPoP-Nonce')
    if (nonce) nonces.set(origin, nonce)
    if (answer.status !== 400 && answer.status !== 401) return answer
    const told = await answer.clone().json().catch(() => ({}))
    const why = `${told.code ?? told.error} ${answer.headers.get('WWW-Authenticate')}`
    const ahead = Date.parse(answer.headers.get('Date')) / 1000 - now()
    const late = Math.abs(ahead - skew) > 20
    if (late) skew = ahead
    if (!/use_dpop_nonce/.test(why) && !(late && /invalid_dpop_proof/.test(why))) return answer
    again.headers.set('DPoP', await proof(keys, again.method, again.url, token))
    const second = await globalThis.fetch(again)
    const next = second.headers.get('DPoP-Nonce')
    if (next) nonces.set(origin, next)
    return second
  }

  async function read(answer) {
    const said = await answer.json().catch(() => ({}))
    if (answer.ok) return said
    const after = +answer.headers.get('Retry-After') || 0
    throw refusal(said.code ?? said.error ?? 'unavailable', said.detail ?? said.error_description, answer.status, after)
  }

  const post = async (path, body, keys) => {
    const headers = { 'Content-Type': body instanceof URLSearchParams ? 'application/x-www-form-urlencoded' : 'application/json' }
    const text = body instanceof URLSearchParams ? String(body) : JSON.stringify(body)
    const request = new Request(new URL(path, base), { method: 'POST', headers, body: text, signal: limit() })
    return read(await (keys ? prove(request, keys) : globalThis.fetch(request)))
  }

  // One tab at a time.
  const alone = (work) => (keep && navigator.locks ? navigator.locks.request(name, work) : work())

  function emit(type, reason) {
    for (const listener of listeners) queueMicrotask(() => listener({ type, reason }))
  }

  function took(next, type) {
    it = next
    emit(type)
  }

  async function adopt({ access_token: token, refresh_token: refresh, expires_in: life, family_id }, keys, asked, type) {
    const next = { keys, token, refresh, life, family: family_id ?? it?.family, ends: asked + life }
    await store.set(next) // before it counts: who has used it up must know its successor
    took(next, type)
    channel?.postMessage({ type })
  }

  async function end(reason, tell = true) {
    const had = it
    it = undefined
    over = reason
    if (tell) await store.set()
    if (tell && had) channel?.postMessage({ reason })
    emit('signed_out', reason)
  }

  // What the browser holds is newer than what this tab used, or it is refreshed.
  const renewed = (used) =>
    alone(async () => {
      const found = await store.get()
      if (!found) throw nobody()
      if (fresh(found, used)) return took(found, it?.family === found.family ? 'refreshed' : 'signed_in')
      it = found
      const asked = now()
      const form = { grant_type: 'refresh_token', client_id: clientId, refresh_token: found.refresh }
      const refreshed = () => post('/oauth/token', new URLSearchParams(form), found.keys)
      try {
        // An answer that was lost comes again, if it is asked for within the leeway.
        const answer = await refreshed().catch((error) => (error.status ? Promise.reject(error) : refreshed()))
        await adopt(answer, found.keys, asked, 'refreshed')
      } catch (error) {
        if (error.code === 'invalid_grant') await end('session_ended')
        throw error.code === 'invalid_grant' ? nobody() : error
      }
    })

  async function current(used) {
    if (!fresh(it, used)) {
      if (!it) throw nobody()
      try {
        await renewed(used ?? it.token)
      } catch (error) {
        if (!it || it.token === used || it.ends <= now()) throw error
      }
    }
    return it
  }

  function send(request, { keys, token }) {
    request.headers.set('Authorization', 'DPoP ' + token)
    return prove(request, keys, token)
  }

  function checked(url) {
    if (!trusted.includes(new URL(url, location).origin)) throw TypeError(`not among apis: ${url}`)
  }

  async function fetch(input, init) {
    const request = new Request(input, { signal: input.signal ?? AbortSignal.timeout(apiTimeout * 1000), ...init })
    checked(request.url)
    const again = request.clone()
    const first = await current()
    const answer = await send(request, first)
    if (answer.status !== 401) return answer
    try {
      return await send(again, await current(first.token))
    } catch {
      return answer
    }
  }

  const ask = async (path, init) => read(await fetch(new URL(path, base), { signal: limit(), ...init }))

  if (channel)
    channel.onmessage = async ({ data }) => {
      if (data.reason) return void (it && end(data.reason, false))
      const found = await store.get()
      if (found && found.token !== it?.token) took(found, data.type)
    }

  return {
    get expiresIn() {
      return it ? Math.max(0, it.ends - now()) : 0
    },
    async start() {
      const found = await store.get()
      if (found) took(found, 'signed_in')
      else emit('signed_out', over)
      return !!found
    },
    signIn: ({ username, password, device = '' }) =>
      alone(async () => {
        const keys = await crypto.subtle.generateKey(ES256, false, ['sign']) // one for each session, never to be taken out
        const asked = now()
        const body = { client_id: clientId, mode: 'body', username, password, device }
        await adopt(await post('/auth/login', body, keys), keys, asked, 'signed_in')
      }),
    async signOut({ scope = 'here' } = {}) {
      if (scope === 'others') {
        const others = (await this.sessions()).filter((one) => !one.current)
        return void (await Promise.all(others.map((one) => this.endSession(one.family_id))))
      }
      await alone(async () => {
        const found = await store.get()
        const path = scope === 'everywhere' ? '/auth/logout-all' : '/auth/logout'
        if (found) await post(path, { client_id: clientId, refresh_token: found.refresh })
        await end('signed_out')
      })
    },
    async headers(method, url) {
      checked(url)
      const { keys, token } = await current()
      return { Authorization: 'DPoP ' + token, DPoP: await proof(keys, method, new URL(url, location), token) }
    },
    fetch,
    sessions: async () => (await ask('/auth/sessions')).sessions,
    endSession: async (id) => void (await ask('/auth/sessions/' + id, { method: 'DELETE' })),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      channel && channel.close()
      store.close()
      it = undefined
    },
  }
}
