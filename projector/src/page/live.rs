//! Live: events as they are folded, newest first. Without script the newest that are kept.

use askama::Template;
use axum::{extract::State, response::Response};
use shared::http::{Problem, Query};

use super::{
    layout::{Frame, rendered},
    orders::pairs,
    text,
};
use crate::http::{
    App,
    events::{EVENTS_MAX, EventBody, EventsQuery, Filter},
};

#[derive(Template)]
#[template(path = "live.html")]
struct Live {
    frame: Frame,
    asked: EventsQuery,
    rows: Vec<EventBody>,
    /// Where what comes next is told.
    source: String,
}

pub(super) async fn show(
    State(app): State<App>,
    Query(asked): Query<EventsQuery>,
) -> Result<Response, Problem> {
    let filter = Filter::of(&asked)?;
    let end = app.live.end();
    let kept = app.live.since(0).seen;
    let newest = kept.iter().rev().skip_while(|(number, _)| *number >= end).map(|(_, seen)| seen);
    let rows = newest.filter(|seen| filter.matches(seen)).take(EVENTS_MAX).map(EventBody::of).collect();
    // Nothing is told twice: what came after this page was made comes next.
    let after = end.checked_sub(1).map(|number| app.live.id(number)).unwrap_or_default();
    let mut parts = asked.parts().to_vec();
    parts.push(("after", &after));
    let source = format!("/events?{}", pairs(&parts));
    rendered(&Live { frame: Frame::new(&app, "live", "Live", asked.command()), asked, rows, source })
}

impl EventsQuery {
    /// Those that choose.
    fn parts(&self) -> [(&str, &str); 5] {
        let Self { event_type, order, sku, service, topic, after: _ } = self;
        let sku = sku.as_ref().map(|sku| sku.as_str());
        [
            ("type", event_type.as_deref()),
            ("order", order.as_deref()),
            ("sku", sku),
            ("service", service.as_deref()),
            ("topic", topic.as_deref()),
        ]
        .map(|(name, part)| (name, part.unwrap_or_default()))
    }

    fn part(&self, name: &str) -> &str {
        self.parts().into_iter().find(|(known, _)| *known == name).map_or("", |(_, part)| part)
    }

    /// The same of the topics themselves.
    fn command(&self) -> String {
        let given = self.parts().into_iter().filter(|(_, part)| !part.is_empty());
        let (topics, rest): (Vec<_>, Vec<_>) = given.partition(|(name, _)| *name == "topic");
        let term = |(name, part): (&str, &str)| match name {
            "type" => format!("type~{part}"),
            "order" => format!("order={}*", part.to_ascii_lowercase()),
            "service" => format!("source=/fulfil/{part}"),
            name => format!("{name}={part}"),
        };
        let terms: Vec<String> = rest.into_iter().map(term).collect();
        let topic = topics.first().map(|(_, topic)| format!(" {}", text::shell(topic))).unwrap_or_default();
        match terms.is_empty() {
            true => format!("fulfil topic watch{topic}"),
            false => format!("fulfil topic watch{topic} --where {}", text::shell(&terms.join(" and "))),
        }
    }
}

impl EventBody {
    fn words(&self) -> String {
        text::event(&self.event_type)
    }

    /// `orders.events[3]@71`
    fn place(&self) -> String {
        format!("{}[{}]@{}", self.topic, self.partition, self.offset)
    }

    /// The time of the day; the whole of it stands beside.
    fn clock(&self) -> &str {
        self.time.split_once('T').map_or(&self.time, |(_, clock)| clock.trim_end_matches('Z'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_asks_the_topics_the_same() {
        let asked = |parts: &str| serde_urlencoded::from_str::<EventsQuery>(parts).unwrap().command();
        assert_eq!(asked(""), "fulfil topic watch");
        assert_eq!(asked("topic=payments.events"), "fulfil topic watch payments.events");
        assert_eq!(
            asked("type=payment&order=0198F3C2&service=payment-service&sku="),
            "fulfil topic watch --where 'type~payment and order=0198f3c2* and source=/fulfil/payment-service'"
        );
    }
}
