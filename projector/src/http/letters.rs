//! Dead letters: what died and why, and what an operator asks to be done about it.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use shared::{
    contract::{
        dead_letter::{DeadLetterCommand, DiscardDeadLetter, RedriveDeadLetter},
        envelope::time_text,
        limits::{REDRIVE_BYTES_MAX, TEXT_CHARS_MAX},
        message::Message,
        topics::Topic,
    },
    http::{
        LetterId, PathParam, Problem, Query, Trace,
        body::{json_bytes, read},
        followers::{FIRST_MAX, FollowersBody},
        problem::ProblemBody,
    },
    log,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{App, given::given, mended, paging};
use crate::{
    intake::GROUP,
    read_model::{
        query::{self, After, LetterFilter},
        reads::Reading,
    },
    view::letter::{Letter, LetterRow, OPEN, OPEN_STATUSES, STATUSES},
};

/// In its cursors.
const LIST: &str = "letters";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// dead, redriven, failed-again, discarded or parked; open: dead, failed-again or parked, which all wait for somebody
    #[serde(default, deserialize_with = "given")]
    pub status: Option<String>,
    /// The consumer group that owns it.
    #[serde(default, deserialize_with = "given")]
    pub group: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub code: Option<String>,
    /// Of letters that failed for one reason.
    #[serde(default, deserialize_with = "given")]
    pub fingerprint: Option<String>,
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LettersBody {
    dead_letters: Vec<LetterBody>,
    /// The `cursor` of the next page; null on the last.
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct LetterBody {
    id: Uuid,
    /// dead, or that of the newest change: redriven, failed-again, discarded, parked (failed again three times)
    #[schema(example = "dead")]
    status: String,
    /// Who changed it last, and why.
    changed_at: Option<String>,
    by: Option<String>,
    reason: Option<String>,
    /// The consumer group that owns it.
    #[schema(example = "order-service")]
    group: String,
    topic: String,
    partition: i32,
    offset: i64,
    /// Null where there was none, or where it is not text.
    key: Option<String>,
    stage: String,
    #[schema(example = "invalid-json")]
    code: String,
    message: String,
    fingerprint: String,
    failed_at: String,
    delivery_count: i32,
    /// How often it was tried again.
    redrives: i32,
    build: String,
}

/// A letter with the message that died.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WholeLetterBody {
    #[serde(flatten)]
    letter: LetterBody,
    key_base64: Option<String>,
    value_base64: Option<String>,
    /// The value where it is text.
    value: Option<String>,
    headers: Vec<HeaderBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct HeaderBody {
    name: String,
    /// Where it is text.
    value: Option<String>,
    value_base64: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct RedriveBody {
    /// The mended value; without it the message is tried again as it was.
    value_base64: Option<String>,
    /// Whether a mended value is sent even where the owner could not read it.
    #[serde(default)]
    no_validate: bool,
    #[schema(max_length = 512)]
    by: String,
    /// With a mended value at most 400 characters, since what was changed is kept behind it.
    #[schema(max_length = 512)]
    reason: String,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DiscardBody {
    #[schema(max_length = 512)]
    by: String,
    #[schema(max_length = 512)]
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LetterAsked {
    dead_letter_id: Uuid,
    /// Who will do it.
    group: String,
    command_id: Uuid,
    /// As it will be kept with the letter; of a mended value with what was changed.
    #[schema(example = "a typing error (edited: /data/lines/0/quantity \"1\" -> 1)")]
    reason: String,
}

/// Dead letters, newest first
#[utoipa::path(get, path = "/dead-letters", tag = "dead letters", params(ListQuery),
    responses((status = 200, body = LettersBody), (status = 400, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<ListQuery>,
) -> Result<Json<LettersBody>, Problem> {
    let (rows, next) = listed(&app, asked).await?;
    Ok(Json(LettersBody { dead_letters: rows.iter().filter_map(LetterBody::of).collect(), next }))
}

/// The rows of a page, and the cursor of the next.
pub(crate) async fn listed(app: &App, asked: ListQuery) -> Result<(Vec<LetterRow>, Option<String>), Problem> {
    let limit = paging::limit(asked.limit)?;
    let after = paging::read(LIST, asked.cursor.as_deref())?;
    let filter = filter(asked.status, asked.group, asked.code, asked.fingerprint)?;
    let rows = app
        .read(move |mut connection| async move {
            query::letters(&mut connection, &filter, after, limit + 1).await
        })
        .await?;
    Ok(paging::cut(rows, limit, |row: &LetterRow| {
        Some(paging::write(LIST, After { time: row.letter.as_ref()?.failed_at, id: row.id }))
    }))
}

/// What both lists are asked for.
pub(crate) fn filter(
    status: Option<String>,
    group: Option<String>,
    code: Option<String>,
    fingerprint: Option<String>,
) -> Result<LetterFilter, Problem> {
    let is_known = |status: &str| status == OPEN || STATUSES.contains(&status);
    if !status.as_deref().is_none_or(is_known) {
        return Err(Problem::unreadable("/status", format!("is none of {}, {OPEN}", STATUSES.join(", "))));
    }
    for (pointer, text) in [("/group", &group), ("/code", &code), ("/fingerprint", &fingerprint)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err(Problem::unreadable(pointer, "has a NUL"));
        }
    }
    Ok(LetterFilter { status, group, code, fingerprint })
}

/// A dead letter with its message
#[utoipa::path(get, path = "/dead-letters/{id}", tag = "dead letters", params(("id" = Uuid, Path)),
    responses((status = 200, body = WholeLetterBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn get(
    State(app): State<App>,
    PathParam(LetterId(id)): PathParam<LetterId>,
) -> Result<Json<WholeLetterBody>, Problem> {
    let row = known(&app, id).await?;
    WholeLetterBody::of(&row).map(Json).ok_or_else(|| unknown(id))
}

/// What waits behind a dead letter, as its owner says
#[utoipa::path(get, path = "/dead-letters/{id}/followers", tag = "dead letters", params(("id" = Uuid, Path)),
    responses((status = 200, body = FollowersBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub(super) async fn followers(
    State(app): State<App>,
    PathParam(LetterId(id)): PathParam<LetterId>,
) -> Result<Json<FollowersBody>, Problem> {
    let row = known(&app, id).await?;
    match behind(&app, &row).await? {
        Ok(followers) => Ok(Json(followers)),
        Err(why) => Err(Problem::unavailable(format!("what waits behind {id} is not known here: {why}"), 5)),
    }
}

/// What waits behind a letter, or why that is not known here.
pub(crate) async fn behind(app: &App, row: &LetterRow) -> Result<Result<FollowersBody, String>, Problem> {
    if !OPEN_STATUSES.contains(&row.status()) {
        return Ok(Ok(FollowersBody::default()));
    }
    if row.letter.as_ref().is_none_or(|letter| letter.group != GROUP) {
        return Ok(app.consumers.followers(row.id).await);
    }
    let id = row.id;
    let ask =
        move |mut connection: Reading| async move { log::followers(&mut connection, id, FIRST_MAX).await };
    // One that it has published and does not have: the view was made anew in another database.
    let followers = app.read(ask).await?;
    Ok(followers.map(FollowersBody::from).ok_or_else(|| format!("the database of {GROUP} does not have it")))
}

/// Ask for a dead letter to be tried again, mended or as it was
///
/// A parked one is tried, too: only redrives of many leave it out. A mended value is checked by the schemas of the contract
/// first, and what was changed is kept with the letter, behind the reason.
#[utoipa::path(post, path = "/dead-letters/{id}/redrive", tag = "dead letters", params(("id" = Uuid, Path)),
    request_body = RedriveBody,
    responses(
        (status = 202, body = LetterAsked),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 413, body = ProblemBody),
        (status = 422, description = "`invalid`, or `unreadable-value`: the owner could not read the mended value. Each error's \
            pointer is then `/value_base64` and behind it the place in the message", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
pub(super) async fn redrive(
    State(app): State<App>,
    PathParam(LetterId(id)): PathParam<LetterId>,
    trace: Trace,
    request: Request,
) -> Result<(StatusCode, Json<LetterAsked>), Problem> {
    let shared::http::Json(bytes) = json_bytes(request, REDRIVE_BYTES_MAX).await?;
    let RedriveBody { value_base64, no_validate, by, reason } = read(&bytes)?;
    check_why(&by, &reason)?;
    let letter = known(&app, id).await?.letter.ok_or_else(|| unknown(id))?;
    let reason = match &value_base64 {
        Some(value) => mended::reason(&letter, value, no_validate, &reason)?,
        None => reason,
    };
    let group = letter.group.clone();
    let command = RedriveDeadLetter { dead_letter_id: id, group, value_base64, by, reason: reason.clone() };
    send(&app, letter, command.into(), reason, &trace).await
}

/// Ask for a dead letter to be given up; what waits behind it goes on
#[utoipa::path(post, path = "/dead-letters/{id}/discard", tag = "dead letters", params(("id" = Uuid, Path)),
    request_body = DiscardBody,
    responses(
        (status = 202, body = LetterAsked),
        (status = 400, body = ProblemBody), (status = 404, body = ProblemBody), (status = 422, body = ProblemBody),
        (status = 503, body = ProblemBody)))]
pub(super) async fn discard(
    State(app): State<App>,
    PathParam(LetterId(id)): PathParam<LetterId>,
    trace: Trace,
    shared::http::Json(DiscardBody { by, reason }): shared::http::Json<DiscardBody>,
) -> Result<(StatusCode, Json<LetterAsked>), Problem> {
    check_why(&by, &reason)?;
    let letter = known(&app, id).await?.letter.ok_or_else(|| unknown(id))?;
    let group = letter.group.clone();
    let command = DiscardDeadLetter { dead_letter_id: id, group, by, reason: reason.clone() };
    send(&app, letter, command.into(), reason, &trace).await
}

async fn send(
    app: &App,
    Letter { group, key, .. }: Letter,
    command: DeadLetterCommand,
    reason: String,
    trace: &Trace,
) -> Result<(StatusCode, Json<LetterAsked>), Problem> {
    let dead_letter_id = command.dead_letter_id();
    let command = Message::DeadLetterCommand(command);
    let subject = dead_letter_id.to_string();
    // The original key, so that the command is on the partition that the letter's owner reads.
    let command_id = app.ask(Topic::DeadLettersCommands, &command, &subject, key, trace).await?;
    Ok((StatusCode::ACCEPTED, Json(LetterAsked { dead_letter_id, group, command_id, reason })))
}

pub(crate) async fn known(app: &App, id: Uuid) -> Result<LetterRow, Problem> {
    let row = app.read(move |mut connection| async move { query::letter(&mut connection, id).await }).await?;
    row.ok_or_else(|| unknown(id))
}

pub(crate) fn unknown(id: Uuid) -> Problem {
    Problem::not_found(format!("there is no dead letter {id}"))
}

pub(super) fn check_why(by: &str, reason: &str) -> Result<(), Problem> {
    for (pointer, text) in [("/by", by), ("/reason", reason)] {
        if text.trim().is_empty() || text.chars().count() > TEXT_CHARS_MAX || text.contains('\0') {
            let detail = format!("is not 1 to {TEXT_CHARS_MAX} characters without NUL");
            return Err(Problem::invalid(pointer, detail));
        }
    }
    Ok(())
}

impl LetterBody {
    fn of(row: &LetterRow) -> Option<Self> {
        let letter = row.letter.as_ref()?;
        let change = row.change.as_ref();
        Some(Self {
            id: row.id,
            status: row.status().to_owned(),
            changed_at: change.map(|change| time_text(change.at)),
            by: change.map(|change| change.by.clone()),
            reason: change.map(|change| change.reason.clone()),
            group: letter.group.clone(),
            topic: letter.topic.clone(),
            partition: letter.partition,
            offset: letter.offset,
            key: letter.key.as_deref().and_then(text),
            stage: letter.stage.clone(),
            code: letter.code.clone(),
            message: letter.message.clone(),
            fingerprint: letter.fingerprint.clone(),
            failed_at: time_text(letter.failed_at),
            delivery_count: letter.delivery_count,
            redrives: row.redrives,
            build: letter.build.clone(),
        })
    }
}

impl WholeLetterBody {
    fn of(row: &LetterRow) -> Option<Self> {
        let letter = row.letter.as_ref()?;
        let headers = letter.headers.iter().map(|header| {
            let bytes = header.value_base64.as_ref().and_then(|value| STANDARD.decode(value).ok());
            HeaderBody {
                name: header.name.clone(),
                value: bytes.as_deref().and_then(text),
                value_base64: header.value_base64.clone(),
            }
        });
        Some(Self {
            letter: LetterBody::of(row)?,
            key_base64: letter.key.as_ref().map(|key| STANDARD.encode(key)),
            value_base64: letter.value.as_ref().map(|value| STANDARD.encode(value)),
            value: letter.value.as_deref().and_then(text),
            headers: headers.collect(),
        })
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}
