//! Overview: five figures, how they went, what needs attention, and the funnel.

use std::{cmp::Reverse, sync::Arc};

use askama::Template;
use axum::{extract::State, response::Response};
use shared::{
    contract::{Timestamp, envelope::time_text},
    http::{Problem, Query},
    log::StoreError,
};
use sqlx::PgConnection;

use super::{
    layout::{Frame, rendered},
    plot::{self, Line, Plot},
    spark, text,
};
use crate::{
    cached::Cached,
    consumers::Standing,
    http::{
        App,
        overview::{AlarmBody, Over, OverviewBody, OverviewQuery, PartBody},
    },
    read_model::{
        drift::{self, Drifted},
        letter_groups::{LetterGroup, letter_groups, open_by_group},
        open_orders::{self, OpenOrders},
        pulse::{self, DAY, HOUR, Part, Span},
        query::{self, LetterFilter, OrderFilter, Read},
    },
    view::{
        funnel::{Funnel, Lost},
        letter,
        order::{OPEN, OrderRow},
    },
};

/// The funnel is of the newest orders, and what orders were lost to is of the newest of those: among many that end well they
/// would be passed in seconds.
const NEWEST_ORDERS: i64 = 500;
/// Among so many of the oldest in each stage, those that are overdue are looked for.
const OPEN_ORDERS: i64 = 500;
const SHOWN_MAX: usize = 10;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    figures: Vec<Figure>,
    is_day: bool,
    drawn: Vec<Plot>,
    steps: Vec<Step>,
    funnel_orders: i64,
    lost: Vec<Lost>,
    lost_orders: i64,
    alarms: Vec<AlarmBody>,
}

struct Figure {
    name: &'static str,
    value: String,
    note: String,
    is_bad: bool,
    address: &'static str,
    /// Of the last hour.
    points: String,
}

struct Step {
    name: &'static str,
    orders: i64,
    percent: i64,
}

/// What was seen last, over the hour and over the day. Cheap to clone.
#[derive(Clone, Default)]
pub struct Overviews {
    hour: Cached<Seen>,
    day: Cached<Seen>,
}

/// What the screen is made of: one question after the other, so two figures may be some milliseconds apart.
struct Seen {
    hour: Vec<Part>,
    /// Of what was asked for.
    parts: Vec<Part>,
    died: Vec<i64>,
    died_in_hour: Vec<i64>,
    /// Of the hour, and of what was asked for.
    open_of_hour: Vec<Option<OpenOrders>>,
    open_orders: Vec<Option<OpenOrders>>,
    open: i64,
    oldest: Vec<Read<OrderRow>>,
    newest: Vec<Read<OrderRow>>,
    lost: Vec<Read<OrderRow>>,
    groups: Vec<LetterGroup>,
    held: i64,
    drift: Vec<Drifted>,
    /// Dead letters that wait for somebody: of more groups than are shown.
    dead: i64,
}

impl Over {
    fn span(self) -> Span {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }
}

impl Overviews {
    async fn seen(&self, app: &App, over: Over) -> Result<Arc<Seen>, Problem> {
        let cached = if over == Over::Day { &self.day } else { &self.hour };
        let read = async || {
            app.read(move |mut connection| async move { Seen::read(&mut connection, over.span()).await })
                .await
        };
        cached.try_get(read).await
    }
}

pub(super) async fn show(
    State(app): State<App>,
    Query(OverviewQuery { over }): Query<OverviewQuery>,
) -> Result<Response, Problem> {
    let (seen, standing) = tokio::join!(app.overviews.seen(&app, over), app.consumers.soon());
    let seen = seen?;
    let body = seen.body(&app, over, standing.as_deref());
    let frame = Frame::new(&app, "overview", "Overview", "fulfil overview");
    rendered(&Overview {
        figures: figures(&seen, &body),
        is_day: over == Over::Day,
        frame: if over == Over::Day { frame.seldom("/?over=day") } else { frame.live("/") },
        drawn: drawn(&body, &seen.parts),
        steps: steps(&body.funnel),
        lost_orders: body.lost.iter().map(|lost| lost.orders).sum(),
        lost: body.lost,
        funnel_orders: body.funnel.created,
        alarms: body.attention,
    })
}

