-- What this view is: one row.
create table projection (
  begun_at timestamptz not null default now(),
  -- Of the projector that began to fill it; null where it was served from its first message.
  build text,
  -- When it had all that was on the topics; null while it is filled for the first time.
  filled_at timestamptz,
  -- What is to become of it: serve, follow (the topics, beside the one that serves), switch (follow and take its place),
  -- rest (as it served last, so that it can be gone back to).
  wanted text not null default 'serve',
  -- The run that follows now or did last: when it began, and after how many messages.
  run_at timestamptz,
  run_from bigint,
  -- Runs in a row that began and committed nothing; more than may be where it cannot go on.
  starts int not null default 0
);

insert into projection default values;

-- What a comparison saw different, as long as it may only be that one of the views was ahead. Whoever follows the topics into
-- the second view looks at it again with both at the same places; what is left then differs.
create table doubt (
  comparison uuid not null,
  name text not null,
  key text not null,
  is_settled bool not null default false,
  -- The rows, of some of those that are settled.
  served json,
  second json,
  primary key (comparison, name, key)
);

-- Orders of which this view said something else than their topics when they were compared last.
create table drift (
  order_id uuid primary key,
  found_at timestamptz not null,
  -- In words.
  what text not null
);

-- How many orders were open and overdue in each minute, as it was seen then.
create table open_orders (
  minute timestamptz primary key,
  open bigint not null,
  overdue bigint not null
);
