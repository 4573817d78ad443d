-- One view: rows that answer questions, with the positions that they are the fold of.
--
-- No table is named with its schema: the schema is the one that the migrating connection looks in first. So a
-- rebuild can make the same tables in a second schema, fill them from the topics' beginning and take over by
-- renaming, positions and holds included. What the projector sends (dead_letter, relay) is not the view's: it
-- stays in schema public.

create table order_view (
  order_id uuid primary key,
  -- Each source has a version of its own: the sequence of the newest event that is folded in.
  order_version bigint not null,
  reservation_version bigint not null,
  payment_version bigint not null,
  order_at timestamptz,
  reservation_at timestamptz,
  payment_at timestamptz,
  -- JSON as text: the database never looks inside.
  order_state text,
  reservation_state text,
  payment_state text,
  -- Somebody else's event claimed something about it.
  "foreign" boolean not null,
  -- Copies from the order's state for queries; null until OrderCreated has come.
  status text,
  user_id text,
  created_at timestamptz
)
-- Updated several times in a row: room for the new version on the same page.
with (fillfactor = 50);

-- Newest first, and pages by (created_at, order_id). Each costs an entry whenever an order's status changes, so there is none
-- for all orders and none for a user's whatever their status: the few statuses are merged when somebody asks (query.rs).
create index order_view_by_status on order_view (status, created_at, order_id) where created_at is not null;
create index order_view_by_user on order_view (user_id, status, created_at, order_id) where created_at is not null;

-- Which orders want a sku. Written once, with OrderCreated.
create table order_sku (
  sku text not null,
  created_at timestamptz not null,
  order_id uuid not null,
  primary key (sku, created_at, order_id)
);

-- Where a user or a status has fewer orders than the sku.
create index order_sku_by_order on order_sku (order_id);

-- Every event about an order over all topics.
create table timeline (
  order_id uuid not null,
  topic text not null,
  -- The stream version; 0 for an event that no service of ours wrote.
  sequence bigint not null,
  event_id uuid not null,
  -- The order id or the sku: with the topic it names the stream.
  key text not null,
  type text not null,
  service text not null,
  time timestamptz not null,
  position bigint,
  cause uuid,
  data text not null,
  -- How often it was on its topic.
  deliveries int not null,
  primary key (order_id, topic, sequence, event_id)
);

create table stock_view (
  sku text primary key,
  version bigint not null,
  at timestamptz not null,
  on_hand bigint not null,
  reserved bigint not null
)
with (fillfactor = 50);

-- What orders completed with (view/sale.rs). A row is of one sku, or of all: '', which is none; and of one hour, or of all:
-- '-infinity'. So each question finds its sums.
create table sale (
  sku text not null,
  hour timestamptz not null,
  currency text not null,
  orders bigint not null,
  quantity bigint not null,
  amount_minor numeric not null,
  primary key (sku, hour, currency)
)
with (fillfactor = 50);

create index sale_by_sku on sale (sku, currency) where hour = '-infinity';

-- Orders by the minute in which they were created and by what is counted of them (view/pace.rs).
create table pace (
  minute timestamptz not null,
  counted smallint not null,
  orders bigint not null,
  primary key (minute, counted)
)
with (fillfactor = 50);

create table dead_letter_view (
  id uuid primary key,
  -- 'dead', or that of the newest change.
  status text not null,
  -- The newest change, by the broker's time and then by place.
  changed_at timestamptz,
  changed_partition int,
  changed_offset bigint,
  changed_by text,
  changed_reason text,
  redrives int not null,
  -- Null while only a change of it has come.
  "group" text,
  topic text,
  partition int,
  "offset" bigint,
  stage text,
  code text,
  message text,
  fingerprint text,
  failed_at timestamptz,
  delivery_count int,
  build text,
  key bytea,
  value bytea,
  -- JSON: a list of name and base64 value.
  headers text
);

-- Letters are few among messages, and an operator asks for them in any way.
create index dead_letter_view_by_time on dead_letter_view (failed_at, id) where failed_at is not null;
create index dead_letter_view_by_status on dead_letter_view (status, failed_at, id) where failed_at is not null;
create index dead_letter_view_by_group on dead_letter_view ("group", failed_at, id) where failed_at is not null;
create index dead_letter_view_by_code on dead_letter_view (code, failed_at, id) where failed_at is not null;
create index dead_letter_view_by_fingerprint on dead_letter_view (fingerprint, failed_at, id) where failed_at is not null;
-- What is to be decided about an order. Hashed, since a key can be longer than an entry of an ordered index may be.
create index dead_letter_view_by_key on dead_letter_view using hash (key)
where failed_at is not null and status not in ('redriven', 'discarded');

-- The view's own, so that they go wherever it goes.
create table position (like public.position including all);
create table held_message (like public.held_message including all);
