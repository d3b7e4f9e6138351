// SPDX-License-Identifier: Apache-2.0
use super::*;
use proptest::prelude::*;

fn entries() -> impl Strategy<Value = Entry> {
    let numbers = (0..1u64 << 30, 1..1u64 << 10, any::<u64>(), 1..1u64 << 40);
    (numbers, any::<(u32, u32, u32)>(), 0..=LEVEL_MAX).prop_map(
        |((unit, units, first_chunk, stream_bytes), (rows, first_block, checksum), level)| {
            let capacity = units * ROW_UNIT;
            Entry {
                state: SegmentState::Sealed,
                level,
                rows: (u64::from(rows) % capacity) as u32,
                first_row: unit * ROW_UNIT,
                capacity,
                first_chunk,
                stream_bytes,
                footer_offset: stream_bytes - 1,
                first_block,
                checksum,
            }
        },
    )
}

/// The encoding of version 1.
fn first_version(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![0; FIRST_ENTRY_BYTES];
    entry.encode_over(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn entries_of_both_versions_come_back(entry in entries()) {
        prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        prop_assert_eq!(Entry::decode(&first_version(&entry)), Ok(entry));
        prop_assert_eq!(Entry::decode_at(&entry.encode(), entry.key()), Ok(entry));
        prop_assert!(Entry::decode_at(&entry.encode(), entry.key() ^ 1).is_err());
        let mut stored = entry.encode();
        let sealed = Entry { level: 3 - entry.level, ..entry };
        sealed.encode_over(&mut stored);
        prop_assert_eq!(Entry::decode(&stored), Ok(sealed));
    }

    #[test]
    fn every_changed_byte_of_an_entry_is_found(entry in entries(), at in 0..ENTRY_BYTES, change in 1..=u8::MAX) {
        let mut bytes = entry.encode();
        bytes[at] ^= change;
        prop_assert!(Entry::decode(&bytes).is_err());
    }

    #[test]
    fn a_changed_byte_of_the_first_version_leaves_what_can_be(entry in entries(), at in 0..FIRST_ENTRY_BYTES, change in 1..=u8::MAX) {
        let mut bytes = first_version(&entry);
        bytes[at] ^= change;
        if let Ok(read) = Entry::decode_at(&bytes, entry.key()) {
            prop_assert_eq!(read.first_row, entry.first_row);
            prop_assert_eq!(read.state, SegmentState::Sealed);
            prop_assert!(read.capacity <= CAPACITY_MAX && u64::from(read.rows) <= read.capacity);
            prop_assert!(read.footer_offset <= read.stream_bytes);
        }
    }

    #[test]
    fn any_bytes_are_an_entry_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert!(entry.is_possible());
        }
        let _ = (Allocator::decode(&bytes), Anchor::decode(&bytes));
    }
}

#[test]
fn a_segment_that_is_being_built_has_nothing_yet() {
    let entry = Entry {
        state: SegmentState::Building,
        level: 0,
        rows: 0,
        first_row: 2048,
        capacity: 1 << 20,
        first_chunk: 0,
        stream_bytes: 0,
        footer_offset: 0,
        first_block: 0,
        checksum: 0,
    };
    assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
    let mut sealed = first_version(&entry);
    sealed[1] = 1;
    assert!(Entry::decode(&sealed).is_err());
}
