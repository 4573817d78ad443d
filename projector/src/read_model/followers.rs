//! What waits behind a dead letter of the projector's own group. What waits behind those of others is in their databases.

use shared::log::{self, HeldRow, StoreError};
use sqlx::PgConnection;
use uuid::Uuid;

#[derive(Debug, Default)]
pub struct Followers {
    pub messages: i64,
    /// The first of them, in the order in which they will be folded.
    pub first: Vec<HeldRow>,
}

/// Of a letter that somebody is to decide about. None where it holds no key.
pub async fn followers(
    connection: &mut PgConnection,
    letter: Uuid,
    first_max: i64,
) -> Result<Followers, StoreError> {
    let stored = log::letters(connection, &[letter]).await?.pop();
    let Some((key, _)) = stored.and_then(|stored| stored.letter.holds) else {
        return Ok(Followers::default());
    };
    let messages = sqlx::query_scalar("select count(*) from held_message where key = $1")
        .bind(&key)
        .fetch_one(&mut *connection)
        .await?;
    Ok(Followers { messages, first: log::held_messages(connection, &[key], first_max).await? })
}
