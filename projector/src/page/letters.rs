//! Dead letters: what is wrong, how often and since when, and one letter with what can be done about it.

use askama::Template;
use axum::{extract::State, response::Response};
use shared::{
    contract::{Timestamp, envelope::time_text, ids::OrderId, limits::TEXT_CHARS_MAX},
    failure::REDRIVES_MAX,
    http::{
        LetterId, PathParam, Problem, Query,
        followers::{FollowerBody, FollowersBody},
    },
    mend::REASON_CHARS_MAX,
};

use super::{
    layout::{Frame, rendered},
    mark,
    orders::pairs,
    spark, text,
};
use crate::{
    bulk::Verb,
    http::{
        App,
        bulk::{RunBody, standing},
        letters::{ListQuery, behind, filter, known, listed, unknown},
    },
    read_model::{
        letter_groups::{LETTERS_MAX, LetterGroup, letter_groups, waiting},
        query,
    },
    view::letter::{Header, LetterRow, OPEN, OPEN_STATUSES, PARKED, STATUSES},
};

#[derive(Template)]
#[template(path = "letters.html")]
struct Letters {
    frame: Frame,
    filter: Filter,
    groups: Vec<Group>,
    /// Of all that match, those that wait for somebody, and those of them that a redrive leaves out.
    open: i64,
    parked: i64,
    /// Of those that wait and of the others, how many are in the groups; empty where all are.
    newest: String,
    /// Of many at once, the newest.
    run: Option<RunBody>,
    rows: Vec<Row>,
    /// The address of the next page.
    next: Option<String>,
}

/// What stands in the address.
struct Filter {
    status: String,
    group: String,
    code: String,
    fingerprint: String,
}

struct Group {
    address: String,
    what: LetterGroup,
    first: String,
    last: String,
    points: String,
    redrive: String,
}

struct Row {
    id: String,
    short: String,
    status: String,
    group: String,
    code: String,
    message: String,
    place: String,
    key: String,
    failed: String,
}

#[derive(Template)]
#[template(path = "letter.html")]
struct Screen {
    frame: Frame,
    id: String,
    row: Row,
    failed_at: String,
    stage: String,
    fingerprint: String,
    deliveries: i32,
    redrives: i32,
    build: String,
    /// Who did what with it last; empty where nobody did.
    change: String,
    /// Of the order that it is about, where its key is one.
    order: Option<String>,
    value: Value,
    /// What the field begins with in which it is mended; `None` where it cannot be mended here.
    mendable: Option<String>,
    headers: Vec<(String, String)>,
    /// Or why it is not known here.
    behind: Result<Behind, String>,
    is_parked: bool,
    is_done: bool,
}

/// What waits behind a letter: how much, and the first of it.
struct Behind {
    messages: i64,
    /// What each is, and where it stands.
    first: Vec<(String, String)>,
}

/// The message as far as people can read it.
enum Value {
    Nothing,
    /// The beginning of a text that is too long to be mended here.
    Cut(String),
    /// The text before the place of the error, the place itself (empty where it is not known), and what is behind it.
    Text(String, String, String),
    Bytes(String),
}

/// In place of a place at which nothing is.
const END: &str = "⏎ end";

pub(super) async fn list(
    State(app): State<App>,
    Query(asked): Query<ListQuery>,
) -> Result<Response, Problem> {
    let here = Filter::of(&asked);
    let (is_first, address) = (asked.cursor.is_none(), here.address(&[]));
    let of_groups =
        filter(asked.status.clone(), asked.group.clone(), asked.code.clone(), asked.fingerprint.clone())?;
    let (rows, next) = listed(&app, asked).await?;
    let (groups, waiting) = app
        .read(move |mut connection| async move {
            let groups = letter_groups(&mut connection, &of_groups).await?;
            Ok((groups, waiting(&mut connection, &of_groups).await?))
        })
        .await?;
    let letters: i64 = groups.iter().map(|group| group.letters).sum();
    let run = standing(&app).await?;
    let now = Timestamp::from(std::time::SystemTime::now());
    let frame = Frame::new(&app, "dead letters", "Dead letters", here.command());
    rendered(&Letters {
        frame: match &run {
            Some(run) if is_first && run.is_under_way() => frame.live(address),
            _ if is_first => frame.seldom(address),
            _ => frame,
        },
        open: waiting.open,
        parked: waiting.parked,
        newest: if letters >= LETTERS_MAX { text::count(LETTERS_MAX) } else { String::new() },
        run,
        groups: groups.into_iter().map(|group| Group::of(group, &here, now)).collect(),
        rows: rows.iter().filter_map(|row| Row::of(row, now)).collect(),
        next: next.map(|next| here.address(&[("cursor", &next)])),
        filter: here,
    })
}

