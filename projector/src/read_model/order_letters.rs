//! Dead letters of an order: those with its key that somebody has to decide about.

use shared::{contract::ids::OrderId, log::StoreError};
use sqlx::PgConnection;

use crate::view::letter::LetterRow;

/// More than that nobody decides about one by one.
pub const LETTERS_MAX: i64 = 50;

/// Of any group, by when they died; of more than [`LETTERS_MAX`] rather those that may hold the key. Without their values and headers.
pub async fn order_letters(
    connection: &mut PgConnection,
    order_id: OrderId,
) -> Result<Vec<LetterRow>, StoreError> {
    // The statuses are written as in the index, or it would not be used.
    let rows = sqlx::query_as(
        "select *
         from (
           select
             id, status, changed_at, changed_partition, changed_offset, changed_by, changed_reason,
             \"group\", topic, partition, \"offset\", stage, code, message, fingerprint, failed_at,
             delivery_count, redrives, build, key, null::bytea as value, '[]' as headers
           from dead_letter_view
           where key = $1
             and failed_at is not null
             and status not in ('redriven', 'discarded')
           order by stage in ('decide', 'deadly') desc, failed_at, id
           limit $2
         ) as first
         order by failed_at, id",
    )
    .bind(order_id.to_string().into_bytes())
    .bind(LETTERS_MAX)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}
