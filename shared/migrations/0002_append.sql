-- Compare and append: all that a batch changes, in one call and one transaction (log/append.rs).
--
-- It is called in autocommit at READ COMMITTED, where each statement of a function has a snapshot of its own: what
-- is read after the lock was taken is the newest. The lock is held until the transaction has committed, so commit
-- order is position order, and an aborted call leaves no hole.
create function append(
  -- The end of the log that the batch was decided at, and the event there where the caller knows it.
  seen bigint,
  seen_event uuid,
  event_stream text[],
  event_version bigint[],
  event_event_id uuid[],
  event_type text[],
  event_data text[],
  event_decision text[],
  event_correlation_id uuid[],
  event_causation_id uuid[],
  event_traceparent text[],
  event_recorded_at timestamptz[],
  move_topic text[],
  move_partition int[],
  move_from bigint[],
  move_to bigint[],
  unheld bigint[],
  held_key text[],
  held_key_partition int[],
  held_kind text[],
  held_topic text[],
  held_partition int[],
  held_offset bigint[],
  held_message_key bytea[],
  held_value bytea[],
  held_headers bytea[],
  held_timestamp_ms bigint[],
  held_held_at timestamptz[],
  letter_letter_id uuid[],
  letter_status text[],
  letter_recorded_at timestamptz[],
  letter_by text[],
  letter_reason text[],
  letter_group text[],
  letter_topic text[],
  letter_partition int[],
  letter_offset bigint[],
  letter_message_key bytea[],
  letter_value bytea[],
  letter_headers bytea[],
  letter_timestamp_ms bigint[],
  letter_stage text[],
  letter_code text[],
  letter_message text[],
  letter_fingerprint text[],
  letter_delivery_count int[],
  letter_build text[],
  letter_holds_key text[],
  letter_holds_partition int[],
  task_done uuid[],
  -- As the task stood when it was run; null where it goes however it stands.
  task_done_due_at timestamptz[],
  task_done_attempt int[],
  task_done_cause uuid[],
  task_id uuid[],
  task_partition int[],
  task_stream text[],
  task_kind text[],
  task_due_at timestamptz[],
  task_attempt int[],
  task_cause uuid[],
  task_traceparent text[],
  -- Not null: only where messages wait on this key because they were too early.
  task_releases text[],
  snapshot_stream text[],
  snapshot_fingerprint text[],
  snapshot_version bigint[],
  snapshot_state text[],
  -- done, done_before, log_moved, fenced, log_behind or log_differs. All but done have written nothing.
  out outcome text,
  out log_end bigint,
  out answered_at timestamptz
)
language plpgsql
-- All that it looks up it looks up by key. The table of positions has a row a partition and, while somebody holds a
-- snapshot, thousands of pages of old versions: by such statistics an index looks no better than reading them all.
-- So there is one plan for each statement, and making it anew for each call would cost more than the call.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set enable_material = off
as $$
declare
  events constant int := cardinality(event_stream);
  moves constant int := cardinality(move_topic);
  -- Moves that go somewhere; the others only compare.
  going int := 0;
  -- Positions that are what the caller thinks they are, at the move's end, at it or past it.
  as_known int := 0;
  arrived int := 0;
  arrived_or_past int := 0;
  moved int := 0;
  equal_events int := 0;
  still_held int := 0;
  -- The event at `seen`, where the log reaches it.
  end_event uuid;
