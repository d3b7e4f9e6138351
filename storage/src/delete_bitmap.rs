// SPDX-License-Identifier: Apache-2.0
//! Which rows of a slice of 32,768 row numbers a statement deleted or updated: a list, runs or bits, whichever is
//! shortest, so that it always fits a page. It is judged as it is stored; nothing is decoded into memory first.
//!
//! ```text
//! version u8 | kind u8 | positions - 1 u16 | what u8 | 3 bytes 0 | first row u64 | body
//! list  positions u16, ascending
//! runs  (first position u16, length - 1 u16), ascending and apart
//! bits  4096 bytes, position p is bit p % 8 of byte p / 8
//! ```
//! `what` is 0 for deleted rows, 1 for updated ones, whose next versions are [successors](crate::successors).
use crate::error::{corrupt, invalid, Result};

/// Rows in a slice.
pub const SLICE_ROWS: u32 = 1 << 15;
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
const BITMAP_BYTES: usize = SLICE_ROWS as usize / 8;

/// What became of the rows of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// They were deleted.
    Deleted,
    /// They were updated, their keys left alone.
    Updated,
}

/// Encodes positions within the slice that begins at `first_row`: ascending, without repetition, at least one.
pub fn encode(first_row: u64, positions: &[u16], what: MarkKind) -> Result<Vec<u8>> {
    let ascending = positions.windows(2).all(|pair| pair[0] < pair[1]);
    let within = positions.last().is_some_and(|p| u32::from(*p) < SLICE_ROWS);
    if !ascending || !within || !first_row.is_multiple_of(u64::from(SLICE_ROWS)) {
        return Err(invalid("positions of a slice"));
    }
    let runs = runs_of(positions);
    let (list_bytes, run_bytes) = (positions.len() * 2, runs.len() * 4);
    let kind = if list_bytes <= run_bytes.min(BITMAP_BYTES) {
        0
    } else if run_bytes <= BITMAP_BYTES {
        1
    } else {
        2
    };
    let mut out = vec![VERSION, kind];
    out.extend_from_slice(&((positions.len() - 1) as u16).to_le_bytes());
    out.extend_from_slice(&[u8::from(what == MarkKind::Updated), 0, 0, 0]);
    out.extend_from_slice(&first_row.to_le_bytes());
    match kind {
        0 => out.extend(positions.iter().flat_map(|p| p.to_le_bytes())),
        1 => out.extend(
            runs.iter()
                .flat_map(|(first, more)| [first.to_le_bytes(), more.to_le_bytes()])
                .flatten(),
        ),
        _ => {
            out.resize(HEADER_BYTES + BITMAP_BYTES, 0);
            for p in positions {
                out[HEADER_BYTES + usize::from(*p) / 8] |= 1 << (p % 8);
            }
        }
    }
    Ok(out)
}

/// Runs of positions that follow each other: the first, and how many more.
fn runs_of(positions: &[u16]) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for p in positions {
        match runs.last_mut() {
            Some((first, more)) if *first + *more + 1 == *p => *more += 1,
            _ => runs.push((*p, 0)),
        }
    }
    runs
}

