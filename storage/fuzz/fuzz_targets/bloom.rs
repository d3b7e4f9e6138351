// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a bloom filter.
#![no_main]

use doris_storage::bloom::may_contain;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, &[u8])| {
    let _ = may_contain(input.1, input.0);
});
