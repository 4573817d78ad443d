//! Orders as a list asks for them, also those that came so far and no further. How far says the state of an order, which the database does not look into: they are
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
    mut after: Option<After>,
    limit: usize,
) -> Result<(Vec<Read<OrderRow>>, Option<After>), StoreError> {
    let mut found: Vec<Read<OrderRow>> = Vec::new();
    // Every row is one where no step is asked for.
    let read_max = if filter.step.is_some() { READ_MAX } else { limit as i64 + 1 };
    for _ in 0..LOOKED_AT_MAX / read_max {
        let rows = orders(connection, filter, after, read_max).await?;
        let is_all = (rows.len() as i64) < read_max;
        for read in rows {
            if found.len() == limit && is_wanted(filter, &read) {
                return Ok((found, after));
            }
            after = After::of(&read.row).or(after);
            if is_wanted(filter, &read) {
                found.push(read);
            }
        }
        if is_all {
            return Ok((found, None));
        }
    }
    Ok((found, after))
}

fn is_wanted(filter: &OrderFilter, read: &Read<OrderRow>) -> bool {
    filter.step.is_none_or(|step| Step::of(&read.row) == Some(step))
}
