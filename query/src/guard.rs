//! What a statement may be.
//!
//! In this order, each alone insufficient: the length of the text; the shape of its words (number,
//! nesting, operator chains), since the engine's own limit counts nesting only and a flat chain of
//! fifty thousand `+` ends a process; one statement of an allowed kind; the tables, functions and
//! clauses it names; and, once planned, that no value grows too large ([`growth`]) and that every leaf
//! of the plan is a table of ours.
//!
//! It is not the budget: time, memory and rows are limited where statements run
//! ([`crate::engine`]). Nor is it authentication.
//!
//! Invariant: only what is listed passes. A kind of statement, plan or table that a later engine
//! adds is refused until somebody lists it.

mod growth;
mod shape;
mod types;
mod uses;

use std::collections::VecDeque;
use std::ops::ControlFlow;

use arrow::datatypes::DataType;
use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ExprSchema, Result, plan_err};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, TableScan};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    self, Query, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{TokenWithSpan, Tokenizer};

use crate::config::SqlConfig;
use crate::error::ApiError;
use crate::functions::{self, censored, digits::Digits, list};
use crate::tables::TimelineTable;
use shape::Shape;
use types::Types;
use uses::Uses;

/// What the parser counts as recursion: a parenthesis costs it up to three levels, so this is
/// beyond what [`SqlConfig::nesting_max`] lets through and only catches what is not parenthesised,
/// such as `NOT NOT NOT …`.
const PARSER_RECURSION_MAX: usize = 128;

/// The tables of `information_schema` that may be read: what `SHOW TABLES`, `SHOW COLUMNS` and a
/// client's completion ask. The engine finds them whatever the case of their names.
const DESCRIBED: [&str; 6] = ["tables", "views", "columns", "schemata", "routines", "parameters"];

/// The words of a statement, judged, as one parsed statement.
pub(crate) fn admit(sql: &str, limits: &SqlConfig) -> Result<Statement, ApiError> {
    if sql.len() > limits.text_bytes_max {
        return Err(ApiError::limit(format!(
            "the statement has {} bytes; at most {} are read",
            sql.len(),
            limits.text_bytes_max
        )));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| ApiError::plan(format!("the statement cannot be read: {error}")))?;
    Shape::of(&tokens).check(limits)?;
    let statement = single(parse(tokens)?)?;
    check_kind(&statement)?;
    check_names(&statement, limits)?;
    Ok(statement)
}

fn parse(tokens: Vec<TokenWithSpan>) -> Result<VecDeque<Statement>, ApiError> {
    DFParserBuilder::new(tokens)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(PARSER_RECURSION_MAX)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(ApiError::from)
}

fn single(mut statements: VecDeque<Statement>) -> Result<Statement, ApiError> {
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(ApiError::plan("there is no statement")),
        (Some(_), more) => {
            Err(ApiError::plan(format!("one statement at a time; here are {}", more + 1)))
        }
    }
}

/// Only questions are answered.
fn check_kind(statement: &Statement) -> Result<(), ApiError> {
    let allowed = match statement {
        Statement::Explain(explain) => {
            return match &*explain.statement {
                Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_)) => Ok(()),
                _ => Err(ApiError::plan("EXPLAIN takes a SELECT")),
            };
        }
        Statement::Statement(statement) => matches!(
            **statement,
            SqlStatement::Query(_)
                | SqlStatement::ShowTables { .. }
                | SqlStatement::ShowColumns { .. }
                | SqlStatement::ExplainTable { .. }
        ),
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    Err(ApiError::plan(
        "only SELECT, EXPLAIN, SHOW TABLES, SHOW COLUMNS and DESCRIBE are answered: \
         this surface reads",
    ))
}