/// The same for programs.
pub(crate) async fn body(app: &App, over: Over) -> Result<OverviewBody, Problem> {
    let (seen, standing) = tokio::join!(app.overviews.seen(app, over), app.consumers.soon());
    Ok(seen?.body(app, over, standing.as_deref()))
}

impl Seen {
    async fn read(connection: &mut PgConnection, span: Span) -> Result<Self, StoreError> {
        let mut oldest = Vec::new();
        for status in OPEN {
            oldest.extend(query::oldest(connection, status, OPEN_ORDERS).await?);
        }
        let created = |read: &Read<OrderRow>| read.row.order.state.as_ref().map(|order| order.created_at);
        oldest.sort_by_key(created);
        let mut lost = Vec::new();
        for status in ["cancelled", "settled"] {
            let filter = OrderFilter { status: Some(status.to_owned()), ..OrderFilter::default() };
            lost.extend(query::orders(connection, &filter, None, NEWEST_ORDERS).await?);
        }
        lost.sort_by_key(|read| Reverse(created(read)));
        lost.truncate(NEWEST_ORDERS as usize);
        let dead = LetterFilter { status: Some(letter::OPEN.into()), ..LetterFilter::default() };
        let hour = pulse::over(connection, HOUR).await?;
        let died_in_hour = pulse::died(connection, HOUR).await?;
        let open_of_hour = open_orders::over(connection, HOUR).await?;
        Ok(Self {
            parts: if span == HOUR { hour.clone() } else { pulse::over(connection, span).await? },
            hour,
            died: if span == HOUR { died_in_hour.clone() } else { pulse::died(connection, span).await? },
            died_in_hour,
            open_orders: if span == HOUR {
                open_of_hour.clone()
            } else {
                open_orders::over(connection, span).await?
            },
            open_of_hour,
            open: query::count(connection, &OPEN).await?.iter().map(|(_, orders)| orders).sum(),
            oldest,
            newest: query::orders(connection, &OrderFilter::default(), None, NEWEST_ORDERS).await?,
            lost,
            groups: letter_groups(connection, &dead).await?,
            held: pulse::held_keys(connection).await?,
            drift: drift::found(connection).await?,
            dead: open_by_group(connection).await?.iter().map(|(_, letters)| letters).sum(),
        })
    }

    /// What stands still first, then what is late, then what died: of the last there may be many.
    fn body(&self, app: &App, over: Over, standing: Option<&Standing>) -> OverviewBody {
        let late: Vec<AlarmBody> = self.oldest.iter().filter_map(|read| AlarmBody::late(app, read)).collect();
        let overdue = late.len();
        let mut attention: Vec<AlarmBody> = AlarmBody::behind(app.lag_ms()).into_iter().collect();
        attention.extend(AlarmBody::of_consumers(standing));
        attention.extend(AlarmBody::held(self.held));
        attention.extend(self.drift.iter().take(SHOWN_MAX).map(AlarmBody::drifted));
        attention.extend(late.into_iter().take(SHOWN_MAX));
        attention.extend(self.groups.iter().take(SHOWN_MAX).map(AlarmBody::died));
        let part = |((part, died), open): ((&Part, &i64), &Option<OpenOrders>)| PartBody {
            begins_at: time_text(part.begins_at),
            minutes: over.span().minutes,
            created: part.created,
            completed: part.completed,
            cancelled: part.cancelled,
            cancelled_percent: part.cancelled_percent(),
            open: open.map(|seen| seen.open),
            overdue: open.map(|seen| seen.overdue),
            dead_letters: *died,
            p50_ms: part.percentile_ms(0.5),
            p95_ms: part.percentile_ms(0.95),
            p99_ms: part.percentile_ms(0.99),
        };
        OverviewBody {
            open: self.open,
            overdue,
            dead_letters: self.dead,
            attention,
            funnel: Funnel::of(self.newest.iter().map(|read| &read.row)),
            lost: Lost::of(self.lost.iter().map(|read| &read.row)),
            over,
            parts: self.parts.iter().zip(&self.died).zip(&self.open_orders).map(part).collect(),
        }
    }
}

