// SPDX-License-Identifier: Apache-2.0
//! Where the next versions of rows are that a statement updated in bulk: some rows of a slice of 32,768 row numbers,
//! each with the block and the offset of a heap row.
//!
//! ```text
//! version u8 | 0 u8 | rows u16 | 0 u32 | first row of the slice u64 | rows
//! row   varint positions skipped | zigzag block - block of the row before | varint offset
//! ```
//! New versions are written one after the other, so that a row takes three or four bytes.
use crate::delete_bitmap::SLICE_ROWS;
use crate::error::{corrupt, invalid, Result};
use crate::wire::{put_signed, put_varint, Reader};

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;
/// No row takes more: a position, a block and an offset.
const ROW_BYTES_MAX: usize = 3 + 5 + 3;

/// The next version of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Successor {
    /// The row's position within its slice.
    pub position: u16,
    /// Block of the next version.
    pub block: u32,
    /// Offset of the next version.
    pub offset: u16,
}

/// Encodes the first of some rows of the slice that begins at `first_row`, ascending by position: as many as fit into
/// `bytes_max` bytes. Returns how many that were.
///
/// # Errors
/// `Invalid` for rows that do not ascend or are beyond the slice, and where not one of them fits.
pub fn encode(first_row: u64, rows: &[Successor], bytes_max: usize) -> Result<(Vec<u8>, usize)> {
    let ascending = rows.windows(2).all(|two| two[0].position < two[1].position);
    let within = rows
        .last()
        .is_some_and(|row| u32::from(row.position) < SLICE_ROWS);
    let whole = first_row.is_multiple_of(u64::from(SLICE_ROWS));
    if !ascending || !within || !whole || bytes_max < HEADER_BYTES + ROW_BYTES_MAX {
        return Err(invalid("successors"));
    }
    let mut out = vec![VERSION, 0, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&first_row.to_le_bytes());
    let (mut next, mut block) = (0u16, 0u32);
    let mut count = 0usize;
    for row in rows {
        if out.len() + ROW_BYTES_MAX > bytes_max {
            break;
        }
        put_varint(&mut out, u128::from(row.position - next));
        put_signed(&mut out, i128::from(row.block) - i128::from(block));
        put_varint(&mut out, u128::from(row.offset));
        (next, block) = (row.position + 1, row.block);
        count += 1;
    }
    out[2..4].copy_from_slice(&((count - 1) as u16).to_le_bytes());
    Ok((out, count))
}

/// The first row of the slice that stored successors are of.
///
/// # Errors
/// `Corrupt` when the bytes cannot be some.
pub fn first_row(bytes: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(bytes);
    header(&mut reader).map(|(first_row, _)| first_row)
}

fn header(reader: &mut Reader<'_>) -> Result<(u64, usize)> {
    let (version, kind) = (reader.u8()?, reader.u8()?);
    let count = usize::from(reader.u16()?) + 1;
    let (rest, first_row) = (reader.u32()?, reader.u64()?);
    let whole = first_row.is_multiple_of(u64::from(SLICE_ROWS));
    if version != VERSION || kind != 0 || rest != 0 || !whole {
        return Err(corrupt("header of successors"));
    }
    Ok((first_row, count))
}

/// Calls `visit` with stored successors, ascending by position, until it returns true.
///
/// # Errors
/// `Corrupt` when the bytes cannot be some.
pub fn each(bytes: &[u8], mut visit: impl FnMut(Successor) -> bool) -> Result<()> {
    let mut reader = Reader::new(bytes);
    let (_, count) = header(&mut reader)?;
    let (mut next, mut block) = (0u64, 0i128);
    for _ in 0..count {
        let position = next.saturating_add(reader.varint64()?);
        block = block.saturating_add(reader.signed()?);
        let offset = reader.varint64()?;
        let row = Successor {
            position: u16::try_from(position).unwrap_or(u16::MAX),
            block: u32::try_from(block).map_err(|_| corrupt("block of a successor"))?,
            offset: u16::try_from(offset).map_err(|_| corrupt("offset of a successor"))?,
        };
        if position >= u64::from(SLICE_ROWS) {
            return Err(corrupt("position of a successor"));
        }
        if visit(row) {
            return Ok(());
        }
        next = position + 1;
    }
    if reader.remaining() > 0 {
        return Err(corrupt("bytes after successors"));
    }
    Ok(())
}

