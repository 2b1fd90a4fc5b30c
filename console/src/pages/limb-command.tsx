import type { JSX } from 'preact'
import { useId, useState } from 'preact/hooks'
import type { CommandDescription } from '../../../src/protocol/descriptions.ts'
import type { VerbResult } from '../../../src/protocol/results.ts'
import { durationText, t } from '../i18n/index.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import { attempt, Button, Card, Clock, ErrorLine, Level, secondsSince, useTick } from '../ui/kit.tsx'
import { Answer } from '../ui/pictures.tsx'
import { JsonInput, type Params, SchemaForm, startOf } from '../ui/schema-form.tsx'

/** One command: its form, and what came of running it. */

type Invoked = VerbResult<'invoke'>

/** A gated one waits for a person. */
const WAIT_MS = 3_700_000
const MAX_RUNS = 5

interface Run {
  readonly id: number
  readonly at: string
  readonly params: unknown
  readonly answer?: Invoked
  readonly error?: unknown
}

let runs = 0

/** Runs it; says so when it failed, and rejects then. */
export function runCommand(
  nodeId: string,
  capability: string,
  command: CommandDescription,
  params: unknown,
): Promise<Invoked> {
  return attempt(ask(nodeId, capability, command, params))
}

function ask(
  nodeId: string,
  capability: string,
  { name, timeoutSeconds }: CommandDescription,
  params: unknown,
): Promise<Invoked> {
  const timeout = timeoutSeconds === undefined ? {} : { timeoutSeconds }
  return session.ask('invoke', { nodeId, capability, command: name, params, ...timeout }, WAIT_MS)
}

interface CommandCardProps {
  readonly nodeId: string
  readonly command: CommandDescription
  readonly capability: string
  readonly available: boolean
  readonly level: string
}

export function CommandCard({
  nodeId,
  command,
  capability,
  available,
  level,
}: CommandCardProps): JSX.Element {
  const { name, title, description, input } = command
  const [params, setParams] = useState<Params>(startOf(input))
  const [history, setHistory] = useState<readonly Run[]>([])
  const jsonId = useId()
  const may = session.may('invoke')
  const run = async () => {
    const made: Run = { id: ++runs, at: new Date().toISOString(), params }
    const put = (more: Partial<Run>) =>
      setHistory((before) => before.map((each) => (each.id === made.id ? { ...each, ...more } : each)))
    setHistory((before) => [made, ...before].slice(0, MAX_RUNS))
    await ask(nodeId, capability, command, params).then(
      (answer) => put({ answer }),
      (error: unknown) => put({ error }),
    )
  }
  return (
    <Card title={title ?? name} actions={<Level level={level} />}>
      <p class="quiet">
        {title !== undefined && <span class="mono">{name}</span>} {description}
      </p>
      {may && input?.properties !== undefined && (
        <SchemaForm schema={input} value={params} onChange={setParams} />
      )}
      {may && input === undefined && (
        <details>
          <summary>{t('command.params')}</summary>
          <label class="unseen" for={jsonId}>
            {t('command.params')}
          </label>
          <JsonInput id={jsonId} value={undefined} onChange={(value) => setParams((value ?? {}) as Params)} />
        </details>
      )}
      {may && (
        <p class="act">
          <Button kind="primary" onClick={run} disabled={!available}>
            {t(level === 'gated' ? 'command.ask' : 'command.run')}
          </Button>
          {!available && <small>{t('limb.unavailable')}</small>}
          {available && level === 'gated' && <small>{t('command.gated')}</small>}
        </p>
      )}
      {history.map((each) => (
        <RunView key={each.id} run={each} nodeId={nodeId} name={name} />
      ))}
    </Card>
  )
}

function RunView({ run, nodeId, name }: { run: Run; nodeId: string; name: string }): JSX.Element {
  if (run.answer === undefined && run.error === undefined)
    return <Running run={run} nodeId={nodeId} name={name} />
  return (
    <div class="run" role="status">
      <small class="quiet">
        <Clock at={run.at} />
      </small>
      {run.error !== undefined ? (
        <ErrorLine error={run.error} />
      ) : (
        <Answer
          data={run.answer?.data}
          artifactUri={run.answer?.artifactUri}
          alt={t('picture.of', { name: nodeId, command: name })}
        />
      )}
    </div>
  )
}

function Running({ run, nodeId, name }: { run: Run; nodeId: string; name: string }): JSX.Element {
  const { fleet } = session
  useTick()
  useSignals(fleet.approvalsChanged)
  const waiting = [...fleet.approvals.values()].find(
    (approval) =>
      approval.principal === session.name && approval.nodeId === nodeId && approval.command === name,
  )
  const cancel = () =>
    attempt(session.ask('invocation/cancel', { invocationId: waiting?.invocationId ?? '' }))
  return (
    <div class="run" role="status">
      <span class="spinner" aria-hidden="true" />
      {waiting === undefined ? t('command.running') : t('command.waiting')}{' '}
      {durationText(secondsSince(run.at))}
      {waiting !== undefined && (
        <Button small onClick={cancel}>
          {t('command.cancel')}
        </Button>
      )}
    </div>
  )
}
