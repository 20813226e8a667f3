/** How a page reaches the service. Times are seconds. */
export interface Options {
  /** Where the service is, such as `https://login.example.com`; the page's own origin unless given. */
  baseUrl?: string | URL
  /** The client that this page is; `web` unless given. */
  clientId?: string
  /** Origins of resource servers that may get the access token, besides the page's own and the service's. */
  apis?: string[]
  /** The client's retry leeway (`LEDGER_RETRY_LEEWAY`); 10 unless given. Refreshes are spread over 12 times as long. */
  leeway?: number
  /** How long the service may take to answer; 5 unless given. Keep it shorter than the leeway. */
  timeout?: number
  /** How long a `fetch` without a `signal` of its own may take, body included; 30 unless given. */
  apiTimeout?: number
}

/** Why there is no session (any more); new codes may come. */
export type Reason =
  /** This browser holds no session. */
  | 'token_unknown'
  /** Somebody signed out, in this tab or another. */
  | 'signed_out'
  /** The session reached its end. */
  | 'session_expired'
  /** It was ended elsewhere: signed out everywhere, by staff, or because a copy of its token was used. */
  | 'session_revoked'
  /** This browser presented a token that had been used before. */
  | 'token_reused'
  /** The session cannot be used from here. */
  | 'refresh_refused'
  | (string & {})

export interface Change {
  type: 'signed_in' | 'refreshed' | 'signed_out'
  /** Only where somebody is signed out. */
  reason?: Reason
}

/**
 * A refusal of the service. What never was answered rejects as `fetch` does: `TypeError` (no network) or `TimeoutError`.
 */
export interface LedgerError extends Error {
  name: 'LedgerError'
  /** Of the problem details: `invalid_credentials`, `rate_limited`, `unavailable` …, or the reason why nobody is signed in. */
  code: string
  status: number
  /** Seconds; 0 where the service named none. */
  retryAfter: number
}

/** One signed-in device of the user. */
export interface Session {
  family_id: string
  client_id: string
  status: string
  /** Whether it is this one. */
  current: boolean
  device: string
  ip: string | null
  started_at: string
  last_used_at: string
  ends_at: string
}

export interface Client {
  /** Seconds that the access token still lives; 0 where nobody is signed in. */
  readonly expiresIn: number
  /**
   * Go on with the session that this browser has, if any: call it once, when the page has loaded. Whether somebody is
   * signed in. Rejects where the service cannot be asked; it is then asked again by itself, and `onChange` tells.
   */
  start(): Promise<boolean>
  /** Rejects with a `LedgerError`: `invalid_credentials`, `rate_limited`. `device` is what the list of sessions shows. */
  signIn(credentials: { username: string; password: string; device?: string }): Promise<void>
  /**
   * End this session, all others of the user, or all. Rejects where the service could not be told: then nothing has
   * changed, for whoever reloads the page would be signed in still.
   */
  signOut(options?: { scope?: 'here' | 'others' | 'everywhere' }): Promise<void>
  /** A token that lives for a while yet, refreshed where necessary. Do not keep it. */
  getAccessToken(options?: { signal?: AbortSignal }): Promise<string>
  /**
   * `fetch` with the access token, to the page's own origin, the service's and those in `apis`; to any other it rejects.
   * After 401 it refreshes and sends the request once more.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>
  /** Where the user is signed in, newest first. */
  sessions(): Promise<Session[]>
  endSession(familyId: string): Promise<void>
  /** Told of every change, of those that other tabs make, too. Gives a function that ends it. */
  onChange(listener: (change: Change) => void): () => void
  /** Forget the token and stop; the session stays. */
  close(): void
}

export function createClient(options?: Options): Client