pub(super) async fn show(
    State(app): State<App>,
    PathParam(LetterId(id)): PathParam<LetterId>,
) -> Result<Response, Problem> {
    let found = known(&app, id).await?;
    let now = Timestamp::from(std::time::SystemTime::now());
    let row = Row::of(&found, now).ok_or_else(|| unknown(id))?;
    let letter = found.letter.as_ref().ok_or_else(|| unknown(id))?;
    let change = found.change.as_ref().map(|change| {
        let when = text::from_now(change.at, now);
        format!("{} by {}, {when}: {}", text::words(&change.status), change.by, change.reason)
    });
    let order = match row.key.parse::<OrderId>() {
        Ok(order) => app
            .read(move |mut connection| async move { query::order(&mut connection, order).await })
            .await?
            .map(|read| format!("/orders/{}", read.row.order_id)),
        Err(_) => None,
    };
    let behind = behind(&app, &found).await?;
    let header = |header: &Header| (header.name.clone(), header.text().unwrap_or_default());
    rendered(&Screen {
        frame: Frame::new(
            &app,
            "dead letters",
            format!("Dead letter {}", row.short),
            format!("fulfil dlq show {id}"),
        ),
        id: id.to_string(),
        failed_at: time_text(letter.failed_at),
        stage: letter.stage.clone(),
        fingerprint: letter.fingerprint.clone(),
        deliveries: letter.delivery_count,
        redrives: found.redrives,
        build: letter.build.clone(),
        change: change.unwrap_or_default(),
        order,
        value: Value::of(letter.value.as_deref(), &letter.message),
        mendable: mendable(letter.value.as_deref()),
        headers: letter.headers.iter().map(header).collect(),
        behind: behind.map(Behind::from),
        is_parked: found.status() == PARKED,
        is_done: !OPEN_STATUSES.contains(&found.status()),
        row,
    })
}

impl From<FollowersBody> for Behind {
    fn from(FollowersBody { messages, first }: FollowersBody) -> Self {
        let said = |follower: &FollowerBody| {
            let FollowerBody { message_type, topic, partition, offset } = follower;
            let what = message_type.as_deref().map_or_else(|| "not readable".to_owned(), text::event);
            (what, format!("{topic}[{partition}]@{offset}"))
        };
        Self { messages, first: first.iter().map(said).collect() }
    }
}

impl Filter {
    fn of(asked: &ListQuery) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            status: text(&asked.status),
            group: text(&asked.group),
            code: text(&asked.code),
            fingerprint: text(&asked.fingerprint),
        }
    }

    fn is(&self, status: &str) -> bool {
        self.status == status
    }

    /// Whether all letters are meant, whatever their status.
    fn is_everything(&self) -> bool {
        [&self.group, &self.code, &self.fingerprint].iter().all(|text| text.is_empty())
    }

    /// What says the same in a shell, which leaves out what is done with unless it is asked for.
    fn command(&self) -> String {
        let flags = [
            ("status", &self.status),
            ("group", &self.group),
            ("code", &self.code),
            ("fingerprint", &self.fingerprint),
        ];
        let given = flags.iter().filter(|(_, value)| !value.is_empty());
        let flags: String = given.map(|(name, value)| format!(" --{name} {}", text::shell(value))).collect();
        let all = if self.is(OPEN) { "" } else { " --all" };
        format!("fulfil dlq groups{flags}{all}")
    }

    /// With something else than what is here.
    fn address(&self, but: &[(&str, &str)]) -> String {
        let mut all = vec![
            ("status", &*self.status),
            ("group", &self.group),
            ("code", &self.code),
            ("fingerprint", &self.fingerprint),
        ];
        all.retain(|(name, _)| but.iter().all(|(other, _)| other != name));
        all.extend(but);
        match pairs(&all) {
            query if query.is_empty() => "/dead-letters".to_owned(),
            query => format!("/dead-letters?{query}"),
        }
    }
}

