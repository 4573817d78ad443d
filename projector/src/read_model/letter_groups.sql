-- One row a fingerprint, consumer group and code, those of which most wait for somebody first. Neither values nor headers are read, and the message of one letter only.
select found.*, newest.message
from (
  select
    fingerprint, "group", code,
    (array_agg(id order by failed_at desc, id desc))[1] as newest_id,
    count(*) as letters,
    count(*) filter (where status in ('dead', 'failed-again', 'parked')) as waiting,
    count(*) filter (where status = 'dead') as dead,
    count(*) filter (where status = 'failed-again') as failed_again,
    count(*) filter (where status = 'parked') as parked,
    count(*) filter (where status = 'redriven') as redriven,
    count(*) filter (where status = 'discarded') as discarded,
    count(distinct key) as keys,
    min(failed_at) as first_failed_at,
    max(failed_at) as last_failed_at,
    array[
      count(*) filter (where age = 11), count(*) filter (where age = 10), count(*) filter (where age = 9),
      count(*) filter (where age = 8), count(*) filter (where age = 7), count(*) filter (where age = 6),
      count(*) filter (where age = 5), count(*) filter (where age = 4), count(*) filter (where age = 3),
      count(*) filter (where age = 2), count(*) filter (where age = 1), count(*) filter (where age = 0)
    ] as trend
  from (
    select
      id, status, "group", code, fingerprint, key, failed_at,
      -- In buckets of five minutes. The clock of who wrote it may be ahead of this one.
      greatest(floor(extract(epoch from now() - failed_at) / 300), 0) as age
    from (
      -- Those that wait are found among however many are done with.
      (
        select id, status, "group", code, fingerprint, key, failed_at
        from dead_letter_view
        where failed_at is not null
          and status = any ($1)
          and ($2::text is null or "group" = $2)
          and ($3::text is null or code = $3)
          and ($4::text is null or fingerprint = $4)
        order by failed_at desc, id desc
        limit $6
      )
      union all
      (
        select id, status, "group", code, fingerprint, key, failed_at
        from dead_letter_view
        where failed_at is not null
          and status = any ($7)
          and ($2::text is null or "group" = $2)
          and ($3::text is null or code = $3)
          and ($4::text is null or fingerprint = $4)
        order by failed_at desc, id desc
        limit $6
      )
    ) as newest
  ) as letter
  group by fingerprint, "group", code
  order by waiting desc, letters desc, last_failed_at desc, fingerprint, "group"
  limit $5
) as found
join dead_letter_view as newest on newest.id = found.newest_id
order by found.waiting desc, found.letters desc, found.last_failed_at desc, found.fingerprint, found."group"
