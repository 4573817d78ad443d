//! Spans: the way of an order as a tree, in the form that OpenTelemetry's collectors and Jaeger take. With the feature
//! `otlp` and an endpoint; without the feature all of this is empty, as [`crate::failpoint`] is.
//!
//! **The tree is drawn from what the messages say.** Nothing is added to a message and nothing is kept for a span, so a tree is
//! whole across crashes, replicas and rebalances:
//!
//! * The trace is that of the message's `traceparent`, or else its correlation id: both are 16 bytes, and an event has both
//!   from its cause ([`crate::execute`]).
//! * What a group does with a message is one span. Its id is derived from the message's id and the group (`ids.rs`).
//! * Its parent is derived likewise, from the causation id and the service that wrote the message. What has no cause is the
//!   first of its chain: its parent is the span that its `traceparent` names.
//!
//! What the cause is, by how it came:
//!
//! * A message from a topic, a command too: its id, and the group that read it drew its span.
//! * A command over HTTP: the command's id. So one is drawn for it (`decide`), as the child of the request's span, which is the
//!   one that the command's `traceparent` names. A hint of the provider is such a request: what comes of it is in its trace.
//! * A task that fell due, and the answer to a call: the message that made the task owed, whose trace stands in the task. There
//!   is no span for the task, and one (`CLIENT`) for each call. A deadline belongs to what created the order.
//! * What was compared with the provider's books: a command that nobody asked for, so a trace of its own by the order's id.
//! * Events taken back from a topic are drawn by nobody: they were when they were new. The tasks that are made again with them
//!   have the cause and trace that they had; one that was owed before them as well has those of the first of them.
//!
//! **What is done again is linked, never a second child.** A duplicate is a trace of its own with a link to what it repeats: a
//! message before the partition's position, one that the view has already, one in the batch of a task that it made owed, or one
//! of which nothing is made and whose id was seen not long ago (`recent.rs`). A redrive is a child of the command that asked for it, in the trace of that command, with a
//! link to the processing that failed, which stays the parent of what the message makes in the end. Where that one could not
//! even be read, the redrive is the first that could, and is the parent; its link goes to the command. A message that waits
//! is drawn when it goes on; that of a service is as long as it waited.
//!
//! A message that does not concern a group is not drawn: most are such, and nothing follows. Nor is a second view: what it folds
//! was processed long ago. And there are no spans for publishing: how long a message lay in the log and then on its topic are
//! two numbers (`fulfil.outbox_ms`, `fulfil.topic_ms`) at the span of whoever read it.
//!
//! Told after the commit, in one go for a batch; read and drawn by a thread of its own (`sender.rs`), which forgets what it has no
//! room for (`room.rs`). There is one for the process, set at its start, as for log lines.

#[cfg(feature = "otlp")]
mod ids;
#[cfg(feature = "otlp")]
mod message;
#[cfg(feature = "otlp")]
mod work;
#[cfg(feature = "otlp")]
mod pen;
#[cfg(feature = "otlp")]
mod edge;
#[cfg(feature = "otlp")]
mod recent;
#[cfg(feature = "otlp")]
mod room;
#[cfg(feature = "otlp")]
mod sender;
#[cfg(feature = "otlp")]
mod told;
#[cfg(feature = "otlp")]
pub(crate) mod settings;
#[cfg(not(feature = "otlp"))]
mod off;

#[cfg(feature = "otlp")]
pub use message::Message;
#[cfg(not(feature = "otlp"))]
pub use off::{Began, Calling, Spans, calling, caused_by, is_sampled, served, start};
#[cfg(feature = "otlp")]
pub use sender::{Spans, start};
#[cfg(feature = "otlp")]
pub use told::{Began, Calling, are_on, calling, caused_by, is_sampled, served, tell};
#[cfg(feature = "otlp")]
pub use work::{Fate, Incoming, Redriven, Size, Work};
