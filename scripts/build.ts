import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT, run } from './package/run.ts'

/** `npm run build`: plain JavaScript in `dist/`, for Node 22 and newer, and nothing that an older build left there; then the web console. */
rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
run(join(ROOT, 'node_modules/.bin/tsc'), ['--project', 'tsconfig.build.json'])
run(process.execPath, [join(ROOT, 'scripts/console.js')])
