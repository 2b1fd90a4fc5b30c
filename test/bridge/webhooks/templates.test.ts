import { describe, expect, it } from 'vitest'
import { linkTo, noticeOf } from '../../../src/bridge/webhooks/notices.ts'
import { requestOf, type WebhookMessage } from '../../../src/bridge/webhooks/templates.ts'
import { isWebhookSecret, webhookSignature } from '../../../src/kernel/webhook-signature.ts'
import type { EventFields } from '../../../src/protocol/events.ts'
import type { WebhookFormat } from '../../../src/protocol/webhooks.ts'

const HOSTILE =
  '</pre><a href="https://evil.example">x</a> <!channel> *bold* <https://evil.example|ok> @here /start http://evil.example evil.example\r\nX-Evil: 1\u202e\u0007'

/** A request of a device that wrote all it could. */
const fields = {
  request: {
    requestId: 'rq_1',
    revision: 1,
    kind: 'new',
    nodeId: 'evil.example',
    displayName: HOSTILE,
    platform: HOSTILE,
    capabilities: [],
    adds: [],
    loosens: [],
    conflict: true,
    address: '192.0.2.1',
    requestedAt: '2026-01-01T00:00:00.000Z',
    expiresAt: '2026-01-01T00:00:00.000Z',
  },
} as EventFields<'pairing_requested'>

function message(): WebhookMessage {
  const { title, lines, urgent, page } = noticeOf('pairing_requested', fields)
  return {
    type: 'pairing_requested',
    timestamp: '2026-01-01T00:00:00.000Z',
    data: fields,
    notice: { title, lines, urgent },
    link: linkTo('https://bridge.example/limbs/', page),
  }
}

function sent(format: WebhookFormat, url: string, token?: string, chat?: string) {
  const request = requestOf(format, message(), { url, token, chat })
  return { ...request, json: JSON.parse(Buffer.from(request.body).toString()) }
}

describe('a message', () => {
  it('has a title of the bridge alone, and lines in which nothing is an address', () => {
    const { title, lines } = noticeOf('pairing_requested', fields)
    expect(title).toBe('A new limb wants to be paired')
    const text = lines.join('\n')
    expect(text).not.toMatch(/:\/\/|\revil|\bevil\.example/)
    expect(text).not.toContain('\u202e')
    expect(lines).toHaveLength(2)
    // What has numbers in it stays as it is.
    expect(lines[0]).toContain('from 192.0.2.1')
  })

  it('for ntfy is JSON to the root of its server, with the topic and a click', () => {
    const { url, headers, json } = sent('ntfy', 'https://ntfy.example:8443/my-topic', 'tk_1')
    expect([url, headers]).toEqual(['https://ntfy.example:8443/', { authorization: 'Bearer tk_1' }])
    expect(json).toMatchObject({
      topic: 'my-topic',
      title: 'A new limb wants to be paired',
      priority: 3,
      click: 'https://bridge.example/limbs/#/pairing',
    })
    expect(json.markdown).toBeUndefined()
    expect(json.message).not.toContain('://')
  })

  it('for Slack is plain text, and its notification mentions nobody', () => {
    const { json } = sent('slack', 'https://hooks.example/T/B/x')
    expect(json.text).not.toMatch(/[<>]/)
    const [header, section, link] = json.blocks
    expect(header.text).toEqual({ type: 'plain_text', text: 'A new limb wants to be paired', emoji: false })
    expect(section.text.type).toBe('plain_text')
    expect(link.text).toEqual({
      type: 'mrkdwn',
      text: '<https://bridge.example/limbs/#/pairing|Open the console>',
    })
  })

  it('for Telegram keeps what a device wrote within `pre`', () => {
    const { url, headers, json } = sent('telegram', 'https://api.telegram.org', '12:AB-c_d', '-100')
    expect([url, headers]).toEqual(['https://api.telegram.org/bot12:AB-c_d/sendMessage', {}])
    expect(json).toMatchObject({ chat_id: '-100', parse_mode: 'HTML' })
    const tags = json.text.match(/<[^>]*>/g)
    expect(tags).toEqual([
      '<b>',
      '</b>',
      '<pre>',
      '</pre>',
      '<a href="https://bridge.example/limbs/#/pairing">',
      '</a>',
    ])
  })

  it('of any other event names its fields', () => {
    const { title, lines, page } = noticeOf('node_revoked', { nodeId: 'cam/1', by: 'ada' })
    expect([title, lines, page]).toEqual(['node revoked', ['nodeId: cam/1', 'by: ada'], '/limb/cam%2F1'])
  })
})

describe('a signature', () => {
  it('is the one of the example that Standard Webhooks publishes', () => {
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const body = Buffer.from('{"test": 2432232314}')
    expect(webhookSignature([secret], 'msg_p5jXN8AQM9LWM0D4loKWxJek', '1614265330', body)).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    )
  })

  it.each([
    '',
    'whsec_',
    'whsec_c2hvcnQ=',
    `whsec_${'A'.repeat(33)}`,
    'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    'whsec_é',
  ])('takes no %j for a secret', (secret) => {
    expect(isWebhookSecret(secret)).toBe(false)
  })
})