/// The successor of a row, if it is among the stored ones.
///
/// # Errors
/// `Corrupt` when the bytes cannot be successors.
pub fn find(bytes: &[u8], row: u64) -> Result<Option<Successor>> {
    let first = first_row(bytes)?;
    let Some(position) = row
        .checked_sub(first)
        .filter(|position| *position < u64::from(SLICE_ROWS))
    else {
        return Ok(None);
    };
    let mut found = None;
    each(bytes, |row| {
        let here = u64::from(row.position);
        if here == position {
            found = Some(row);
        }
        here >= position
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: u64 = 7 * SLICE_ROWS as u64;

    fn check(rows: &[Successor], bytes_max: usize) -> Vec<usize> {
        let (mut at, mut sizes) = (0, Vec::new());
        while at < rows.len() {
            let (bytes, count) = encode(FIRST, &rows[at..], bytes_max).unwrap();
            assert!(count > 0 && bytes.len() <= bytes_max);
            let mut read = Vec::new();
            each(&bytes, |row| {
                read.push(row);
                false
            })
            .unwrap();
            assert_eq!(read, rows[at..at + count]);
            for row in &read {
                let found = find(&bytes, FIRST + u64::from(row.position)).unwrap();
                assert_eq!(found, Some(*row));
            }
            assert_eq!(find(&bytes, FIRST - 1).unwrap(), None);
            assert_eq!(find(&bytes, FIRST + u64::from(SLICE_ROWS)).unwrap(), None);
            sizes.push(bytes.len());
            at += count;
        }
        sizes
    }

    fn row(position: u16, block: u32, offset: u16) -> Successor {
        Successor {
            position,
            block,
            offset,
        }
    }

    #[test]
    fn rows_in_the_order_in_which_they_were_written_take_three_bytes() {
        let rows: Vec<Successor> = (0..2000)
            .map(|i| row(i * 8, 1000 + u32::from(i) / 60, i % 60 + 1))
            .collect();
        let sizes = check(&rows, 8120);
        assert_eq!(sizes.len(), 1);
        assert!(sizes[0] < 16 + 2000 * 3 + 10);
    }

    #[test]
    fn many_rows_are_parted() {
        let rows: Vec<Successor> = (0..SLICE_ROWS as u16)
            .map(|i| row(i, u32::from(i).wrapping_mul(2_654_435_761) >> 1, 291))
            .collect();
        let sizes = check(&rows, 8120);
        assert!(sizes.len() > 10 && sizes.iter().all(|size| *size <= 8120));
        check(&[row(32767, u32::MAX - 2, u16::MAX)], 27);
    }

    #[test]
    fn rows_that_do_not_ascend_are_refused() {
        let one = row(5, 1, 1);
        assert!(encode(FIRST, &[one, one], 100).is_err());
        assert!(encode(FIRST, &[row(32768, 1, 1)], 100).is_err());
        assert!(encode(5, &[one], 100).is_err());
        assert!(encode(FIRST, &[], 100).is_err());
        assert!(encode(FIRST, &[one], 26).is_err());
    }

    #[test]
    fn broken_bytes_are_corrupt() {
        let rows = [row(1, 77, 3), row(9, 78, 1), row(500, 12, 200)];
        let (good, _) = encode(FIRST, &rows, 100).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x90;
            let _ = each(&bad, |_| false);
            let _ = find(&bad, FIRST + 9);
            assert!(each(&good[..at], |_| false).is_err());
        }
        let mut long = good;
        long.push(0);
        assert!(each(&long, |_| false).is_err());
    }

    proptest! {
        #[test]
        fn any_rows_come_back(
            map in proptest::collection::btree_map(0u16..SLICE_ROWS as u16, (any::<u32>(), any::<u16>()), 1..300),
            bytes_max in 27usize..2000,
        ) {
            let rows: Vec<Successor> = map.into_iter().map(|(p, (b, o))| row(p, b, o)).collect();
            check(&rows, bytes_max);
        }

        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = bytes;
            if bytes.len() >= HEADER_BYTES {
                (bytes[0], bytes[1]) = (VERSION, 0);
                bytes[4..HEADER_BYTES].fill(0);
            }
            let _ = each(&bytes, |_| false);
            let _ = find(&bytes, 3);
        }
    }
}
