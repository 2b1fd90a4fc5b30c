import { defineConfig } from 'vite'
import { VERBS } from '../src/protocol/verbs.ts'

/** The console asks the table of verbs for roles alone: the schemas stay out of what a browser loads. */
const VERB_ROLES = Object.fromEntries(Object.entries(VERBS).map(([name, { role }]) => [name, role]))

const TABLE = 'virtual:verb-roles'

export default defineConfig({
  base: './',
  publicDir: 'public',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  plugins: [
    {
      name: 'verb-roles',
      resolveId: (id) => (id === TABLE ? `\0${TABLE}` : undefined),
      load: (id) => (id === `\0${TABLE}` ? `export default ${JSON.stringify(VERB_ROLES)}` : undefined),
    },
  ],
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    // No file becomes a data: URI, and no script is needed to load a script: the policy allows neither.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // One library, mqtt.js, is most of it; test/http/console.test.ts holds the whole to 200 KiB compressed.
    chunkSizeWarningLimit: 700,
  },
})
