import type { Change, Options, Session } from './index.js'

export type { Change, LedgerError, Reason, Session } from './index.js'

export interface BoundOptions extends Omit<Options, 'leeway'> {
  /**
   * Whether the session outlives the page: key and tokens are then in IndexedDB, for all tabs of this origin. Without it
   * they are in memory, and who loads the page again signs in again. True unless given.
   */
  keep?: boolean
}

export interface BoundClient {
  /** Seconds that the access token still lives; 0 where nobody is signed in. */
  readonly expiresIn: number
  /** Go on with the session that this browser keeps, if any: call it once. Whether somebody is signed in. */
  start(): Promise<boolean>
  /**
   * Makes a key for this session alone and signs in with it. Rejects with a `LedgerError`: `invalid_credentials`,
   * `rate_limited`.
   */
  signIn(credentials: { username: string; password: string; device?: string }): Promise<void>
  /** End this session, all others of the user, or all. Rejects where the service could not be told. */
  signOut(options?: { scope?: 'here' | 'others' | 'everywhere' }): Promise<void>
  /**
   * `fetch` with the access token and a proof of the key, to the page's own origin, the service's and those in `apis`;
   * to any other it rejects. After 401 it refreshes and sends the request once more.
   */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>
  /** `Authorization` and `DPoP` for one request that is made in another way. They work once, and within a minute. */
  headers(method: string, url: string | URL): Promise<{ Authorization: string; DPoP: string }>
  /** Where the user is signed in, newest first. */
  sessions(): Promise<Session[]>
  endSession(familyId: string): Promise<void>
  /** Told of every change, of those that other tabs make, too. Gives a function that ends it. */
  onChange(listener: (change: Change) => void): () => void
  /** Forget the tokens and stop; the session stays. */
  close(): void
}

export function createBoundClient(options?: BoundOptions): BoundClient
