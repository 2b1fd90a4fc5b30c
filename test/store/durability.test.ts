import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { createStore } from '../../src/store/sqlite/store.ts'
import { opened, temporaryFile } from './fixture.ts'

/** Kills a process that writes as fast as it can, after it has acknowledged `acknowledgements` writes. */
async function killWhileWriting(file: string, acknowledgements: number): Promise<string[]> {
  const script = fileURLToPath(new URL('write-database.ts', import.meta.url))
  const child = spawn(process.execPath, [script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  const acknowledged: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line)
    if (acknowledged.length === acknowledgements) child.kill('SIGKILL')
  }
  if (child.signalCode === null) await once(child, 'exit')
  return acknowledged
}

test('what was acknowledged survives kill -9, and nothing is half there', async () => {
  const file = temporaryFile()
  const acknowledged: string[] = []
  for (const count of [1, 7, 40]) acknowledged.push(...(await killWhileWriting(file, count)))

  const database = opened(file)
  const store = createStore(database)
  expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok')
  const nodes: string[] = []
  for await (const page of store.loadNodes()) nodes.push(...page.map(({ nodeId }) => nodeId))
  expect(nodes).toEqual(expect.arrayContaining(acknowledged))
  // Each work puts a node, its keys and a row of the audit log: all or none.
  for (const nodeId of nodes) expect(await store.read((tx) => tx.nodeKeys(nodeId))).not.toBeNull()
  expect(await store.verifyAudit()).toMatchObject({ whole: true, rows: nodes.length })
})
