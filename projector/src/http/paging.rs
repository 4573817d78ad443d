//! Pages: how many rows, and where the next one goes on.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use shared::{contract::Timestamp, http::Problem};
use uuid::Uuid;

use crate::read_model::query::After;

const LIMIT_DEFAULT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// The limit that was asked for, within ours.
pub(super) fn limit(asked: Option<i64>) -> Result<i64, Problem> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::unreadable("/limit", format!("is not 1 to {LIMIT_MAX}"))),
    }
}

/// Clients pass a cursor on and do not look into it. It names its list: the place of another would be one of this, too.
pub(super) fn write(list: &str, after: After) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}/{}/{}", after.time.timestamp_micros(), after.id))
}

pub(super) fn read(list: &str, cursor: Option<&str>) -> Result<Option<After>, Problem> {
    let parse = |text: &str| {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (time, id) = text.strip_prefix(list)?.strip_prefix('/')?.split_once('/')?;
        Some(After {
            time: Timestamp::from_timestamp_micros(time.parse().ok()?)?,
            id: Uuid::try_parse(id).ok()?,
        })
    };
    let wrong = || Problem::unreadable("/cursor", "is not the `next` of an answer");
    cursor.map(|text| parse(text).ok_or_else(wrong)).transpose()
}

/// The rows of a page, of which one more than `limit` was read, and the cursor of the next: the place of its last row.
pub(super) fn cut<R>(
    mut rows: Vec<R>,
    limit: i64,
    place: impl Fn(&R) -> Option<String>,
) -> (Vec<R>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).and_then(place);
    (rows, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_is_written_and_anything_else_is_refused() {
        let after = After { time: Timestamp::UNIX_EPOCH, id: Uuid::from_u128(7) };
        assert_eq!(read("orders", Some(&write("orders", after))).unwrap(), Some(after));
        for bad in ["", "x", "!", "MTIz", &write("orders", after)[1..], &write("letters", after)] {
            assert!(read("orders", Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_names_the_next_only_where_there_is_one() {
        let place = |row: &u32| Some(row.to_string());
        assert_eq!(cut(vec![1, 2], 2, place), (vec![1, 2], None));
        assert_eq!(cut(vec![1, 2, 3], 2, place), (vec![1, 2], Some("2".to_owned())));
    }
}
