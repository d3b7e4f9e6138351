// SPDX-License-Identifier: Apache-2.0
//! Any bytes as next versions of rows that were updated in bulk.
#![no_main]

use doris_storage::successors::{each, find, first_row};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rows = Vec::new();
    let sound = each(bytes, |row| {
        rows.push(row);
        false
    });
    if sound.is_ok() {
        let first = first_row(bytes).expect("the rows were read");
        for row in rows {
            assert_eq!(find(bytes, first + u64::from(row.position)), Ok(Some(row)));
        }
    }
});