/// How it went: how many, how badly, and how long.
fn drawn(body: &OverviewBody, parts: &[Part]) -> Vec<Plot> {
    let times: Vec<i64> = parts.iter().map(|part| part.begins_at.timestamp()).collect();
    let line = |name: &str, value: &dyn Fn(&PartBody) -> Option<f64>| Line {
        name: name.to_owned(),
        values: body.parts.iter().map(value).collect(),
    };
    let a_minute = |orders: i64, part: &PartBody| Some(orders as f64 / part.minutes as f64);
    let plot = |title: &str, unit, lines| Plot { title: title.to_owned(), unit, times: times.clone(), lines };
    vec![
        plot(
            "Orders a minute",
            "",
            vec![
                line("created", &|part| a_minute(part.created, part)),
                line("cancelled", &|part| a_minute(part.cancelled, part)),
            ],
        ),
        plot("Share that was cancelled", "%", vec![line("cancelled", &|part| part.cancelled_percent)]),
        plot(
            "From creation to the end",
            "ms",
            vec![
                line("p50", &|part| part.p50_ms),
                line("p95", &|part| part.p95_ms),
                line("p99", &|part| part.p99_ms),
            ],
        ),
        plot("Dead letters", "", vec![line("died", &|part| Some(part.dead_letters as f64))]),
    ]
}

fn figures(Seen { hour, died_in_hour: died, open_of_hour, .. }: &Seen, body: &OverviewBody) -> Vec<Figure> {
    let created: Vec<Option<f64>> = hour.iter().map(|part| Some(part.created as f64)).collect();
    let p95: Vec<Option<f64>> = hour.iter().map(|part| part.percentile_ms(0.95)).collect();
    let seen = |of: fn(&OpenOrders) -> i64| {
        let values: Vec<_> =
            open_of_hour.iter().map(|seen| seen.as_ref().map(|seen| of(seen) as f64)).collect();
        spark::points(&values)
    };
    let (dead, overdue) = (body.dead_letters, body.overdue);
    let newest = hour.last();
    let figure = |name, value: String| Figure {
        name,
        value,
        note: String::new(),
        is_bad: false,
        address: "/orders",
        points: String::new(),
    };
    let ms = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| text::duration(ms as i64));
    let now = |share| newest.and_then(|part| part.percentile_ms(share));
    let (p50, p95_now) = (now(0.5), now(0.95));
    let overdue_text =
        if overdue >= OPEN_ORDERS as usize { format!("{overdue} or more") } else { overdue.to_string() };
    vec![
        Figure {
            note: format!("{} in the last hour", text::count(hour.iter().map(|part| part.created).sum())),
            points: spark::points(&created),
            ..figure("orders a minute", newest.map_or_else(String::new, created_a_minute))
        },
        Figure {
            note: format!("p50 {}", ms(p50)),
            points: spark::points(&p95),
            ..figure("p95, creation to end", ms(p95_now))
        },
        Figure {
            note: "not ended yet".into(),
            address: "/orders?open=true",
            points: seen(|of| of.open),
            ..figure("open", text::count(body.open))
        },
        Figure {
            note: "past their limit".into(),
            is_bad: overdue > 0,
            address: "/orders?open=true",
            points: seen(|of| of.overdue),
            ..figure("overdue", overdue_text)
        },
        Figure {
            note: format!("open, {} of the last hour", text::count(died.iter().sum())),
            is_bad: dead > 0,
            address: "/dead-letters?status=open",
            points: spark::points(&died.iter().map(|letters| Some(*letters as f64)).collect::<Vec<_>>()),
            ..figure("dead letters", text::count(dead))
        },
    ]
}

/// Of a part that has not ended.
fn created_a_minute(part: &Part) -> String {
    let since = Timestamp::from(std::time::SystemTime::now()) - part.begins_at;
    // A clock of the database that is ahead must not make many of few.
    let minutes = (since.num_seconds() as f64 / 60.0).clamp(1.0, HOUR.minutes as f64);
    let orders = part.created as f64 / minutes;
    if orders < 10.0 { format!("{orders:.1}") } else { text::count(orders.round() as i64) }
}

fn steps(funnel: &Funnel) -> Vec<Step> {
    let step = |(name, orders): (&'static str, i64)| Step {
        name,
        orders,
        percent: orders * 100 / funnel.created.max(1),
    };
    [
        ("created", funnel.created),
        ("reserved", funnel.reserved),
        ("authorized", funnel.authorized),
        ("confirmed", funnel.confirmed),
        ("completed", funnel.completed),
    ]
    .map(step)
    .into()
}
