//! Dead letters: how one stands, and the records in order for the relay.

use sqlx::{FromRow, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::{
    Letter, LetterChange, LetterRecord, LetterStatus, NumberedLetter, Stage, StoreError, StoredLetter, row,
};

/// Those of the asked letters that exist.
pub async fn letters(
    connection: &mut PgConnection,
    letter_ids: &[Uuid],
) -> Result<Vec<StoredLetter>, StoreError> {
    let rows = sqlx::query(
        "select
           dead.*,
           (
             select count(*)
             from dead_letter as later
             where later.letter_id = dead.letter_id and later.status in ('redriven', 'failed-again', 'parked')
           ) as redrives,
           (
             select newest.status
             from dead_letter as newest
             where newest.letter_id = dead.letter_id
             order by newest.number desc
             limit 1
           ) as newest_status
         from dead_letter as dead
         where dead.letter_id = any ($1) and dead.status = 'dead'
         order by dead.number",
    )
    .bind(letter_ids)
    .fetch_all(connection)
    .await?;
    let stored = rows.iter().map(|row| {
        let redrives: i64 = row.try_get("redrives")?;
        let newest: &str = row.try_get("newest_status")?;
        let status = match newest {
            "dead" => None,
            status => Some(LetterStatus::parse(status).ok_or_else(|| row::damage("status", status))?),
        };
        Ok(StoredLetter {
            letter_id: row.try_get("letter_id")?,
            letter: letter(row)?,
            redrives: i32::try_from(redrives).unwrap_or(i32::MAX),
            status,
        })
    });
    stored.collect::<sqlx::Result<_>>().map_err(StoreError::from)
}

/// The records after a number, in order. Numbers are gapless. A record can have a megabyte: choose the limit so.
pub async fn letters_after(
    connection: &mut PgConnection,
    number: i64,
    limit: i64,
) -> Result<Vec<NumberedLetter>, StoreError> {
    let records = sqlx::query_as(
        "select
           record.*,
           dead.message_key as letter_key,
           (
             select count(*)
             from dead_letter as earlier
             where earlier.letter_id = record.letter_id
               and earlier.number < record.number
               and earlier.status in ('redriven', 'failed-again', 'parked')
           ) as redrives
         from dead_letter as record
         left join dead_letter as dead on dead.letter_id = record.letter_id and dead.status = 'dead'
         where record.number > $1
         order by record.number
         limit $2",
    )
    .bind(number)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(records)
}

/// The last number; 0 where there is no record.
pub async fn letters_end(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let end = sqlx::query_scalar("select coalesce(max(number), 0) from dead_letter");
    Ok(end.fetch_one(connection).await?)
}

impl FromRow<'_, PgRow> for NumberedLetter {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let key: Option<Vec<u8>> = row.try_get("letter_key")?;
        let status: &str = row.try_get("status")?;
        let what = match status {
            "dead" => LetterChange::Dead(Box::new(letter(row)?)),
            status => LetterChange::Status {
                status: LetterStatus::parse(status).ok_or_else(|| row::damage("status", status))?,
                by: row.try_get("by")?,
                reason: row.try_get("reason")?,
                mended: row.try_get::<Option<Vec<u8>>, _>("value")?.map(Into::into),
            },
        };
        Ok(Self {
            number: row.try_get("number")?,
            key: key.map(Into::into),
            redrives: row.try_get("redrives")?,
            record: LetterRecord {
                letter_id: row.try_get("letter_id")?,
                recorded_at: row.try_get("recorded_at")?,
                what,
            },
        })
    }
}

fn letter(row: &PgRow) -> sqlx::Result<Letter> {
    let stage = row.try_get("stage")?;
    let holds_key: Option<String> = row.try_get("holds_key")?;
    let holds_partition: Option<i32> = row.try_get("holds_partition")?;
    Ok(Letter {
        group: row.try_get("group")?,
        raw: row::raw(row)?,
        stage: Stage::parse(stage).ok_or_else(|| row::damage("stage", stage))?,
        code: row.try_get("code")?,
        message: row.try_get("message")?,
        fingerprint: row.try_get("fingerprint")?,
        delivery_count: row.try_get("delivery_count")?,
        build: row.try_get("build")?,
        holds: holds_key.zip(holds_partition),
    })
}
