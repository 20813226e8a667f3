// The page: shows what the kit says and asks it to act. Knows no token, stores nothing.

import { createClient } from './kit/index.js'
import { baseUrl } from './ledger.js'

const $ = (selector) => document.querySelector(selector)
const ledger = createClient({ baseUrl })
let renewed = 0
let life = 0
let asked = 0

const REASONS = {
  signed_out: 'You are signed out.',
  session_expired: 'Your session reached its end. Please sign in again.',
  session_revoked: 'Your session was ended. Please sign in again.',
  token_reused: 'Somebody else used a copy of your session, so it was ended. Please sign in again.',
  refresh_refused: 'Your session cannot go on in this browser. Please sign in again.',
}
const FAULTS = {
  invalid_credentials: 'The name or the password is wrong.',
  rate_limited: 'Too many tries. Please wait a little.',
}

function tell(text, alarm) {
  $('#told').textContent = text ?? ''
  $('#told').hidden = !text
  $('#told').classList.toggle('alarm', !!alarm)
}

function row(tag, text, ...classes) {
  const element = document.createElement(tag)
  element.textContent = text
  element.classList.add(...classes)
  return element
}

// What the person asked for; a button waits meanwhile, and what goes wrong is told.
async function attempt(button, work) {
  button.disabled = true
  try {
    await work()
  } catch (error) {
    tell(FAULTS[error.code] ?? REASONS[error.code] ?? 'That did not work. Please try again.', true)
  } finally {
    button.disabled = false
  }
}

ledger.onChange(({ type, reason }) => {
  document.body.dataset.state = type === 'signed_out' ? 'out' : 'in'
  document.body.dataset.reason = reason ?? ''
  if (type === 'refreshed') renewed += 1
  life = ledger.expiresIn
  $('#count').textContent = renewed
  if (type === 'signed_in') {
    tell()
    show()
  }
  if (type === 'signed_out') {
    tell(REASONS[reason], reason !== 'signed_out')
    for (const list of ['#notes', '#sessions']) $(list).replaceChildren()
    $('#sign-in input').focus()
  }
})

async function show() {
  await Promise.allSettled([showNotes(), showMe(), showSessions()])
}

async function showMe() {
  const answer = await ledger.fetch(new URL('/auth/me', baseUrl))
  $('#name').textContent = answer.ok ? (await answer.json()).username : ''
}

async function showNotes(init) {
  const mine = (asked += 1)
  const answer = await ledger.fetch('/api/notes', init)
  if (mine !== asked) return // a later question knows better
  if (!answer.ok) {
    $('#answer').textContent = `The resource server answered ${answer.status}.`
    return
  }
  const { notes, sid } = await answer.json()
  $('#notes').replaceChildren(...notes.toReversed().map((note) => row('li', note)))
  $('#answer').textContent = `Answered ${answer.status} to session …${sid.slice(-6)}.`
}

async function showSessions() {
  const when = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
  const items = (await ledger.sessions()).map((one) => {
    const item = document.createElement('li')
    const head = row('span', '', 'head')
    head.append(row('b', one.device || 'A device'))
    if (one.current) head.append(row('span', 'this one', 'mark'))
    item.append(head, row('span', `${one.ip ?? 'unknown address'} · ${when.format(new Date(one.last_used_at))}`, 'quiet'))
    if (!one.current) {
      const button = row('button', 'End')
      button.setAttribute('aria-label', `End the session on ${one.device || 'a device'}`)
      button.onclick = () => attempt(button, () => ledger.endSession(one.family_id).then(showSessions))
      item.append(button)
    }
    return item
  })
  $('#sessions').replaceChildren(...items)
}

$('#sign-in').onsubmit = (event) => {
  event.preventDefault()
  const form = event.target
  attempt(event.submitter ?? form.querySelector('button'), async () => {
    await ledger.signIn(Object.fromEntries(new FormData(form)))
    form.reset()
  })
}

$('#write').onsubmit = (event) => {
  event.preventDefault()
  const form = event.target
  attempt(form.querySelector('button'), async () => {
    const body = JSON.stringify(Object.fromEntries(new FormData(form)))
    await showNotes({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body })
    form.reset()
  })
}

for (const button of document.querySelectorAll('[data-scope]'))
  button.onclick = () =>
    attempt(button, async () => {
      await ledger.signOut({ scope: button.dataset.scope })
      if (button.dataset.scope === 'others') {
        tell('Every other session has ended.')
        await showSessions()
      }
    })

setInterval(() => {
  const left = ledger.expiresIn
  $('#seconds').textContent = Math.ceil(left)
  $('#ring').style.strokeDashoffset = 100 - (life ? (100 * left) / life : 0)
}, 250)

ledger.start().catch(() => {
  document.body.dataset.state = 'out'
  tell('The service does not answer. Trying again …', true)
})