impl Group {
    fn of(what: LetterGroup, here: &Filter, now: Timestamp) -> Self {
        let trend: Vec<Option<f64>> = what.trend.iter().map(|letters| Some(*letters as f64)).collect();
        Self {
            address: here.address(&[
                ("fingerprint", &what.fingerprint),
                ("group", &what.group),
                ("code", &what.code),
            ]),
            first: text::from_now(what.first_failed_at, now),
            last: text::from_now(what.last_failed_at, now),
            points: spark::points(&trend),
            redrive: format!("fulfil dlq redrive --fingerprint {} --dry-run", text::shell(&what.fingerprint)),
            what,
        }
    }
}

impl Row {
    fn of(row: &LetterRow, now: Timestamp) -> Option<Self> {
        let letter = row.letter.as_ref()?;
        let key = letter.key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        Some(Self {
            id: row.id.to_string(),
            short: text::short(&row.id),
            status: row.status().to_owned(),
            group: letter.group.clone(),
            code: letter.code.clone(),
            message: letter.message.clone(),
            place: format!("{}[{}]@{}", letter.topic, letter.partition, letter.offset),
            key: key.into_owned(),
            failed: text::from_now(letter.failed_at, now),
        })
    }
}

/// Of a value on the screen.
const CHARS_MAX: usize = 64 * 1024;

impl Value {
    fn of(value: Option<&[u8]>, message: &str) -> Self {
        let Some(bytes) = value else { return Self::Nothing };
        let Ok(text) = std::str::from_utf8(bytes) else {
            let hex: Vec<String> =
                bytes.iter().take(CHARS_MAX / 3).map(|byte| format!("{byte:02x}")).collect();
            return Self::Bytes(hex.join(" "));
        };
        if let Some((end, _)) = text.char_indices().nth(CHARS_MAX) {
            return Self::Cut(text[..end].to_owned());
        }
        let part = |text: &str| text.to_owned();
        match mark::place(text, message) {
            None => Self::Text(part(text), String::new(), String::new()),
            Some(place) => {
                let marked = if place.is_empty() { END } else { &text[place.clone()] };
                Self::Text(part(&text[..place.start]), part(marked), part(&text[place.end..]))
            }
        }
    }
}

/// All of it, where it is a text that is shown whole; what has no value begins with nothing.
fn mendable(value: Option<&[u8]>) -> Option<String> {
    let text = std::str::from_utf8(value.unwrap_or_default()).ok()?;
    text.char_indices().nth(CHARS_MAX).is_none().then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_as_far_as_people_can_read_it() {
        let shown = |text: &str, message: &str| match Value::of(Some(text.as_bytes()), message) {
            Value::Text(before, at, after) => [before, at, after],
            _ => unreachable!(),
        };
        assert_eq!(shown("{\"a\" 1}", "expected `:` (line 1, column 6)"), ["{\"a\" ", "1", "}"]);
        assert_eq!(shown("{", "EOF while parsing an object (line 1, column 1)"), ["{", END, ""]);
        assert_eq!(shown("{}", "the header type is missing"), ["{}", "", ""]);
        let long = "x".repeat(CHARS_MAX + 1);
        assert!(matches!(Value::of(Some(long.as_bytes()), "x"), Value::Cut(text) if text.len() == CHARS_MAX));
        assert!(matches!(Value::of(Some(&[0xff, 0x00]), "x"), Value::Bytes(hex) if hex == "ff 00"));
        assert_eq!(mendable(Some(long.as_bytes())), None);
        assert_eq!(mendable(Some(&[0xff])), None);
        assert_eq!(mendable(Some(&long.as_bytes()[1..])).unwrap().len(), CHARS_MAX);
        assert_eq!(mendable(None).unwrap(), "");
    }
}
