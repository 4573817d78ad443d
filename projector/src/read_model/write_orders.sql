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
