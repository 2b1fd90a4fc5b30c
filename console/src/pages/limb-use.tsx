import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import type { CommandDescription, PropertyDescription } from '../../../src/protocol/descriptions.ts'
import type { State } from '../../../src/protocol/schemas.ts'
import type { ShownDescription } from '../../../src/protocol/shown-description.ts'
import { unitOf } from '../../../src/protocol/units.ts'
import { numberText, t } from '../i18n/index.ts'
import { own } from '../live/own.ts'
import { session } from '../live/session.ts'
import { useSignals } from '../live/signal.ts'
import type { Values } from '../live/values.ts'
import { Card, Empty, Facts, Level } from '../ui/kit.tsx'
import { ValueControl } from '../ui/schema-form.tsx'
import { Spark } from '../ui/spark.tsx'
import type { LimbView } from './limb.tsx'
import { CommandCard, runCommand } from './limb-command.tsx'

export function LimbUse({ nodeId, state, values }: LimbView): JSX.Element {
  useSignals(values.changed, session.fleet.descriptionsChanged)
  const description = session.fleet.descriptions.get(nodeId)
  const commands = commandsOf(state, description)
  return (
    <div class="grid">
      <Card title={t('limb.values')}>
        <ValueList nodeId={nodeId} state={state} values={values} description={description} />
      </Card>
      {commands.length === 0 && (
        <Card title={t('limb.commands')}>
          <Empty>{t('limb.no-commands')}</Empty>
        </Card>
      )}
      {commands.map(({ command, capability, available, level }) => (
        <CommandCard
          key={`${capability} ${command.name}`}
          nodeId={nodeId}
          command={command}
          capability={capability}
          available={available}
          level={level}
        />
      ))}
      <Card title={t('limb.about')}>
        <About state={state} description={description} />
      </Card>
    </div>
  )
}

export interface ShownCommand {
  readonly command: CommandDescription
  readonly capability: string
  readonly available: boolean
  readonly level: string
}

/** What is approved, in the words of the description where there are any. */
export function commandsOf(state: State, description: ShownDescription | undefined): ShownCommand[] {
  return state.capabilities.flatMap(({ cap, commands, available, authLevel }) =>
    commands.map((name) => ({
      command: description?.commands.find((each) => each.name === name) ?? { name },
      capability: cap,
      available,
      level: authLevel,
    })),
  )
}

interface ValueListProps extends LimbView {
  readonly description: ShownDescription | undefined
}

function ValueList({ nodeId, state, values, description }: ValueListProps): JSX.Element {
  const properties = description?.properties ?? []
  const metrics = Object.entries(state.metrics ?? {})
  const described = new Set(properties.map(({ topic }) => topic))
  const others = values.topics.filter(([topic]) => !described.has(topic))
  if (properties.length + metrics.length + others.length === 0) return <Empty>{t('limb.no-values')}</Empty>
  return (
    <ul class="values">
      {properties.map((property) => (
        <Property
          key={property.name}
          nodeId={nodeId}
          property={property}
          values={values}
          description={description}
        />
      ))}
      {metrics.map(([name, value]) => (
        <li key={`metric ${name}`}>
          <span class="what">{name}</span>
          <strong>{numberText(value)}</strong>
          <Spark points={values.series(`metric ${name}`)} label={name} />
        </li>
      ))}
      {others.map(([topic, text]) => (
        <li key={topic} class="raw">
          <span class="what mono">{topic}</span>
          <code>{text}</code>
        </li>
      ))}
    </ul>
  )
}

interface PropertyProps {
  readonly nodeId: string
  readonly property: PropertyDescription
  readonly values: Values
  readonly description: ShownDescription | undefined
}

