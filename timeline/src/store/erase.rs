//! Finding the rows of a session or a user, in memory and in files, so that they can be erased.
//!
//! A file is opened only where its Bloom filters do not rule the id out. What is found is retracted
//! at once, in the next snapshot; a file that held any is written anew by the next seal, without
//! them.

use std::collections::BTreeSet;
use std::fs::File;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ParquetRecordBatchReaderBuilder, SyncReader,
};

use super::{Part, StoreError, io};
use crate::schema::Label;

/// Whose rows are wanted: any of the sessions, or the user, within one application.
pub(super) struct Wanted {
    pub(super) app: Label,
    pub(super) sessions: BTreeSet<String>,
    pub(super) user: Option<String>,
}

/// The columns that say whose a row is.
const WHOSE: [&str; 3] = ["app", "session_id", "user_id"];

impl Wanted {
    /// The numbers of the batch's rows that are wanted, with their session.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Vec<(u32, Option<String>)> {
        let column = |name: &str| -> Option<StringArray> {
            let text = cast(batch.column_by_name(name)?, &DataType::Utf8).ok()?;
            Some(text.as_string::<i32>().clone())
        };
        let (Some(app), Some(session)) = (column(WHOSE[0]), column(WHOSE[1])) else {
            return Vec::new();
        };
        let user = column(WHOSE[2]);
        let value = |column: &StringArray, row: usize| {
            (!column.is_null(row)).then(|| String::from(column.value(row)))
        };
        (0..batch.num_rows())
            .filter(|row| value(&app, *row).as_deref() == Some(self.app.as_str()))
            .filter_map(|row| {
                let session = value(&session, row);
                let user = user.as_ref().and_then(|user| value(user, row));
                let wanted = session.as_ref().is_some_and(|id| self.sessions.contains(id))
                    || (user.is_some() && user == self.user);
                wanted.then_some((row as u32, session))
            })
            .collect()
    }

    /// The lines of a file that are wanted, with their session.
    pub(super) fn lines(&self, part: &Part) -> Result<Vec<(u32, Option<String>)>, StoreError> {
        let path = &part.path;
        let failed = |source| StoreError::Parquet {
            context: format!("cannot search {}", path.display()),
            source,
        };
        let file = File::open(path).map_err(io(format!("cannot open {}", path.display())))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?;
        let groups = self.row_groups(&reader).map_err(failed)?;
        let mask = ProjectionMask::columns(reader.parquet_schema(), WHOSE);
        let mut found = Vec::new();
        let mut first_lines = part.row_group_rows.iter().scan(0, |line, rows| {
            let first = *line;
            *line += rows;
            Some(first)
        });
        for (group, first) in (0..).zip(&mut first_lines) {
            if !groups.contains(&group) {
                continue;
            }
            let file = File::open(path).map_err(io(format!("cannot open {}", path.display())))?;
            let batches = ParquetRecordBatchReaderBuilder::try_new(file)
                .and_then(|reader| {
                    reader.with_row_groups(vec![group]).with_projection(mask.clone()).build()
                })
                .map_err(failed)?;
            let mut line = first;
            for batch in batches {
                let batch = batch.map_err(|error| failed(error.into()))?;
                let rows = self.rows(&batch).into_iter();
                found.extend(rows.map(|(row, session)| (line + row, session)));
                line += batch.num_rows() as u32;
            }
        }
        Ok(found)
    }

    /// The row groups that may hold a wanted row.
    fn row_groups(
        &self,
        reader: &ArrowReaderBuilder<SyncReader<File>>,
    ) -> Result<BTreeSet<usize>, parquet::errors::ParquetError> {
        let column = |name: &str| {
            let columns = reader.parquet_schema().columns().iter();
            columns.clone().position(|column| column.path().string() == name)
        };
        let mut groups = BTreeSet::new();
        for group in 0..reader.metadata().num_row_groups() {
            let asked = self
                .sessions
                .iter()
                .map(|session| (WHOSE[1], session))
                .chain(self.user.iter().map(|user| (WHOSE[2], user)));
            for (name, id) in asked {
                let Some(column) = column(name) else { continue };
                let filter = reader.get_row_group_column_bloom_filter(group, column)?;
                if filter.is_none_or(|filter| filter.check(&id.as_str())) {
                    groups.insert(group);
                }
            }
        }
        Ok(groups)
    }
}
