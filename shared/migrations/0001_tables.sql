-- The log of a service and its neighbours: seven tables, the same in every write database.
--
-- `append` (0002) is the only writer, under one lock. Two exceptions, which no decision rests on: the attempts
-- of `position` and the cursors of `relay`.

create table event (
  -- Gapless: 1, 2, 3, … for ever, in commit order.
  position bigint primary key,
  stream text not null,
  version bigint not null,
  event_id uuid not null,
  type text not null,
  -- JSON as text: jsonb would change the bytes that are published, and costs a third more.
  data text not null,
  -- Which of how many events of one decision, such as 1/2.
  decision text not null,
  correlation_id uuid not null,
  causation_id uuid not null,
  traceparent text,
  recorded_at timestamptz not null,
  -- The last line of defence: append compares before.
  unique (stream, version)
);

-- The id of a receipt or adjustment of stock is made of its reference, and the reference counts once. Queries by
-- event id repeat this condition word for word, else they do not use the index.
create unique index event_identity on event (event_id)
where type like 'fulfil.stock.received.%' or type like 'fulfil.stock.adjusted.%';

-- The fold of a stream, one per fold: two builds that fold differently run side by side during a deploy.
create table snapshot (
  stream text not null,
  fingerprint text not null,
  version bigint not null,
  state text not null,
  primary key (stream, fingerprint)
);

-- Where this database's consumer group stands. One row a partition, which whoever writes sees to under the log's lock.
create table position (
  topic text not null,
  partition int not null,
  -- The next offset; -1 until the first message is done.
  next bigint not null default -1,
  -- Runs in a row that took a message of the partition and did not live to finish one.
  starts int not null default 0,
  -- The message that was taken alone after too many of those, and how often.
  attempt_offset bigint,
  attempts int not null default 0,
  -- With the offset: every batch moves the row, and while somebody holds a snapshot (a dump) all its old versions stay.
  -- By its whole key the one that counts is found at once, by topic and partition it would be looked for among them.
  primary key (topic, partition, next)
);

-- Messages that wait, per key in the order of id.
create table held_message (
  -- Never given twice, so that a late delete hits nothing else.
  id bigint generated always as identity primary key,
  -- The id in the message's data, and the partition whose owner releases it.
  key text not null,
  key_partition int not null,
  kind text not null,
  topic text not null,
  partition int not null,
  "offset" bigint not null,
  message_key bytea,
  value bytea,
  -- Names and values with their lengths (log/headers.rs); null where they could not be read.
  headers bytea,
  timestamp_ms bigint not null,
  held_at timestamptz not null,
  unique (topic, partition, "offset")
);

create index held_message_key on held_message (key, id);

-- What became of messages that could not be processed. Records are only added; the newest says how a letter stands. The
-- value of a change is what an operator put in place of the letter's.
create table dead_letter (
  -- Gapless like event.position: the relay checks itself by it.
  number bigint primary key,
  letter_id uuid not null,
  -- 'dead' for the first record, which alone carries the whole message.
  status text not null,
  recorded_at timestamptz not null,
  by text,
  reason text,
  "group" text,
  topic text,
  partition int,
  "offset" bigint,
  message_key bytea,
  value bytea,
  headers bytea,
  timestamp_ms bigint,
  stage text,
  code text,
  message text,
  fingerprint text,
  delivery_count int,
  build text,
  -- The key that waits until the letter is redriven or discarded.
  holds_key text,
  holds_partition int
);

create unique index dead_letter_once on dead_letter (letter_id) where status = 'dead';
create index dead_letter_history on dead_letter (letter_id, number);
create index dead_letter_holds on dead_letter (holds_key) where holds_key is not null;

-- What the service owes itself. A function of the log: it can be made again from it.
create table task (
  id uuid primary key,
  partition int not null,
  stream text not null,
  kind text not null,
  due_at timestamptz not null,
  attempt int not null,
  -- The message or event that made it owed, and its trace.
  cause uuid not null,
  traceparent text
);

create index task_due on task (partition, due_at);

-- How far the relay has published.
create table relay (
  name text primary key,
  cursor bigint not null
);

insert into relay (name, cursor)
values ('event', 0), ('dead_letter', 0);

create function refuse_change() returns trigger
language plpgsql
as $$
begin
  raise exception '% is append-only', tg_table_name
    using errcode = 'restrict_violation', hint = 'Append what makes it good.';
end
$$;

create trigger event_is_append_only
before update or delete or truncate on event
for each statement execute function refuse_change();

create trigger dead_letter_is_append_only
before update or delete or truncate on dead_letter
for each statement execute function refuse_change();
