//! What happens to orders in mixed traffic, and how often.

/// Final digits of the amount at which the provider says no and has taken the money.
pub(super) const CONTRADICTED: i64 = 18;

/// How often each thing happens, in a thousand orders or messages.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub hot_per_mille: u32,
    pub cancelled_per_mille: u32,
    pub too_many_per_mille: u32,
    pub poison_per_mille: u32,
    pub repeated_per_mille: u32,
    pub swapped_per_mille: u32,
    pub over_http_per_mille: u32,
    /// Final digits of an amount and how often they are drawn; the rest ends in 00.
    pub moods: &'static [(i64, u32)],
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            hot_per_mille: 500,
            cancelled_per_mille: 80,
            too_many_per_mille: 20,
            poison_per_mille: 20,
            repeated_per_mille: 50,
            swapped_per_mille: 10,
            over_http_per_mille: 400,
            // Declined, silent at first, late, capture fails, refund refused twice.
            moods: &[(13, 40), (14, 20), (15, 10), (16, 30), (17, 20)],
        }
    }
}

impl Mix {
    /// With a provider that says no to some and takes the money: [`super::System::all_accounted_for`] has it call back.
    pub fn contradicted() -> Self {
        Self {
            moods: &[(13, 40), (14, 20), (15, 10), (16, 30), (17, 20), (CONTRADICTED, 20)],
            ..Self::default()
        }
    }

    /// With a provider that is silent about a fifth of them, so that one in ten expires.
    pub fn silent() -> Self {
        Self {
            moods: &[(13, 40), (14, 200), (15, 10), (16, 30), (17, 20), (CONTRADICTED, 20)],
            ..Self::default()
        }
    }
}
