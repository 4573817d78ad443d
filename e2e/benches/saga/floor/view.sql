-- The rows that the projector writes, and the positions.
with
moved as (
  update position as stands
  set next = move."to"
  from unnest($34::text[], $35::int[], $36::bigint[]) as move (topic, partition, "to")
  where stands.topic = move.topic and stands.partition = move.partition
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
    $1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[],
    $8::text[], $9::text[], $10::text[], $11::boolean[], $12::text[], $13::text[], $14::timestamptz[]
  )
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
  select * from unnest($15::text[], $16::timestamptz[], $17::uuid[])
  on conflict do nothing
),
stocks as (
  insert into stock_view as known (sku, version, at, on_hand, reserved)
  select * from unnest($18::text[], $19::bigint[], $20::timestamptz[], $21::bigint[], $22::bigint[])
  on conflict (sku) do update
  set version = excluded.version,
      at = excluded.at,
      on_hand = excluded.on_hand,
      reserved = excluded.reserved
  where known.version < excluded.version
)
insert into timeline (
  order_id, topic, sequence, event_id, key, type, service, time, position, cause, data
)
select *
from unnest(
  $23::uuid[], $24::text[], $25::bigint[], $26::uuid[], $27::text[], $28::text[], $29::text[],
  $30::timestamptz[], $31::bigint[], $32::uuid[], $33::text[]
)
