-- Rows, what stands beside them and all that `append` writes: one statement, so one transaction and one round trip.
-- The positions are compared first, and where they are not what the caller thinks, nothing is written.
-- Arrays are unnested in select lists: of those in one FROM each is stored before the first row is read of any.
with
-- Deletes nothing. First and as a writer, so that whoever makes another view change places with this one (second.rs) is
-- waited for before the names of all that follows are looked up.
here as (
  delete from order_view
  where false
),
appended as materialized (
  /* log/append.sql */
  -- Nothing is called where it is another view than the caller's rows are of.
  where $99 = to_regclass('order_view')::oid
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
    select unnest($66::uuid[]), unnest($67::bigint[]), unnest($68::bigint[]), unnest($69::bigint[]),
      unnest($70::timestamptz[]), unnest($71::timestamptz[]), unnest($72::timestamptz[]), unnest($73::text[]),
      unnest($74::text[]), unnest($75::text[]), unnest($76::boolean[]), unnest($77::text[]), unnest($78::text[]),
      unnest($79::timestamptz[])
  ) as new
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
  from (
    select unnest($80::text[]), unnest($81::timestamptz[]), unnest($82::uuid[])
  ) as new
  where (select outcome from appended) = 'done'
  on conflict do nothing
),
stocks as (
  insert into stock_view as known (sku, version, at, on_hand, reserved)
  select *
  from (
    select unnest($83::text[]), unnest($84::bigint[]), unnest($85::timestamptz[]), unnest($86::bigint[]),
      unnest($87::bigint[])
  ) as new
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
  from (
    select unnest($88::uuid[]), unnest($89::text[]), unnest($90::bigint[]), unnest($91::uuid[]), unnest($92::text[]),
      unnest($93::text[]), unnest($94::text[]), unnest($95::timestamptz[]), unnest($96::bigint[]),
      unnest($97::uuid[]), unnest($98::text[])
  ) as new
  where (select outcome from appended) = 'done'
),
sold as (
  -- By how much each changes. The rows above are what the batch thought them to be, or nothing was appended.
  insert into sale as known (sku, hour, currency, orders, quantity, amount_minor)
  select sku, coalesce(hour, '-infinity'), currency, orders, quantity, amount_minor::numeric
  from (
    select unnest($100::text[]) as sku, unnest($101::timestamptz[]) as hour, unnest($102::text[]) as currency,
      unnest($103::bigint[]) as orders, unnest($104::bigint[]) as quantity, unnest($105::text[]) as amount_minor
  ) as change
  where (select outcome from appended) = 'done'
  on conflict (sku, hour, currency) do update
  set orders = known.orders + excluded.orders,
      quantity = known.quantity + excluded.quantity,
      amount_minor = known.amount_minor + excluded.amount_minor
),
paced as (
  insert into pace as known (minute, counted, orders)
  select *
  from (
    select unnest($106::timestamptz[]), unnest($107::smallint[]), unnest($108::bigint[])
  ) as change
  where (select outcome from appended) = 'done'
  on conflict (minute, counted) do update
  set orders = known.orders + excluded.orders
)
select outcome, log_end, answered_at
from appended