begin
  -- Lock 1 of a database is its log's.
  perform pg_advisory_xact_lock(1);

  select position, event_id
  into log_end, end_event
  from event
  order by position desc
  limit 1;
  log_end := coalesce(log_end, 0);

  -- Cut to what Rust, JSON and this database all hold without loss.
  answered_at := date_trunc('milliseconds', clock_timestamp());

  -- A restored backup under a running process: it knows events that are not here.
  if log_end < seen then
    outcome := 'log_behind';
    return;
  end if;

  if log_end > seen then
    select event_id
    into end_event
    from event
    where position = seen;
  end if;

  -- It may end at the same number and be another one: of a copy that was promoted or restored.
  if seen_event <> end_event then
    outcome := 'log_differs';
    return;
  end if;

  -- Positions are looked up by their whole key, offset included: 0001 says why. Arrays of every batch are unnested in select
  -- lists: those in one FROM are stored before the first row is read, and a batch of one pays most for that.
  if moves > 0 then
    select count(*) filter (where move."from" is distinct from move."to"), count(stands.next)
    into going, as_known
    from (
      select
        unnest(move_topic) as topic,
        unnest(move_partition) as partition,
        unnest(move_from) as "from",
        unnest(move_to) as "to"
    ) as move
    left join position as stands
      on stands.topic = move.topic and stands.partition = move.partition and stands.next = coalesce(move."from", -1);
  end if;

  -- Something of it came here before, or somebody else went on, or a partition has no row yet.
  if as_known < moves or log_end > seen then
    select
      as_known + count(*) filter (where move."from" is null and not exists (
        select
        from position as known
        where known.topic = move.topic and known.partition = move.partition
      )),
      count(*) filter (where stands.next = move."to"),
      count(stands.next)
    into as_known, arrived, arrived_or_past
    from (
      select
        unnest(move_topic) as topic,
        unnest(move_partition) as partition,
        unnest(move_from) as "from",
        unnest(move_to) as "to"
    ) as move
    left join position as stands
      on stands.topic = move.topic and stands.partition = move.partition and stands.next >= move."to";
  end if;

  -- The same call may have been committed while its answer was lost. Its first event then stands right after
  -- `seen`, for it was appended only where the log ended there. The id alone does not prove it: another replica that
  -- took the same message makes the same id, but of another batch. So all of it must be equal. (A condition with a query in it
  -- runs it also where the rest is false, so such queries stand inside.)
  if events > 0 and log_end > seen and arrived_or_past = moves then
    if exists (select from event where position = seen + 1 and event_id = event_event_id[1]) then
      select count(*)
      into equal_events
      from unnest(
        event_stream, event_version, event_event_id, event_type, event_data, event_decision,
        event_correlation_id, event_causation_id, event_traceparent, event_recorded_at
      ) with ordinality as ours (
        stream, version, event_id, type, data, decision,
        correlation_id, causation_id, traceparent, recorded_at, ordinal
      )
      join event as stored on stored.position = seen + ours.ordinal
      where (
          stored.stream, stored.version, stored.event_id, stored.type, stored.data, stored.decision,
          stored.correlation_id, stored.causation_id, stored.recorded_at
        ) = (
          ours.stream, ours.version, ours.event_id, ours.type, ours.data, ours.decision,
          ours.correlation_id, ours.causation_id, ours.recorded_at
        )
        and stored.traceparent is not distinct from ours.traceparent;
      if equal_events = events then
        outcome := 'done_before';
        return;
      end if;
    end if;
  end if;

  -- A batch without events is told by its positions.
  if events = 0 and going > 0 and arrived = moves then
    outcome := 'done_before';
    return;
  end if;

  -- Before the log: who is fenced has nothing to decide again.
  if as_known < moves then
    outcome := 'fenced';
    return;
  end if;

  -- Also where nothing is to be appended: that too was decided at `seen`.
  if log_end > seen then
    outcome := 'log_moved';
    return;
  end if;

  -- Another replica has processed what is held, and may have appended nothing by it: to be read again.
  if cardinality(unheld) > 0 then
    select count(*)
    into still_held
    from held_message
    where id = any (unheld);
    if still_held < cardinality(unheld) then
      outcome := 'log_moved';
      return;
    end if;
  end if;

  -- Nothing but positions: a crash may forget them, since what came before them then comes again and is as done as now.
  -- (What it forgets with them is that a run lived to finish a message; the next message that is finished says so again.)
  if events = 0
    and cardinality(unheld) + cardinality(held_key) + cardinality(letter_status) + cardinality(task_done)
      + cardinality(task_id) + cardinality(snapshot_stream) = 0
  then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  if events > 0 then
    insert into event (
      position, stream, version, event_id, type, data, decision,
      correlation_id, causation_id, traceparent, recorded_at
    )
    select
      seen + generate_subscripts(event_stream, 1), unnest(event_stream), unnest(event_version), unnest(event_event_id),
      unnest(event_type), unnest(event_data), unnest(event_decision), unnest(event_correlation_id),
      unnest(event_causation_id), unnest(event_traceparent), unnest(event_recorded_at);
    log_end := seen + events;
  end if;

  if going > 0 then
    update position as stands
    -- Somebody lived to finish a message of it.
    set next = move."to", starts = 0, attempt_offset = null, attempts = 0
    from (
      select
        unnest(move_topic) as topic,
        unnest(move_partition) as partition,
        unnest(move_from) as "from",
        unnest(move_to) as "to"
    ) as move
    where stands.topic = move.topic
      and stands.partition = move.partition
      and stands.next = coalesce(move."from", -1)
      and move."from" is distinct from move."to";
    get diagnostics moved = row_count;
    if moved < going then
      insert into position (topic, partition, next)
      select move.topic, move.partition, move."to"
      from (
        select
          unnest(move_topic) as topic,
          unnest(move_partition) as partition,
          unnest(move_from) as "from",
          unnest(move_to) as "to"
      ) as move
      where move."from" is null
        and not exists (
          select
          from position as known
          where known.topic = move.topic and known.partition = move.partition
        );
    end if;
  end if;

  if cardinality(unheld) > 0 then
    delete from held_message
    where id = any (unheld);
  end if;

  if cardinality(held_key) > 0 then
    insert into held_message (
      key, key_partition, kind, topic, partition, "offset",
      message_key, value, headers, timestamp_ms, held_at
    )
    select
      new.key, new.key_partition, new.kind, new.topic, new.partition, new."offset",
      new.message_key, new.value, new.headers, new.timestamp_ms, new.held_at
    from unnest(
      held_key, held_key_partition, held_kind, held_topic, held_partition, held_offset,
      held_message_key, held_value, held_headers, held_timestamp_ms, held_held_at
    ) with ordinality as new (
      key, key_partition, kind, topic, partition, "offset",
      message_key, value, headers, timestamp_ms, held_at, ordinal
    )
    order by new.ordinal
    -- It keeps its place.
    on conflict (topic, partition, "offset") do nothing;
  end if;

  if cardinality(letter_status) > 0 then
    insert into dead_letter (
      number, letter_id, status, recorded_at, by, reason,
      "group", topic, partition, "offset", message_key, value, headers, timestamp_ms,
      stage, code, message, fingerprint, delivery_count, build, holds_key, holds_partition
    )
    select
      (select coalesce(max(number), 0) from dead_letter) + row_number() over (order by new.ordinal),
      new.letter_id, new.status, new.recorded_at, new.by, new.reason,
      new."group", new.topic, new.partition, new."offset", new.message_key, new.value, new.headers, new.timestamp_ms,
      new.stage, new.code, new.message, new.fingerprint, new.delivery_count, new.build,
      new.holds_key, new.holds_partition
    from unnest(
      letter_letter_id, letter_status, letter_recorded_at, letter_by, letter_reason,
      letter_group, letter_topic, letter_partition, letter_offset,
      letter_message_key, letter_value, letter_headers, letter_timestamp_ms,
      letter_stage, letter_code, letter_message, letter_fingerprint, letter_delivery_count, letter_build,
      letter_holds_key, letter_holds_partition
    ) with ordinality as new (
      letter_id, status, recorded_at, by, reason,
      "group", topic, partition, "offset",
      message_key, value, headers, timestamp_ms,
      stage, code, message, fingerprint, delivery_count, build,
      holds_key, holds_partition, ordinal
    )
    -- A letter dies once. Left out before it is numbered, so that no number is lost.
    where new.status <> 'dead'
      or not exists (
        select
        from dead_letter as known
        where known.letter_id = new.letter_id and known.status = 'dead'
      );
  end if;

  if cardinality(task_done) > 0 then
    -- Not joined: by statistics of an empty table the planner would go through all tasks for each that is done.
    delete from task
    where id = any (task_done)
      and (
        id in (
          select done.id
          from unnest(task_done, task_done_cause) as done (id, cause)
          where done.cause is null
        )
        or (id, due_at, attempt, cause) in (
          select *
          from unnest(task_done, task_done_due_at, task_done_attempt, task_done_cause) as done (id, due_at, attempt, cause)
          where done.cause is not null
        )
      );
  end if;

  -- After the holds, so that a release sees what this batch holds.
  if cardinality(task_id) > 0 then
    insert into task (id, partition, stream, kind, due_at, attempt, cause, traceparent)
    select new.id, new.partition, new.stream, new.kind, new.due_at, new.attempt, new.cause, new.traceparent
    from (
      select
        unnest(task_id) as id,
        unnest(task_partition) as partition,
        unnest(task_stream) as stream,
        unnest(task_kind) as kind,
        unnest(task_due_at) as due_at,
        unnest(task_attempt) as attempt,
        unnest(task_cause) as cause,
        unnest(task_traceparent) as traceparent,
        unnest(task_releases) as releases
    ) as new
    where new.releases is null
      or exists (
        select
        from held_message as waiting
        where waiting.key = new.releases and waiting.kind = 'too_early'
      )
    on conflict (id) do update
    set
      partition = excluded.partition,
      due_at = excluded.due_at,
      attempt = excluded.attempt,
      cause = excluded.cause,
      traceparent = excluded.traceparent;
  end if;

  if cardinality(snapshot_stream) > 0 then
    insert into snapshot (stream, fingerprint, version, state)
    select new.stream, new.fingerprint, new.version, new.state
    from unnest(snapshot_stream, snapshot_fingerprint, snapshot_version, snapshot_state)
      as new (stream, fingerprint, version, state)
    on conflict (stream, fingerprint) do update
    set version = excluded.version, state = excluded.state
    where snapshot.version < excluded.version;
  end if;

  outcome := 'done';
end
$$;
