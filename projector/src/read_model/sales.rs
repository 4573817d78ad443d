//! Sales, by hour or by sku: sums that are kept, in keyset pages.

use shared::{
    contract::{Timestamp, ids::Sku, money::Currency},
    log::StoreError,
};
use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};

use super::load::damage;
use crate::view::sale::{SaleKey, Sold};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleRow {
    pub key: SaleKey,
    pub sold: Sold,
}

/// Of one sku or of all, newest hour first. Hours in which nothing was sold have no row.
pub async fn by_hour(
    connection: &mut PgConnection,
    sku: Option<&Sku>,
    since: Option<Timestamp>,
    after: Option<&(Timestamp, Currency)>,
    limit: i64,
) -> Result<Vec<SaleRow>, StoreError> {
    let rows = sqlx::query_as(
        "select nullif(sku, '') as sku, hour, currency, orders, quantity, amount_minor::text as amount_minor
         from sale
         where sku = coalesce($1, '')
           and hour > '-infinity'
           and ($2::timestamptz is null or hour >= $2)
           and ($3::timestamptz is null or (hour, currency) < ($3, $4))
         order by hour desc, currency desc
         limit $5",
    )
    .bind(sku.map(Sku::as_str))
    .bind(since)
    .bind(after.map(|(hour, _)| hour))
    .bind(after.map(|(_, currency)| currency.as_str()))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// Of each sku that was ever sold, by its name: of all hours, or of those since one, which are read for each.
pub async fn by_sku(
    connection: &mut PgConnection,
    since: Option<Timestamp>,
    after: Option<&(Sku, Currency)>,
    limit: i64,
) -> Result<Vec<SaleRow>, StoreError> {
    let query = match since {
        None => {
            "select sku, null::timestamptz as hour, currency, orders, quantity, amount_minor::text as amount_minor
             from sale
             where hour = '-infinity'
               and sku > ''
               and ($1::text is null or (sku, currency) > ($1, $2))
               and $3::timestamptz is null
             order by sku, currency
             limit $4"
        }
        Some(_) => {
            "select page.sku, null::timestamptz as hour, page.currency, orders, quantity, amount_minor
             from (
               select sku, currency
               from sale
               where hour = '-infinity'
                 and sku > ''
                 and ($1::text is null or (sku, currency) > ($1, $2))
               order by sku, currency
               limit $4
             ) as page
             cross join lateral (
               select coalesce(sum(orders), 0)::bigint as orders, coalesce(sum(quantity), 0)::bigint as quantity,
                 coalesce(sum(amount_minor), 0)::text as amount_minor
               from sale
               where sale.sku = page.sku
                 and sale.currency = page.currency
                 and hour >= $3
             ) as summed
             order by page.sku, page.currency"
        }
    };
    let rows = sqlx::query_as(query)
        .bind(after.map(|(sku, _)| sku.as_str()))
        .bind(after.map(|(_, currency)| currency.as_str()))
        .bind(since)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows)
}

impl FromRow<'_, PgRow> for SaleRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let sku: Option<&str> = row.try_get("sku")?;
        let (currency, amount_minor): (&str, &str) = (row.try_get("currency")?, row.try_get("amount_minor")?);
        Ok(Self {
            key: SaleKey {
                sku: sku.map(str::parse).transpose().map_err(|_| damage("sku"))?,
                hour: row.try_get("hour")?,
                currency: currency.parse().map_err(|_| damage("currency"))?,
            },
            sold: Sold {
                orders: row.try_get("orders")?,
                quantity: row.try_get("quantity")?,
                amount_minor: amount_minor.parse().map_err(|_| damage("amount_minor"))?,
            },
        })
    }
}
