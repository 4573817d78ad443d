//! What orders completed with, by sku or by hour.

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DurationRound, TimeDelta};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{Timestamp, envelope::time_text, ids::Sku, money::Currency},
    http::{Problem, Query, problem::ProblemBody},
};
use utoipa::{IntoParams, ToSchema};

use super::{App, given::given, orders, paging};
use crate::read_model::sales::{SaleRow, by_hour, by_sku};

/// By sku each hour since then is read for each row.
const SINCE_DAYS_MAX: i64 = 31;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    #[default]
    Hour,
    Sku,
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SalesQuery {
    /// hour, newest first; or sku, by its name
    #[param(inline)]
    #[serde(default)]
    pub by: By,
    /// By hour: of this sku alone.
    #[param(value_type = Option<String>)]
    #[serde(default, deserialize_with = "given")]
    pub sku: Option<Sku>,
    /// From the hour on that this is in, RFC 3339. By sku at most 31 days ago.
    #[serde(default, deserialize_with = "given")]
    pub since: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SalesBody {
    sales: Vec<SaleBody>,
    /// The `cursor` of the next page; null on the last.
    next: Option<String>,
}

/// Of completed orders only.
#[derive(Debug, Serialize, ToSchema)]
struct SaleBody {
    /// Null where it is of all skus together.
    sku: Option<String>,
    /// In which they completed: an hour from then on. Null where it is of all that were asked for.
    #[schema(example = "2026-11-24T10:00:00.000Z")]
    hour: Option<String>,
    /// With one line of the sku at least.
    orders: i64,
    quantity: i64,
    amount: AmountBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct AmountBody {
    #[schema(value_type = i64)]
    minor: i128,
    currency: String,
}

/// What orders completed with, by hour or by sku
#[utoipa::path(get, path = "/sales", tag = "sales", params(SalesQuery),
    responses((status = 200, body = SalesBody), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<SalesQuery>,
) -> Result<Json<SalesBody>, Problem> {
    let (rows, next) = listed(&app, asked).await?;
    Ok(Json(SalesBody { sales: rows.iter().map(SaleBody::of).collect(), next }))
}

/// The rows of a page, and the cursor of the next.
pub(crate) async fn listed(app: &App, asked: SalesQuery) -> Result<(Vec<SaleRow>, Option<String>), Problem> {
    let limit = paging::limit(asked.limit)?;
    let since = asked.since.as_deref().map(since).transpose()?;
    let cursor = asked.cursor.as_deref();
    let rows = match asked.by {
        By::Hour => {
            let (sku, after) = (asked.sku, cursor.map(after_hour).transpose()?);
            app.read(move |mut connection| async move {
                by_hour(&mut connection, sku.as_ref(), since, after.as_ref(), limit + 1).await
            })
            .await?
        }
        By::Sku if asked.sku.is_some() => return Err(Problem::unreadable("/sku", "goes with by=hour")),
        By::Sku => {
            let oldest = Timestamp::from(std::time::SystemTime::now()) - TimeDelta::days(SINCE_DAYS_MAX);
            if since.is_some_and(|since| since < oldest) {
                let detail = format!("by sku is at most {SINCE_DAYS_MAX} days ago");
                return Err(Problem::unreadable("/since", detail));
            }
            let after = cursor.map(after_sku).transpose()?;
            app.read(move |mut connection| async move {
                by_sku(&mut connection, since, after.as_ref(), limit + 1).await
            })
            .await?
        }
    };
    Ok(paging::cut(rows, limit, |row| Some(place(row))))
}

/// Clients pass it on and do not look into it.
fn place(SaleRow { key, .. }: &SaleRow) -> String {
    let place = match (key.hour, &key.sku) {
        (None, Some(sku)) => sku.to_string(),
        (hour, _) => hour.map_or(0, |hour| hour.timestamp_micros()).to_string(),
    };
    URL_SAFE_NO_PAD.encode(format!("{place}/{}", key.currency))
}

fn after_hour(cursor: &str) -> Result<(Timestamp, Currency), Problem> {
    after(cursor, |place| Timestamp::from_timestamp_micros(place.parse().ok()?))
}

fn after_sku(cursor: &str) -> Result<(Sku, Currency), Problem> {
    after(cursor, |place| place.parse().ok())
}

fn after<T>(cursor: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<(T, Currency), Problem> {
    let parsed = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let (place, currency) = text.split_once('/')?;
        Some((read(place)?, currency.parse().ok()?))
    };
    parsed().ok_or_else(|| Problem::unreadable("/cursor", "is not the `next` of an answer"))
}

/// The hour that it is in.
fn since(text: &str) -> Result<Timestamp, Problem> {
    let wrong = |_| Problem::unreadable("/since", "is no time that has an hour");
    orders::since(text)?.duration_trunc(TimeDelta::hours(1)).map_err(wrong)
}

impl SaleBody {
    fn of(SaleRow { key, sold }: &SaleRow) -> Self {
        Self {
            sku: key.sku.as_ref().map(Sku::to_string),
            hour: key.hour.map(time_text),
            orders: sold.orders,
            quantity: sold.quantity,
            amount: AmountBody { minor: sold.amount_minor, currency: key.currency.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sale::{SaleKey, Sold};

    #[test]
    fn a_page_goes_on_behind_its_last_row_and_a_cursor_of_another_question_is_refused() {
        let row = |sku: Option<&str>, hour| SaleRow {
            key: SaleKey { sku: sku.map(|sku| sku.parse().unwrap()), hour, currency: Currency::EUR },
            sold: Sold::default(),
        };
        let hour = Timestamp::UNIX_EPOCH + TimeDelta::hours(5);
        for of in [row(None, Some(hour)), row(Some("A"), Some(hour))] {
            assert_eq!(after_hour(&place(&of)).unwrap(), (hour, Currency::EUR));
        }
        let by_sku = place(&row(Some("A"), None));
        assert_eq!(after_sku(&by_sku).unwrap(), ("A".parse().unwrap(), Currency::EUR));
        for bad in ["", "x", "!", &by_sku[1..], &by_sku] {
            assert!(after_hour(bad).is_err(), "{bad}");
        }
        let place = |row: &SaleRow| Some(place(row));
        let (rows, next) = paging::cut(vec![row(Some("A"), None), row(Some("B"), None)], 1, place);
        assert_eq!((rows.len(), next), (1, Some(by_sku)));
        assert_eq!(paging::cut(vec![row(Some("A"), None)], 1, place).1, None);
    }

    #[test]
    fn an_hour_counts_whole() {
        assert_eq!(since("1970-01-01T06:59:59+01:00").unwrap(), Timestamp::UNIX_EPOCH + TimeDelta::hours(5));
        assert!(since("yesterday").is_err());
    }
}
