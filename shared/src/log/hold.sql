-- $1: values of the column that is put in, keys or their partitions.
with
waiting as (
  select
    key,
    count(*) filter (where kind = 'too_early') as too_early,
    count(*) filter (where kind = 'behind') as behind,
    count(*) filter (where kind = 'newer') as newer
  from held_message
  where /* column */ = any ($1)
  group by key
),
-- The oldest letter of a key that is not done with.
holding as (
  select distinct on (dead.holds_key) dead.holds_key as key, dead.letter_id
  from dead_letter as dead
  where dead.status = 'dead'
    and dead.holds_key is not null
    and dead./* holds */ = any ($1)
    and (
      select newest.status
      from dead_letter as newest
      where newest.letter_id = dead.letter_id
      order by newest.number desc
      limit 1
    ) not in ('redriven', 'discarded')
  order by dead.holds_key, dead.number
)
select
  key,
  holding.letter_id,
  coalesce(waiting.too_early, 0) as too_early,
  coalesce(waiting.behind, 0) as behind,
  coalesce(waiting.newer, 0) as newer
from waiting
full join holding using (key)
order by key
