//! Joins that give others a turn, so that a statement can be stopped while it works.
//!
//! A task of tokio is stopped where it waits, and DataFusion has the sources of a plan wait now and then:
//! each batch read takes from the task's budget. But a join makes many batches of one, and a tower of
//! joins more than any machine ever gets through, without reading another. So each join takes from the
//! budget too, for each batch that it gives.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// The plan, in which whatever gives more batches than it takes waits now and then.
pub(super) fn with_turns(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let in_turns = plan.transform_up(|node| {
        let gives_more = node.name().ends_with("JoinExec") || node.name() == "UnnestExec";
        Ok(if gives_more {
            Transformed::yes(Arc::new(CooperativeExec::new(node)))
        } else {
            Transformed::no(node)
        })
    })?;
    Ok(in_turns.data)
}
