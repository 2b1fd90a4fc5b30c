/**
 * Selects the stored sessions that are beyond what one owner may have, the oldest use first. In SQL, because they may be
 * more than a start has memory for. Both stores know these words. `most` is the placeholder of the bound.
 */
export const SESSIONS_BEYOND = (most: string): string => `SELECT client_id FROM (
  SELECT client_id, row_number() OVER (PARTITION BY owner ORDER BY used_at DESC, client_id) AS place FROM mqtt_sessions
) AS placed WHERE place > ${most}`

/** Selects the sessions with which the subscriptions of one owner are more than it may have: the newest use stays. */
export const SUBSCRIPTIONS_BEYOND = (most: string): string => `SELECT client_id FROM (
  SELECT client_id, sum(own) OVER (PARTITION BY owner ORDER BY used_at DESC, client_id) AS total FROM (
    SELECT s.client_id, s.owner, s.used_at, count(u.filter) AS own FROM mqtt_sessions AS s
    JOIN mqtt_subscriptions AS u ON u.client_id = s.client_id GROUP BY s.client_id, s.owner, s.used_at
  ) AS counted
) AS summed WHERE total > ${most}`

/** Selects the queues of sessions that are no more. */
export const QUEUES_OF_NOBODY = 'SELECT client_id FROM mqtt_queue EXCEPT SELECT client_id FROM mqtt_sessions'
