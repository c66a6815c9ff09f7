//! A SQL session: our tables, views and functions over one snapshot, and nothing else.
//!
//! Each statement has a session of its own, made from a template in microseconds, so that nothing
//! a statement does can be seen by the next one, and all tables of a statement are of one snapshot.
//!
//! It is not the guard, nor the budget: see [`crate::guard`] and [`crate::engine`].
//!
//! Invariants: the catalogue holds the tables of [`Table::ALL`] and the views of `views.sql`; the
//! only files that can be opened are the store's; memory and spilling are bounded for all
//! sessions together. `information_schema` is on, since `SHOW TABLES` and every client's
//! completion read it; the guard lists which of its tables may be read, and the table of the
//! engine's settings is not among them under any case of its name.

mod views;

use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SessionContext, SessionState};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use ethogram_timeline::store::{Snapshot, Table};

use crate::config::SqlConfig;
use crate::error::QueryError;
use crate::functions;
use crate::parts::PartFiles;
use crate::tables::TimelineTable;
use views::{View, Views};

/// The catalogue and the schema that statements need not name.
const CATALOG: &str = "ethogram";
const SCHEMA: &str = "public";

/// What all sessions have in common.
#[derive(Debug)]
pub(crate) struct Template {
    state: Arc<SessionState>,
    views: Arc<[View]>,
    files: PartFiles,
}

impl Template {
    /// A template over the store's directory, which must exist. Spills go to `spill` inside it.
    pub(crate) fn open(limits: &SqlConfig, store: &Path) -> Result<Self, QueryError> {
        let files = PartFiles::open(store).map_err(QueryError::Store)?;
        let engine = |error| QueryError::Engine(Box::new(error));
        let runtime = runtime(limits, &files, &store.join("spill")).map_err(engine)?;
        let views = views::all().map_err(engine)?.into();
        Ok(Self { state: Arc::new(state(limits, runtime)), views, files })
    }

    /// A session pinned to `snapshot`.
    pub(crate) async fn session(&self, snapshot: &Arc<Snapshot>) -> Result<SessionContext> {
        let tables = Arc::new(MemorySchemaProvider::new());
        for table in Table::ALL {
            let rows = TimelineTable::new(table, Arc::clone(snapshot), self.files.clone());
            tables.register_table(String::from(table.name()), Arc::new(rows))?;
        }
        let schema = Views::new(Arc::clone(&self.state), Arc::clone(&self.views), tables);
        Ok(SessionContext::new_with_state(over(&self.state, Arc::new(schema))?))
    }

    /// Bytes that running statements hold now.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.state.runtime_env().memory_pool.reserved()
    }
}

/// A state like `template` whose one schema is `schema`.
fn over(template: &SessionState, schema: Arc<dyn SchemaProvider>) -> Result<SessionState> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, schema)?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(String::from(CATALOG), Arc::new(catalog));
    Ok(SessionStateBuilder::new_from_existing(template.clone())
        .with_catalog_list(Arc::new(catalogs))
        .build())
}

/// Memory and disk for all sessions together.
fn runtime(limits: &SqlConfig, files: &PartFiles, spill: &Path) -> Result<Arc<RuntimeEnv>> {
    // What a process that was killed had spilled is nobody's any more.
    if spill.exists() {
        std::fs::remove_dir_all(spill)?;
    }
    std::fs::create_dir_all(spill)?;
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![spill.to_path_buf()]))
        .with_max_temp_directory_size(limits.spill_bytes);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory_bytes)))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(files.registry()?)
        .build_arc()
}

fn state(limits: &SqlConfig, runtime: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true);
    if limits.partitions > 0 {
        config = config.with_target_partitions(limits.partitions);
    }
    let options = config.options_mut();
    options.execution.time_zone = Some(String::from("UTC"));
    options.execution.enable_recursive_ctes = false;
    // Columns carry their own descriptions, and two tables describe a trace's id differently: that must
    // not make a union of them fail.
    options.execution.skip_physical_aggregate_schema_check = true;
    let mut state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    adjust_functions(&mut state);
    state
}

/// Adds our functions and takes out what is refused, aliases included.
fn adjust_functions(state: &mut SessionState) {
    use datafusion::execution::FunctionRegistry;
    const KNOWN: &str = "an in-memory registry takes every function";
    for (name, _reason) in functions::REFUSED {
        state.deregister_udf(name).expect(KNOWN);
        state.deregister_udaf(name).expect(KNOWN);
        state.deregister_udtf(name).expect(KNOWN);
    }
    for function in functions::aggregates() {
        state.register_udaf(function).expect(KNOWN);
    }
    for function in functions::scalars() {
        state.register_udf(function).expect(KNOWN);
    }
}

#[cfg(test)]
pub(crate) mod tests;
