// A page's session with Session Ledger: the access token, in memory only. Reasons: docs/browser.md

const now = () => performance.now() / 1000
const rest = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000))
const unless401 = (error) => error.status === 401 || Promise.reject(error)

const refusal = (code, message, status, retryAfter = 0) =>
  Object.assign(Error(message), { name: 'LedgerError', code, status, retryAfter })

export function createClient({ baseUrl = '/', clientId = 'web', apis = [], leeway = 10, timeout = 5, apiTimeout = 30 } = {}) {
  const base = new URL(baseUrl, location)
  const trusted = [location, base, ...apis].map((one) => new URL(one).origin)
  const name = `session-ledger ${base.origin} ${clientId}`
  const channel = globalThis.BroadcastChannel && new BroadcastChannel(name)
  const closing = new AbortController()
  const listeners = new Set()
  let session // { token, family, life, early, ends }; refreshed `early` seconds before it ends
  let over = 'token_unknown' // why there is none
  let failures = 0
  let retryAt = 0
  let barren, ended, failure, renewing, timer

  const left = () => (session ? session.ends - now() : 0)
  const spare = (life) => Math.min(30, life / 20)
  const nobody = () => refusal(over, 'not signed in', 401)
  const limit = () => AbortSignal.timeout(timeout * 1000)

  async function read(answer) {
    const said = await answer.json().catch(() => ({}))
    if (answer.ok) return said
    throw refusal(said.code ?? 'unavailable', said.detail, answer.status, +answer.headers.get('Retry-After') || 0)
  }

  const call = async (path, init) =>
    read(await globalThis.fetch(new URL(path, base), { credentials: 'include', signal: limit(), ...init }))

  const post = (path, body, headers) =>
    call(path, {
      method: 'POST',
      keepalive: true, // the answer's cookies count even if the page is gone
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify({ client_id: clientId, ...body }),
    })

  async function prove(path) {
    const token =
      base.hostname === location.hostname
        ? document.cookie.split(`__Host-csrf-${clientId}=`)[1]?.split(';')[0]
        : (await call('/auth/csrf?client_id=' + clientId)).csrf_token
    if (!token) throw nobody()
    return post(path, {}, { 'X-CSRF-Token': token })
  }

  // One tab at a time, till its news are with the next; who waits too long goes on.
  async function alone(work) {
    let run
    const last = () => (run = work()).finally(() => rest(0.05))
    await navigator.locks?.request(name, { signal: limit() }, last).catch(() => {})
    return run ?? work()
  }

  function emit(type, reason) {
    for (const listener of listeners) queueMicrotask(() => listener({ type, reason }))
  }

  function schedule(seconds) {
    clearTimeout(timer)
    if (!closing.signal.aborted) timer = setTimeout(wake, seconds * 1000)
  }

  function settle(next, late) {
    const type = session?.family === next.family ? 'refreshed' : 'signed_in'
    session = next
    failures = retryAt = 0
    schedule(left() - next.early + late)
    emit(type)
  }

  const share = () => session && channel?.postMessage({ ...session, ends: left() })

  function adopt({ access_token: token, expires_in, family_id: family }, asked) {
    const life = Math.max(1, expires_in)
    const early = spare(life) + Math.min(12 * leeway, life / 7) * Math.random()
    settle({ token, family, life, early, ends: asked + life }, 0)
    share()
  }

  function end(reason, tell) {
    if (tell && session) channel?.postMessage({ over: reason, family: session.family })
    clearTimeout(timer)
    ended = session?.family
    session = undefined
    failures = retryAt = 0
    emit('signed_out', (over = reason))
  }

  function hear({ data }) {
    if (data.ask) share()
    else if (data.over) {
      if (data.family === session?.family) end(data.over)
    } else if (data.token !== session?.token && data.family !== ended) {
      // Second in line, within the leeway: the tab that refreshed may be gone.
      settle({ ...data, ends: data.ends + now() }, (Math.random() * Math.min(leeway, data.life / 10)) / 2)
    }
  }

  // One refresh, here or in another tab; tried again unless it rejects with 401.
  function renew() {
    if (now() < retryAt) return Promise.reject(failure)
    const before = session
    return (renewing ??= alone(async () => {
      if (session !== before) return
      const asked = now()
      try {
        const answer = await prove('/auth/refresh')
        if (session === before) adopt(answer, asked)
      } catch (error) {
        if (session !== before) return
        if (error.status === 401) end(error.code, true)
        else {
          const wait = (error.retryAfter || Math.min(30, 0.1 * 2 ** failures)) * (1 + Math.random())
          failures += 1
          retryAt = now() + wait
          schedule(wait)
        }
        throw (failure = error)
      }
    }).finally(() => (renewing = undefined)))
  }

  function wake(event) {
    if (!event || !failure?.status) retryAt = 0 // it may be back
    if (!event || failures || left() < session?.early) renew().catch(() => {})
  }

  async function getAccessToken({ signal } = {}) {
    if (session && left() > spare(session.life)) return session.token
    if (!session && !renewing && !failures) throw nobody()
    try {
      await Promise.race([renew(), new Promise((_, no) => signal?.addEventListener('abort', () => no(signal.reason)))])
    } catch (error) {
      if (left() <= 0) throw error
    }
    if (!session) throw nobody()
    return session.token
  }

  function send(request, token) {
    request.headers.set('Authorization', 'Bearer ' + token)
    return globalThis.fetch(request)
  }

  async function fetch(input, init) {
    const request = new Request(input, { signal: input.signal ?? AbortSignal.timeout(apiTimeout * 1000), ...init })
    if (!trusted.includes(new URL(request.url).origin)) throw TypeError(`not among apis: ${request.url}`)
    let token = await getAccessToken(request)
    let answer = await send(request.clone(), token)
    if (answer.status !== 401 || token === barren) return answer
    try {
      if (session?.token === token) await renew()
      token = await getAccessToken(request)
    } catch {
      return answer
    }
    answer = await send(request, token)
    if (answer.status === 401) barren = token // not for its age
    return answer
  }

  const ask = async (path, init) => read(await fetch(new URL(path, base), { signal: limit(), ...init }))

  for (const type of ['online', 'pageshow', 'visibilitychange'])
    addEventListener(type, wake, { signal: closing.signal })
  if (channel) channel.onmessage = hear

  return {
    get expiresIn() {
      return Math.max(0, left())
    },
    async start() {
      channel?.postMessage({ ask: true })
      if (channel) await rest(0.1)
      if (!session) await renew().catch(unless401)
      return !!session
    },
    signIn: ({ username, password, device = '' }, asked = now()) =>
      alone(async () => adopt(await post('/auth/login', { username, password, device }), asked)),
    async signOut({ scope = 'here' } = {}) {
      if (scope === 'others') {
        const others = (await this.sessions()).filter((one) => !one.current)
        return void (await Promise.all(others.map((one) => this.endSession(one.family_id))))
      }
      await alone(() => prove(scope === 'everywhere' ? '/auth/logout-all' : '/auth/logout')).catch(unless401)
      end('signed_out', true)
    },
    getAccessToken,
    fetch,
    sessions: async () => (await ask('/auth/sessions')).sessions,
    endSession: async (id) => void (await ask('/auth/sessions/' + id, { method: 'DELETE' })),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      clearTimeout(timer)
      closing.abort()
      channel?.close()
    },
  }
}
