-- The letter and its newest change come separately, perhaps over two partitions: each is taken for itself.
insert into dead_letter_view as known (
  id, status, changed_at, changed_partition, changed_offset, changed_by, changed_reason,
  "group", topic, partition, "offset", stage, code, message, fingerprint, failed_at,
  delivery_count, redrives, build, key, value, headers
)
select *
from unnest(
  $1::uuid[], $2::text[], $3::timestamptz[], $4::int[], $5::bigint[], $6::text[], $7::text[],
  $8::text[], $9::text[], $10::int[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[],
  $16::timestamptz[], $17::int[], $18::int[], $19::text[], $20::bytea[], $21::bytea[], $22::text[]
)
on conflict (id) do update
set (status, changed_at, changed_partition, changed_offset, changed_by, changed_reason) = (
      select newest.status, newest.changed_at, newest.changed_partition, newest.changed_offset,
             newest.changed_by, newest.changed_reason
      from (
        values
          (known.status, known.changed_at, known.changed_partition, known.changed_offset,
           known.changed_by, known.changed_reason),
          (excluded.status, excluded.changed_at, excluded.changed_partition, excluded.changed_offset,
           excluded.changed_by, excluded.changed_reason)
      ) as newest (status, changed_at, changed_partition, changed_offset, changed_by, changed_reason)
      order by newest.changed_at desc nulls last, newest.changed_partition desc, newest.changed_offset desc
      limit 1
    ),
    "group" = coalesce(known."group", excluded."group"),
    topic = coalesce(known.topic, excluded.topic),
    partition = coalesce(known.partition, excluded.partition),
    "offset" = coalesce(known."offset", excluded."offset"),
    stage = coalesce(known.stage, excluded.stage),
    code = coalesce(known.code, excluded.code),
    message = coalesce(known.message, excluded.message),
    fingerprint = coalesce(known.fingerprint, excluded.fingerprint),
    failed_at = coalesce(known.failed_at, excluded.failed_at),
    delivery_count = coalesce(known.delivery_count, excluded.delivery_count),
    redrives = greatest(known.redrives, excluded.redrives),
    build = coalesce(known.build, excluded.build),
    key = coalesce(known.key, excluded.key),
    value = coalesce(known.value, excluded.value),
    headers = coalesce(known.headers, excluded.headers)