fn check_names(statement: &Statement, limits: &SqlConfig) -> Result<(), ApiError> {
    let inner = match statement {
        Statement::Statement(statement) => statement,
        Statement::Explain(explain) => return check_names(&explain.statement, limits),
        _ => return Ok(()),
    };
    let (uses, types) = (Uses::new(limits.tables_max), Types::new(limits.type_parts_max));
    let mut names = Names { uses, types };
    match inner.visit(&mut names) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Walks a parsed statement for what the plan can no longer tell, or would tell less clearly.
struct Names {
    uses: Uses,
    types: Types,
}

impl Visitor for Names {
    type Break = ApiError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<ApiError> {
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return ControlFlow::Break(ApiError::plan("WITH RECURSIVE is refused: it may not end"));
        }
        self.uses.pre_visit_query(query)?;
        check_body(&query.body)
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<ApiError> {
        self.uses.post_visit_query(query)
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<ApiError> {
        self.uses.pre_visit_table_factor(factor)?;
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                refuse(name)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<ApiError> {
        self.types.see(expression)?;
        match expression {
            ast::Expr::Function(function) => {
                refuse(&function.name)?;
                refuse_distinct(function)
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// A query may hide a change: `WITH x AS (INSERT …)`.
fn check_body(body: &SetExpr) -> ControlFlow<ApiError> {
    match body {
        SetExpr::Select(select) if select.into.is_some() => {
            ControlFlow::Break(ApiError::plan("SELECT INTO is refused: this surface reads"))
        }
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {
            ControlFlow::Continue(())
        }
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            ControlFlow::Break(ApiError::plan("a change is refused: this surface reads"))
        }
    }
}

fn refuse(name: &ast::ObjectName) -> ControlFlow<ApiError> {
    match last_name(name).and_then(|name| Some((name, functions::refusal(name)?))) {
        Some((name, reason)) => {
            ControlFlow::Break(ApiError::plan(format!("{name} is refused: {reason}")))
        }
        None => ControlFlow::Continue(()),
    }
}

/// The engine would answer `hdr(DISTINCT x)` by leaving equal durations out: a plausible number
/// that is no tail.
fn refuse_distinct(function: &ast::Function) -> ControlFlow<ApiError> {
    let is_ours = last_name(&function.name).is_some_and(|name| {
        ["hdr", "hdr_censored", "hdr_merge"].iter().any(|ours| name.eq_ignore_ascii_case(ours))
    });
    let is_distinct = matches!(
        &function.args,
        ast::FunctionArguments::List(list)
            if list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct)
    );
    if is_ours && is_distinct {
        let message = "hdr(DISTINCT …) is refused: a tail counts every request";
        return ControlFlow::Break(ApiError::plan(message));
    }
    ControlFlow::Continue(())
}

fn last_name(name: &ast::ObjectName) -> Option<&str> {
    name.0.last()?.as_ident().map(|ident| ident.value.as_str())
}

/// Judges a plan: it reads, it reads our tables, and what it makes of them is bounded.
pub(crate) fn check_plan(plan: &LogicalPlan, limits: &SqlConfig) -> Result<()> {
    // First, since its walk alone is bounded.
    growth::check(plan, limits)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(plan)?;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(scan) => check_scan(scan)?,
            LogicalPlan::Extension(_) | LogicalPlan::RecursiveQuery(_) => {
                return plan_err!("the statement needs something that is not offered here");
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_scan(scan: &TableScan) -> Result<()> {
    let ours = source_as_provider(&scan.source)?.is::<TimelineTable>();
    // The engine's settings are not among them: they tell about the machine, not about the timeline.
    let table = scan.table_name.table();
    let described = scan.table_name.schema() == Some("information_schema")
        && DESCRIBED.iter().any(|described| described.eq_ignore_ascii_case(table));
    if ours || described {
        return Ok(());
    }
    plan_err!("{} is not a table of the timeline", scan.table_name.table())
}

/// Judges an optimised plan: histograms of two and three digits must not become one column, as a
/// `UNION` would make them: their bucket numbers mean different values.
pub(crate) fn check_histograms(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        if let [input] = inputs.as_slice() {
            node.apply_expressions(|expression| {
                expression.apply(|part| check_cast(part, input.schema().as_ref()))
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_cast(part: &Expr, schema: &dyn ExprSchema) -> Result<TreeNodeRecursion> {
    let (Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })) = part else {
        return Ok(TreeNodeRecursion::Continue);
    };
    let digits = |of: &DataType| list::digits_of(of).or_else(|| censored::digits_of(of));
    let to_three = digits(field.data_type()) == Some(Digits::Three);
    if to_three && digits(&expr.get_type(schema)?) == Some(Digits::Two) {
        return plan_err!("{}", list::MIXED);
    }
    Ok(TreeNodeRecursion::Continue)
}

#[cfg(test)]
mod tests;
