//! One simulated file: what programs see, what is on the platter, and every version in between
//! that a power cut may leave. Not a name: names are the directory's.

use std::collections::BTreeMap;

use super::Random;

/// What a disk writes whole.
pub(super) const SECTOR_BYTES: usize = 512;

/// A file, by whatever name.
#[derive(Clone, Debug, Default)]
pub(super) struct SimFile {
    /// What programs read.
    pub(super) seen: Vec<u8>,
    durable: Vec<u8>,
    /// The durable length; behind it `durable` may hold whole sectors.
    durable_len: usize,
    /// Versions of each sector since the last sync, with the time of each.
    dirty: BTreeMap<usize, Vec<(u64, [u8; SECTOR_BYTES])>>,
    /// Lengths since the last sync.
    lengths: Vec<usize>,
}

impl SimFile {
    pub(super) fn write(&mut self, time: u64, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.seen.len() {
            self.seen.resize(end, 0);
            self.lengths.push(end);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        self.soil(time, offset, end);
    }

    pub(super) fn set_len(&mut self, time: u64, len: usize) {
        let old = self.seen.len();
        self.seen.resize(len, 0);
        self.lengths.push(len);
        if len < old {
            self.soil(time, len, old);
        }
    }

    /// Remembers the sectors of a range as they are now.
    fn soil(&mut self, time: u64, from: usize, to: usize) {
        for sector in from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES) {
            let mut bytes = [0; SECTOR_BYTES];
            let start = (sector * SECTOR_BYTES).min(self.seen.len());
            let end = (start + SECTOR_BYTES).min(self.seen.len());
            bytes[..end - start].copy_from_slice(&self.seen[start..end]);
            self.dirty.entry(sector).or_default().push((time, bytes));
        }
    }

    pub(super) fn sync(&mut self) {
        // Sectors that a failed sync dropped are not dirty, and stay what they are.
        let dirty = std::mem::take(&mut self.dirty);
        for (sector, versions) in dirty {
            let newest = versions.last().expect("a dirty sector has a version");
            settle(&mut self.durable, sector, &newest.1);
        }
        self.durable_len = self.lengths.last().copied().unwrap_or(self.durable_len);
        self.lengths.clear();
    }

    /// A sync that failed: some sectors were written, the others count as clean from now on
    /// although they were not. So a later sync succeeds and changes nothing.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            if random.below(2) == 0 {
                let newest = versions.last().expect("a dirty sector has a version");
                settle(&mut self.durable, sector, &newest.1);
            }
        }
    }

    /// A sync that said it succeeded, although some sectors were not written. The length was: it is
    /// the file system's to keep, in a journal, and not a sector of the file.
    pub(super) fn half_sync(&mut self, random: &mut Random) {
        self.fail_sync(random);
        self.durable_len = self.lengths.last().copied().unwrap_or(self.durable_len);
        self.lengths.clear();
    }

    /// A power cut: of each granule some moment since the last sync, of the length some value.
    pub(super) fn cut(&mut self, random: &mut Random) {
        // Sectors by themselves, in pages as the cache holds them, or all of the file at once.
        let granule = [1, 8, usize::MAX][random.below(3) as usize];
        let mut granules: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for sector in self.dirty.keys() {
            granules.entry(sector / granule).or_default().push(*sector);
        }
        for sectors in granules.into_values() {
            let times: Vec<u64> = sectors
                .iter()
                .flat_map(|sector| &self.dirty[sector])
                .map(|(time, _)| *time)
                .collect();
            let chosen = random.below(times.len() as u64 + 1) as usize;
            let Some(time) = times.get(chosen).copied() else {
                continue;
            };
            for sector in sectors {
                let versions = self.dirty[&sector].iter().rev();
                if let Some((_, bytes)) = versions.into_iter().find(|(at, _)| *at <= time) {
                    settle(&mut self.durable, sector, bytes);
                }
            }
        }
        let chosen = random.below(self.lengths.len() as u64 + 1) as usize;
        self.durable_len = self.lengths.get(chosen).copied().unwrap_or(self.durable_len);
        self.durable.resize(self.durable_len, 0);
        self.dirty.clear();
        self.lengths.clear();
        self.seen.clone_from(&self.durable);
    }
}

fn settle(durable: &mut Vec<u8>, sector: usize, bytes: &[u8; SECTOR_BYTES]) {
    let start = sector * SECTOR_BYTES;
    if durable.len() < start + SECTOR_BYTES {
        durable.resize(start + SECTOR_BYTES, 0);
    }
    durable[start..start + SECTOR_BYTES].copy_from_slice(bytes);
}
