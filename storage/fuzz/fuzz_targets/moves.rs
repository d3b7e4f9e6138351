// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a part of a move map.
#![no_main]

use doris_storage::moves::{runs, target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], u16)| {
    let mut runs_seen = 0;
    let sound = runs(input.0, |_, _, _| {
        runs_seen += 1;
        false
    });
    assert!(runs_seen <= 1024);
    if sound.is_ok() {
        let _ = target(input.0, input.1);
    }
});
