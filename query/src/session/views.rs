//! The views: read once, planned where a statement names one.
//!
//! A plan holds a snapshot's tables, so each statement plans its views again; it plans those it
//! names and no others, since a statement over one table would otherwise pay for every view.
//!
//! Invariant: a view reads tables, no other views.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::common::{Result, plan_err};
use datafusion::datasource::ViewTable;
use datafusion::execution::context::SessionState;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::over;

/// The views, as a person reads them.
const VIEWS: &str = include_str!("../views.sql");

/// A view and its parsed query.
#[derive(Debug)]
pub(super) struct View {
    name: String,
    definition: String,
    query: Statement,
}

/// The tables of one snapshot, and the views over them.
#[derive(Debug)]
pub(super) struct Views {
    template: Arc<SessionState>,
    views: Arc<[View]>,
    tables: Arc<MemorySchemaProvider>,
}

impl Views {
    /// A schema of `tables` and `views`; views are planned as `template` says.
    pub(super) fn new(
        template: Arc<SessionState>,
        views: Arc<[View]>,
        tables: Arc<MemorySchemaProvider>,
    ) -> Self {
        Self { template, views, tables }
    }
}

#[async_trait]
impl SchemaProvider for Views {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.tables.table_names();
        names.extend(self.views.iter().map(|view| view.name.clone()));
        names
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(view) = self.views.iter().find(|view| view.name == name) else {
            return self.tables.table(name).await;
        };
        let tables = Arc::clone(&self.tables) as Arc<dyn SchemaProvider>;
        let plan = over(&self.template, tables)?.statement_to_plan(view.query.clone()).await?;
        Ok(Some(Arc::new(ViewTable::new(plan, Some(view.definition.clone())))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.table_exist(name) || self.views.iter().any(|view| view.name == name)
    }
}

/// Every view of `views.sql`.
pub(super) fn all() -> Result<Vec<View>> {
    DFParser::parse_sql(VIEWS)?
        .into_iter()
        .map(|statement| match statement {
            Statement::Statement(statement) => match *statement {
                SqlStatement::CreateView(view) => Ok(View {
                    name: view.name.to_string(),
                    definition: view.query.to_string(),
                    query: Statement::Statement(Box::new(SqlStatement::Query(view.query))),
                }),
                other => plan_err!("views.sql holds {other}"),
            },
            other => plan_err!("views.sql holds {other}"),
        })
        .collect()
}
