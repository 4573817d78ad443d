-- The log again and again, copy after copy, each in the log's order: whole decisions of whole streams, as if so many more
-- orders had come to their ends. An id of a copy is a hash of the original's, the same wherever it stands.
with original as materialized (
  select *, substr(stream, length('order-') + 1) as order_id
  from event
  order by position
)
insert into event (
  position, stream, version, event_id, type, data, decision,
  correlation_id, causation_id, traceparent, recorded_at
)
select
  copy * $1 + position,
  'order-' || copied.order_id,
  version,
  md5(copy || ' ' || event_id)::uuid,
  type,
  replace(data, original.order_id, copied.order_id),
  decision,
  md5(copy || ' ' || correlation_id)::uuid,
  md5(copy || ' ' || causation_id)::uuid,
  traceparent,
  recorded_at
from generate_series(1, $2::bigint) as copy
cross join original
cross join lateral (
  select md5(copy || ' ' || original.order_id)::uuid::text as order_id
) as copied