function Property({ nodeId, property, values, description }: PropertyProps): JSX.Element {
  const value = values.valueOf(property)
  const { name, title, set, readOnly } = property
  const command = description?.commands.find((each) => each.name === set?.command)
  const settable = set !== undefined && readOnly !== true && command !== undefined && session.may('invoke')
  if (settable)
    return <SettableProperty nodeId={nodeId} property={property} command={command} value={value} />
  return (
    <li>
      <span class="what" title={property.description}>
        {title ?? name}
      </span>
      <strong>{valueText(value, property)}</strong>
      <Spark points={values.series(name)} label={title ?? name} />
    </li>
  )
}

function valueText(value: unknown, { unit, type }: PropertyDescription): string {
  if (value === undefined) return '–'
  if (typeof value === 'boolean') return t(value ? 'on' : 'off')
  if (typeof value === 'number') return `${numberText(value)}${unit === undefined ? '' : ` ${unitOf(unit)}`}`
  return type === 'string' ? String(value) : JSON.stringify(value)
}

interface SettableProps {
  readonly nodeId: string
  readonly property: PropertyDescription
  readonly command: ShownDescription['commands'][number]
  readonly value: unknown
}

const SETTLE_MS = 350

/** The time that a limb has, behind the result, to say its new value; then what it says is shown, whatever that is. */
const SAYS_MS = 2000

/** Set as it is moved, once the hand rests; shown as it was asked for until the limb says so, for the old value would come back in between. */
function SettableProperty({ nodeId, property, command, value }: SettableProps): JSX.Element {
  const [asked, setAsked] = useState<{ readonly value: unknown } | undefined>()
  const [timer, setTimer] = useState<ReturnType<typeof setTimeout>>()
  const param = property.set?.param ?? ''
  const schema = { ...own(command.input?.properties ?? {}, param), ...schemaOf(property) }
  const change = (next: unknown) => {
    const mine = { value: next }
    setAsked(mine)
    clearTimeout(timer)
    // Somebody may have asked for another one meanwhile.
    const over = () => setAsked((now) => (now === mine ? undefined : now))
    const send = () =>
      runCommand(nodeId, command.capability, command, { [param]: next }).then(
        () => void setTimeout(over, SAYS_MS),
        over,
      )
    setTimer(setTimeout(send, typeof next === 'boolean' ? 0 : SETTLE_MS))
  }
  return (
    <li class="settable" aria-busy={asked !== undefined}>
      <ValueControl
        name={property.name}
        schema={schema}
        value={asked === undefined ? value : asked.value}
        required
        onChange={change}
      />
    </li>
  )
}

function schemaOf({ type, title, name, unit, minimum, maximum, enum: choices }: PropertyDescription) {
  return {
    type,
    title: title ?? name,
    ...(unit === undefined ? {} : { unit }),
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
    ...(choices === undefined ? {} : { enum: choices }),
  }
}

function About({
  state,
  description,
}: {
  state: State
  description: ShownDescription | undefined
}): JSX.Element {
  const { configurationUrl } = description ?? {}
  return (
    <>
      <Facts
        rows={[
          ['nodeId', <span class="mono">{state.nodeId}</span>],
          [t('platform'), state.platform],
          state.firmware !== undefined && [t('firmware'), state.firmware],
          description?.manufacturer !== undefined && [t('manufacturer'), description.manufacturer],
          description?.model !== undefined && [t('model'), description.model],
          description?.area !== undefined && [t('area'), description.area],
          state.endpointUrl !== undefined && [t('endpoint'), <span class="mono">{state.endpointUrl}</span>],
          configurationUrl !== undefined && [
            t('own-page'),
            <a href={configurationUrl} target="_blank" rel="noopener noreferrer">
              {configurationUrl}
            </a>,
          ],
        ]}
      />
      <ul class="capabilities">
        {state.capabilities.map(({ cap, authLevel, available }) => (
          <li key={cap}>
            <span class="mono">{cap}</span> <Level level={authLevel} />
            {!available && <small>{t('limb.unavailable')}</small>}
          </li>
        ))}
      </ul>
    </>
  )
}
