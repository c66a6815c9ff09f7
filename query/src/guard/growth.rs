//! How large a statement can make its values, told from its plan before it is optimised.
//!
//! The optimizer computes what is constant, and kernels compute a batch at a time: both outside the
//! memory pool, and memory that cannot be had ends the process. `replace(replace(…), 'a', 'aaaaaaaaaa')`
//! grows ten-fold at each level, `SELECT x || x FROM (SELECT x || x …)` doubles, and a type of fixed
//! size takes its size for a NULL too. So each expression is given an upper bound of its bytes, from
//! its parts up, and a statement beyond the limits is refused.
//!
//! It is not exact: a text of a table counts as what texts of tables mostly are ([`sizes`]), and what an
//! aggregate collects as [`COLLECTED_BYTES`], since the pool has charged it.
//!
//! Invariant: the walk itself is bounded by [`SqlConfig::plan_parts_max`], whatever the plan repeats.

mod sizes;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::common::{Column, DFSchema, DFSchemaRef, DataFusionError, Result};
use datafusion::logical_expr::expr::{Cast, TryCast};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use crate::config::SqlConfig;
use crate::error::ApiError;
use sizes::{COLUMN_BYTES, FIXED_BYTES, fixed_bytes, is_fixed, multiplied, of_literal, of_type};

/// What an aggregate's list or text counts: four of them fit into one value, so nothing makes more
/// than four times of what the pool has let it have.
const COLLECTED_BYTES: usize = 4 << 10;

/// The largest type of a fixed size. Ids are 16 bytes; a batch of 8,192 rows makes 32 MiB of this.
const FIXED_TYPE_BYTES_MAX: usize = 4 << 10;

/// Refuses a plan that can make larger values, or wider rows, than the limits say.
pub(super) fn check(plan: &LogicalPlan, limits: &SqlConfig) -> Result<()> {
    Growth { limits, visits: 0 }.columns(plan, COLUMN_BYTES).map(drop)
}

struct Growth<'limits> {
    limits: &'limits SqlConfig,
    visits: usize,
}

/// What the expressions of one node can name.
struct Scope<'plan> {
    /// The columns of each input, and how large their values can be.
    inputs: Vec<(&'plan DFSchemaRef, Vec<usize>)>,
    schema: DFSchema,
    /// The same for columns of a statement around this one.
    outer: usize,
}

impl Scope<'_> {
    fn column(&self, column: &Column) -> usize {
        let found = self.inputs.iter().filter_map(|(schema, widths)| {
            widths.get(schema.maybe_index_of_column(column)?).copied()
        });
        found.max().unwrap_or(self.outer)
    }

    /// The widest of the columns that stand at this place in their inputs.
    fn widest_at(&self, at: usize) -> usize {
        let widths = self.inputs.iter().filter_map(|(_, widths)| widths.get(at).copied());
        widths.max().unwrap_or(FIXED_BYTES)
    }

    fn widest(&self) -> usize {
        let widths = self.inputs.iter().flat_map(|(_, widths)| widths.iter().copied());
        widths.max().unwrap_or(FIXED_BYTES)
    }
}

impl Growth<'_> {
    /// How large the values of each column of `plan` can be.
    fn columns(&mut self, plan: &LogicalPlan, outer: usize) -> Result<Vec<usize>> {
        self.visit()?;
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            inputs.push((input.schema(), self.columns(input, outer)?));
        }
        let scope = Scope { inputs, schema: merge_schema(&plan.inputs()), outer };
        let mut made = Vec::new();
        plan.apply_expressions(|expression| {
            made.push(self.expression(expression, &scope)?);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let fields = plan.schema().fields();
        let widest = made.iter().copied().max().unwrap_or(0).max(scope.widest());
        let given = || scope.inputs.iter().flat_map(|(_, widths)| widths.iter().copied());
        let widths: Vec<usize> = match plan {
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => self.row(made)?,
            LogicalPlan::Window(_) => given().chain(self.row(made)?).collect(),
            LogicalPlan::TableScan(_) => {
                fields.iter().map(|field| of_type(field.data_type())).collect()
            }
            LogicalPlan::Union(_) => (0..fields.len()).map(|at| scope.widest_at(at)).collect(),
            LogicalPlan::Values(_) => vec![widest; fields.len()],
            _ => given().collect(),
        };
        // Grouping sets, semi joins and the like answer other columns than they name.
        Ok(if widths.len() == fields.len() { widths } else { vec![widest; fields.len()] })
    }

    /// The expressions of one node, which all stand in memory at once.
    fn row(&self, made: Vec<usize>) -> Result<Vec<usize>> {
        let bytes = made.iter().fold(0_usize, |sum, width| sum.saturating_add(*width));
        if bytes > self.limits.row_bytes_max {
            return refuse(format!(
                "the statement can make rows of {bytes} bytes; at most {} are made",
                self.limits.row_bytes_max
            ));
        }
        Ok(made)
    }

    fn expression(&mut self, expression: &Expr, scope: &Scope<'_>) -> Result<usize> {
        let mut meter = Meter { growth: self, scope, parts: vec![Vec::new()] };
        expression.visit(&mut meter)?;
        let width = meter.parts.pop().and_then(|parts| parts.first().copied());
        Ok(width.unwrap_or(FIXED_BYTES))
    }

    fn visit(&mut self) -> Result<()> {
        self.visits += 1;
        if self.visits > self.limits.plan_parts_max {
            return refuse(format!(
                "the statement's plan has more than {} parts; tables that are named WITH count for \
                 each use",
                self.limits.plan_parts_max
            ));
        }
        Ok(())
    }
}

