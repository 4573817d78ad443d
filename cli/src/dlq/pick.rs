//! Which letters a command is about.

use clap::Args;

use super::Letter;
use crate::exit::{Exit, ended};

#[derive(Clone, Debug, Default, Args)]
pub(super) struct FilterArgs {
    /// Of one consumer group, such as order-service
    #[arg(long)]
    group: Option<String>,
    /// With this error code, such as invalid-json
    #[arg(long)]
    code: Option<String>,
    /// Of messages of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Of messages with this key
    #[arg(short, long)]
    key: Option<String>,
}

impl FilterArgs {
    pub(super) fn matches(&self, letter: &Letter) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.group, &letter.group)
            && is(&self.code, &letter.code)
            && is(&self.topic, &letter.topic)
            && is(&self.key, &letter.key_text())
    }
}

/// One letter by its id or the start of it.
pub(super) fn one<'a>(letters: &'a [Letter], start: &str) -> anyhow::Result<&'a Letter> {
    let found: Vec<&Letter> =
        letters.iter().filter(|letter| letter.id.starts_with(&start.to_lowercase())).collect();
    match found.as_slice() {
        [letter] => Ok(letter),
        [] => {
            Err(ended(Exit::NotFound, format!("no dead letter begins with {start}: fulfil dlq list --all")))
        }
        several => {
            let ids =
                several.iter().take(5).map(|letter| letter.id.as_str()).collect::<Vec<_>>().join("\n  ");
            Err(ended(
                Exit::Usage,
                format!("{} letters begin with {start}; say more of it:\n  {ids}", several.len()),
            ))
        }
    }
}
