//! Orders that came so far and no further. How far says the state of an order, which the database does not look into: they are
//! found among those with a status that says as much.

use shared::log::StoreError;
use sqlx::PgConnection;

use super::query::{After, OrderFilter, Read, orders};
use crate::view::{funnel::Step, order::OrderRow};

/// Orders that one question looks at, at most: what is sought may be rare among them.
pub const LOOKED_AT_MAX: i64 = 5_000;
/// At a time.
const READ_MAX: i64 = 500;

/// Newest first, `limit` at most, and where to go on: an answer with fewer rows than were asked for can have more behind it.
pub async fn reached(
    connection: &mut PgConnection,
    filter: &OrderFilter,
    step: Step,
    mut after: Option<After>,
    limit: usize,
) -> Result<(Vec<Read<OrderRow>>, Option<After>), StoreError> {
    let mut found = Vec::new();
    for _ in 0..LOOKED_AT_MAX / READ_MAX {
        let rows = orders(connection, filter, after, READ_MAX).await?;
        let is_all = rows.len() < READ_MAX as usize;
        for read in rows {
            after = After::of(&read.row).or(after);
            if Step::of(&read.row) == Some(step) {
                found.push(read);
            }
            if found.len() == limit {
                return Ok((found, after));
            }
        }
        if is_all {
            return Ok((found, None));
        }
    }
    Ok((found, after))
}