/// A stored slice, checked.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// Its first row.
    pub first_row: u64,
    /// What became of its rows.
    pub what: MarkKind,
    body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Body<'a> {
    List(&'a [u8]),
    Runs(&'a [u8]),
    Bits(&'a [u8]),
}

fn pairs(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn runs(bytes: &[u8]) -> impl Iterator<Item = (u16, u16)> + '_ {
    bytes.chunks_exact(4).map(|run| {
        let first = u16::from_le_bytes([run[0], run[1]]);
        (first, u16::from_le_bytes([run[2], run[3]]))
    })
}

impl<'a> Slice<'a> {
    /// Reads a slice. Errors when the bytes cannot be one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
            return Err(corrupt("slice header"));
        };
        let mut first_row = [0; 8];
        first_row.copy_from_slice(&header[8..]);
        let first_row = u64::from_le_bytes(first_row);
        if header[0] != VERSION || !first_row.is_multiple_of(u64::from(SLICE_ROWS)) {
            return Err(corrupt("slice header"));
        }
        let what = match header[4..8] {
            [0, 0, 0, 0] => MarkKind::Deleted,
            [1, 0, 0, 0] => MarkKind::Updated,
            _ => return Err(corrupt("slice header")),
        };
        let count = usize::from(u16::from_le_bytes([header[2], header[3]])) + 1;
        let sound = match header[1] {
            0 => {
                // No comparison waits for the one before: a look-up of a row may read thousands of positions.
                let later = pairs(body.get(2..).unwrap_or_default());
                let ascending = pairs(body)
                    .zip(later)
                    .fold(true, |all, (a, b)| all & (a < b));
                let last = body
                    .last_chunk()
                    .map_or(0, |pair| u16::from_le_bytes(*pair));
                ascending && u32::from(last) < SLICE_ROWS && body.len() == count * 2
            }
            1 => {
                let (mut next, mut total) = (0, 0);
                let mut apart = body.len().is_multiple_of(4);
                for (first, more) in runs(body) {
                    apart &= u32::from(first) >= next;
                    next = u32::from(first) + u32::from(more) + 1;
                    total += usize::from(more) + 1;
                }
                apart && next <= SLICE_ROWS && total == count
            }
            2 => {
                let words = body.chunks_exact(8).map(|word| {
                    let word = word.try_into().map_or(0, u64::from_le_bytes);
                    word.count_ones()
                });
                let ones: u32 = words.sum();
                body.len() == BITMAP_BYTES && ones as usize == count
            }
            _ => false,
        };
        if !sound {
            return Err(corrupt("slice body"));
        }
        let body = match header[1] {
            0 => Body::List(body),
            1 => Body::Runs(body),
            _ => Body::Bits(body),
        };
        Ok(Self {
            first_row,
            what,
            body,
        })
    }

    /// Whether a row of the table is among its positions.
    pub fn contains(&self, row: u64) -> bool {
        let position = match row.checked_sub(self.first_row) {
            Some(position) if position < u64::from(SLICE_ROWS) => position as u16,
            _ => return false,
        };
        match self.body {
            Body::List(bytes) => pairs(bytes).any(|p| p == position),
            Body::Runs(bytes) => {
                runs(bytes).any(|(first, more)| position >= first && position - first <= more)
            }
            Body::Bits(bytes) => bytes[usize::from(position) / 8] & 1 << (position % 8) != 0,
        }
    }

    /// Calls `visit` with each of its rows, ascending.
    pub fn each(&self, mut visit: impl FnMut(u64)) {
        match self.body {
            Body::List(bytes) => pairs(bytes).for_each(|p| visit(self.first_row + u64::from(p))),
            Body::Runs(bytes) => runs(bytes).for_each(|(first, more)| {
                let first = self.first_row + u64::from(first);
                (first..=first + u64::from(more)).for_each(&mut visit);
            }),
            Body::Bits(bytes) => bytes.iter().enumerate().for_each(|(i, byte)| {
                let mut rest = *byte;
                while rest != 0 {
                    visit(self.first_row + i as u64 * 8 + u64::from(rest.trailing_zeros()));
                    rest &= rest - 1;
                }
            }),
        }
    }
}

/// Some of the rows that begin at one of them: a bit each, which are made once there is one to be set.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    first: u64,
    rows: u32,
    words: Vec<u64>,
}

impl Marks {
    /// None of `rows` rows from `first` on, a multiple of 64.
    pub fn new(first: u64, rows: u32) -> Self {
        debug_assert!(first.is_multiple_of(64));
        Self {
            first,
            rows,
            words: Vec::new(),
        }
    }

    /// Adds the row at a position.
    pub fn add(&mut self, position: u32) {
        self.add_run(u64::from(position), 1);
    }

    /// Adds rows of a slice, as far as they are among these rows.
    pub fn add_slice(&mut self, slice: &Slice) {
        match slice.body {
            Body::List(_) => slice.each(|row| self.add_rows(row, 1)),
            Body::Runs(bytes) => runs(bytes).for_each(|(first, more)| {
                self.add_rows(slice.first_row + u64::from(first), u64::from(more) + 1);
            }),
            Body::Bits(bytes) => {
                let words = bytes.chunks_exact(8).zip(0..).filter_map(|(bytes, i)| {
                    let word = u64::from_le_bytes(bytes.try_into().ok()?);
                    Some((slice.first_row + i * 64, word))
                });
                words.for_each(|(row, word)| self.add_word(row, word));
            }
        }
    }

    fn add_rows(&mut self, row: u64, count: u64) {
        let end = (row + count).min(self.first + u64::from(self.rows));
        let start = row.max(self.first);
        if start < end {
            self.add_run(start - self.first, end - start);
        }
    }

    fn add_run(&mut self, start: u64, count: u64) {
        self.grow();
        let (mut at, end) = (start as usize, (start + count) as usize);
        while at < end {
            let (word, bit) = (at / 64, at % 64);
            let here = (end - at).min(64 - bit);
            self.words[word] |= (u64::MAX >> (64 - here)) << bit;
            at += here;
        }
    }

