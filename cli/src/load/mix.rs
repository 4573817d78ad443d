//! What shall become of the orders of a load.

use std::str::FromStr;

use rand::Rng;

/// How the sender means an order to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Fate {
    Completed,
    /// It wants a sku that there is nothing of.
    OutOfStock,
    /// Its amount is one that the simulated provider declines.
    Declined,
    /// Its cancellation follows at once. Where that comes too late, the order completes.
    Cancelled,
}

impl Fate {
    pub(super) const ALL: [Self; 4] = [Self::Completed, Self::OutOfStock, Self::Declined, Self::Cancelled];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::OutOfStock => "out_of_stock",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Shares of the fates, by weight; written `completed=80,out_of_stock=10,declined=5,cancelled=5`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    weights: [u32; Fate::ALL.len()],
}

impl Mix {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Fate {
        let mut left = rng.random_range(0..self.weights.iter().sum());
        for (fate, weight) in Fate::ALL.into_iter().zip(self.weights) {
            if left < weight {
                return fate;
            }
            left -= weight;
        }
        Fate::Completed
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0; Fate::ALL.len()];
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').ok_or_else(|| format!("{part:?} is not FATE=WEIGHT"))?;
            let index = Fate::ALL
                .iter()
                .position(|fate| fate.name() == name)
                .ok_or_else(|| format!("{name:?} is none of {}", Fate::ALL.map(Fate::name).join(", ")))?;
            let weight: u16 =
                weight.parse().map_err(|_| format!("{weight:?} is not a weight from 0 to 65535"))?;
            weights[index] = u32::from(weight);
        }
        if weights == [0; Fate::ALL.len()] {
            return Err("nothing has a weight".to_owned());
        }
        Ok(Self { weights })
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn fates_are_drawn_by_their_weights() {
        let mix: Mix = "completed=80,out_of_stock=10,cancelled=10".parse().unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let drawn: Vec<Fate> = (0..10_000).map(|_| mix.draw(&mut rng)).collect();
        let share = |fate| drawn.iter().filter(|drawn| **drawn == fate).count();
        assert!((7_700..8_300).contains(&share(Fate::Completed)));
        assert!((800..1_200).contains(&share(Fate::OutOfStock)));
        assert_eq!(share(Fate::Declined), 0);
    }

    #[test]
    fn what_is_no_mix_is_named() {
        for (text, named) in [
            ("completed", "\"completed\""),
            ("lost=1", "\"lost\""),
            ("completed=x", "\"x\""),
            ("completed=-1", "\"-1\""),
            ("completed=0", "nothing"),
        ] {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
