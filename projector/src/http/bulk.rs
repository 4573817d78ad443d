//! Many dead letters at once: what would come of it, asking for it, and how far it is.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        Malformed,
        envelope::{Mode, time_text},
        message::Message,
        topics::{Key, Topic},
    },
    failure::REDRIVES_MAX,
    http::{Problem, Trace, problem::ProblemBody},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    App,
    letters::{check_why, filter},
};
use crate::{
    bulk::{Asked, Run, Verb},
    read_model::letter_bulk::{self, Meant},
};

/// Of a letter whose headers could not be kept, so that what is kept of it reads better than it was.
const UNREADABLE: &str = "headers-unreadable";
/// What is more is left for the next run.
const LETTERS_MAX: usize = 20_000;
/// So many messages are in memory at once for a preview.
const CHUNK: usize = 20;
const PER_SECOND: u32 = 100;
const PER_SECOND_MAX: u32 = 1_000;

/// Which letters: all that wait and match. At least one of fingerprint, code and group is given, or `all`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct BulkBody {
    verb: Verb,
    fingerprint: Option<String>,
    code: Option<String>,
    /// The consumer group that owns them.
    group: Option<String>,
    #[serde(default)]
    all: bool,
    #[schema(max_length = 512)]
    by: String,
    #[schema(max_length = 512)]
    reason: String,
    /// At most so many a second.
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    per_second: Option<u32>,
}

/// What would be done, and as much of what would come of it as can be known without doing it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PreviewBody {
    messages: usize,
    /// Different ones that they are about.
    orders: usize,
    skus: usize,
    /// They can still not be read.
    would_fail_again: usize,
    reasons: Vec<ReasonBody>,
    /// They can be read; whether the state of what they are about allows them, only their owners know.
    unknown: usize,
    /// So many more wait and match, and a redrive leaves them out: they failed again three times. 0 of a discard, which takes
    /// them.
    parked: i64,
    /// There may be more than one run takes.
    more: bool,
    /// The same for people.
    #[schema(
        example = "312 messages of 41 orders; 9 would fail again; 2 more are parked after 3 redrives and left out"
    )]
    said: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct ReasonBody {
    messages: usize,
    code: &'static str,
    pointer: String,
    detail: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewestBody {
    /// Null where nothing was asked for since the projector began.
    run: Option<RunBody>,
}

/// How far a run of this process is. It ends with the projector, and what was not asked for by then is as open as it was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunBody {
    pub verb: Verb,
    pub by: String,
    pub reason: String,
    pub begun_at: String,
    pub letters: i64,
    /// The broker has the command.
    pub requested: i64,
    /// Their owners redrove them or gave them up.
    pub processed: i64,
    pub failed_again: i64,
    /// Why no more are asked for.
    pub stopped: Option<String>,
    /// Nothing more is asked for.
    pub over: bool,
}

