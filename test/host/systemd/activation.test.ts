import { expect, test } from 'vitest'
import { fdsOf, takeInherited } from '../../../src/host/systemd/activation.ts'

const env = (pid: number, count: string, names?: string): Record<string, string | undefined> => ({
  LISTEN_PID: String(pid),
  LISTEN_FDS: count,
  ...(names !== undefined && { LISTEN_FDNAMES: names }),
  PATH: '/bin',
})

test('gives each name its descriptors, from 3 on, in the order of the units', () => {
  const inherited = takeInherited(env(7, '4', 'mqtt:control:mqtt:http'), 7)
  expect(inherited.problems).toEqual([])
  expect(fdsOf(inherited, 'mqtt')).toEqual([3, 5])
  expect(fdsOf(inherited, 'control')).toEqual([4])
  expect(fdsOf(inherited, 'http')).toEqual([6])
  expect(fdsOf(inherited, 'mqtts')).toEqual([])
})

test('takes nothing that is meant for another process', () => {
  expect(takeInherited(env(8, '1', 'mqtt'), 7).sockets).toEqual([])
})

test('takes the variables away, so that no child believes the sockets to be its own', () => {
  const variables = env(7, '1', 'mqtt')
  takeInherited(variables, 7)
  expect(Object.keys(variables)).toEqual(['PATH'])
})

test('says which socket has a name of no use, and takes the others', () => {
  const inherited = takeInherited(env(7, '2', 'limb-bridge.socket:mqtt'), 7)
  expect(inherited.problems).toHaveLength(1)
  expect(inherited.problems[0]).toContain('FileDescriptorName=')
  expect(fdsOf(inherited, 'mqtt')).toEqual([4])
})

test.each(['', 'many', '-1', '65', '1e3'])('takes nothing when there are %j sockets', (count) => {
  const { sockets, problems } = takeInherited(env(7, count, 'mqtt'), 7)
  expect(sockets).toEqual([])
  expect(problems).toHaveLength(1)
})
