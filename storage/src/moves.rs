// SPDX-License-Identifier: Apache-2.0
//! Where the rows of a place went when compaction moved them: a part of a table's move map. A place is a heap block
//! (sources are item offsets) or 1,024 row numbers of a segment (sources are positions in it); targets are rows.
//!
//! ```text
//! version u8 | 0 u8 | rows u16 | source u64 | runs
//! run   varint sources skipped | zigzag target - expected target | varint rows - 1
//! ```
//! A run is of rows that follow each other in both places. It expects its target right behind that of the run before.
use crate::error::{corrupt, invalid, Result};
use crate::wire::{put_signed, put_varint, Reader};

const VERSION: u8 = 1;
/// One more than the largest source number within a place.
pub const SOURCES: u32 = 1024;

/// Encodes the moves out of a place: (source, target), ascending by source.
pub fn encode(place: u64, moves: &[(u16, u64)]) -> Result<Vec<u8>> {
    let ascending = moves.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let within = moves.last().is_none_or(|m| u32::from(m.0) < SOURCES);
    if !ascending || !within {
        return Err(invalid("moves"));
    }
    let mut out = vec![VERSION, 0];
    out.extend_from_slice(&(moves.len() as u16).to_le_bytes());
    out.extend_from_slice(&place.to_le_bytes());
    let (mut source, mut target) = (0, 0);
    let mut at = 0;
    while at < moves.len() {
        let first = moves[at];
        let follows = |n: &usize| {
            moves.get(at + n).is_some_and(|m| {
                usize::from(m.0) == usize::from(first.0) + n && m.1 == first.1 + *n as u64
            })
        };
        let rows = (1..).find(|n| !follows(n)).unwrap_or(1);
        put_varint(&mut out, u128::from(first.0 - source));
        put_signed(&mut out, i128::from(first.1) - i128::from(target));
        put_varint(&mut out, rows as u128 - 1);
        source = first.0 + rows as u16;
        target = first.1 + rows as u64;
        at += rows;
    }
    Ok(out)
}

/// Calls `visit` with the runs of a stored place until it returns true: first source, first target, rows. Returns the
/// place. Errors when the bytes cannot be one.
pub fn runs(bytes: &[u8], mut visit: impl FnMut(u16, u64, u16) -> bool) -> Result<u64> {
    let mut reader = Reader::new(bytes);
    if reader.u8()? != VERSION || reader.u8()? != 0 {
        return Err(corrupt("move map header"));
    }
    let total = u64::from(reader.u16()?);
    let place = reader.u64()?;
    let (mut source, mut target) = (0u64, 0i128);
    let mut seen = 0;
    while reader.remaining() > 0 {
        source = source.saturating_add(reader.varint64()?);
        target = target.saturating_add(reader.signed()?);
        let rows = reader.varint64()?.saturating_add(1);
        let end = source.saturating_add(rows);
        if end > u64::from(SOURCES) || target < 0 || target > i128::from(u32::MAX) << 9 {
            return Err(corrupt("move map run"));
        }
        if visit(source as u16, target as u64, rows as u16) {
            return Ok(place);
        }
        seen += rows;
        source = end;
        target += i128::from(rows);
    }
    if seen != total {
        return Err(corrupt("move map length"));
    }
    Ok(place)
}

/// Where a source went.
pub fn target(bytes: &[u8], source: u16) -> Result<Option<u64>> {
    let mut found = None;
    runs(bytes, |first, target, rows| {
        if source >= first && source - first < rows {
            found = Some(target + u64::from(source - first));
        }
        found.is_some() || first > source
    })?;
    Ok(found)
}

/// The place and source that a target came from.
pub fn origin(bytes: &[u8], row: u64) -> Result<Option<(u64, u16)>> {
    let mut found = None;
    let place = runs(bytes, |first, target, rows| {
        if row >= target && row - target < u64::from(rows) {
            found = Some(first + (row - target) as u16);
        }
        found.is_some()
    })?;
    Ok(found.map(|source| (place, source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(moves: &[(u16, u64)]) -> usize {
        let bytes = encode(77, moves).unwrap();
        for (source, row) in moves {
            assert_eq!(target(&bytes, *source).unwrap(), Some(*row));
            let (place, from) = origin(&bytes, *row).unwrap().unwrap();
            assert_eq!(place, 77);
            assert!(moves.contains(&(from, *row)));
        }
        for source in 0..SOURCES as u16 {
            if moves.binary_search_by_key(&source, |m| m.0).is_err() {
                assert_eq!(target(&bytes, source).unwrap(), None);
            }
        }
        bytes.len()
    }

    #[test]
    fn a_whole_place_in_order_is_short() {
        let moves: Vec<(u16, u64)> = (0..SOURCES as u16)
            .map(|s| (s, 5_000_000_000 + u64::from(s)))
            .collect();
        assert!(check(&moves) < 24);
        assert_eq!(check(&[]), 12);
    }

    #[test]
    fn a_shuffled_place_fits_a_page() {
        let moves: Vec<(u16, u64)> = (0..SOURCES as u16)
            .map(|s| (s, 620_000_000_000 + u64::from(s) * 7_919_993 % (1 << 20)))
            .collect();
        assert!(check(&moves) <= 8120);
    }

    #[test]
    fn broken_bytes_are_corrupt() {
        let moves: Vec<(u16, u64)> = (0..50).map(|s| (s * 3, u64::from(s) * 1000)).collect();
        let good = encode(1, &moves).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x90;
            let _ = runs(&bad, |_, _, _| false);
            assert!(runs(&good[..at], |_, _, _| false).is_err());
        }
        assert!(encode(1, &[(3, 1), (3, 2)]).is_err());
        assert!(encode(1, &[(1024, 1)]).is_err());
    }

    proptest! {
        #[test]
        fn any_moves_come_back(map in proptest::collection::btree_map(0u16..1024, 0u64..1 << 39, 0..200)) {
            check(&map.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = runs(&bytes, |_, _, _| false);
        }
    }
}
