import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { currentRoute } from '../router.ts'

/** The title's badge, and a sound for those who want one: what waits for a person shows in another tab too. */

const KEY = 'limb-bridge-sound'

export function soundOn(): boolean {
  try {
    return localStorage.getItem(KEY) === 'on'
  } catch {
    return false
  }
}

export function setSound(on: boolean): void {
  try {
    localStorage.setItem(KEY, on ? 'on' : 'off')
  } catch {}
  if (on) chime()
}

const NOTES = [660, 880] as const

/** Two short notes, made here: there is no file to load. */
function chime(): void {
  try {
    const audio = new AudioContext()
    NOTES.forEach((frequency, index) => {
      const [tone, volume] = [audio.createOscillator(), audio.createGain()]
      tone.frequency.value = frequency
      volume.gain.setValueAtTime(0.08, audio.currentTime + index * 0.16)
      volume.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + index * 0.16 + 0.15)
      tone.connect(volume).connect(audio.destination)
      tone.start(audio.currentTime + index * 0.16)
      tone.stop(audio.currentTime + index * 0.16 + 0.16)
    })
    setTimeout(() => void audio.close(), 1000)
  } catch {
    // A browser without sound, or a page that nobody has touched yet.
  }
}

export function Alerts(): JSX.Element {
  const { fleet } = session
  useSignals(fleet.pairingChanged, fleet.approvalsChanged)
  const waiting = fleet.pairing.size + fleet.approvals.size
  const [before, setBefore] = useState(waiting)
  useEffect(() => {
    if (waiting > before && soundOn()) chime()
    setBefore(waiting)
    document.title = `${waiting > 0 ? `(${waiting}) ` : ''}Limb Bridge`
    return () => {
      document.title = 'Limb Bridge'
    }
  }, [waiting])
  const here = ['pairing', 'approvals'].includes(currentRoute().page)
  return (
    <p class="unseen" role="status" aria-live="polite">
      {waiting > 0 && !here ? t('nav.waiting', { n: waiting }) : ''}
    </p>
  )
}
