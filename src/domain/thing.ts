import type { PropertyDescription } from '../protocol/descriptions.ts'
import type { ThingDescription } from '../protocol/things.ts'
import type { Topics } from '../protocol/topics.ts'
import { type ApprovedCommand, approvedCommands, mergedDescription } from './descriptions.ts'
import { shownName } from './pairing.ts'
import type { NodeRecord } from './records.ts'

/** Returns the limb as a W3C Thing Description 1.1: properties over MQTT, actions by the HTTP API. */
export function thingOf(node: NodeRecord, topics: Topics): ThingDescription {
  const description = mergedDescription(node.ownDescription, node.operatorDescription)
  const commands = approvedCommands(node.capabilities, description)
  return {
    '@context': ['https://www.w3.org/2022/wot/td/v1.1', { mqv: 'https://www.w3.org/2019/wot/mqtt#' }],
    '@type': 'Thing',
    id: `urn:limb:${topics.root.replaceAll('/', ':')}:${node.nodeId}`,
    title: shownName(node),
    ...(description.description === undefined ? {} : { description: description.description }),
    ...(node.firmware === null ? {} : { version: { instance: node.firmware } }),
    ...(description.configurationUrl === undefined ? {} : { support: description.configurationUrl }),
    securityDefinitions: {
      basic: { scheme: 'basic', in: 'header' },
      bearer: { scheme: 'bearer', in: 'header' },
    },
    security: ['basic'],
    properties: Object.fromEntries(
      (description.properties ?? []).map((each) => [each.name, propertyOf(node.nodeId, each, topics)]),
    ),
    actions: Object.fromEntries(commands.map((each) => [each.name, actionOf(node.nodeId, each)])),
  }
}

function propertyOf(nodeId: string, property: PropertyDescription, topics: Topics): Record<string, unknown> {
  const { name: _name, topic, pointer, deviceClass, stateClass, set, readOnly, ...schema } = property
  const whole = `${topics.nodePrefix}${nodeId}/${topic}`
  return {
    ...schema,
    readOnly: readOnly ?? set === undefined,
    observable: true,
    ...(deviceClass === undefined ? {} : { 'limb:deviceClass': deviceClass }),
    ...(stateClass === undefined ? {} : { 'limb:stateClass': stateClass }),
    ...(set === undefined ? {} : { 'limb:set': set }),
    ...(pointer === undefined ? {} : { 'limb:pointer': pointer }),
    forms: [
      {
        href: `mqtt://localhost/${whole}`,
        op: ['observeproperty', 'unobserveproperty'],
        'mqv:filter': whole,
        'mqv:controlPacket': 'subscribe',
        contentType: 'application/json',
      },
    ],
  }
}

function actionOf(nodeId: string, command: ApprovedCommand): Record<string, unknown> {
  const { name, capability, timeoutSeconds, ...words } = command
  return {
    ...words,
    'limb:capability': capability,
    ...(timeoutSeconds === undefined ? {} : { 'limb:timeoutSeconds': timeoutSeconds }),
    forms: [
      {
        href: '/api/v1/invoke',
        op: 'invokeaction',
        'htv:methodName': 'POST',
        contentType: 'application/json',
        'limb:request': { nodeId, command: name },
      },
    ],
  }
}
