/** config/grafana-dashboard.json: one row of panels for each question an operator asks. */

type Query = readonly [expression: string, legend: string]

interface Panel {
  readonly title: string
  readonly about: string
  readonly type?: 'stat' | 'timeseries'
  /** Grafana's name of the unit. */
  readonly unit?: string
  readonly stacked?: boolean
  readonly queries: readonly Query[]
}

/** Of the bridges that are chosen above. */
const ON = 'instance=~"$instance"'
const rate = (metric: string, by = '', matchers = '') =>
  `sum by (${by === '' ? 'instance' : by}) (rate(${metric}{${ON}${matchers}}[$__rate_interval]))`
const quantile = (q: number, metric: string) =>
  `histogram_quantile(${q}, sum by (le) (rate(${metric}_bucket{${ON}}[$__rate_interval])))`
const gauge = (metric: string, by = 'instance', matchers = '') =>
  `sum by (${by}) (${metric}{${ON}${matchers}})`

const ROWS: Readonly<Record<string, readonly Panel[]>> = {
  Overview: [
    {
      title: 'Limbs that are there',
      about: 'Online, busy or degraded.',
      type: 'stat',
      queries: [[gauge('limb_nodes', 'instance', ', status!="offline"'), '{{instance}}']],
    },
    {
      title: 'Limbs offline',
      about: 'Approved, and not heard of.',
      type: 'stat',
      queries: [[gauge('limb_nodes', 'instance', ', status="offline"'), '{{instance}}']],
    },
    {
      title: 'Waiting for an operator',
      about: 'Requests to be paired, or for more capabilities.',
      type: 'stat',
      queries: [[gauge('limb_pairings', 'instance', ', status="pending"'), '{{instance}}']],
    },
    {
      title: 'Version',
      about: 'What runs, on which Node.',
      type: 'stat',
      queries: [[gauge('limb_build_info', 'version, node'), '{{version}} on Node {{node}}']],
    },
    {
      title: 'Running since',
      about: 'Time since the process started.',
      type: 'stat',
      unit: 's',
      queries: [[`time() - process_start_time_seconds{${ON}}`, '{{instance}}']],
    },
    {
      title: 'Free disk',
      about: 'On the file system of the database.',
      type: 'stat',
      unit: 'bytes',
      queries: [[`limb_disk_free_bytes{${ON}}`, '{{instance}}']],
    },
  ],
  Fleet: [
    {
      title: 'Limbs by status',
      about: 'Approved limbs.',
      stacked: true,
      queries: [[gauge('limb_nodes', 'status'), '{{status}}']],
    },
    {
      title: 'Status changes',
      about: 'Many a minute: a bad network, or heartbeats that come too late.',
      unit: 'ops',
      queries: [[rate('limb_status_changes_total', 'status'), 'to {{status}}']],
    },
    {
      title: 'Heartbeats',
      about: 'Those that were read, and those whose payload was wrong.',
      unit: 'ops',
      queries: [
        [rate('limb_heartbeats_total'), 'heartbeats'],
        [rate('limb_heartbeats_invalid_total'), 'invalid'],
      ],
    },
    {
      title: 'Announced by foreign firmware',
      about: 'Messages of discovery that the adapters took, and things and values that they left out.',
      unit: 'ops',
      queries: [
        [rate('limb_discovery_messages_total', 'outcome'), '{{outcome}}'],
        [rate('limb_foreign_values_left_out_total', 'why'), 'values {{why}}'],
      ],
    },
    {
      title: 'Probes',
      about: 'Limbs that are HTTP servers, asked for their health.',
      unit: 'ops',
      queries: [[rate('limb_probes_total', 'outcome'), '{{outcome}}']],
    },
    {
      title: 'Registrations',
      about: 'What limbs and candidates register, and what was refused.',
      unit: 'ops',
      queries: [
        [rate('limb_registrations_total'), 'registrations'],
        [rate('limb_registrations_refused_total', 'code'), 'refused: {{code}}'],
      ],
    },
    {
      title: 'Pairing decisions',
      about: 'Who came in, by whom, and who did not.',
      unit: 'ops',
      queries: [[rate('limb_pairing_decisions_total', 'decision'), '{{decision}}']],
    },
    {
      title: 'Requests of principals',
      about: 'Verbs by outcome.',
      unit: 'ops',
      queries: [
        [rate('limb_verbs_total', 'outcome'), '{{outcome}}'],
        [rate('limb_requests_refused_total', 'reason'), 'refused: {{reason}}'],
      ],
    },
    {
      title: 'Kept on disk, of its bound',
      about:
        'Answers for idempotency keys, backups, the database, history, requests, queues, retained messages.',
      unit: 'percentunit',
      queries: [
        [`max by (kind) (limb_kept_bytes{${ON}} / limb_kept_bytes_max{${ON}})`, '{{kind}}'],
        [rate('limb_answers_dropped_total'), 'answers dropped a second'],
      ],
    },
    {
      title: 'Leads',
      about: 'On PostgreSQL, of the bridges on one database: 1 leads, 0 is a standby. The sum is 1.',
      queries: [[gauge('limb_leads', 'instance'), '{{instance}}']],
    },
    {
      title: 'Limbs held ready',
      about: 'Of a standby: approved limbs that it need not read when it takes over.',
      queries: [[gauge('limb_standby_limbs', 'instance'), '{{instance}}']],
    },
    {
      title: 'Rows of the audit log',
      about: 'Each log has a retention of its own: decisions, activity of limbs and agents, attempts.',
      queries: [[gauge('limb_audit_rows', 'log'), '{{log}}']],
    },
    {
      title: 'Flapping and replaced limbs',
      about: 'Limbs whose status changes too often, and devices that end each other.',
      unit: 'ops',
      queries: [
        [rate('limb_limbs_flapping_total'), 'flapping'],
        [rate('limb_sessions_replaced_total'), 'replaced'],
      ],
    },
    {
      title: 'Held for strangers',
      about:
        'Memory of connections that have shown no secret, of requests that wait for an operator, and of what is not whole.',
      unit: 'bytes',
      queries: [
        [gauge('limb_stranger_bytes'), 'connections'],
        [gauge('limb_unsent_bytes'), 'messages that sessions were sent and have not taken'],
        [gauge('limb_partial_packet_bytes'), 'packets of limbs and principals that are not whole'],
        [gauge('limb_pending_request_bytes'), 'pending requests'],
        [gauge('limb_mcp_kept_bytes'), 'kept for clients of MCP'],
        [gauge('limb_http_held_bytes'), 'requests and answers over HTTP'],
      ],
    },
  ],
  Traffic: [
    {
      title: 'Messages',
      about: 'PUBLISH packets from and to sessions.',
      unit: 'ops',
      queries: [
        [rate('limb_messages_received_total'), 'received'],
        [rate('limb_messages_sent_total'), 'sent'],
      ],
    },
    {
      title: 'Sessions by role',
      about: 'Live sessions.',
      stacked: true,
      queries: [
        [gauge('limb_sessions', 'role'), '{{role}}'],
        [gauge('limb_mcp_sessions'), 'MCP over HTTP'],
      ],
    },
    {
      title: 'Connections',
      about: 'Open ones by transport, and how fast new ones come.',
      queries: [
        [gauge('limb_connections', 'transport'), '{{transport}}'],
        [rate('limb_connections_opened_total'), 'opened per second'],
      ],
    },
    {
      title: 'Refused',
      about: 'Connections and sign-ins that did not become a session.',
      unit: 'ops',
      queries: [
        [rate('limb_connections_refused_total', 'reason'), 'connection: {{reason}}'],
        [rate('limb_sign_ins_refused_total', 'reason'), 'sign-in: {{reason}}'],
        [rate('limb_wrong_keys_total'), 'wrong key'],
      ],
    },
    {
      title: 'Denied and limited',
      about: 'What no right was granted for, and limits that sessions met.',
      unit: 'ops',
      queries: [
        [rate('limb_denied_total', 'what'), 'denied: {{what}}'],
        [rate('limb_limits_reached_total', 'limit'), 'limit: {{limit}}'],
        [rate('limb_violations_total'), 'violations of MQTT'],
        [rate('limb_sessions_opened_total', 'version'), 'opened, MQTT {{version}}'],
      ],
    },
    {
      title: 'Lost',
      about: 'Messages without room, readers that are too slow, sessions that were ended.',
      unit: 'ops',
      queries: [
        [rate('limb_messages_dropped_total', 'why'), 'dropped: {{why}}'],
        [rate('limb_messages_shed_total'), 'shed'],
        [rate('limb_messages_undelivered_total'), 'expired or too large'],
        [rate('limb_sessions_overrun_total'), 'overrun sessions'],
        [rate('limb_keepalive_timeouts_total'), 'keepalive timeouts'],
      ],
    },
  ],
  Invocations: [
    {
      title: 'Invocations by outcome',
      about: 'Invocations as they end, and results that answered none.',
      unit: 'ops',
      queries: [
        [rate('limb_invocations_total', 'outcome'), '{{outcome}}'],
        [rate('limb_results_dropped_total', 'why'), 'result dropped: {{why}}'],
      ],
    },
    {
      title: 'Duration of invocations',
      about: 'From request to answer; waits for leases and approvals included.',
      unit: 's',
      queries: [
        [quantile(0.5, 'limb_invocation_duration_seconds'), 'half'],
        [quantile(0.95, 'limb_invocation_duration_seconds'), '95 of 100'],
      ],
    },
    {
      title: 'Leases and open invocations',
      about: 'Held and open now, and what happens to leases.',
      queries: [
        [gauge('limb_leases_held'), 'leases held'],
        [gauge('limb_invocations_open', 'state'), 'invocations {{state}}'],
        [rate('limb_leases_total', 'change'), 'leases {{change}} per second'],
      ],
    },
  ],
  Storage: [
    {
      title: 'Duration of commits',
      about: 'With the flush to disk. The whole bridge waits for each.',
      unit: 's',
      queries: [
        [quantile(0.5, 'limb_commit_duration_seconds'), 'half'],
        [quantile(0.99, 'limb_commit_duration_seconds'), '99 of 100'],
      ],
    },
    {
      title: 'Commits and writes',
      about: 'Many writes share one commit when much is asked for at once.',
      unit: 'ops',
      queries: [
        [rate('limb_commit_works_count'), 'commits'],
        [rate('limb_commit_works_sum'), 'writes'],
      ],
    },
    {
      title: 'Database',
      about: 'Sizes on disk.',
      unit: 'bytes',
      queries: [
        [gauge('limb_database_bytes'), 'database'],
        [gauge('limb_database_wal_bytes'), 'write-ahead log'],
      ],
    },
    {
      title: 'Queues',
      about: 'What is kept for sessions that are away or slow.',
      queries: [
        [gauge('limb_queued_messages'), 'queued messages'],
        [gauge('limb_stored_sessions'), 'stored sessions'],
        [gauge('limb_retained_messages'), 'retained messages'],
      ],
    },
    {
      title: 'Waiting for the disk',
      about: 'More than moments: the disk is too slow.',
      queries: [
        [gauge('limb_pending_writes'), 'writes'],
        [gauge('limb_waiting_messages'), 'messages'],
        [rate('limb_messages_unstored_total'), 'not stored per second'],
      ],
    },
    {
      title: 'Bytes in queues',
      about: 'Topics and payloads of queued messages, and messages that wait for the disk.',
      unit: 'bytes',
      queries: [
        [gauge('limb_queued_bytes'), 'queued'],
        [gauge('limb_waiting_message_bytes'), 'waiting for the disk'],
      ],
    },
  ],
  Uplinks: [
    {
      title: 'Connected',
      about: '1: the uplink has a connection to the other broker; 0: it has none.',
      queries: [[gauge('limb_uplink_connected', 'uplink'), '{{uplink}}']],
    },
    {
      title: 'Waiting for the other broker',
      about: 'Messages in the queue of each uplink.',
      queries: [[gauge('limb_uplink_queued_messages', 'uplink'), '{{uplink}}']],
    },
    {
      title: 'Published, given up, connected anew',
      about: 'What goes through each uplink.',
      unit: 'ops',
      queries: [
        [rate('limb_uplink_published_total', 'uplink'), '{{uplink}}: published'],
        [rate('limb_uplink_dropped_total', 'uplink'), '{{uplink}}: given up'],
        [rate('limb_uplink_reconnects_total', 'uplink'), '{{uplink}}: connected anew'],
      ],
    },
    {
      title: 'Set aside',
      about: 'Topics whose messages the other broker does not take.',
      queries: [[gauge('limb_uplink_set_aside_topics', 'uplink'), '{{uplink}}']],
    },
  ],
  Webhooks: [
    {
      title: 'Waiting for receivers',
      about: 'Deliveries that are stored until the receiver of each webhook takes them.',
      queries: [[gauge('limb_webhook_queued_deliveries', 'webhook'), '{{webhook}}']],
    },
    {
      title: 'Failing for',
      about: 'How long nothing was taken; 0: the last delivery was.',
      unit: 's',
      queries: [[gauge('limb_webhook_failing_seconds', 'webhook'), '{{webhook}}']],
    },
    {
      title: 'Taken, failed, given up',
      about: 'Deliveries of each webhook.',
      unit: 'ops',
      queries: [
        [rate('limb_webhook_delivered_total', 'webhook'), '{{webhook}}: taken'],
        [rate('limb_webhook_failed_total', 'webhook'), '{{webhook}}: failed'],
        [rate('limb_webhook_dropped_total', 'webhook'), '{{webhook}}: given up'],
      ],
    },
  ],
  Upkeep: [
    {
      title: 'Backups',
      about: 'In the last day, by outcome.',
      queries: [[`sum by (outcome) (increase(limb_backups_total{${ON}}[1d]))`, '{{outcome}}']],
    },
    {
      title: 'Age of the newest backup',
      about: 'Of those that this process made.',
      unit: 's',
      queries: [[`time() - (limb_last_backup_timestamp_seconds{${ON}} > 0)`, '{{instance}}']],
    },
    {
      title: 'Certificate',
      about: 'How long it is good for, and how often a new one was taken or was no good.',
      unit: 's',
      queries: [
        [`(limb_tls_certificate_end_timestamp_seconds{${ON}} > 0) - time()`, '{{instance}}'],
        [`sum by (outcome) (increase(limb_tls_reloads_total{${ON}}[1d]))`, 'reloads in a day: {{outcome}}'],
      ],
    },
  ],
  Process: [
    {
      title: 'Event loop',
      about: 'How late the loop is: everything waits so long.',
      unit: 's',
      queries: [
        [`nodejs_eventloop_lag_p50_seconds{${ON}}`, 'half'],
        [`nodejs_eventloop_lag_p99_seconds{${ON}}`, '99 of 100'],
        [`nodejs_eventloop_lag_max_seconds{${ON}}`, 'most'],
      ],
    },
    {
      title: 'Processor',
      about: '1 is one whole processor; the bridge cannot use much more.',
      unit: 'percentunit',
      queries: [[rate('process_cpu_seconds_total'), '{{instance}}']],
    },
    {
      title: 'Memory',
      about: 'Of the process, and the part that is JavaScript.',
      unit: 'bytes',
      queries: [
        [gauge('process_resident_memory_bytes'), 'resident'],
        [gauge('nodejs_heap_size_used_bytes'), 'heap'],
        [gauge('nodejs_external_memory_bytes'), 'buffers'],
      ],
    },
    {
      title: 'Log lines dropped',
      about: 'Nobody reads standard output.',
      unit: 'ops',
      queries: [[rate('limb_log_lines_dropped_total'), '{{instance}}']],
    },
  ],
}

