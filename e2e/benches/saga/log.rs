//! The log of order-service while no service runs. It is made long here and not by orders, which would take an hour.

use anyhow::ensure;
use cli::dev::Status;
use shared::log;
use sqlx::{Connection, PgConnection};

pub(crate) struct Log {
    connection: PgConnection,
}

impl Log {
    /// Not by the role of the service, whose statements end after seconds.
    pub(crate) async fn open(status: &Status) -> anyhow::Result<Self> {
        let url = format!("postgres://postgres@{}/order_service", status.postgres);
        Ok(Self { connection: PgConnection::connect(&url).await? })
    }

    pub(crate) async fn end(&mut self) -> anyhow::Result<i64> {
        Ok(log::end(&mut self.connection).await?)
    }

    /// To so many events or some more, since no order is cut. All orders must have ended: nothing is owed to a copy. What
    /// is appended here is for nobody to hear of, so the relay is past it.
    pub(crate) async fn lengthen(&mut self, events: i64) -> anyhow::Result<()> {
        let end = self.end().await?;
        ensure!(end > 0, "there is no event to be copied");
        let owed: i64 =
            sqlx::query_scalar("select count(*) from task").fetch_one(&mut self.connection).await?;
        ensure!(owed == 0, "{owed} orders have not ended, and a copy of them would wait for ever");
        let copies = ((events - end).max(0) + end - 1) / end;
        let mut transaction = self.connection.begin().await?;
        // Its keys are hashes: made at once it takes a fraction of what it takes row by row.
        for statement in [
            "set local maintenance_work_mem = '256MB'",
            "alter table event drop constraint event_stream_version_key",
        ] {
            sqlx::raw_sql(statement).execute(&mut *transaction).await?;
        }
        sqlx::query(include_str!("lengthen.sql")).bind(end).bind(copies).execute(&mut *transaction).await?;
        for statement in [
            "alter table event add constraint event_stream_version_key unique (stream, version)",
            "update relay set cursor = (select max(position) from event) where name = 'event'",
        ] {
            sqlx::raw_sql(statement).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        // What would come sooner or later comes now, and not while something is measured.
        sqlx::raw_sql("vacuum analyze event").execute(&mut self.connection).await?;
        sqlx::raw_sql("checkpoint").execute(&mut self.connection).await?;
        Ok(())
    }
}
