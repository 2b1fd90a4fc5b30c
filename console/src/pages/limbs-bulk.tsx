import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { LEVELS } from '../../../src/protocol/names.ts'
import { t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { Button, confirmThen, Dialog, errorText, SelectField, TextField, toast } from '../ui/kit.tsx'

/** What is done to many limbs at once: one verb for each, some at a time, and at the end a sentence of how it went. */

const AT_ONCE = 8

async function forEach(nodeIds: Iterable<string>, run: (nodeId: string) => Promise<unknown>): Promise<void> {
  const left = [...nodeIds]
  const all = left.length
  const failures: string[] = []
  const worker = async () => {
    for (let nodeId = left.pop(); nodeId !== undefined; nodeId = left.pop()) {
      const id = nodeId
      await run(id).catch((error: unknown) => failures.push(`${id}: ${errorText(error)}`))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  if (failures.length === 0) toast(t('bulk.done', { n: all }))
  else toast(t('bulk.failed', { n: failures.length, all, first: failures[0] ?? '' }), 'bad')
}

export function BulkActions({
  chosen,
  clear,
}: {
  chosen: ReadonlySet<string>
  clear: () => void
}): JSX.Element {
  const [dialog, setDialog] = useState<'area' | 'policy' | undefined>()
  const close = () => setDialog(undefined)
  const revoke = () =>
    confirmThen({
      title: t('bulk.revoke-title', { n: chosen.size }),
      text: <RevokeText chosen={chosen} />,
      action: t('limb.revoke'),
      run: async () => {
        await forEach(chosen, (nodeId) => session.ask('node/revoke', { nodeId }))
        clear()
      },
    })
  return (
    <div class="bulk" role="toolbar" aria-label={t('bulk.label')}>
      <strong>{t('bulk.chosen', { n: chosen.size })}</strong>
      <Button small onClick={() => setDialog('area')}>
        {t('bulk.area')}
      </Button>
      <Button small onClick={() => setDialog('policy')}>
        {t('bulk.policy')}
      </Button>
      <Button small kind="danger" onClick={revoke}>
        {t('limb.revoke')}
      </Button>
      <Button small kind="quiet" onClick={clear}>
        {t('bulk.clear')}
      </Button>
      {dialog === 'area' && <AreaDialog chosen={chosen} close={close} />}
      {dialog === 'policy' && <PolicyDialog chosen={chosen} close={close} />}
    </div>
  )
}

function RevokeText({ chosen }: { chosen: ReadonlySet<string> }): JSX.Element {
  const names = [...chosen]
  return (
    <>
      <p>{t('bulk.revoke-text')}</p>
      <p class="names">{names.slice(0, 12).join(', ') + (names.length > 12 ? ' …' : '')}</p>
    </>
  )
}

function AreaDialog({ chosen, close }: { chosen: ReadonlySet<string>; close: () => void }): JSX.Element {
  const [area, setArea] = useState('')
  const save = async () => {
    await forEach(chosen, (nodeId) =>
      session.ask('node/set', { nodeId, area: area.trim() === '' ? null : area.trim() }),
    )
    close()
  }
  return (
    <Dialog title={t('bulk.area')} onClose={close}>
      <TextField label={t('area')} value={area} onInput={setArea} hint={t('area.hint')} autofocus />
      <footer>
        <Button onClick={close}>{t('cancel')}</Button>
        <Button kind="primary" onClick={save}>
          {t('save')}
        </Button>
      </footer>
    </Dialog>
  )
}

function PolicyDialog({ chosen, close }: { chosen: ReadonlySet<string>; close: () => void }): JSX.Element {
  const [principal, setPrincipal] = useState('*')
  const [capability, setCapability] = useState('*')
  const [level, setLevel] = useState<(typeof LEVELS)[number]>('gated')
  const save = async () => {
    await forEach(chosen, (nodeId) => session.ask('policy/set', { principal, nodeId, capability, level }))
    close()
  }
  return (
    <Dialog title={t('bulk.policy')} onClose={close}>
      <TextField label={t('principal')} value={principal} onInput={setPrincipal} hint={t('any-star')} />
      <TextField label={t('capability')} value={capability} onInput={setCapability} hint={t('any-star')} />
      <SelectField
        label={t('level')}
        value={level}
        onChange={(value) => setLevel(LEVELS.find((each) => each === value) ?? 'gated')}
        options={LEVELS.map((each) => [each, t(`level.${each}`)] as const)}
      />
      <footer>
        <Button onClick={close}>{t('cancel')}</Button>
        <Button kind="primary" onClick={save}>
          {t('save')}
        </Button>
      </footer>
    </Dialog>
  )
}
