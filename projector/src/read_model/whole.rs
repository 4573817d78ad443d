//! The whole view at one moment, for those who check it against the topics.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use shared::{
    consumer::Place,
    contract::{
        Timestamp,
        ids::{OrderId, Sku},
        topics::Topic,
    },
    log::StoreError,
};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    load::{damage, order_id},
    sales::SaleRow,
};
use crate::view::{
    letter::LetterRow,
    order::OrderRow,
    pace::{Counted, Pace},
    rows::Rows,
    sale::Sales,
    stock::StockRow,
    timeline::Entry,
};

/// All tables of a view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Next offsets: the view is the fold of what is before them.
    pub positions: HashMap<Place, i64>,
    pub rows: Rows,
    /// What stands beside the state of an order for queries.
    pub copies: BTreeMap<OrderId, Copies>,
    /// Which orders want a sku, and since when.
    pub wanted: BTreeSet<(Sku, Timestamp, OrderId)>,
}

/// Columns that repeat an order's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Copies {
    pub status: Option<String>,
    pub user_id: Option<String>,
    pub created_at: Option<Timestamp>,
}

/// Reads a view; its schema must be the first that the connection looks in. In one transaction that sees one
/// moment, rows and positions belong together.
pub async fn whole(connection: &mut PgConnection) -> Result<View, StoreError> {
    let mut view = View::default();
    let orders = sqlx::query("select * from order_view").fetch_all(&mut *connection).await?;
    for row in &orders {
        let order = OrderRow::from_row(row)?;
        let copies = Copies {
            status: row.try_get("status")?,
            user_id: row.try_get("user_id")?,
            created_at: row.try_get("created_at")?,
        };
        view.copies.insert(order.order_id, copies);
        view.rows.orders.insert(order.order_id, order);
    }
    let stocks: Vec<StockRow> =
        sqlx::query_as("select * from stock_view").fetch_all(&mut *connection).await?;
    view.rows.stocks = stocks.into_iter().map(|row| (row.sku.clone(), row)).collect();
    let letters: Vec<LetterRow> =
        sqlx::query_as("select * from dead_letter_view").fetch_all(&mut *connection).await?;
    view.rows.letters = letters.into_iter().map(|row| (row.id, row)).collect();
    let entries: Vec<Entry> =
        sqlx::query_as(include_str!("timeline.sql")).bind(None::<Uuid>).fetch_all(&mut *connection).await?;
    view.rows.timeline = entries.into_iter().map(|entry| (entry.id(), entry)).collect();
    view.rows.sales = sales(connection).await?;
    view.rows.pace = pace(connection).await?;
    let wanted = sqlx::query("select * from order_sku").fetch_all(&mut *connection).await?;
    view.wanted = wanted.iter().map(wish).collect::<sqlx::Result<_>>()?;
    view.positions = positions(connection, None).await?;
    Ok(view)
}

async fn sales(connection: &mut PgConnection) -> Result<Sales, StoreError> {
    // No time that a client reads is -infinity.
    let sql = "select nullif(sku, '') as sku, nullif(hour, '-infinity') as hour, currency, orders, quantity,
                 amount_minor::text as amount_minor
               from sale";
    let rows: Vec<SaleRow> = sqlx::query_as(sql).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|SaleRow { key, sold }| (key, sold)).collect())
}

async fn pace(connection: &mut PgConnection) -> Result<Pace, StoreError> {
    let rows: Vec<(Timestamp, i16, i64)> =
        sqlx::query_as("select minute, counted, orders from pace").fetch_all(connection).await?;
    let row = |(minute, number, orders)| {
        let counted = Counted::of_number(number).ok_or_else(|| damage("counted"))?;
        Ok(((minute, counted), orders))
    };
    Ok(rows.into_iter().map(row).collect::<sqlx::Result<_>>()?)
}

/// The next offsets of a view: of the one that the connection looks in first, or of another schema's.
pub(super) async fn positions(
    connection: &mut PgConnection,
    schema: Option<&str>,
) -> Result<HashMap<Place, i64>, StoreError> {
    let schema = schema.map_or_else(String::new, |schema| format!("{schema}."));
    let sql = format!("select topic, partition, next from {schema}position where next >= 0");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await?;
    let next = rows.iter().map(|row| Ok(((topic(row)?, row.try_get("partition")?), row.try_get("next")?)));
    Ok(next.collect::<sqlx::Result<_>>()?)
}

fn wish(row: &PgRow) -> sqlx::Result<(Sku, Timestamp, OrderId)> {
    let sku: &str = row.try_get("sku")?;
    let sku = sku.parse().map_err(|_| damage("sku"))?;
    Ok((sku, row.try_get("created_at")?, order_id(row, "order_id")?))
}

fn topic(row: &PgRow) -> sqlx::Result<Topic> {
    Topic::parse(row.try_get("topic")?).ok_or_else(|| damage("topic"))
}
