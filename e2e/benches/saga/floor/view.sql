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
  from (
    select unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::bigint[]), unnest($4::bigint[]),
      unnest($5::timestamptz[]), unnest($6::timestamptz[]), unnest($7::timestamptz[]), unnest($8::text[]),
      unnest($9::text[]), unnest($10::text[]), unnest($11::boolean[]), unnest($12::text[]), unnest($13::text[]),
      unnest($14::timestamptz[])
  ) as new
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
  from (
    select unnest($15::text[]), unnest($16::timestamptz[]), unnest($17::uuid[])
  ) as new
  on conflict do nothing
),
stocks as (
  insert into stock_view as known (sku, version, at, on_hand, reserved)
  select *
  from (
    select unnest($18::text[]), unnest($19::bigint[]), unnest($20::timestamptz[]), unnest($21::bigint[]),
      unnest($22::bigint[])
  ) as new
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
from (
  select unnest($23::uuid[]), unnest($24::text[]), unnest($25::bigint[]), unnest($26::uuid[]), unnest($27::text[]),
    unnest($28::text[]), unnest($29::text[]), unnest($30::timestamptz[]), unnest($31::bigint[]),
    unnest($32::uuid[]), unnest($33::text[])
) as new
