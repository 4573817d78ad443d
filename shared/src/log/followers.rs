//! What waits behind a dead letter, as only the database of its owner has it.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{HeldRow, LetterStatus, StoreError, held_messages, letters};

#[derive(Debug, Default, PartialEq)]
pub struct Followers {
    pub messages: i64,
    /// The first of them, in the order in which they will be processed.
    pub first: Vec<HeldRow>,
}

/// None where the letter holds no key, or none any more. `None`: this database has no such letter.
pub async fn followers(
    connection: &mut PgConnection,
    letter: Uuid,
    first_max: i64,
) -> Result<Option<Followers>, StoreError> {
    let Some(stored) = letters(connection, &[letter]).await?.pop() else { return Ok(None) };
    let is_done = matches!(stored.status, Some(LetterStatus::Redriven | LetterStatus::Discarded));
    let Some((key, _)) = stored.letter.holds.filter(|_| !is_done) else {
        return Ok(Some(Followers::default()));
    };
    let messages = sqlx::query_scalar("select count(*) from held_message where key = $1")
        .bind(&key)
        .fetch_one(&mut *connection)
        .await?;
    Ok(Some(Followers { messages, first: held_messages(connection, &[key], first_max).await? }))
}
