import { describe, expect, it } from 'vitest'
import type { CheckedClause, DeviceCheckOptions, DeviceCheckOutcome } from '../../src/cli/context.ts'
import { run, start } from './run.ts'

/** `device check` as a person and a program see it; what it finds is tested in test/device-check. */

const clause = (name: string, verdict: CheckedClause['verdict'], seen?: string): CheckedClause => ({
  clause: name,
  verdict,
  must: verdict !== 'advice',
  text: `The text of ${name}.`,
  section: 'Presence',
  ...(seen === undefined ? {} : { seen }),
})
const outcome = (...findings: CheckedClause[]): DeviceCheckOutcome => ({
  ok: true,
  came: true,
  interrupted: false,
  nodeId: 'lamp1',
  findings,
})

describe('device check', () => {
  it('prints each clause, and ends with 0 when what must hold does', async () => {
    const all = outcome(
      clause('connect.name', 'holds'),
      clause('reconnect.grows', 'advice', 'tried after 1 s'),
    )
    const { code, out } = await run(['device', 'check'], { checkDevice: async () => all })
    expect(code).toBe(0)
    expect(out).toMatch(/^ok +connect\.name +The text of connect\.name\.$/m)
    expect(out).toMatch(
      /^advice +reconnect\.grows .*\n +tried after 1 s\n +docs\/protocol\/limbs\.md, "Presence"$/m,
    )
    expect(out).toContain('1 hold, 0 do not, 1 could be better, 0 were not tried.')
  })

  it('ends with 1 when a clause does not hold, and obeys nothing that a device wrote', async () => {
    const wrong = outcome(clause('invoke.result', 'wrong', 'a \u001b[31mred result'))
    const { code, out, err } = await run(['device', 'check'], { checkDevice: async () => wrong })
    expect(code).toBe(1)
    expect(out).not.toContain('\u001b')
    expect(err).toContain('one clause does not hold')
  })

  it('prints one document for programs, and its progress elsewhere', async () => {
    const { code, out, err } = await run(['device', 'check', '--json'], {
      async checkDevice(options) {
        options.listening(1884)
        options.progress('a device connects')
        return outcome(clause('connect.name', 'holds'))
      },
    })
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      nodeId: 'lamp1',
      good: true,
      clauses: [{ clause: 'connect.name' }],
    })
    expect(err).toContain('Waiting for a device on 127.0.0.1, port 1884 …')
    expect(err).toContain('a device connects')
  })

  it('ends with 7 when no device came, with 1 and the reason when it cannot listen', async () => {
    const nobody = { ...outcome(), came: false } as DeviceCheckOutcome
    const none = await run(['device', 'check'], { checkDevice: async () => nobody })
    expect(none).toMatchObject({ code: 7, err: expect.stringContaining('does a firewall let it through?') })
    const taken = { ok: false, reason: 'port 1883 of 127.0.0.1 is taken' } as const
    const refused = await run(['device', 'check'], { checkDevice: async () => taken })
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('is taken') })
  })

  it('hands its options on, and is ended by Ctrl-C', async () => {
    let given: DeviceCheckOptions | undefined
    const argv = ['device', 'check', '--host', '0.0.0.0', '--port', '0', '--node-id', 'lamp1', '--thorough']
    const more = [
      '--command',
      'lamp.set',
      '--params',
      '{"on":true}',
      '--tls-cert',
      'a.pem',
      '--tls-key',
      'b.pem',
    ]
    const started = start([...argv, ...more], {
      checkDevice(options) {
        given = options
        options.listening(7)
        return new Promise((resolve) => {
          options.signal.addEventListener('abort', () =>
            resolve({ ...outcome(), interrupted: true } as DeviceCheckOutcome),
          )
        })
      },
    })
    await started.seen('port 7, with TLS')
    started.interrupt()
    expect(await started.exit).toMatchObject({ code: 0, out: expect.stringContaining('Ended early: ') })
    expect(given).toMatchObject({
      host: '0.0.0.0',
      nodeId: 'lamp1',
      thorough: true,
      rotateKey: false,
      command: 'lamp.set',
      params: { on: true },
      tls: { certFile: 'a.pem', keyFile: 'b.pem' },
      root: 'limb',
    })
  })

  it.each([
    [['--port', '70000'], /whole number from 0 to 65535/],
    [['--params', '[1]'], /must be a JSON object/],
    [['--node-id', 'a b'], /must be a nodeId/],
    [['--tls-cert', 'a.pem'], /--tls-cert and --tls-key go together/],
  ])('refuses %j with a sentence', async (more, words) => {
    const { code, err } = await run(['device', 'check', ...more])
    expect(code).toBe(2)
    expect(err).toMatch(words)
  })
})
