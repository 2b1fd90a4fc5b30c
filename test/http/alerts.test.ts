import { join } from 'node:path'
import { expect, test } from 'vitest'
import { alerts } from '../../scripts/metrics.ts'
import { needs } from '../support/needs.ts'
import { promtool, promtoolOn } from './promtool.ts'

needs('promtool')

/** Every alert fires when it should and is silent when it should be, as Prometheus itself evaluates it. */

const RULES = join(import.meta.dirname, '../../config/prometheus-alerts.yaml')
const ON = 'instance="b:8083", job="limb-bridge"'

/** Values of one series, a minute apart, in promtool's notation: `0+5x60` rises by 5 a minute. */
type Series = Readonly<Record<string, string>>

interface Case {
  /** Fires for a bridge with these, with this summary, … */
  readonly fires: Series
  readonly summary: string
  /** … and not for one with these. */
  readonly silent: Series
  /** Labels of the alert beside its severity, when they are more than the instance. */
  readonly labels?: Readonly<Record<string, string>>
}

const gauge = (metric: string, labels = '') => `${metric}{${ON}${labels === '' ? '' : `, ${labels}`}}`
const WHOLE = { instance: 'b:8083', job: 'limb-bridge' }
const SUMMED = { instance: 'b:8083' }
const nodes = (online: number, offline: number): Series => ({
  [gauge('limb_nodes', 'status="online"')]: `${online}x180`,
  [gauge('limb_nodes', 'status="offline"')]: `${offline}x180`,
})
const commits = (fast: string, all: string): Series => ({
  [gauge('limb_commit_duration_seconds_bucket', 'le="0.5"')]: fast,
  [gauge('limb_commit_duration_seconds_bucket', 'le="1"')]: all,
  [gauge('limb_commit_duration_seconds_bucket', 'le="+Inf"')]: all,
})

