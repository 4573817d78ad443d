//! An order by the start of its id, as people copy it from a line.

use shared::contract::ids::OrderId;

use crate::{
    exit::{Exit, ended},
    place::Place,
    service,
};

const ORDERS_MAX: usize = 10_000;
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
        [] => {
            Err(ended(Exit::NotFound, format!("no order begins with {text} among the newest {ORDERS_MAX}")))
        }
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
    let orders = service::list(&format!("{}/orders", place.projector), "orders", &[], ORDERS_MAX).await?;
    let ids = orders.iter().filter_map(|order| order["order_id"].as_str());
    Ok(ids.filter(|id| id.starts_with(start)).map(str::to_owned).collect())
}
