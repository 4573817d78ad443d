-- Every position of the served view is reached, and nothing waits in the second for a letter that is done with.
select not exists (
  select
  from view.position as served
  left join second.position as ours on ours.topic = served.topic and ours.partition = served.partition
  where served.topic <> 'dead-letters.commands'
    and served.next > greatest(ours.next, 0)
)
and not exists (
  select
  from second.held_message as held
  join dead_letter as dead
    on dead.status = 'dead'
    and dead.topic = held.topic
    and dead.partition = held.partition
    and dead."offset" = held."offset"
  join dead_letter as done on done.letter_id = dead.letter_id and done.status in ('redriven', 'discarded')
)
