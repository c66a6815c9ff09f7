//! How many tables a statement names, each use counted as often as it will be planned.
//!
//! A common table (`WITH a AS …`) is planned anew wherever it is named. A chain of them, each naming the
//! one before twice, has a billion tables after thirty links, and twice the columns at each. So a use
//! of a common table counts what that table names itself.
//!
//! It errs on the safe side: of two common tables with one name, each use counts the larger.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visitor};

use crate::error::ApiError;

/// The tables that were met so far.
#[derive(Debug)]
pub(super) struct Uses {
    count: usize,
    count_max: usize,
    /// What each query names that is being walked, the outermost first.
    open: Vec<usize>,
    /// The common tables that were announced, by where their query stands in memory.
    announced: BTreeMap<usize, String>,
    /// What each common table names, by its name in lower case.
    common: BTreeMap<String, usize>,
}

impl Uses {
    /// None yet, and at most so many.
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            count: 0,
            count_max,
            open: Vec::new(),
            announced: BTreeMap::new(),
            common: BTreeMap::new(),
        }
    }
}

impl Visitor for Uses {
    type Break = ApiError;

    /// The common tables of a query are walked before it, each after those that stand before it.
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<ApiError> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.announced.insert(place(&table.query), table.alias.name.value.to_lowercase());
        }
        self.open.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<ApiError> {
        let names = self.open.pop().unwrap_or(0);
        if let Some(around) = self.open.last_mut() {
            *around = around.saturating_add(names);
        }
        if let Some(name) = self.announced.remove(&place(query)) {
            let known = self.common.entry(name).or_default();
            *known = names.max(*known);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<ApiError> {
        let common = match factor {
            TableFactor::Table { name, .. } => super::last_name(name)
                .and_then(|name| self.common.get(&name.to_lowercase()))
                .copied(),
            _ => None,
        };
        let names = common.unwrap_or(0).max(1);
        if let Some(around) = self.open.last_mut() {
            *around = around.saturating_add(names);
        }
        self.count = self.count.saturating_add(names);
        if self.count > self.count_max {
            return ControlFlow::Break(ApiError::limit(format!(
                "the statement names more than {} tables, of which each use counts",
                self.count_max
            )));
        }
        ControlFlow::Continue(())
    }
}

fn place(query: &Query) -> usize {
    std::ptr::from_ref(query).addr()
}
