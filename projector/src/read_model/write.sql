-- Rows, what stands beside them and all that `append` writes: one statement, so one transaction and one round trip.
-- The positions are compared first, and where they are not what the caller thinks, nothing is written.
with
appended as materialized (
  /* log/append.sql */
),
orders as (
  -- Each source is taken where it is newer than what stands there. Its version alone says so: a stream has one event
  -- of a version, so equal versions are equal states.
  insert into order_view as known (
    order_id, order_version, reservation_version, payment_version, order_at, reservation_at, payment_at,
    order_state, reservation_state, payment_state, "foreign", status, user_id, created_at
  )
  select *
  from unnest(
    $66::uuid[], $67::bigint[], $68::bigint[], $69::bigint[], $70::timestamptz[], $71::timestamptz[], $72::timestamptz[],
    $73::text[], $74::text[], $75::text[], $76::boolean[], $77::text[], $78::text[], $79::timestamptz[]
  )
  where (select outcome from appended) = 'done'
  on conflict (order_id) do update
  set order_version = greatest(known.order_version, excluded.order_version),
      reservation_version = greatest(known.reservation_version, excluded.reservation_version),
      payment_version = greatest(known.payment_version, excluded.payment_version),
      order_at = case when known.order_version < excluded.order_version
        then excluded.order_at else known.order_at end,
      reservation_at = case when known.reservation_version < excluded.reservation_version
        then excluded.reservation_at else known.reservation_at end,
      payment_at = case when known.payment_version < excluded.payment_version
        then excluded.payment_at else known.payment_at end,
      order_state = case when known.order_version < excluded.order_version
        then excluded.order_state else known.order_state end,
      reservation_state = case when known.reservation_version < excluded.reservation_version
        then excluded.reservation_state else known.reservation_state end,
      payment_state = case when known.payment_version < excluded.payment_version
        then excluded.payment_state else known.payment_state end,
      "foreign" = known."foreign" or excluded."foreign",
      status = case when known.order_version < excluded.order_version
        then excluded.status else known.status end,
      user_id = coalesce(known.user_id, excluded.user_id),
      created_at = coalesce(known.created_at, excluded.created_at)
),
wanted as (
  insert into order_sku (sku, created_at, order_id)
  select *
  from unnest($80::text[], $81::timestamptz[], $82::uuid[])
  where (select outcome from appended) = 'done'
  on conflict do nothing
),
stocks as (
  insert into stock_view as known (sku, version, at, on_hand, reserved)
  select *
  from unnest($83::text[], $84::bigint[], $85::timestamptz[], $86::bigint[], $87::bigint[])
  where (select outcome from appended) = 'done'
  on conflict (sku) do update
  set version = excluded.version,
      at = excluded.at,
      on_hand = excluded.on_hand,
      reserved = excluded.reserved
  where known.version < excluded.version
),
entries as (
  insert into timeline (
    order_id, topic, sequence, event_id, key, type, service, time, position, cause, data
  )
  select *
  from unnest(
    $88::uuid[], $89::text[], $90::bigint[], $91::uuid[], $92::text[], $93::text[], $94::text[],
    $95::timestamptz[], $96::bigint[], $97::uuid[], $98::text[]
  )
  where (select outcome from appended) = 'done'
)
select outcome, log_end, answered_at
from appended