const CASES: Readonly<Record<string, Case>> = {
  LimbBridgeDown: {
    fires: { [gauge('up')]: '0x180' },
    summary: 'The bridge b:8083 does not answer.',
    silent: { [gauge('up')]: '1x180' },
    labels: WHOLE,
  },
  LimbBridgeRestarting: {
    fires: { [gauge('process_start_time_seconds')]: '0x160 1 2 3 4x20' },
    summary: 'The bridge b:8083 was started more than twice in half an hour.',
    silent: { [gauge('process_start_time_seconds')]: '0x160 1x20' },
    labels: WHOLE,
  },
  LimbStorageFailing: {
    fires: { [gauge('limb_messages_unstored_total')]: '0+1x180' },
    summary: 'The database of b:8083 did not store messages.',
    silent: { [gauge('limb_messages_unstored_total')]: '7x180' },
    labels: WHOLE,
  },
  LimbDiskAlmostFull: {
    fires: { [gauge('limb_disk_free_bytes')]: '1048576x180' },
    summary: "1MiB are left on the disk of b:8083's database.",
    // In memory there is no disk: -1.
    silent: { [gauge('limb_disk_free_bytes')]: '-1x180' },
    labels: WHOLE,
  },
  LimbWalGrowing: {
    fires: { [gauge('limb_database_wal_bytes')]: '536870912x180' },
    summary: 'The write-ahead log of b:8083 has 512MiB.',
    silent: { [gauge('limb_database_wal_bytes')]: '67108864x180' },
    labels: WHOLE,
  },
  LimbCommitsSlow: {
    fires: commits('0x180', '0+60x180'),
    summary: 'Commits of b:8083 take 995ms.',
    silent: commits('0+60x180', '0+60x180'),
    labels: SUMMED,
  },
  LimbEventLoopSlow: {
    fires: { [gauge('nodejs_eventloop_lag_p99_seconds')]: '0.5x180' },
    summary: 'The event loop of b:8083 is late by 500ms.',
    silent: { [gauge('nodejs_eventloop_lag_p99_seconds')]: '0.02x180' },
    labels: WHOLE,
  },
  LimbFleetOffline: {
    fires: nodes(2, 6),
    summary: '75% of the limbs of b:8083 are offline.',
    // One limb that is offline is no fleet.
    silent: nodes(0, 1),
    labels: SUMMED,
  },
  LimbsFlapping: {
    fires: { ...nodes(10, 0), [gauge('limb_status_changes_total', 'status="offline"')]: '0+2x180' },
    summary: 'On average each limb of b:8083 goes offline more than four times an hour.',
    silent: { ...nodes(10, 0), [gauge('limb_status_changes_total', 'status="offline"')]: '0+0.2x180' },
    labels: SUMMED,
  },
  LimbPairingsWaiting: {
    fires: { [gauge('limb_pairings', 'status="pending"')]: '2x180' },
    summary: '2 requests to be paired wait for an operator on b:8083.',
    silent: {
      [gauge('limb_pairings', 'status="pending"')]: '0x150 2x30',
      [gauge('limb_pairings', 'status="approved"')]: '9x180',
    },
    labels: { ...WHOLE, status: 'pending' },
  },
  LimbSignInsRefused: {
    fires: {
      [gauge('limb_sign_ins_refused_total', 'reason="password"')]: '0+40x180',
      [gauge('limb_wrong_keys_total')]: '0+20x180',
    },
    summary: '60 sign-ins a minute are refused by b:8083.',
    silent: {
      [gauge('limb_sign_ins_refused_total', 'reason="password"')]: '0+2x180',
      [gauge('limb_wrong_keys_total')]: '0+2x180',
    },
    labels: SUMMED,
  },
  LimbRightsDenied: {
    fires: { [gauge('limb_denied_total', 'what="publish"')]: '0+120x180' },
    summary: 'b:8083 denies 2 messages and subscriptions a second.',
    silent: { [gauge('limb_denied_total', 'what="forward"')]: '0+120x180' },
    labels: SUMMED,
  },
  LimbSubscriptionsRefused: {
    fires: { [gauge('limb_limits_reached_total', 'limit="principal_subscriptions"')]: '0+1x180' },
    summary: 'b:8083 refuses subscriptions above a limit.',
    // Once, hours ago; and another limit.
    silent: {
      [gauge('limb_limits_reached_total', 'limit="principal_subscriptions"')]: '7x180',
      [gauge('limb_limits_reached_total', 'limit="bytes"')]: '0+1x180',
    },
    labels: SUMMED,
  },
  LimbConnectionsRefused: {
    fires: { [gauge('limb_connections_refused_total', 'reason="connections"')]: '0+3x180' },
    summary: 'b:8083 refused 30 connections for want of room.',
    silent: { [gauge('limb_connections_refused_total', 'reason="credentials"')]: '0+3x180' },
    labels: SUMMED,
  },
  LimbStrangersFlood: {
    fires: {
      [gauge('limb_limits_reached_total', 'limit="strangers"')]: '0+1x180',
      [gauge('limb_http_connections_ended_total')]: '0x180',
    },
    summary: 'b:8083 ended 10 connections that had shown no key or password.',
    silent: {
      [gauge('limb_limits_reached_total', 'limit="strangers"')]: '9x180',
      [gauge('limb_limits_reached_total', 'limit="packet"')]: '0+1x180',
      [gauge('limb_http_connections_ended_total')]: '4x180',
    },
    labels: SUMMED,
  },
  LimbKeepsTooMuch: {
    fires: {
      [gauge('limb_kept_bytes', 'kind="retained"')]: '90x180',
      [gauge('limb_kept_bytes_max', 'kind="retained"')]: '100x180',
    },
    summary: 'b:8083 has filled 90% of what it may keep: retained.',
    silent: {
      [gauge('limb_kept_bytes', 'kind="retained"')]: '80x180',
      [gauge('limb_kept_bytes_max', 'kind="retained"')]: '100x180',
    },
    labels: { ...WHOLE, kind: 'retained' },
  },
  LimbSessionsLimit: {
    fires: { [gauge('limb_limits_reached_total', 'limit="sessions"')]: '0+1x180' },
    summary: 'b:8083 ended 10 sessions because their name has too many.',
    silent: {
      [gauge('limb_limits_reached_total', 'limit="sessions"')]: '9x180',
      [gauge('limb_limits_reached_total', 'limit="packet"')]: '0+1x180',
    },
    labels: SUMMED,
  },
  LimbUnsentLimit: {
    fires: { [gauge('limb_limits_reached_total', 'limit="unsent"')]: '0+1x180' },
    summary: 'b:8083 ended 10 sessions because too much waited for sessions that do not read.',
    silent: {
      [gauge('limb_limits_reached_total', 'limit="unsent"')]: '9x180',
      [gauge('limb_limits_reached_total', 'limit="sessions"')]: '0+1x180',
    },
    labels: SUMMED,
  },
  LimbMessagesLost: {
    fires: {
      [gauge('limb_messages_dropped_total', 'why="queue"')]: '0+1x180',
      [gauge('limb_messages_shed_total')]: '0+2x180',
    },
    summary: 'b:8083 dropped 30 messages in ten minutes.',
    silent: {
      [gauge('limb_messages_dropped_total', 'why="queue"')]: '9x180',
      [gauge('limb_messages_shed_total')]: '5x180',
    },
    labels: SUMMED,
  },
  LimbSessionsReplaced: {
    fires: { [gauge('limb_sessions_replaced_total')]: '0+2x180' },
    summary: 'Newer connections of limbs of b:8083 go on ending older ones.',
    // A thousand at once: the network of a whole fleet was gone for a moment.
    silent: { [gauge('limb_sessions_replaced_total')]: '0x175 1000x5' },
    labels: WHOLE,
  },
  LimbCallsFailing: {
    fires: {
      [gauge('limb_invocations_total', 'outcome="timeout"')]: '0+1x180',
      [gauge('limb_invocations_total', 'outcome="done"')]: '0+1x180',
    },
    summary: '50% of the invocations through b:8083 fail.',
    // All of too few.
    silent: { [gauge('limb_invocations_total', 'outcome="timeout"')]: '0+0.1x180' },
    labels: SUMMED,
  },
  LimbUplinkDown: {
    fires: { [gauge('limb_uplink_connected', 'uplink="cloud"')]: '0x180' },
    summary: 'The uplink cloud of b:8083 has no connection.',
    silent: { [gauge('limb_uplink_connected', 'uplink="cloud"')]: '1x180' },
    labels: { ...WHOLE, uplink: 'cloud' },
  },
  LimbWebhookFailing: {
    fires: { [gauge('limb_webhook_failing_seconds', 'webhook="phone"')]: '0x100 3600x80' },
    summary: 'The webhook phone of b:8083 has delivered nothing for 1h 0m 0s.',
    // One that is taken now and then.
    silent: { [gauge('limb_webhook_failing_seconds', 'webhook="phone"')]: '500x180' },
    labels: { ...WHOLE, webhook: 'phone' },
  },
  LimbCertificateEnding: {
    fires: { [gauge('limb_tls_certificate_end_timestamp_seconds')]: `${3 * 3600 + 86_400}x180` },
    summary: 'The certificate of b:8083 ends in 1d 0h 0m 0s.',
    silent: { [gauge('limb_tls_certificate_end_timestamp_seconds')]: '0x180' },
    labels: WHOLE,
  },
  LimbBackupFailed: {
    fires: { [gauge('limb_backups_total', 'outcome="failed"')]: '0x100 1x80' },
    summary: 'A backup of b:8083 failed.',
    silent: {
      [gauge('limb_backups_total', 'outcome="failed"')]: '0x180',
      [gauge('limb_backups_total', 'outcome="made"')]: '0+1x180',
    },
    labels: { ...WHOLE, outcome: 'failed' },
  },
  LimbBackupsStopped: {
    fires: {
      [gauge('limb_backup_interval_seconds')]: '3600x180',
      [gauge('limb_last_backup_timestamp_seconds')]: '-7200x180',
    },
    summary: 'No backup of b:8083 was made for twice as long as it should take.',
    silent: {
      [gauge('limb_backup_interval_seconds')]: '3600x180',
      [gauge('limb_last_backup_timestamp_seconds')]: '0+60x180',
    },
    labels: WHOLE,
  },
}

