-- One statement, so one snapshot of the database: a stream is never seen newer than a position.
with
asked as (
  select asked.stream, asked.ordinal
  from unnest($1::text[]) with ordinality as asked (stream, ordinal)
),
base as (
  select asked.stream, asked.ordinal, snapshot.version, snapshot.state
  from asked
  left join snapshot on snapshot.stream = asked.stream and snapshot.fingerprint = $2
)
select
  1 as part, base.ordinal, null::bigint as position, base.stream, base.version, null::uuid as event_id,
  null::text as type, base.state as data, null::text as decision,
  null::uuid as correlation_id, null::uuid as causation_id, null::text as traceparent, null::timestamptz as recorded_at
from base
where base.version is not null
union all
select
  2, base.ordinal, event.position, event.stream, event.version, event.event_id,
  event.type, event.data, event.decision,
  event.correlation_id, event.causation_id, event.traceparent, event.recorded_at
from base
join event on event.stream = base.stream and event.version > coalesce(base.version, 0)
union all
select
  3, 0, event.position, event.stream, event.version, event.event_id,
  event.type, event.data, event.decision,
  event.correlation_id, event.causation_id, event.traceparent, event.recorded_at
from event
where event.event_id = any ($3)
  -- The condition of index event_identity, word for word.
  and (event.type like 'fulfil.stock.received.%' or event.type like 'fulfil.stock.adjusted.%')
union all
select
  4, 0, event.position, event.stream, event.version, event.event_id,
  null, null, null,
  null, null, null, null
from event
where event.position = any ($4)
order by part, ordinal, version
