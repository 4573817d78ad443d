//! How many orders were open, and how many of them overdue, as it was seen when it was so: no event tells it afterwards. It is kept
//! for a day and goes with its view.

use shared::log::StoreError;
use sqlx::{FromRow, PgConnection};

use super::pulse::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct OpenOrders {
    pub open: i64,
    pub overdue: i64,
}

/// As it is now. Of a minute the most stays.
pub async fn note(connection: &mut PgConnection, seen: OpenOrders) -> Result<(), StoreError> {
    sqlx::query(
        "with gone as (
           delete from open_orders
           where minute < now() - interval '1 day'
         )
         insert into open_orders (minute, open, overdue)
         values (date_trunc('minute', now()), $1, $2)
         on conflict (minute) do update
         set
           open = greatest(open_orders.open, excluded.open),
           overdue = greatest(open_orders.overdue, excluded.overdue)",
    )
    .bind(seen.open)
    .bind(seen.overdue)
    .execute(connection)
    .await?;
    Ok(())
}

/// By part, oldest first: the most of each, or nothing where nobody looked.
pub async fn over(connection: &mut PgConnection, span: Span) -> Result<Vec<Option<OpenOrders>>, StoreError> {
    let seen: Vec<(i32, i64, i64)> = sqlx::query_as(
        "select floor(extract(epoch from ends_at - minute - interval '1 minute') / ($1 * 60))::int as age, max(open), max(overdue)
         from open_orders
         cross join (select date_trunc('minute', now()) + interval '1 minute' as ends_at) as span
         where minute >= ends_at - $1 * $2 * interval '1 minute'
           and minute < ends_at
         group by 1",
    )
    .bind(span.minutes)
    .bind(span.parts as i64)
    .fetch_all(connection)
    .await?;
    let mut parts = vec![None; span.parts];
    for (age, open, overdue) in seen {
        let at = usize::try_from(age).ok().and_then(|age| span.parts.checked_sub(age + 1));
        if let Some(part) = at.and_then(|at| parts.get_mut(at)) {
            *part = Some(OpenOrders { open, overdue });
        }
    }
    Ok(parts)
}