/** The series are as long. */
const AT = '3h'

test('the rules are in order, and each alert has a case here and says what it means and what to do', () => {
  const { ok, said } = promtool(['check', 'rules', RULES])
  expect(said).toContain(`${alerts().length} rules found`)
  expect(ok).toBe(true)
  expect(alerts().map(({ alert }) => alert)).toEqual(Object.keys(CASES))
  for (const { alert, annotations } of alerts()) {
    expect(Object.keys(annotations), alert).toEqual(['summary', 'meaning', 'action'])
  }
})

test.each(alerts().map((rule) => [rule.alert, rule] as const))(
  '%s fires, and is silent otherwise',
  (name, rule) => {
    const { fires, silent, summary, labels = {} } = CASES[name] ?? { fires: {}, silent: {}, summary: '' }
    const firing = {
      exp_labels: { severity: rule.labels.severity, ...labels },
      exp_annotations: { ...rule.annotations, summary },
    }
    // Two bridges side by side: of one it is told, of the other not.
    const quiet = Object.entries(silent).map(([series, values]) => [
      series.replace('b:8083', 'quiet'),
      values,
    ])
    const input_series = [...Object.entries(fires), ...quiet].map(([series, values]) => ({ series, values }))
    const tests = [
      {
        interval: '1m',
        input_series,
        alert_rule_test: [{ eval_time: AT, alertname: name, exp_alerts: [firing] }],
      },
    ]
    expect(Object.keys(silent), 'a silent case').not.toEqual([])
    expect(
      promtoolOn(['test', 'rules'], { rule_files: [RULES], evaluation_interval: '1m', tests }),
    ).toMatchObject({ ok: true, said: expect.stringContaining('SUCCESS') })
  },
)