    /// Adds the rows of a word, whose first is `row`, a multiple of 64.
    fn add_word(&mut self, row: u64, word: u64) {
        let Some(at) = row
            .checked_sub(self.first)
            .filter(|at| *at < u64::from(self.rows))
        else {
            return;
        };
        let left = u64::from(self.rows) - at;
        let kept = if left < 64 {
            word & ((1 << left) - 1)
        } else {
            word
        };
        if kept != 0 {
            self.grow();
            self.words[(at / 64) as usize] |= kept;
        }
    }

    fn grow(&mut self) {
        if self.words.is_empty() {
            self.words = vec![0; self.rows.div_ceil(64) as usize];
        }
    }

    /// How many.
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether all rows are among them.
    pub fn is_all(&self) -> bool {
        self.len() == self.rows
    }

    /// Their positions, ascending.
    pub fn positions(&self) -> Vec<u32> {
        let mut all = Vec::with_capacity(self.len() as usize);
        for (word, first) in self.words.iter().zip((0..).step_by(64)) {
            let mut rest = *word;
            while rest != 0 {
                all.push(first + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(positions: &[u16]) -> usize {
        let first = 7 * u64::from(SLICE_ROWS);
        let updated = Slice::decode(&encode(first, positions, MarkKind::Updated).unwrap())
            .unwrap()
            .what;
        assert_eq!(updated, MarkKind::Updated);
        let bytes = encode(first, positions, MarkKind::Deleted).unwrap();
        assert!(bytes.len() <= HEADER_BYTES + BITMAP_BYTES);
        let slice = Slice::decode(&bytes).unwrap();
        assert_eq!(slice.what, MarkKind::Deleted);
        let mut rows = Vec::new();
        slice.each(|row| rows.push(row));
        let expected: Vec<u64> = positions.iter().map(|p| first + u64::from(*p)).collect();
        assert_eq!(rows, expected);
        for p in (0..SLICE_ROWS as u16).step_by(37).chain([0, 32767]) {
            let listed = positions.binary_search(&p).is_ok();
            assert_eq!(slice.contains(first + u64::from(p)), listed);
        }
        assert!(!slice.contains(first - 1) && !slice.contains(first + u64::from(SLICE_ROWS)));
        for (begin, rows) in [
            (first, SLICE_ROWS),
            (first - 64, 100),
            (first + 1024, 1000),
            (first + 128, SLICE_ROWS),
        ] {
            let mut marks = Marks::new(begin, rows);
            marks.add_slice(&slice);
            let within = expected
                .iter()
                .filter(|row| (begin..begin + u64::from(rows)).contains(row));
            let within: Vec<u32> = within.map(|row| (row - begin) as u32).collect();
            assert_eq!(marks.positions(), within);
            assert_eq!(marks.len() as usize, within.len());
            assert_eq!(marks.is_all(), within.len() == rows as usize);
            assert_eq!(marks.is_empty(), within.is_empty());
        }
        bytes.len()
    }

    #[test]
    fn each_kind_comes_back() {
        assert_eq!(check(&[0]), HEADER_BYTES + 2);
        assert_eq!(check(&[5, 900, 32767]), HEADER_BYTES + 6);
        let all: Vec<u16> = (0..SLICE_ROWS as u16).collect();
        assert_eq!(check(&all), HEADER_BYTES + 4);
        let even: Vec<u16> = (0..SLICE_ROWS as u16).step_by(2).collect();
        assert_eq!(check(&even), HEADER_BYTES + BITMAP_BYTES);
    }

    #[test]
    fn wrong_positions_are_refused() {
        assert!(encode(0, &[], MarkKind::Deleted).is_err());
        assert!(encode(0, &[3, 3], MarkKind::Deleted).is_err());
        assert!(encode(0, &[32768], MarkKind::Deleted).is_err());
        assert!(encode(5, &[1], MarkKind::Deleted).is_err());
    }

    #[test]
    fn broken_bytes_are_corrupt() {
        let good = encode(0, &[1, 5, 9], MarkKind::Deleted).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            if let Ok(slice) = Slice::decode(&bad) {
                slice.each(|_| ());
            }
            assert!(Slice::decode(&good[..at]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_positions_come_back(set in proptest::collection::btree_set(0u16..SLICE_ROWS as u16, 1..3000)) {
            check(&set.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..4) {
            let mut bytes = bytes;
            if bytes.len() >= HEADER_BYTES {
                (bytes[0], bytes[1]) = (VERSION, kind);
                bytes[4..HEADER_BYTES].fill(0);
            }
            if let Ok(slice) = Slice::decode(&bytes) {
                slice.each(|row| assert!(slice.contains(row)));
            }
        }
    }
}
