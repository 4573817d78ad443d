-- The events of one order, or of all where $1 is null, each once with the number of its deliveries. Of deliveries that
-- differ the least one is told, as the fold has it.
select distinct on (order_id, topic, sequence, event_id)
  *, count(*) over (partition by order_id, topic, sequence, event_id) as deliveries
from timeline
where $1::uuid is null or order_id = $1
order by order_id, topic, sequence, event_id, time, data collate "C"
