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
  where $100 = to_regclass('order_view')::oid
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
    select unnest($67::uuid[]), unnest($68::bigint[]), unnest($69::bigint[]), unnest($70::bigint[]),
      unnest($71::timestamptz[]), unnest($72::timestamptz[]), unnest($73::timestamptz[]), unnest($74::text[]),
      unnest($75::text[]), unnest($76::text[]), unnest($77::boolean[]), unnest($78::text[]), unnest($79::text[]),
      unnest($80::timestamptz[])
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
    select unnest($81::text[]), unnest($82::timestamptz[]), unnest($83::uuid[])
  ) as new
  where (select outcome from appended) = 'done'
  on conflict do nothing
),
stocks as (
  insert into stock_view as known (sku, version, at, on_hand, reserved)
  select *
  from (
    select unnest($84::text[]), unnest($85::bigint[]), unnest($86::timestamptz[]), unnest($87::bigint[]),
      unnest($88::bigint[])
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
    select unnest($89::uuid[]), unnest($90::text[]), unnest($91::bigint[]), unnest($92::uuid[]), unnest($93::text[]),
      unnest($94::text[]), unnest($95::text[]), unnest($96::timestamptz[]), unnest($97::bigint[]),
      unnest($98::uuid[]), unnest($99::text[])
  ) as new
  where (select outcome from appended) = 'done'
),
sold as (
  -- By how much each changes. The rows above are what the batch thought them to be, or nothing was appended.
  insert into sale as known (sku, hour, currency, orders, quantity, amount_minor)
  select sku, coalesce(hour, '-infinity'), currency, orders, quantity, amount_minor::numeric
  from (
    select unnest($101::text[]) as sku, unnest($102::timestamptz[]) as hour, unnest($103::text[]) as currency,
      unnest($104::bigint[]) as orders, unnest($105::bigint[]) as quantity, unnest($106::text[]) as amount_minor
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
    select unnest($107::timestamptz[]), unnest($108::smallint[]), unnest($109::bigint[])
  ) as change
  where (select outcome from appended) = 'done'
  on conflict (minute, counted) do update
  set orders = known.orders + excluded.orders
)
select outcome, log_end, answered_at
from appended
