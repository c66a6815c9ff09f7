//! Finding the rows of sessions and users, in memory and in files, so that they can be erased.
//!
//! What is in memory is retracted at once. Files are searched by a [`Search`], on any thread, since
//! a store may hold many; what it found is retracted then, and every file that held any is written
//! anew by the next seal, without them. A file is opened only where its Bloom filters do not rule
//! the ids out.
//!
//! A row may have stood before without its session or user, which the join found later: a server's span
//! does. Its earlier versions are retracted lines that name nobody, so they are not found. But each was
//! received with a piece of what is erased, which is found: so every file with retracted lines from such
//! a second is written anew too, without them.
//!
//! Invariant: between the beginning and the end of a search no seal is begun or finished, so that
//! the files that were searched are those of the store, and no checkpoint says that an erasure is
//! done which is not. What has not been searched stands in the checkpoint, since the log may have
//! let go of the erasure by then; a file that cannot be read holds up no other.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampNanosecondType as Nanoseconds};
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
        let mut received = Received::default();
        self.unsearched.add(erasures);
        for wanted in Wanted::of(erasures) {
            let mut found = self.spans.erase(&wanted);
            found.extend(self.events.erase(&wanted));
            found.extend(self.requests.erase(&wanted));
            found.extend(self.sessions.erase(&wanted));
            received.note(&found);
            sessions.extend(wanted.others(found.into_iter().filter_map(|row| row.session)));
        }
        self.erase_versions(&received);
        sessions
    }

    /// Has files and batches written anew that may hold earlier versions of rows received then.
    fn erase_versions(&mut self, received: &Received) {
        self.spans.erase_versions(received);
        self.events.erase_versions(received);
        self.requests.erase_versions(received);
        self.sessions.erase_versions(received);
    }

    /// What is to be searched for rows that the erasures cover, on any thread. What it finds is
    /// handed to [`Self::finish_search`]; no seal may begin or finish before.
    pub fn search(&self, erasures: &[Erasure]) -> Search {
        // Searching ends the segment that is written, so that a second time would end another.
        let on_shelf = self.unsearched.is_any_on_shelf(erasures);
        let of =
            |table: Table, parts: Vec<Arc<Part>>| parts.into_iter().map(move |part| (table, part));
        let parts = of(Table::Spans, self.spans.parts())
            .chain(of(Table::Events, self.events.parts()))
            .chain(of(Table::Requests, self.requests.parts()))
            .chain(of(Table::Sessions, self.sessions.parts()));
        let (wanted, erasures) = (Wanted::of(erasures), erasures.to_vec());
        Search {
            erasures,
            wanted,
            parts: parts.collect(),
            shelf: on_shelf.then(|| self.shelf.search()),
        }
    }

    /// Retracts what a search found; the parts that held it are written anew by the next seal.
    /// Returns the sessions that were found to be a user's. Where the search failed in part, its
    /// erasures are to be searched for again.
    pub fn finish_search(&mut self, found: Found) -> BTreeSet<(Label, SessionId)> {
        self.unsearched.note(&found);
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
        self.erase_versions(&found.received);
        found.sessions
    }
}

/// Erasures that are not carried out everywhere yet: the log may have let go of them.
#[derive(Default)]
pub(super) struct Unsearched {
    /// Those whose files are not all searched.
    pub(super) files: BTreeSet<Erasure>,
    /// Those of them that the shelf may hold.
    shelf: BTreeSet<Erasure>,
}

impl Unsearched {
    pub(super) fn of(erasures: &[Erasure]) -> Self {
        let mut unsearched = Self::default();
        unsearched.add(erasures);
        unsearched
    }

    fn add(&mut self, erasures: &[Erasure]) {
        self.files.extend(erasures.iter().cloned());
        self.shelf.extend(erasures.iter().cloned());
    }

    fn is_any_on_shelf(&self, erasures: &[Erasure]) -> bool {
        erasures.iter().any(|erasure| self.shelf.contains(erasure))
    }

    fn note(&mut self, found: &Found) {
        for erasure in &found.erasures {
            if found.failed.is_none() {
                self.files.remove(erasure);
            }
            if !found.shelf.is_partial() {
                self.shelf.remove(erasure);
            }
        }
    }
}

/// When the rows that were found had been received, in seconds: a user's rows of a month are fewer of them.
#[derive(Debug, Default)]
pub(super) struct Received(BTreeSet<i64>);

impl Received {
    pub(super) fn note(&mut self, found: &[FoundRow]) {
        self.0.extend(found.iter().map(|row| row.received_ns.div_euclid(SECOND_NS)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one was received between these, in nanoseconds.
    pub(super) fn is_any_in(&self, min_ns: i64, max_ns: i64) -> bool {
        let (min, max) = (min_ns.div_euclid(SECOND_NS), max_ns.div_euclid(SECOND_NS));
        min <= max && self.0.range(min..=max).next().is_some()
    }
}

/// A second, in nanoseconds.
const SECOND_NS: i64 = 1_000_000_000;

/// A row that is wanted, by its number in its batch or file.
pub(super) struct FoundRow {
    pub(super) line: u32,
    pub(super) session: Option<String>,
    pub(super) received_ns: i64,
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
    /// None where the shelf was searched already.
    shelf: Option<shelf::Search>,
}

/// What a search found.
#[derive(Default)]
pub struct Found {
    pub(super) lines: Vec<(Table, Arc<Part>, Vec<u32>)>,
    pub(super) sessions: BTreeSet<(Label, SessionId)>,
    pub(super) received: Received,
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
                let rows = match wanted.lines(part) {
                    Ok(rows) => rows,
                    Err(error) => {
                        found.failed = Some(error);
                        continue;
                    }
                };
                found.received.note(&rows);
                if !rows.is_empty() {
                    let lines = rows.iter().map(|row| row.line).collect();
                    found.lines.push((*table, Arc::clone(part), lines));
                }
                let sessions = rows.into_iter().filter_map(|row| row.session);
                found.sessions.extend(wanted.others(sessions));
            }
        }
        let ids = self.wanted.iter().flat_map(|wanted| wanted.sessions.union(&wanted.users));
        if let Some(shelf) = &self.shelf {
            found.shelf = shelf.run(&ids.map(String::as_str).collect::<Vec<_>>());
            found.failed = found.shelf.take_failure().or(found.failed);
        }
        found
    }
}

/// The columns that say whose a row is, and when it came.
const WHOSE: [&str; 4] = ["app", "session_id", "user_id", "time_received"];

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

    /// The batch's rows that are wanted.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Vec<FoundRow> {
        let column = |name: &str| -> Option<StringArray> {
            let text = cast(batch.column_by_name(name)?, &DataType::Utf8).ok()?;
            Some(text.as_string::<i32>().clone())
        };
        let received = batch.column_by_name(WHOSE[3]);
        let received = received.and_then(|column| column.as_primitive_opt::<Nanoseconds>());
        let (Some(app), Some(session), Some(received)) =
            (column(WHOSE[0]), column(WHOSE[1]), received)
        else {
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
                let received_ns = received.value(row);
                wanted.then_some(FoundRow { line: row as u32, session, received_ns })
            })
            .collect()
    }

    /// The rows of a file that are wanted.
    pub(super) fn lines(&self, part: &Part) -> Result<Vec<FoundRow>, StoreError> {
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
                found.extend(rows.map(|row| FoundRow { line: line + row.line, ..row }));
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
