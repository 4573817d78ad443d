//! An order by the start of its id, as people copy it from a line.

use serde_json::Value;
use shared::contract::ids::OrderId;

use crate::{
    exit::{Exit, ended},
    place::Place,
    service,
};

const PAGE_ORDERS: usize = 500;
const PAGES_MAX: usize = 20;
const PREFIX_CHARS_MIN: usize = 4;

/// A whole id is taken as it is; a start of one is looked up among the newest orders.
pub async fn resolve(text: &str, place: &Place) -> anyhow::Result<OrderId> {
    if text.len() == 36 {
        let id = text.to_ascii_lowercase().parse();
        return id.map_err(|error| ended(Exit::Usage, format!("order id {text:?} {error}")));
    }
    let is_start = text.len() >= PREFIX_CHARS_MIN
        && text.len() < 36
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if !is_start {
        let text = format!(
            "{text:?} is neither an order id nor the first {PREFIX_CHARS_MIN} or more characters of one"
        );
        return Err(ended(Exit::Usage, text));
    }
    let found = starting_with(&text.to_ascii_lowercase(), place).await?;
    match found.as_slice() {
        [one] => one.parse().map_err(|error| anyhow::anyhow!("order id {one} {error}")),
        [] => Err(ended(
            Exit::NotFound,
            format!("no order begins with {text} among the newest {}", PAGE_ORDERS * PAGES_MAX),
        )),
        several => {
            let shown = several.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n  ");
            Err(ended(
                Exit::Usage,
                format!("{} orders begin with {text}; say more of it:\n  {shown}", several.len()),
            ))
        }
    }
}

async fn starting_with(start: &str, place: &Place) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let query = [("limit", PAGE_ORDERS.to_string()), ("cursor", cursor)];
        let page: Value = service::get(&format!("{}/orders", place.projector), &query).await?;
        let (orders, next) = page_of(&page, "orders");
        found.extend(
            orders
                .iter()
                .filter_map(|order| order["order_id"].as_str())
                .filter(|id| id.starts_with(start))
                .map(str::to_owned),
        );
        let Some(next) = next else { break };
        cursor = next;
    }
    Ok(found)
}

/// The rows of a page, and the cursor of the one after it.
pub(crate) fn page_of<'a>(page: &'a Value, name: &str) -> (&'a [Value], Option<String>) {
    let rows = page[name].as_array().or_else(|| page["items"].as_array()).or_else(|| page.as_array());
    let next =
        page["next_cursor"].as_str().or_else(|| page["cursor"].as_str()).or_else(|| page["next"].as_str());
    (rows.map(Vec::as_slice).unwrap_or_default(), next.map(str::to_owned))
}
