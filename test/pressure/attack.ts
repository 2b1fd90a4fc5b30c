import type { Target } from './attacker.ts'
import { ATTACKS } from './attacks.ts'

/** `node attack.ts KIND NAME TARGET`: runs one attack, and prints how much it did. */

const [kind = '', name = '', target = '{}'] = process.argv.slice(2)
const attack = ATTACKS[kind]?.[name]
if (attack === undefined) throw new Error(`there is no attack ${kind}: ${name}`)
console.log(await attack(JSON.parse(target) as Target))
process.exit(0)
