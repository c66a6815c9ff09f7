//! Finding the rows of sessions and users, in memory and in files, so that they can be erased.
//!
//! What is in memory is retracted at once. Files are searched by a [`Search`], on any thread, since
//! a store may hold many; what it found is retracted then, and every file that held any is written
//! anew by the next seal, without them. A file is opened only where its Bloom filters do not rule
//! the ids out.
//!
//! Invariant: between the beginning and the end of a search no seal is begun or finished, so that
//! the files that were searched are those of the store, and no checkpoint says that an erasure is
//! done which is not. What has not been searched stands in the checkpoint, since the log may have
//! let go of the erasure by then; a file that cannot be read holds up no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderBuilder, ParquetRecordBatchReaderBuilder, SyncReader,
};

use super::directory::OpenFile;
use super::{Part, Store, StoreError, Table, shelf};
use crate::schema::{Erasure, Label, SessionId, Subject};

impl Store {
    /// Retracts every row of the head that the erasures cover. Returns the sessions that were
    /// found to be a user's. The parts are searched by [`Self::search`].
    pub fn erase(&mut self, erasures: &[Erasure]) -> BTreeSet<(Label, SessionId)> {
        let mut sessions = BTreeSet::new();
        self.unsearched.extend(erasures.iter().cloned());
        for wanted in Wanted::of(erasures) {
            let found = self.spans.erase(&wanted).into_iter().chain(self.events.erase(&wanted));
            let found = found.chain(self.requests.erase(&wanted));
            sessions.extend(wanted.others(found.chain(self.sessions.erase(&wanted))));
        }
        sessions
    }

    /// What is to be searched for rows that the erasures cover, on any thread. What it finds is
    /// handed to [`Self::finish_search`]; no seal may begin or finish before.
    pub fn search(&self, erasures: &[Erasure]) -> Search {
        let of =
            |table: Table, parts: Vec<Arc<Part>>| parts.into_iter().map(move |part| (table, part));
        let parts = of(Table::Spans, self.spans.parts())
            .chain(of(Table::Events, self.events.parts()))
            .chain(of(Table::Requests, self.requests.parts()))
            .chain(of(Table::Sessions, self.sessions.parts()));
        let (wanted, erasures) = (Wanted::of(erasures), erasures.to_vec());
        Search { erasures, wanted, parts: parts.collect(), shelf: self.shelf.search() }
    }

    /// Retracts what a search found; the parts that held it are written anew by the next seal.
    /// Returns the sessions that were found to be a user's. Where the search failed in part, its
    /// erasures are to be searched for again.
    pub fn finish_search(&mut self, found: Found) -> BTreeSet<(Label, SessionId)> {
        for (table, part, lines) in found.lines {
            match table {
                Table::Spans => self.spans.erase_lines(&part, &lines),
                Table::Events => self.events.erase_lines(&part, &lines),
                Table::Requests => self.requests.erase_lines(&part, &lines),
                Table::Sessions => self.sessions.erase_lines(&part, &lines),
                Table::Metrics | Table::Losses => {}
            }
        }
        self.shelf.replace(found.shelf);
        if found.failed.is_none() {
            for erasure in &found.erasures {
                self.unsearched.remove(erasure);
            }
        }
        found.sessions
    }
}

/// Whose rows are wanted: any of the sessions or users, within one application.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) app: Label,
    pub(super) sessions: BTreeSet<String>,
    pub(super) users: BTreeSet<String>,
}

/// The files that may hold rows that are to be erased.
pub struct Search {
    erasures: Vec<Erasure>,
    wanted: Vec<Wanted>,
    parts: Vec<(Table, Arc<Part>)>,
    shelf: shelf::Search,
}

/// What a search found.
#[derive(Default)]
pub struct Found {
    pub(super) lines: Vec<(Table, Arc<Part>, Vec<u32>)>,
    pub(super) sessions: BTreeSet<(Label, SessionId)>,
    pub(super) shelf: shelf::Rewritten,
    /// What was searched for.
    pub erasures: Vec<Erasure>,
    /// Why a file could not be searched; the last of several.
    pub failed: Option<StoreError>,
}

impl Search {
    /// Searches the files, and writes anew what the shelf has to forget. Nothing that exists is
    /// changed. What cannot be read is passed over, so that one bad file holds up no other.
    pub fn run(&self) -> Found {
        let mut found = Found { erasures: self.erasures.clone(), ..Found::default() };
        for wanted in &self.wanted {
            for (table, part) in &self.parts {
                let lines = match wanted.lines(part) {
                    Ok(lines) => lines,
                    Err(error) => {
                        found.failed = Some(error);
                        continue;
                    }
                };
                let (lines, sessions): (Vec<u32>, Vec<Option<String>>) = lines.into_iter().unzip();
                if !lines.is_empty() {
                    found.lines.push((*table, Arc::clone(part), lines));
                }
                found.sessions.extend(wanted.others(sessions.into_iter().flatten()));
            }
        }
        let ids = self.wanted.iter().flat_map(|wanted| wanted.sessions.union(&wanted.users));
        match self.shelf.run(&ids.map(String::as_str).collect::<Vec<_>>()) {
            Ok(shelf) => found.shelf = shelf,
            Err(error) => found.failed = Some(error),
        }
        found
    }
}

/// The columns that say whose a row is.
const WHOSE: [&str; 3] = ["app", "session_id", "user_id"];

impl Wanted {
    /// One for each application that the erasures name.
    pub(super) fn of(erasures: &[Erasure]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for Erasure { app, subject } in erasures {
            let at = all.iter().position(|wanted| wanted.app == *app).unwrap_or_else(|| {
                let (sessions, users) = (BTreeSet::new(), BTreeSet::new());
                all.push(Self { app: app.clone(), sessions, users });
                all.len() - 1
            });
            match subject {
                Subject::Session(id) => all[at].sessions.insert(id.to_string()),
                Subject::User(id) => all[at].users.insert(id.clone()),
            };
        }
        all
    }

    /// Those of the sessions that are not wanted by themselves: they are a user's.
    pub(super) fn others(
        &self,
        sessions: impl IntoIterator<Item = String>,
    ) -> impl Iterator<Item = (Label, SessionId)> {
        let others = sessions.into_iter().filter(|session| !self.sessions.contains(session));
        others.filter_map(|session| Some((self.app.clone(), SessionId::new(&session)?)))
    }

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
                    || user.as_ref().is_some_and(|id| self.users.contains(id));
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
        let file = part.open()?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).map_err(failed)?;
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
            let batches = ParquetRecordBatchReaderBuilder::try_new(file.clone())
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
        reader: &ArrowReaderBuilder<SyncReader<OpenFile>>,
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
                .chain(self.users.iter().map(|user| (WHOSE[2], user)));
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