/// Walks one expression from its parts up. The walk is the engine's, which grows its stack.
struct Meter<'a, 'limits, 'plan> {
    growth: &'a mut Growth<'limits>,
    scope: &'a Scope<'plan>,
    /// How large the parts are that were met so far, for each expression that is not finished.
    parts: Vec<Vec<usize>>,
}

impl<'n> TreeNodeVisitor<'n> for Meter<'_, '_, '_> {
    type Node = Expr;

    fn f_down(&mut self, _expression: &'n Expr) -> Result<TreeNodeRecursion> {
        self.growth.visit()?;
        self.parts.push(Vec::new());
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, expression: &'n Expr) -> Result<TreeNodeRecursion> {
        let parts = self.parts.pop().unwrap_or_default();
        let width = self.width(expression, &parts)?;
        if width > self.growth.limits.value_bytes_max {
            return refuse(format!(
                "the statement can make values of {width} bytes; at most {} are made",
                self.growth.limits.value_bytes_max
            ));
        }
        if let Some(around) = self.parts.last_mut() {
            around.push(width);
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

impl Meter<'_, '_, '_> {
    /// How large the values of an expression can be whose parts are so large.
    fn width(&mut self, expression: &Expr, parts: &[usize]) -> Result<usize> {
        let sum = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(*part));
        let largest = parts.iter().copied().max().unwrap_or(0);
        Ok(match expression {
            Expr::Column(column) => self.scope.column(column),
            Expr::OuterReferenceColumn(..) => self.scope.outer,
            Expr::Literal(value, _) => of_literal(value),
            Expr::ScalarFunction(function) => {
                let answer = expression.get_type(&self.scope.schema);
                if let Ok(answer) = &answer {
                    check_type(answer)?;
                }
                // A type that cannot be told is an error of planning, which is about to say so.
                match answer {
                    Ok(answer) if is_fixed(&answer) => of_type(&answer),
                    _ => multiplied(function.name(), parts, sum),
                }
            }
            Expr::HigherOrderFunction(function) => {
                return refuse(format!("{} is refused: it takes a function", function.func.name()));
            }
            Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
                check_type(field.data_type())?;
                self.cast(expr, field.data_type(), sum)
            }
            Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => sum,
            Expr::AggregateFunction(function) => match function.func.name() {
                "array_agg" | "string_agg" => sum.max(COLLECTED_BYTES),
                _ => largest,
            },
            Expr::WindowFunction(function)
                if matches!(function.fun.name(), "array_agg" | "string_agg") =>
            {
                return refuse(String::from(
                    "array_agg and string_agg are refused with OVER: each row would hold all \
                     before it",
                ));
            }
            Expr::Case(_) | Expr::GroupingSet(_) | Expr::WindowFunction(_) => largest,
            Expr::ScalarSubquery(of) => self.subquery(&of.subquery)?,
            Expr::Exists(of) => self.truth(&of.subquery.subquery)?,
            Expr::InSubquery(of) => self.truth(&of.subquery.subquery)?,
            Expr::SetComparison(of) => self.truth(&of.subquery.subquery)?,
            Expr::Alias(_) | Expr::Negative(_) | Expr::Unnest(_) => sum,
            Expr::Placeholder(_) | Expr::ScalarVariable(..) => COLUMN_BYTES,
            // Comparisons, lists of values and arithmetic.
            _ => FIXED_BYTES,
        })
    }

    fn subquery(&mut self, plan: &LogicalPlan) -> Result<usize> {
        let outer = self.scope.widest().max(self.scope.outer);
        let widths = self.growth.columns(plan, outer)?;
        Ok(widths.into_iter().max().unwrap_or(FIXED_BYTES))
    }

    fn truth(&mut self, plan: &LogicalPlan) -> Result<usize> {
        self.subquery(plan).map(|_| FIXED_BYTES)
    }

    /// A struct as text repeats its names for each of its values.
    fn cast(&self, from: &Expr, to: &DataType, sum: usize) -> usize {
        if is_fixed(to) {
            return of_type(to);
        }
        match from.get_type(&self.scope.schema) {
            Ok(from) if from.is_nested() && !to.is_nested() => {
                sum.saturating_mul(1 + from.to_string().len())
            }
            // The longest text of a number or a time has some forty letters.
            Ok(from) if is_fixed(&from) => 5 * FIXED_BYTES,
            _ => sum,
        }
    }
}

fn check_type(of: &DataType) -> Result<()> {
    let bytes = fixed_bytes(of);
    if bytes > FIXED_TYPE_BYTES_MAX {
        return refuse(format!(
            "the statement names a type of {bytes} bytes; at most {FIXED_TYPE_BYTES_MAX} are made"
        ));
    }
    Ok(())
}

fn refuse<T>(message: String) -> Result<T> {
    Err(DataFusionError::External(Box::new(ApiError::limit(message))))
}