const COLUMNS = 24
const SOURCE = { type: 'prometheus', uid: '$datasource' }

interface Place {
  readonly x: number
  readonly y: number
  readonly w: number
  readonly h: number
}

function panelJson(id: number, panel: Panel, gridPos: Place): object {
  const { title, about, type = 'timeseries', unit = 'short', stacked = false, queries } = panel
  const custom = {
    fillOpacity: stacked ? 30 : 5,
    showPoints: 'never',
    stacking: { mode: stacked ? 'normal' : 'none' },
  }
  return {
    id,
    type,
    title,
    description: about,
    gridPos,
    datasource: SOURCE,
    fieldConfig: {
      defaults: { unit, ...(type === 'timeseries' ? { min: 0, custom } : {}) },
      overrides: [],
    },
    options:
      type === 'stat'
        ? { graphMode: 'none', textMode: 'auto', reduceOptions: { calcs: ['lastNotNull'] } }
        : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(([expr, legendFormat], i) => ({
      refId: String.fromCharCode(65 + i),
      datasource: SOURCE,
      expr,
      legendFormat,
    })),
  }
}

function panels(): object[] {
  const all: object[] = []
  let y = 0
  for (const [title, row] of Object.entries(ROWS)) {
    all.push({
      id: all.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: COLUMNS, h: 1 },
      panels: [],
    })
    y++
    const [w, h] = row[0]?.type === 'stat' ? [4, 4] : [8, 8]
    let x = 0
    for (const panel of row) {
      all.push(panelJson(all.length + 1, panel, { x, y, w, h }))
      x += w
      if (x + w > COLUMNS) {
        x = 0
        y += h
      }
    }
    if (x > 0) y += h
  }
  return all
}

export function grafanaJson(): string {
  const dashboard = {
    uid: 'limb-bridge',
    title: 'Limb Bridge',
    description:
      'Limbs, traffic, invocations, storage and process of Limb Bridge. docs/metrics.md explains each metric.',
    tags: ['limb-bridge', 'mqtt'],
    schemaVersion: 39,
    editable: true,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', refresh: 1 },
        {
          name: 'instance',
          label: 'Bridge',
          type: 'query',
          datasource: SOURCE,
          query: { query: 'label_values(limb_build_info, instance)', refId: 'instances' },
          refresh: 2,
          multi: true,
          includeAll: true,
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels: panels(),
  }
  return `${JSON.stringify(dashboard, null, 2)}\n`
}
