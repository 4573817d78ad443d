-- The views change places. Nobody writes the served one (it is locked), and whoever writes the second took this lock before.
select pg_advisory_xact_lock(1);

-- What operators ask is done by the view that serves.
delete from second.position
where topic = 'dead-letters.commands';

insert into second.position
select *
from view.position
where topic = 'dead-letters.commands';

-- The message of an open letter: a second view keeps it first in the queue of its key, the one that serves in the letter alone.
delete from second.held_message as held
using dead_letter as dead
where dead.status = 'dead'
  and dead.topic = held.topic
  and dead.partition = held.partition
  and dead."offset" = held."offset";

insert into view.held_message (
  id, key, key_partition, kind, topic, partition, "offset", message_key, value, headers, timestamp_ms, held_at
)
overriding system value
select
  -- Before all that waits behind it.
  dead.number - (select max(number) + 1 from dead_letter),
  coalesce(dead.holds_key, dead.letter_id::text), coalesce(dead.holds_partition, dead.partition), 'behind',
  dead.topic, dead.partition, dead."offset", dead.message_key, dead.value, dead.headers, dead.timestamp_ms,
  dead.recorded_at
from dead_letter as dead
where dead.status = 'dead'
  -- A command that failed has no place in a view.
  and dead.topic <> 'dead-letters.commands'
  -- What it has not reached comes by itself.
  and dead."offset" < (
    select next
    from view.position as reached
    where reached.topic = dead.topic and reached.partition = dead.partition
  )
  and not exists (
    select
    from dead_letter as done
    where done.letter_id = dead.letter_id and done.status in ('redriven', 'discarded')
  );

update second.projection
set wanted = 'serve';

update view.projection
set wanted = 'rest', run_at = null, run_from = null, filled_at = coalesce(filled_at, now());

alter schema view rename to changing;
alter schema second rename to view;
alter schema changing rename to second;
