// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a slice of deleted rows.
#![no_main]

use doris_storage::delete_bitmap::Slice;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(slice) = Slice::decode(bytes) {
        slice.each(|row| assert!(slice.contains(row)));
    }
});