/// What a redrive or a discard of many dead letters would do
#[utoipa::path(post, path = "/dead-letters/bulk/preview", tag = "dead letters", request_body = BulkBody,
    responses((status = 200, body = PreviewBody), (status = 400, body = ProblemBody), (status = 422, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn preview(
    State(app): State<App>,
    shared::http::Json(body): shared::http::Json<BulkBody>,
) -> Result<Json<PreviewBody>, Problem> {
    // Values can be large: one look at a time.
    let _turn = app.bulk.previews.lock().await;
    let Selection { letters, parked, more } = meant(&app, &body).await?;
    let unreadable = match body.verb {
        Verb::Redrive => unreadable(&app, &letters).await?,
        Verb::Discard => BTreeMap::new(),
    };
    let about: HashSet<_> = letters.iter().filter_map(about).collect();
    let orders = about.iter().filter(|(is_order, _)| *is_order).count();
    let (messages, skus) = (letters.len(), about.len() - orders);
    let would_fail_again: usize = unreadable.values().map(|(messages, _)| messages).sum();
    let reason = |(messages, why): (usize, Malformed)| ReasonBody {
        messages,
        code: why.code,
        pointer: why.pointer,
        detail: why.detail.to_string(),
    };
    let several =
        |number: usize, name: &str| format!("{number} {name}{}", if number == 1 { "" } else { "s" });
    let mut said = several(messages, "message");
    let subjects = [(orders, "order"), (skus, "sku")].into_iter().filter(|(number, _)| *number > 0);
    for (word, (number, name)) in [" of ", " and "].into_iter().zip(subjects) {
        said.push_str(&format!("{word}{}", several(number, name)));
    }
    said.push_str(&match body.verb {
        Verb::Redrive => format!("; {would_fail_again} would fail again"),
        Verb::Discard => " would be given up".to_owned(),
    });
    if parked > 0 {
        said.push_str(&format!("; {}", left_out(parked)));
    }
    Ok(Json(PreviewBody {
        messages,
        orders,
        skus,
        would_fail_again,
        reasons: unreadable.into_values().map(reason).collect(),
        unknown: messages - would_fail_again,
        parked,
        more,
        said,
    }))
}

/// Ask for many dead letters to be tried again or given up, oldest first, one run at a time
///
/// Letters that failed again three times are parked and left out of a redrive: each can be mended and redriven by its own
/// address. A discard takes them.
#[utoipa::path(post, path = "/dead-letters/bulk", tag = "dead letters", request_body = BulkBody,
    responses(
        (status = 202, body = RunBody),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody),
        (status = 409, description = "bulk-running: another run still asks", body = ProblemBody),
        (status = 422, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn begin(
    State(app): State<App>,
    trace: Trace,
    shared::http::Json(body): shared::http::Json<BulkBody>,
) -> Result<(StatusCode, Json<RunBody>), Problem> {
    check_why(&body.by, &body.reason)?;
    let per_second = body.per_second.unwrap_or(PER_SECOND);
    if !(1..=PER_SECOND_MAX).contains(&per_second) {
        return Err(Problem::invalid("/per_second", format!("is not 1 to {PER_SECOND_MAX}")));
    }
    let Selection { letters, parked, .. } = meant(&app, &body).await?;
    if letters.is_empty() {
        let detail = "no dead letter that waits matches".to_owned();
        return Err(Problem::not_found(match parked {
            0 => detail,
            parked => format!("{detail}; {}", left_out(parked)),
        }));
    }
    let BulkBody { verb, by, reason, .. } = body;
    let asked = Asked { verb, by, reason, per_second, traceparent: trace.traceparent() };
    let running = || Problem::new(StatusCode::CONFLICT, "bulk-running", "another run still asks");
    let run = app.bulk.begin(asked, letters, app.commands.clone()).ok_or_else(running)?;
    Ok((StatusCode::ACCEPTED, Json(RunBody::of(&app, run).await?)))
}

/// How far the newest run is
#[utoipa::path(get, path = "/dead-letters/bulk", tag = "dead letters",
    responses((status = 200, body = NewestBody), (status = 503, body = ProblemBody)))]
pub(super) async fn newest(State(app): State<App>) -> Result<Json<NewestBody>, Problem> {
    Ok(Json(NewestBody { run: standing(&app).await? }))
}

/// Ask for no more
#[utoipa::path(post, path = "/dead-letters/bulk/stop", tag = "dead letters",
    responses((status = 202, body = NewestBody), (status = 503, body = ProblemBody)))]
pub(super) async fn stop(State(app): State<App>) -> Result<(StatusCode, Json<NewestBody>), Problem> {
    if let Some(run) = app.bulk.newest().filter(|run| run.asks()) {
        run.stop("an operator stopped it".to_owned());
    }
    Ok((StatusCode::ACCEPTED, Json(NewestBody { run: standing(&app).await? })))
}

/// The newest run as it stands.
pub(crate) async fn standing(app: &App) -> Result<Option<RunBody>, Problem> {
    match app.bulk.newest() {
        Some(run) => Ok(Some(RunBody::of(app, run).await?)),
        None => Ok(None),
    }
}

