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
    /// That failed for this reason: fulfil dlq groups
    #[arg(long)]
    fingerprint: Option<String>,
    /// Of messages of this topic
    #[arg(short, long)]
    topic: Option<String>,
    /// Of messages with this key
    #[arg(short, long)]
    key: Option<String>,
}

impl FilterArgs {
    pub(super) fn matches(&self, letter: &Letter) -> bool {
        let key = letter.key_text();
        self.takes(&letter.group, &letter.code, &letter.fingerprint, &letter.topic, Some(&key))
    }

    pub(super) fn takes(
        &self,
        group: &str,
        code: &str,
        fingerprint: &str,
        topic: &str,
        key: Option<&str>,
    ) -> bool {
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        is(&self.group, Some(group))
            && is(&self.code, Some(code))
            && is(&self.fingerprint, Some(fingerprint))
            && is(&self.topic, Some(topic))
            && is(&self.key, key)
    }

    /// What of it the projector can be asked for.
    pub(super) fn query(&self, status: &str) -> [(&'static str, String); 4] {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        [
            ("status", status.to_owned()),
            ("group", text(&self.group)),
            ("code", text(&self.code)),
            ("fingerprint", text(&self.fingerprint)),
        ]
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
