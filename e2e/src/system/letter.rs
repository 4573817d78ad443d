//! Dead letters as they stand on their topic.

use std::{sync::Arc, time::Duration};

use cli::sighting::letter_status;
use serde_json::{Value, json};
use shared::{
    contract::{
        dead_letter::{dead_letter_id, header},
        envelope::Raw,
        topics::Topic,
    },
    log::{HoldKind, connect::connect},
    testing::be_patient,
};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{System, speak::structured, until};

const LETTER_LIMIT: Duration = Duration::from_secs(180);

impl System {
    /// The record of a letter once it is there.
    pub async fn letter(&self, id: Uuid) -> Arc<Raw> {
        let is_it = |raw: &&Arc<Raw>| {
            raw.headers.text(header::ID) == Some(&id.to_string()) && letter_status(raw).is_none()
        };
        let look = || self.seen.on(Topic::DeadLetters).iter().find(is_it).cloned();
        until(&format!("dead letter {id}"), LETTER_LIMIT, async || look()).await
    }

    /// A change of a letter once it is there.
    pub async fn letter_is(&self, id: Uuid, status: &str) {
        let is_it = |raw: &Arc<Raw>| {
            raw.headers.text(header::ID) == Some(&id.to_string()) && letter_status(raw) == Some(status)
        };
        let look = || self.seen.on(Topic::DeadLetters).iter().any(is_it).then_some(());
        until(&format!("dead letter {id} to be {status}"), LETTER_LIMIT, async || look()).await;
    }

    /// What becomes of a message of that place in a group.
    pub fn letter_id(&self, group: &str, topic: Topic, partition: i32, offset: i64) -> Uuid {
        dead_letter_id(group, topic.name(), partition, offset)
    }

    /// How many messages of a key wait in a group, whatever for.
    pub async fn held(&self, group: &str, key: Uuid) -> i64 {
        self.held_for(group, key, None).await
    }

    /// How many messages of a key a group cannot read, since they are of a newer build or about such.
    pub async fn held_as_newer(&self, group: &str, key: Uuid) -> i64 {
        self.held_for(group, key, Some(HoldKind::Newer)).await
    }

    async fn held_for(&self, group: &str, key: Uuid, kind: Option<HoldKind>) -> i64 {
        let mut connection = self.database(group).await;
        // The projector's are rebuilt with its view.
        let schema = if group == "projector" { "view" } else { "public" };
        let count = format!(
            "select count(*) from {schema}.held_message where key = $1 and ($2::text is null or kind = $2)"
        );
        let held = sqlx::query_scalar(AssertSqlSafe(count))
            .bind(key.to_string())
            .bind(kind.map(HoldKind::as_str))
            .fetch_one(&mut connection)
            .await;
        held.unwrap_or_else(|error| panic!("the held messages of {group}: {error}"))
    }

    pub async fn database(&self, service: &str) -> PgConnection {
        let connected = connect(&self.service(service).database, "e2e").await;
        let mut connected = connected.unwrap_or_else(|error| panic!("the database of {service}: {error}"));
        // A test counts whole tables on a busy machine, which the role's limit is not for.
        be_patient(&mut connected).await;
        connected
    }

    /// `value`: the edited message.
    pub async fn redrive(&self, key: Uuid, id: Uuid, group: &str, value: Option<&Value>) {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let mut data = json!({"dead_letter_id": id, "group": group, "by": "e2e", "reason": "mended"});
        if let Some(value) = value {
            data["value_base64"] = json!(STANDARD.encode(value.to_string()));
        }
        let command = structured("fulfil.dead-letter.redrive.v1", &data);
        self.say(Topic::DeadLettersCommands, key, &command).await;
    }
}
