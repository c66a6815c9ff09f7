//! Erasing from the shelf: entries that name a session or a user go, and the segments that held them
//! are written anew without them.
//!
//! Flow: the follower completes what is open ([`FileShelf::search`]); any thread writes new segments
//! ([`Search::run`]); the follower puts them in the place of the old ([`FileShelf::replace`]), whose
//! files go after the next checkpoint.
//!
//! An entry goes when the id's bytes stand anywhere in it, without a look at what they mean: an id
//! that is part of another word costs a recall, never a row. An entry holds a whole group of linked
//! traces, so what stood beside the erased cannot be taken back any more either. An empty entry stays
//! in its place: without it an older one would be found, which the rows have gone on from.
//!
//! Invariant: a segment that is searched is complete, so nothing is appended to it meanwhile, and
//! what was erased from the join is not in a later one.

use std::io;
use std::sync::Arc;

use super::FileShelf;
use super::segment::{Segment, name};
use super::view::{Anew, View};
use crate::store::directory::Directory;
use crate::store::{StoreError, io as failed};

/// The segments that may hold what is to be erased.
pub(in crate::store) struct Search {
    directory: Arc<Directory>,
    /// Each with the number that its successor takes.
    segments: Vec<(View, u64)>,
    /// Why the shelf could not be made ready.
    unready: Option<io::Error>,
}

/// What stands in the place of the segments of these numbers; none where nothing could be read. And what
/// was lost on the way, in words.
#[derive(Default)]
pub(in crate::store) struct Rewritten {
    segments: Vec<(u64, Option<Segment>)>,
    lost: Vec<String>,
    /// Why one of them could not be searched or written anew, which stays as it is; the last of several.
    failed: Option<StoreError>,
    is_partial: bool,
}

impl Rewritten {
    fn fail(&mut self, error: StoreError) {
        self.is_partial = true;
        self.failed = Some(error);
    }

    /// Why something may still hold what is to be erased.
    pub(in crate::store) fn take_failure(&mut self) -> Option<StoreError> {
        self.failed.take()
    }

    /// Whether something may.
    pub(in crate::store) fn is_partial(&self) -> bool {
        self.is_partial
    }
}

impl FileShelf {
    /// Everything that lies here, to be searched on any thread.
    pub(in crate::store) fn search(&self) -> Search {
        let mut inner = self.inner();
        let unready = inner.complete().err();
        let directory = Arc::clone(&inner.directory);
        let first = inner.next;
        inner.next += inner.segments.len() as u64;
        let complete = inner.segments.iter().filter(|segment| segment.is_complete());
        let segments = complete.map(Segment::view).zip(first..).collect();
        Search { directory, segments, unready }
    }

    /// Puts what a search wrote in the place of what it read.
    pub(in crate::store) fn replace(&self, rewritten: Rewritten) {
        let mut inner = self.inner();
        inner.read = None;
        inner.lost.extend(rewritten.lost);
        for (number, new) in rewritten.segments {
            let at = inner.segments.iter().position(|segment| segment.mark().number == number);
            match (at, new) {
                (Some(at), Some(new)) => inner.segments[at] = new,
                (Some(at), None) => drop(inner.segments.remove(at)),
                // It grew too old meanwhile.
                (None, Some(new)) => inner.outdated.push(name(new.mark().number)),
                (None, None) => continue,
            }
            if at.is_some() {
                inner.outdated.push(name(number));
            }
        }
    }
}

impl Search {
    /// Writes each segment anew that holds one of `ids`. Nothing that exists is changed; one that fails
    /// leaves nothing behind, and holds up no other.
    pub(in crate::store) fn run(&self, ids: &[&str]) -> Rewritten {
        let names = |entry: &[u8]| ids.iter().any(|id| holds(entry, id.as_bytes()));
        let mut rewritten = Rewritten::default();
        if let Some(error) = &self.unready {
            rewritten.fail(failed("cannot complete the shelf")(error.kind().into()));
        }
        for (segment, number) in &self.segments {
            match self.rewrite(segment, *number, names) {
                Ok(None) => {}
                Ok(Some(Anew { segment: new, unread })) => {
                    rewritten.lost.extend(unread.map(|error| segment.mark().loss(&error)));
                    rewritten.segments.push((segment.mark().number, new));
                }
                Err(error) => {
                    self.directory.remove(&name(*number));
                    rewritten.fail(error);
                }
            }
        }
        rewritten
    }

    /// The segment without what is named; none where nothing of it is.
    fn rewrite(
        &self,
        segment: &View,
        number: u64,
        names: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Anew>, StoreError> {
        if !segment.any(&names).map_err(failed("cannot search the shelf"))? {
            return Ok(None);
        }
        let anew = segment.without(&self.directory, number, names);
        match anew.map_err(failed("cannot write the shelf anew"))? {
            // What is damaged is lost; what the disk does not give now it may give later.
            Anew { unread: Some(error), .. } if error.kind() != io::ErrorKind::InvalidData => {
                Err(failed("cannot read the shelf")(error))
            }
            anew => Ok(Some(anew)),
        }
    }
}

/// Whether `part` stands anywhere in `whole`.
fn holds(whole: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else { return false };
    let starts = whole.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.map(|(at, _)| &whole[at..]).any(|rest| rest.starts_with(part))
}
