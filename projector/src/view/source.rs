//! One source of a row: a state, and the stream version that it is the fold of.

use shared::contract::{Timestamp, ids::StreamName};

/// The fold of one stream up to a version. Version 0 has no event.
#[derive(Debug, Clone, PartialEq)]
pub struct Source<S> {
    pub version: i64,
    /// When the event of this version was recorded.
    pub at: Option<Timestamp>,
    pub state: Option<S>,
}

impl<S> Default for Source<S> {
    fn default() -> Self {
        Self { version: 0, at: None, state: None }
    }
}

/// What an event did to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Applied,
    /// The row has it already.
    Duplicate,
}

/// A valid event that no state of the row allows: its writer or its topic is broken. The row is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("{stream} is at version {known} and this is version {found}: what is between them never came")]
    Gap { stream: StreamName, known: i64, found: i64 },
    #[error("{event_type} cannot be version {found} of {stream}")]
    Impossible { stream: StreamName, event_type: String, found: i64 },
}

impl Failed {
    /// Becomes `dlq.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "version-gap",
            Self::Impossible { .. } => "impossible-event",
        }
    }
}

impl<S: Clone> Source<S> {
    /// Folds one event. `evolve` says `None` where the state does not allow it.
    pub fn apply(
        &mut self,
        stream: impl FnOnce() -> StreamName,
        event_type: &str,
        version: i64,
        at: Timestamp,
        evolve: impl FnOnce(Option<S>) -> Option<S>,
    ) -> Result<Step, Failed> {
        if version <= self.version {
            return Ok(Step::Duplicate);
        }
        if version != self.version + 1 {
            return Err(Failed::Gap { stream: stream(), known: self.version, found: version });
        }
        let Some(state) = evolve(self.state.clone()) else {
            return Err(Failed::Impossible {
                stream: stream(),
                event_type: event_type.to_owned(),
                found: version,
            });
        };
        *self = Self { version, at: Some(at), state: Some(state) };
        Ok(Step::Applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> StreamName {
        StreamName::stock(&"SKU-1".parse().unwrap())
    }

    #[test]
    fn a_version_is_folded_once_and_only_onto_the_one_before_it() {
        let mut source = Source::<i32>::default();
        let mut apply = |version, to| {
            source.apply(stream, "t", version, Timestamp::UNIX_EPOCH, |old| {
                (to > 0).then(|| old.unwrap_or_default() + to)
            })
        };
        assert_eq!(apply(2, 1).unwrap_err().code(), "version-gap");
        assert_eq!(apply(1, 0).unwrap_err().code(), "impossible-event");
        assert_eq!(apply(1, 1), Ok(Step::Applied));
        assert_eq!(apply(1, 1), Ok(Step::Duplicate));
        assert_eq!(apply(2, 1), Ok(Step::Applied));
        assert_eq!((source.version, source.state), (2, Some(2)));
    }
}
