//! How large the types can become that a statement builds.
//!
//! A struct of `n` parts has a type as large as theirs together, and a part may be a struct itself, of a
//! common table before it: each place multiplies. The planner compares types whole, so a chain of forty
//! places of two parts would be planned for years. It is counted before anything is planned, and errs on
//! the safe side: places that have nothing to do with each other multiply too.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast;

use super::last_name;
use crate::error::ApiError;

/// Functions whose result has the types of all that they are given.
const BUILDERS: [&str; 5] = ["named_struct", "struct", "row", "map", "make_map"];

/// The places of a statement that build types.
pub(super) struct Types {
    parts: usize,
    parts_max: usize,
}

impl Types {
    /// Of a statement whose types may have `parts_max` parts together.
    pub(super) fn new(parts_max: usize) -> Self {
        Self { parts: 1, parts_max }
    }

    /// Takes note of an expression.
    pub(super) fn see(&mut self, expression: &ast::Expr) -> ControlFlow<ApiError> {
        let parts = match expression {
            ast::Expr::Struct { values, .. } => values.len(),
            ast::Expr::Tuple(values) => values.len(),
            ast::Expr::Dictionary(fields) => fields.len(),
            ast::Expr::Map(map) => 2 * map.entries.len(),
            ast::Expr::Function(function) if is_builder(function) => arguments(function),
            _ => 1,
        };
        self.parts = self.parts.saturating_mul(parts.max(1));
        if self.parts > self.parts_max {
            return ControlFlow::Break(ApiError::limit(format!(
                "the types that the statement builds may have {} parts; at most {} are planned",
                self.parts, self.parts_max
            )));
        }
        ControlFlow::Continue(())
    }
}

fn is_builder(function: &ast::Function) -> bool {
    let name = last_name(&function.name);
    name.is_some_and(|name| BUILDERS.iter().any(|builder| builder.eq_ignore_ascii_case(name)))
}

fn arguments(function: &ast::Function) -> usize {
    match &function.args {
        ast::FunctionArguments::List(list) => list.args.len(),
        ast::FunctionArguments::Subquery(_) => 1,
        ast::FunctionArguments::None => 0,
    }
}
