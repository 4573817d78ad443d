//! Where a role stands in its topics: the product's table of positions, without its comparisons.

use shared::contract::topics::Topic;
use sqlx::PgConnection;

use super::topics::PARTITIONS;

/// A row for every partition of these.
pub(super) async fn begin(connection: &mut PgConnection, topics: &[Topic]) -> anyhow::Result<()> {
    let topics: Vec<&str> = topics.iter().map(|topic| topic.name()).collect();
    sqlx::query(
        "insert into position (topic, partition, next)
         select topic, partition, 0 from unnest($1::text[]) as topic, generate_series(0, $2 - 1) as partition",
    )
    .bind(topics)
    .bind(PARTITIONS)
    .execute(connection)
    .await?;
    Ok(())
}
