//! How the simulated provider behaves: by the amount, which a test chooses, and by chance, which a chaos run sets.

use std::time::Duration;

use shared::contract::{money::Money, payment::Operation};
use uuid::Uuid;

/// Rates are per thousand calls and drawn from seed, key and attempt, so that a run can be repeated.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Behaviour {
    /// Authorizations that are declined
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE", value_parser = per_mille())]
    pub declined_per_mille: u32,
    /// Captures that fail for good
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE", value_parser = per_mille())]
    pub capture_failed_per_mille: u32,
    /// Voids and refunds that are refused, this time
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE", value_parser = per_mille())]
    pub undoing_refused_per_mille: u32,
    /// Calls that are answered 503, and nothing happens
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE", value_parser = per_mille())]
    pub unavailable_per_mille: u32,
    /// Calls that are never answered, and nothing happens
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE", value_parser = per_mille())]
    pub unanswered_per_mille: u32,
    /// Calls that happen and are answered too late
    #[arg(long, default_value_t = 0, value_name = "PER_MILLE", value_parser = per_mille())]
    pub late_per_mille: u32,
    /// How long every answer takes
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub delay_ms: u64,
    /// How long an answer takes that is too late
    #[arg(long, default_value_t = LATE_MS, value_name = "MS")]
    pub late_ms: u64,
    /// Another seed is another run
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Longer than any client of ours waits.
const LATE_MS: u64 = 15_000;

fn per_mille() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=1000)
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            declined_per_mille: 0,
            capture_failed_per_mille: 0,
            undoing_refused_per_mille: 0,
            unavailable_per_mille: 0,
            unanswered_per_mille: 0,
            late_per_mille: 0,
            delay_ms: 0,
            late_ms: LATE_MS,
            seed: 0,
        }
    }
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Unavailable,
    Unanswered,
    Late,
    Declined,
    CaptureFailed,
    UndoingRefused,
    Contradicts,
}

impl Behaviour {
    /// `None`: at once, which a timer of no length is not.
    pub fn delay(&self) -> Option<Duration> {
        (self.delay_ms > 0).then(|| Duration::from_millis(self.delay_ms))
    }

    pub fn late(&self) -> Duration {
        Duration::from_millis(self.late_ms)
    }

    /// `asked` counts the calls for this operation of the payment before this one.
    pub(super) fn fault(
        &self,
        operation: Operation,
        amount: Option<Money>,
        key: Uuid,
        asked: u32,
    ) -> Option<Fault> {
        let by_amount = match (amount.map(|amount| amount.minor % 100), operation) {
            (Some(13), Operation::Authorize) => Some(Fault::Declined),
            (Some(14), Operation::Authorize) if asked == 0 => Some(Fault::Unanswered),
            (Some(15), Operation::Authorize) if asked == 0 => Some(Fault::Late),
            (Some(16), Operation::Capture) => Some(Fault::CaptureFailed),
            (Some(17), Operation::Refund) if asked < 2 => Some(Fault::UndoingRefused),
            (Some(18), Operation::Authorize) if asked == 0 => Some(Fault::Contradicts),
            _ => None,
        };
        by_amount.or_else(|| self.chance(operation, key, asked))
    }

    fn chance(&self, operation: Operation, key: Uuid, asked: u32) -> Option<Fault> {
        let of_operation = match operation {
            Operation::Authorize => (self.declined_per_mille, Fault::Declined),
            Operation::Capture => (self.capture_failed_per_mille, Fault::CaptureFailed),
            Operation::Void | Operation::Refund => (self.undoing_refused_per_mille, Fault::UndoingRefused),
        };
        let faults = [
            (self.unavailable_per_mille, Fault::Unavailable),
            (self.unanswered_per_mille, Fault::Unanswered),
            (self.late_per_mille, Fault::Late),
            of_operation,
        ];
        let seeded = Uuid::new_v5(&key, format!("{}/{asked}", self.seed).as_bytes());
        let mut drawn = u32::try_from(seeded.as_u128() % 1000).unwrap_or(0);
        for (per_mille, fault) in faults {
            match drawn.checked_sub(per_mille) {
                Some(rest) => drawn = rest,
                None => return Some(fault),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_it_says_and_a_seed_repeats_it() {
        let behaviour = Behaviour { late_per_mille: 100, declined_per_mille: 200, ..Behaviour::default() };
        let draw = |behaviour: &Behaviour| -> Vec<_> {
            let keys = (0..10_000_u128).map(Uuid::from_u128);
            keys.map(|key| behaviour.fault(Operation::Authorize, None, key, 0)).collect()
        };
        let drawn = draw(&behaviour);
        let count = |fault| drawn.iter().filter(|drawn| **drawn == Some(fault)).count();
        assert!((800..1200).contains(&count(Fault::Late)), "{}", count(Fault::Late));
        assert!((1700..2300).contains(&count(Fault::Declined)), "{}", count(Fault::Declined));
        assert_eq!(drawn, draw(&behaviour));
        assert_ne!(drawn, draw(&Behaviour { seed: 1, ..behaviour }));
    }
}