impl RunBody {
    /// Whether something of it will still change.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.over || self.processed + self.failed_again < self.requested
    }

    async fn of(app: &App, run: Arc<Run>) -> Result<Self, Problem> {
        let asked = Arc::clone(&run);
        let fates =
            app.read(move |mut connection| async move {
                letter_bulk::fates(&mut connection, &asked.letters).await
            })
            .await?;
        Ok(Self {
            verb: run.asked.verb,
            by: run.asked.by.clone(),
            reason: run.asked.reason.clone(),
            begun_at: time_text(run.begun_at),
            letters: run.letters.len() as i64,
            requested: run.requested() as i64,
            processed: fates.processed,
            failed_again: fates.failed_again,
            stopped: run.stopped().map(str::to_owned),
            over: !run.asks(),
        })
    }
}

struct Selection {
    letters: Vec<Meant>,
    /// How many a redrive leaves out.
    parked: i64,
    /// There may be more than one run takes.
    more: bool,
}

/// The letters that are meant.
async fn meant(app: &App, body: &BulkBody) -> Result<Selection, Problem> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let filter = filter(None, given(&body.group), given(&body.code), given(&body.fingerprint))?;
    let names_some = filter.group.is_some() || filter.code.is_some() || filter.fingerprint.is_some();
    if !names_some && !body.all {
        let detail = "is needed where neither fingerprint, code nor group is given";
        return Err(Problem::invalid("/all", detail));
    }
    let takes_parked = body.verb == Verb::Discard;
    let limit = LETTERS_MAX as i64 + 1;
    let (mut letters, parked) = app
        .read(move |mut connection| async move {
            let letters = letter_bulk::meant(&mut connection, &filter, takes_parked, limit).await?;
            let left_out =
                if takes_parked { 0 } else { letter_bulk::parked(&mut connection, &filter).await? };
            Ok((letters, left_out))
        })
        .await?;
    let more = letters.len() > LETTERS_MAX;
    letters.truncate(LETTERS_MAX);
    Ok(Selection { letters, parked, more })
}

fn left_out(parked: i64) -> String {
    let are = if parked == 1 { "is" } else { "are" };
    format!("{parked} more {are} parked after {REDRIVES_MAX} redrives and left out")
}

/// How many cannot be read for a reason, and what one of them says.
async fn unreadable(
    app: &App,
    letters: &[Meant],
) -> Result<BTreeMap<&'static str, (usize, Malformed)>, Problem> {
    let mut unreadable = BTreeMap::new();
    for chunk in letters.chunks(CHUNK) {
        let ids: Vec<Uuid> = chunk.iter().map(|letter| letter.id).collect();
        let rows = app
            .read(move |mut connection| async move { letter_bulk::whole(&mut connection, &ids).await })
            .await?;
        for letter in rows.iter().filter_map(|row| row.letter.as_ref()) {
            let unknown = "it is of a topic that the contract does not have";
            if letter.code == UNREADABLE {
                let why = || Malformed::new(UNREADABLE, "a header name is not UTF-8");
                unreadable.entry(UNREADABLE).or_insert_with(|| (0, why())).0 += 1;
                continue;
            }
            // In development mode, which takes more.
            let read = letter
                .raw()
                .ok_or_else(|| Malformed::new("unknown-topic", unknown))
                .and_then(|raw| Message::read(&raw, Mode::Development));
            let Err(why) = read else { continue };
            let (messages, _) = unreadable.entry(why.code).or_insert_with(|| (0, why));
            *messages += 1;
        }
    }
    Ok(unreadable)
}

/// Whether it is an order, and its key; `None` for what is about neither order nor sku.
fn about(letter: &Meant) -> Option<(bool, &[u8])> {
    let key = letter.key.as_deref()?;
    match Topic::parse(&letter.topic)?.key() {
        Key::OrderId => Some((true, key)),
        Key::Sku => Some((false, key)),
        Key::Original => None,
    }
}
