import { expect, test } from 'vitest'
import { writesToJournal } from '../../../src/host/log/journal.ts'
import { createLog } from '../../../src/host/log/log.ts'

test('each line says its priority to the journal, and is JSON behind it', () => {
  const lines: string[] = []
  const log = createLog({
    level: 'debug',
    format: 'json',
    terminal: false,
    journal: true,
    write: (line) => lines.push(line),
  })
  log.fatal({}, 'a')
  log.error({}, 'b')
  log.warn({ msg: '"level":"debug"' }, 'c')
  log.info({}, 'd')
  log.debug({}, 'e')
  expect(lines.map((line) => line.slice(0, 3))).toEqual(['<2>', '<3>', '<4>', '<6>', '<7>'])
  for (const line of lines) expect(JSON.parse(line.slice(3))).toHaveProperty('msg')
})

test('lines for people, and those that go to a pipe or a file, say none', () => {
  const lines: string[] = []
  const log = createLog({
    level: 'info',
    format: 'pretty',
    terminal: false,
    journal: true,
    write: (line) => lines.push(line),
  })
  log.warn({}, 'c')
  expect(lines[0]).not.toMatch(/^</)
  expect(writesToJournal({})).toBe(false)
  expect(writesToJournal({ JOURNAL_STREAM: '1:1' })).toBe(false)
})
