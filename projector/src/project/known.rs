//! Rows as they stand in the database, or will once the batch under way is written (`ahead.rs`), kept because the next event of
//! an order comes soon.
//!
//! Nobody else writes a source of a row while the position of its topic is ours. So they are forgotten with the positions,
//! and whenever the database had to be waited for: a server that crashed may have forgotten the last of them. Of another
//! source a row can be behind for the moment of a rebalance, which is why only what is new of it is written. Where another
//! view takes the place of this one, the next batch is fenced by the view that it names, and that forgets them.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    cache::Cache,
    contract::ids::{OrderId, Sku},
};

use crate::view::{
    order::OrderRow,
    rows::{RowId, Rows},
    stock::StockRow,
};

const ORDERS_MAX: usize = 5_000;
const STOCKS_MAX: usize = 10_000;

pub(super) struct Known {
    orders: Cache<OrderId, OrderRow>,
    stocks: Cache<Sku, StockRow>,
}

impl Default for Known {
    fn default() -> Self {
        Self { orders: Cache::new(ORDERS_MAX), stocks: Cache::new(STOCKS_MAX) }
    }
}

impl Known {
    /// Those of the rows that are known, and the ids of those that must be loaded.
    pub(super) fn rows(&mut self, ids: BTreeSet<RowId>) -> (Rows, BTreeSet<RowId>) {
        let mut rows = Rows::default();
        let is_unknown = |id: &RowId| match id {
            RowId::Order(id) => self.orders.get(id).map(|row| rows.orders.insert(*id, row)).is_none(),
            RowId::Stock(sku) => {
                self.stocks.get(sku).map(|row| rows.stocks.insert(sku.clone(), row)).is_none()
            }
            RowId::Letter(_) => true,
        };
        let unknown = ids.into_iter().filter(is_unknown).collect();
        (rows, unknown)
    }

    /// Rows as they were committed, or are on their way. Of an order that has ended little more comes: what another topic tells late.
    pub(super) fn keep(&mut self, orders: BTreeMap<OrderId, OrderRow>, stocks: BTreeMap<Sku, StockRow>) {
        self.orders.keep(orders, |_, row| !row.has_ended());
        self.stocks.put_all(stocks);
    }

    pub(super) fn forget(&mut self) {
        self.orders.clear();
        self.stocks.clear();
    }
}
