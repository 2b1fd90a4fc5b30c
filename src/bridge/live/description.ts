import { approvedCommands, mergedDescription } from '../../domain/descriptions.ts'
import { shownName } from '../../domain/pairing.ts'
import type { NodeRecord } from '../../domain/records.ts'
import type { ShownDescription } from '../../protocol/shown-description.ts'

/** Returns what the limb can do, as `limb/node/<id>/description` and `node/get` show it. */
export function shownDescription(node: NodeRecord): ShownDescription {
  const merged = mergedDescription(node.ownDescription, node.operatorDescription)
  const { commands: _commands, properties, area: ownArea, ...words } = merged
  const area = node.operatorSettings?.area ?? ownArea
  return {
    nodeId: node.nodeId,
    displayName: shownName(node),
    ...words,
    ...(area === undefined ? {} : { area }),
    commands: [...approvedCommands(node.capabilities, merged)],
    properties: properties ?? [],
  }
}
