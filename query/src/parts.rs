//! Sealed parts as files the engine can open, and nothing else.
//!
//! The engine opens files through a registry of object stores by URL. Ours knows one URL, which no
//! statement can name, rooted at the store's directory: a path in a statement opens nothing, and a
//! path outside the store cannot be expressed.
//!
//! It is not the store: which parts there are is the snapshot's business.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::{Result, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, RowGroupAccess};
use datafusion::execution::object_store::{
    DefaultObjectStoreRegistry, ObjectStoreRegistry, ObjectStoreUrl,
};
use datafusion::object_store::ObjectStore;
use datafusion::object_store::local::LocalFileSystem;
use ethogram_timeline::store::{PartView, RowSet};
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

/// The one URL the engine can open. The scheme is nobody else's.
const STORE_URL: &str = "ethogram-store://parts";

/// The store's directory, as the engine sees it.
#[derive(Clone, Debug)]
pub(crate) struct PartFiles {
    /// The directory as it was configured, from the root, and without symbolic links: part paths may
    /// have any of these forms.
    roots: [PathBuf; 3],
    objects: Arc<dyn ObjectStore>,
}

impl PartFiles {
    /// Opens the store's directory, which must exist.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let canonical = directory.canonicalize()?;
        let objects = LocalFileSystem::new_with_prefix(&canonical).map_err(io::Error::other)?;
        let roots = [directory.to_path_buf(), std::path::absolute(directory)?, canonical];
        Ok(Self { roots, objects: Arc::new(objects) })
    }

    /// The URL of the directory.
    pub(crate) fn url() -> ObjectStoreUrl {
        ObjectStoreUrl::parse(STORE_URL).expect("a constant URL without a path")
    }

    /// What reads the files.
    pub(crate) fn objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// A registry that knows this directory and neither `file://` nor any network.
    pub(crate) fn registry(&self) -> Result<Arc<dyn ObjectStoreRegistry>> {
        let registry = DefaultObjectStoreRegistry::new();
        registry.deregister_store(ObjectStoreUrl::local_filesystem().as_ref())?;
        registry.register_store(Self::url().as_ref(), self.objects());
        Ok(Arc::new(registry))
    }

    /// A part as a file to scan, without the rows that were retracted.
    pub(crate) fn file(&self, view: &PartView) -> Result<PartitionedFile> {
        let part = &view.part;
        let below = self
            .roots
            .iter()
            .find_map(|root| part.path.strip_prefix(root).ok())
            .and_then(Path::to_str)
            .ok_or_else(|| {
                internal_datafusion_err!("part {} is outside the store", part.path.display())
            })?;
        let file = PartitionedFile::new(below, part.bytes);
        Ok(match &view.deleted {
            Some(deleted) if !deleted.is_empty() => {
                file.with_extension(access_plan(&part.row_group_rows, deleted))
            }
            _ => file,
        })
    }
}

/// Which rows of a file are alive, as the Parquet reader wants to hear it: row group by row group,
/// so that a group without living rows is not read at all.
fn access_plan(row_group_rows: &[u32], deleted: &RowSet) -> ParquetAccessPlan {
    let mut deleted = deleted.iter().peekable();
    let mut first = 0_u32;
    let groups = row_group_rows.iter().map(|rows| {
        let end = first + rows;
        let mut selectors = Vec::new();
        let mut next = first;
        let mut alive = 0_u32;
        while let Some(row) = deleted.next_if(|row| *row < end) {
            if row > next {
                selectors.push(RowSelector::select((row - next) as usize));
                alive += row - next;
            }
            selectors.push(RowSelector::skip(1));
            next = row + 1;
        }
        if next < end {
            selectors.push(RowSelector::select((end - next) as usize));
            alive += end - next;
        }
        first = end;
        match alive {
            0 => RowGroupAccess::Skip,
            alive if alive == *rows => RowGroupAccess::Scan,
            _ => RowGroupAccess::Selection(RowSelection::from(selectors)),
        }
    });
    ParquetAccessPlan::new(groups.collect())
}
